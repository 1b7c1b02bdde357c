package mediation

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"time"

	"github.com/google/uuid"

	"kiroku/domain/inquiry"
	"kiroku/domain/register"
	"kiroku/projections"
)

// OpenFor returns up to limit notifications that a provider may still answer,
// those whose validity ends first before the others. Whether it has ended is for the
// caller to see. limit ≤ 0: none.
func (m *Mediation) OpenFor(ctx context.Context, provider string, limit int) ([]register.Standing, error) {
	from := providerKey(provider)
	open, _, err := m.open(tableOpen, from, after(from), limit)
	if err != nil {
		return nil, wrap(err, "find open notifications")
	}
	return m.notified(ctx, open)
}

// Expired returns up to limit inquiries that are notified and whose validity
// ended at or before now, the longest ended first.
func (m *Mediation) Expired(now time.Time, limit int) ([]register.Standing, error) {
	m.expired.Lock()
	defer m.expired.Unlock()
	to := now.UnixMicro() + 1
	from := m.floor.begin()
	if from >= to || limit <= 0 {
		return nil, nil
	}
	open, first, err := m.open(tableExpiry, timeKey(from), timeKey(to), limit)
	if err != nil {
		return nil, wrap(err, "find expired notifications")
	}
	if first != nil {
		to = int64(binary.BigEndian.Uint64(first))
	}
	m.floor.end(to)
	return m.notified(context.Background(), open)
}

// placed is an inquiry, and the day under which it stands while it is open.
type placed struct {
	number uuid.UUID
	day    projections.DayNumber
}

// open collects what the rows name, and the first key.
func (m *Mediation) open(t projections.Table, from, to []byte, limit int) (all []placed, first []byte, err error) {
	if limit <= 0 {
		return nil, nil, nil
	}
	var damage error
	err = m.rows.Ascend(t, from, to, func(key, value []byte) bool {
		if len(value) != projections.PeriodSize {
			damage = projections.ErrDamaged
			return false
		}
		if first == nil {
			first = bytes.Clone(key)
		}
		all = append(all, placed{numberIn(key), projections.DayNumber(binary.BigEndian.Uint32(value))})
		return len(all) < limit
	})
	return all, first, cmp.Or(err, damage)
}

// notified reads the standings; what was answered meanwhile is left out.
func (m *Mediation) notified(ctx context.Context, open []placed) ([]register.Standing, error) {
	var all []register.Standing
	for _, p := range open {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		s, found, err := decodeStanding(m.rows.Get(tableStanding, standingKey(p.day, p.number)))
		if err != nil {
			return nil, wrap(err, "find an inquiry")
		}
		if found && s.state == inquiry.Notified.String() {
			all = append(all, s.of(p.number))
		}
	}
	return all, nil
}

// after returns the first key that does not begin with prefix.
func after(prefix []byte) []byte {
	end := bytes.Clone(prefix)
	for i := len(end) - 1; i >= 0; i-- {
		end[i]++
		if end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil // the whole table
}

package mediation

import (
	"bytes"
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
	numbers, _, err := m.numbers(tableOpen, from, after(from), limit)
	if err != nil {
		return nil, wrap(err, "find open notifications")
	}
	return m.notified(ctx, numbers)
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
	numbers, first, err := m.numbers(tableExpiry, timeKey(from), timeKey(to), limit)
	if err != nil {
		return nil, wrap(err, "find expired notifications")
	}
	if first != nil {
		to = int64(binary.BigEndian.Uint64(first))
	}
	m.floor.end(to)
	return m.notified(context.Background(), numbers)
}

// numbers collects the processing numbers at the ends of keys, and the first key.
func (m *Mediation) numbers(t projections.Table, from, to []byte, limit int) (all []uuid.UUID, first []byte, err error) {
	if limit <= 0 {
		return nil, nil, nil
	}
	err = m.rows.Ascend(t, from, to, func(key, _ []byte) bool {
		if first == nil {
			first = bytes.Clone(key)
		}
		all = append(all, numberIn(key))
		return len(all) < limit
	})
	return all, first, err
}

// notified reads the standings; what was answered meanwhile is left out.
func (m *Mediation) notified(ctx context.Context, numbers []uuid.UUID) ([]register.Standing, error) {
	var all []register.Standing
	for _, n := range numbers {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		s, found, err := m.Standing(n)
		if err != nil {
			return nil, err
		}
		if found && s.State == inquiry.Notified.String() {
			all = append(all, s)
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

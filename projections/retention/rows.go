package retention

import (
	"cmp"
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"kiroku/domain/approval"
	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/domain/ledger"
	"kiroku/domain/retention"
	"kiroku/projections"
)

const (
	tableDay         = projections.FirstTable + iota // day → storedDay: what the registry says of it
	tableLiving                                      // day, stream → event.DayStream, while the key lives
	tableHold                                        // id → storedHold
	tableProposal                                    // revision → storedProposal
	tableAnchor                                      // revision → storedAnchor, the first of each day
	tableTruncation                                  // stream → storedTruncation
	tableRotation                                    // revision → vault-rotated
	tableAuthorities                                 // revision → authorities-set, of those that took effect
	tableCopies                                      // revision → copies-declared, likewise
	tableClock                                       // → storedClock, of the last anchor
	tableRefused                                     // revision → storedRefused
)

// storedDay is a day as a row. Times are microseconds since 1970-01-01 UTC, 0 for none.
type storedDay struct {
	Announced     uint64                 `cbor:"1,keyasint,omitempty"`
	At            int64                  `cbor:"2,keyasint,omitempty"`
	Anchor        uint64                 `cbor:"3,keyasint,omitempty"`
	Anchored      int64                  `cbor:"4,keyasint,omitempty"`
	Summary       uint64                 `cbor:"5,keyasint,omitempty"`
	Parts         int                    `cbor:"6,keyasint,omitempty"`
	Seen          int                    `cbor:"7,keyasint,omitempty"`
	Destroyed     uint64                 `cbor:"8,keyasint,omitempty"`
	Leaf          []byte                 `cbor:"9,keyasint,omitempty"`
	Fact          *event.DayKeyDestroyed `cbor:"10,keyasint,omitempty"`
	Certified     uint64                 `cbor:"11,keyasint,omitempty"`
	Unrecoverable uint64                 `cbor:"12,keyasint,omitempty"`
	Proven        int64                  `cbor:"13,keyasint,omitempty"` // at Anchor, see storedAnchor
	Acknowledged  uint64                 `cbor:"14,keyasint,omitempty"`
	Decided       uint64                 `cbor:"15,keyasint,omitempty"`
}

type storedHold struct {
	Revision uint64          `cbor:"1,keyasint"`
	Added    event.HoldAdded `cbor:"2,keyasint"`
	Released uint64          `cbor:"3,keyasint,omitempty"`
	Anchored int64           `cbor:"4,keyasint,omitempty"` // as of a day's announcement
	Proven   int64           `cbor:"5,keyasint,omitempty"`
}

type storedProposal struct {
	Hash      []byte                   `cbor:"1,keyasint"`
	Made      event.ProposalMade       `cbor:"2,keyasint"`
	Approvals []event.ProposalApproved `cbor:"3,keyasint,omitempty"`
	Done      uint64                   `cbor:"4,keyasint,omitempty"`
}

type storedAnchor struct {
	At     int64        `cbor:"1,keyasint"`
	Heads  []storedHead `cbor:"2,keyasint,omitempty"`
	Proven int64        `cbor:"3,keyasint,omitempty"` // time since the first anchor of the ledger, microseconds
	Step   int64        `cbor:"4,keyasint,omitempty"` // how much of it since the anchor before, also one of the same day
}

type storedClock struct {
	At     int64  `cbor:"1,keyasint"`
	Epoch  uint64 `cbor:"2,keyasint"`
	Proven int64  `cbor:"3,keyasint,omitempty"`
	Spent  int64  `cbor:"4,keyasint,omitempty"` // nanoseconds
}

type storedRefused struct {
	Type string `cbor:"1,keyasint"`
}

type storedHead struct {
	Stream string `cbor:"1,keyasint"`
	Count  uint64 `cbor:"2,keyasint"`
}

type storedTruncation struct {
	Revision uint64 `cbor:"1,keyasint"`
	First    uint64 `cbor:"2,keyasint"`
	Prev     []byte `cbor:"3,keyasint"`
}

func (d *Day) store(b *projections.Batch) error {
	row := storedDay{
		Announced: d.Announced.Revision, At: micros(d.Announced.At), Anchor: d.Announced.Anchor, Anchored: micros(d.Announced.Anchored), Proven: d.Announced.proven.Microseconds(),
		Summary: d.Summary.Revision, Parts: d.Summary.Parts, Seen: d.Summary.Seen,
		Destroyed: d.Destroyed.Revision, Certified: d.Certified, Unrecoverable: d.Unrecoverable, Acknowledged: d.Acknowledged, Decided: d.Decided,
	}
	if !d.Living() {
		row.Leaf, row.Fact = d.Destroyed.Leaf[:], &d.Destroyed.Fact
	}
	return set(b, tableDay, []byte(d.Day.String()), row)
}

func (p *Proposal) store(b *projections.Batch) error {
	return set(b, tableProposal, revisionKey(p.Revision), storedProposal{Hash: p.Hash[:], Made: p.Made, Approvals: p.Approvals, Done: p.Done})
}

// load makes the snapshot that the rows stand for.
func load(rows *projections.Rows) (*Snapshot, error) {
	d := newDraft(&Snapshot{}, nil)
	var holds []storedHold
	for _, t := range []struct {
		table projections.Table
		take  func(key, value []byte) error
	}{
		{tableDay, d.loadDay},
		{tableLiving, d.loadLiving},
		{tableHold, func(_, v []byte) error {
			return take(v, func(h storedHold) error { holds = append(holds, h); return nil })
		}},
		{tableProposal, d.loadProposal},
		{tableAnchor, d.loadAnchor},
		{tableTruncation, d.loadTruncation},
		{tableRotation, d.loadRotation},
		{tableAuthorities, d.loadAuthorities},
		{tableCopies, d.loadCopies},
		{tableClock, d.loadClock},
		{tableRefused, d.loadRefused},
	} {
		var damage error
		err := rows.Ascend(t.table, nil, nil, func(key, value []byte) bool {
			damage = t.take(slices.Clone(key), value)
			return damage == nil
		})
		if err := errors.Join(err, damage); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(holds, func(a, b storedHold) int { return cmp.Compare(a.Revision, b.Revision) })
	for _, h := range holds {
		if err := d.loadHold(h); err != nil {
			return nil, err
		}
	}
	d.unanchored = d.waiting()
	return &d.Snapshot, d.loadPositions(rows)
}

// waiting are the days whose announcement no anchor holds, in the order of their announcement.
func (s *Snapshot) waiting() (days []calendar.Day) {
	for _, d := range s.days {
		if d.Noticed() && d.Announced.Revision > 0 && d.Announced.Anchor == 0 {
			days = append(days, d.Day)
		}
	}
	return days
}

func (d *draft) loadPositions(rows *projections.Rows) error {
	for _, stream := range event.Streams(event.MaxRecordShards) {
		c, err := rows.Checkpoint(stream)
		if err != nil {
			return err
		}
		if c.Next > 0 {
			d.reached(stream, c.Next)
		}
	}
	return nil
}

func take[T any](value []byte, set func(T) error) error {
	p, err := event.Decode[T](value)
	if err != nil {
		return projections.ErrDamaged
	}
	return set(p)
}

func instant(micros int64) time.Time {
	if micros == 0 {
		return time.Time{}
	}
	return time.UnixMicro(micros).UTC()
}

func span(micros int64) time.Duration { return time.Duration(micros) * time.Microsecond }

func (d *draft) loadDay(key, value []byte) error {
	day, err := calendar.Parse(string(key))
	if err != nil {
		return projections.ErrDamaged
	}
	return take(value, func(s storedDay) error {
		to := d.change(day)
		to.Announced = Announcement{Revision: s.Announced, At: instant(s.At), Anchor: s.Anchor, Anchored: instant(s.Anchored), proven: span(s.Proven)}
		to.Summary = Summary{Revision: s.Summary, Parts: s.Parts, Seen: s.Seen}
		to.Decided, to.Certified, to.Unrecoverable, to.Acknowledged = s.Decided, s.Certified, s.Unrecoverable, s.Acknowledged
		if s.Destroyed == 0 {
			return nil
		}
		if s.Fact == nil || len(s.Leaf) != len(ledger.Hash{}) {
			return projections.ErrDamaged
		}
		to.Destroyed = Destruction{Revision: s.Destroyed, Leaf: ledger.Hash(s.Leaf), Fact: *s.Fact}
		to.Streams = s.Fact.Streams
		return nil
	})
}

func (d *draft) loadLiving(key, value []byte) error {
	text := string(key[:min(len(key), len(time.DateOnly))])
	day, err := calendar.Parse(text)
	if err != nil {
		return projections.ErrDamaged
	}
	return take(value, func(s event.DayStream) error {
		*d.change(day).stream(s.Stream) = s
		return nil
	})
}

func (d *draft) loadHold(s storedHold) error {
	h, err := holdOf(s.Added)
	if err != nil {
		return projections.ErrDamaged
	}
	h.Released = s.Released > 0
	d.setHold(hold{Hold: h, revision: s.Revision, anchored: instant(s.Anchored), proven: span(s.Proven)})
	return nil
}

func (d *draft) loadClock(_, value []byte) error {
	return take(value, func(s storedClock) error {
		d.clock = retention.Clock{Moment: retention.Moment{At: instant(s.At), Epoch: s.Epoch}, Proven: span(s.Proven), Spent: time.Duration(s.Spent)}
		return nil
	})
}

func (d *draft) loadProposal(key, value []byte) error {
	revision, err := revisionIn(key)
	if err != nil {
		return err
	}
	return take(value, func(s storedProposal) error {
		if len(s.Hash) != len(approval.Hash{}) {
			return projections.ErrDamaged
		}
		d.setProposal(Proposal{Done: s.Done, Standing: approval.Standing{
			Hash: approval.Hash(s.Hash), Revision: revision, Made: s.Made, Approvals: s.Approvals}})
		return nil
	})
}

func (d *draft) loadAnchor(key, value []byte) error {
	revision, err := revisionIn(key)
	if err != nil {
		return err
	}
	return take(value, func(s storedAnchor) error {
		d.anchors = append(d.anchors, anchor{revision: revision, at: instant(s.At), heads: s.Heads, proven: span(s.Proven), step: span(s.Step)})
		return nil
	})
}

func (d *draft) loadTruncation(key, value []byte) error {
	return take(value, func(s storedTruncation) error {
		if len(s.Prev) != len(ledger.Hash{}) {
			return projections.ErrDamaged
		}
		d.setTruncation(Truncation{ledger.Truncation{Stream: string(key), First: s.First, Prev: ledger.Hash(s.Prev)}, s.Revision})
		return nil
	})
}

func revisionIn(key []byte) (uint64, error) {
	if len(key) != 8 {
		return 0, projections.ErrDamaged
	}
	return binary.BigEndian.Uint64(key), nil
}

func (d *draft) loadRotation(key, value []byte) error {
	revision, err := revisionIn(key)
	if err != nil {
		return err
	}
	return take(value, func(p event.VaultRotated) error {
		d.setRotation(Rotation{revision, p})
		return nil
	})
}

func (d *draft) loadAuthorities(key, value []byte) error {
	revision, err := revisionIn(key)
	if err != nil {
		return err
	}
	return take(value, func(p event.AuthoritiesSet) error {
		term, err := approval.TermOf(p, revision)
		if err != nil {
			return projections.ErrDamaged
		}
		d.terms = append(d.terms, term)
		return nil
	})
}

func (d *draft) loadCopies(key, value []byte) error {
	revision, err := revisionIn(key)
	if err != nil {
		return err
	}
	return take(value, func(p event.CopiesDeclared) error {
		d.copies = append(d.copies, retention.CopiesTerm{Revision: revision, Fact: p})
		return nil
	})
}

func (d *draft) loadRefused(key, value []byte) error {
	revision, err := revisionIn(key)
	if err != nil {
		return err
	}
	return take(value, func(s storedRefused) error {
		d.refused = append(d.refused, Refused{revision, s.Type})
		return nil
	})
}

// Package retention is the read model of what the ledger keeps for seven years (Order 30, 番号法施行令30条): what each
// stream holds of each day, how far the end of each day has come, the legal holds, the proposals of officials with their
// approvals, and the anchors by which the passage of time is shown.
//
// It promises to whoever destroys, lists or verifies that one Snapshot is one moment and never changes; that of a day
// whose key is destroyed everything comes from the registry, so that a view made anew from streams that were truncated
// equals one that saw them whole; and that in every process the keys of such a day are dropped from memory before the
// projection stands behind the fact of their destruction. It opens no payload but the registry's and the day-opened
// events', which are signed plaintext: it names no person.
package retention

import (
	"fmt"
	"sync"
	"sync/atomic"

	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/domain/retention"
	"kiroku/projections"
)

// Name of the projection.
const Name = "retention"

// Retention is the projection. It is safe for concurrent use.
type Retention struct {
	rows    *projections.Rows
	forget  func(calendar.Day)
	current atomic.Pointer[Snapshot]
	apply   sync.Mutex // from reading current to replacing it
}

// Open opens the projection in a view. forget drops a day's keys from the memory of this process; it is called for every
// day whose key was destroyed, also again, and while rows are made anew.
func Open(view projections.View, forget func(calendar.Day)) (*Retention, error) {
	rows, err := projections.OpenRows(view, Name)
	if err != nil {
		return nil, err
	}
	r := &Retention{rows: rows, forget: forget}
	return r, r.load()
}

func (r *Retention) load() error {
	s, err := load(r.rows)
	if err != nil {
		return fmt.Errorf("read the rows of %s: %w", Name, err)
	}
	r.current.Store(s)
	return nil
}

// Name implements projections.Projection.
func (*Retention) Name() string { return Name }

// Wants implements projections.Projection.
func (*Retention) Wants(stream string) bool {
	return stream == event.StreamRegistry || retention.DiesWithDay(stream)
}

// Checkpoint implements projections.Projection.
func (r *Retention) Checkpoint(stream string) (projections.Checkpoint, error) {
	return r.rows.Checkpoint(stream)
}

// Reset implements projections.Projection.
func (r *Retention) Reset() error {
	r.apply.Lock()
	defer r.apply.Unlock()
	if err := r.rows.Reset(); err != nil {
		return err
	}
	return r.load()
}

// Shadow implements projections.Shadowing.
func (r *Retention) Shadow() (projections.Projection, error) {
	rows, err := r.rows.Shadow()
	if err != nil {
		return nil, err
	}
	s := &Retention{rows: rows, forget: r.forget}
	return s, s.load()
}

// Promote implements projections.Shadowing.
func (r *Retention) Promote(shadow projections.Projection) error {
	s, ok := shadow.(*Retention)
	if !ok {
		return fmt.Errorf("promote a %T to %s: %w", shadow, Name, projections.ErrUnknownProjection)
	}
	r.apply.Lock()
	defer r.apply.Unlock()
	if err := r.rows.Promote(s.rows); err != nil {
		return err
	}
	r.current.Store(s.current.Load())
	return nil
}

// Rows gives every row, to compare two projections.
func (r *Retention) Rows() *projections.Rows { return r.rows }

// Snapshot returns what is known as of the last commit.
func (r *Retention) Snapshot() *Snapshot { return r.current.Load() }

// Apply implements projections.Projection. The Snapshot changes after the commit, and before Apply returns.
func (r *Retention) Apply(stream string, batch []projections.Opened, to projections.Checkpoint) error {
	r.apply.Lock()
	defer r.apply.Unlock()
	d := newDraft(r.current.Load(), r.forget)
	var err error
	if stream == event.StreamRegistry {
		err = projections.Apply(r.rows, stream, batch, to, readFact, func(b *projections.Batch, o *projections.Opened, c change) error {
			return c(d, b, o)
		})
	} else {
		err = r.applyHeaders(d, stream, batch, to)
	}
	if err != nil {
		return err
	}
	d.reached(stream, to.Next)
	r.current.Store(&d.Snapshot)
	return nil
}

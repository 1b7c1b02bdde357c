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
	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/domain/retention"
	"kiroku/projections"
)

// Name of the projection.
const Name = "retention"

// Retention is the projection. It is safe for concurrent use.
type Retention struct {
	*projections.Snapshots[Snapshot]
	forget func(calendar.Day)
}

// Open opens the projection in a view. forget drops a day's keys from the memory of this process; it is called for every
// day whose key was destroyed, also again, and while rows are made anew.
func Open(view projections.View, forget func(calendar.Day)) (*Retention, error) {
	snapshots, err := projections.OpenSnapshots(view, Name, load)
	if err != nil {
		return nil, err
	}
	return &Retention{snapshots, forget}, nil
}

// Name implements projections.Projection.
func (*Retention) Name() string { return Name }

// Wants implements projections.Projection.
func (*Retention) Wants(stream string) bool {
	return stream == event.StreamRegistry || retention.DiesWithDay(stream)
}

// Shadow implements projections.Shadowing.
func (r *Retention) Shadow() (projections.Projection, error) {
	beside, err := r.Beside()
	if err != nil {
		return nil, err
	}
	return &Retention{beside, r.forget}, nil
}

// Apply implements projections.Projection. The Snapshot changes after the commit, and before Apply returns.
func (r *Retention) Apply(stream string, batch []projections.Opened, to projections.Checkpoint) error {
	return r.Change(func(rows *projections.Rows, was *Snapshot) (*Snapshot, error) {
		d := newDraft(was, r.forget)
		var err error
		if stream == event.StreamRegistry {
			err = projections.Apply(rows, stream, batch, to, readFact, func(b *projections.Batch, o *projections.Opened, c change) error {
				return c(d, b, o)
			})
		} else {
			err = applyHeaders(rows, d, stream, batch, to)
		}
		if err != nil {
			return nil, err
		}
		d.reached(stream, to.Next)
		return &d.Snapshot, nil
	})
}

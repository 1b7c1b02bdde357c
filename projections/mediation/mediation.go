// Package mediation is the read model of inquiries: how each one stands, which
// notifications a provider may still answer, and which were not answered within
// their validity (Ordinance 41). It promises to the commands that step an
// inquiry that an answer reflects every event up to the projection's position.
//
// A standing ends with the day of the event that made it so, once the key of that day, or of a later one, is destroyed:
// by then an inquiry has long been closed, and the event that closed it may lie on a later day than one which a legal hold
// keeps, whose notification must not look open again.
//
// Rows name the provider, the state and times; everything else about an
// inquiry, the person above all, stays in the sealed event that is kept along.
package mediation

import (
	"context"
	"fmt"
	"sync"

	"github.com/google/uuid"

	"kiroku/domain/event"
	"kiroku/domain/register"
	"kiroku/projections"
)

// Name of the projection.
const Name = "mediation"

// Standings lie by the day with which they die, so that the end of a day costs what the day holds. Which day that is tells
// a table of its own, by spans of days.
const (
	tableStanding = projections.FirstTable + iota // day, processing number → standing
	tableDay                                      // span of days, processing number → day in it
	tableOpen                                     // provider, end of validity, processing number → day
	tableExpiry                                   // end of validity, processing number → day
)

// span is how many days share a prefix in tableDay. Nearly every inquiry that is asked for is of the last two spans; one that
// there is not is looked for in all eighty of seven years.
const span projections.Span = 32

var mortal = projections.Mortal{
	ByDay:   []projections.Table{tableStanding},
	BySpan:  []projections.Table{tableDay},
	Span:    span,
	Brief:   []projections.Table{tableOpen, tableExpiry},
	Drop:    drop,
	Earlier: true,
}

// Contradicting is the count of events about an inquiry that was closed before:
// they change nothing, and there should be none.
const Contradicting = "contradicting"

// Mediation is the projection. It is safe for concurrent use.
type Mediation struct {
	rows  *projections.Rows
	spans projections.Spans // of tableDay
	seen  *seen             // nil where the view was not empty at the start

	expired sync.Mutex // held by the one scan for expired inquiries
	floor   floor
}

// Open opens the projection in a view.
func Open(view projections.View) (*Mediation, error) {
	rows, err := projections.OpenRows(view, Name)
	if err != nil {
		return nil, err
	}
	m := &Mediation{rows: rows, seen: newSeen()}
	if err := m.spans.Load(rows, tableDay); err != nil {
		return nil, err
	}
	err = rows.Each(func(_, _ []byte) bool { m.seen = nil; return false })
	return m, wrap(err, "look whether there is anything")
}

// Name implements projections.Projection.
func (*Mediation) Name() string { return Name }

// Wants implements projections.Projection.
func (*Mediation) Wants(stream string) bool {
	return event.IsRecordStream(stream) || stream == event.StreamRegistry
}

// Checkpoint implements projections.Projection.
func (m *Mediation) Checkpoint(stream string) (projections.Checkpoint, error) {
	return m.rows.Checkpoint(stream)
}

// Reset implements projections.Projection.
func (m *Mediation) Reset() error {
	m.floor.lower(0)
	if err := m.rows.Reset(); err != nil {
		return err
	}
	m.seen = newSeen()
	return nil
}

// Shadow implements projections.Shadowing.
func (m *Mediation) Shadow() (projections.Projection, error) {
	rows, err := m.rows.Shadow()
	return &Mediation{rows: rows, seen: newSeen()}, err
}

// Promote implements projections.Shadowing.
func (m *Mediation) Promote(shadow projections.Projection) error {
	s, ok := shadow.(*Mediation)
	if !ok {
		return fmt.Errorf("promote a %T to %s: %w", shadow, Name, projections.ErrUnknownProjection)
	}
	m.floor.lower(0)
	m.spans.Add(s.spans.All()...)
	if err := m.rows.Promote(s.rows); err != nil {
		return err
	}
	m.seen = s.seen
	return nil
}

// Compact returns when no file of the view holds a row of a day that ended before.
func (m *Mediation) Compact(ctx context.Context) error { return m.rows.CompactEnded(ctx, mortal) }

// Rows gives every row, to compare two projections.
func (m *Mediation) Rows() *projections.Rows { return m.rows }

// Command returns the reference to the command that caused an event.
func (m *Mediation) Command(eventID uuid.UUID) (register.Reference, bool, error) {
	return m.rows.Command(eventID)
}

// Standing returns how an inquiry stands.
func (m *Mediation) Standing(number uuid.UUID) (register.Standing, bool, error) {
	s, found, err := m.find(number)
	if err != nil || !found {
		return register.Standing{}, false, wrap(err, "find an inquiry")
	}
	return s.of(number), true, nil
}

func wrap(err error, doing string) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s in %s: %w", doing, Name, err)
}

// floor is a time in microseconds before which no notification is open. It
// keeps the scan for expired ones from passing over all that were closed.
type floor struct {
	mu      sync.Mutex // guards the two below
	at      int64
	lowered int64 // the lowest time since the scan began
}

// lower makes room for a notification that ends at t. It comes before the commit.
func (f *floor) lower(t int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.at, f.lowered = min(f.at, t), min(f.lowered, t)
}

// begin returns where a scan has to begin.
func (f *floor) begin() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lowered = noTime
	return f.at
}

// end says that the scan found nothing before t.
func (f *floor) end(t int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.at = min(t, f.lowered)
}

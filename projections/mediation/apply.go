package mediation

import (
	"fmt"
	"math"
	"time"

	"github.com/google/uuid"

	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/domain/inquiry"
	"kiroku/projections"
)

// step is what one event says of an inquiry.
type step struct {
	number    uuid.UUID
	state     inquiry.State
	provider  string
	until     int64
	requested projections.DayNumber // before which nothing is known of the inquiry
	amended   bool                  // repeats a record with a correction: the state stays
}

type fact = projections.Fact[step]

// Apply implements projections.Projection.
func (m *Mediation) Apply(stream string, batch []projections.Opened, to projections.Checkpoint) error {
	if stream == event.StreamRegistry {
		return projections.ApplyRegistry(m.rows, batch, to, mortal)
	}
	least := int64(math.MaxInt64) // the earliest expiry among the notifications of the batch
	err := projections.Apply(m.rows, stream, batch, to, read, func(b *projections.Batch, o *projections.Opened, s step) error {
		if s.state == inquiry.Notified {
			least = min(least, s.until)
		}
		return m.write(b, o, s)
	})
	if err == nil && least < math.MaxInt64 {
		m.floor.lower(least) // again: a scan between the first time and the commit found nothing there yet
	}
	return err
}

func read(o *projections.Opened) (fact, error) {
	switch o.Event.Type {
	case event.TypeInquiryNotified:
		p, err := projections.Decoded[event.InquiryNotified](o)
		if err != nil {
			return fact{}, err
		}
		return factOf(&p.Command, &p.Record, inquiry.Notified)
	case event.TypeInquiryRefused:
		p, err := projections.Decoded[event.InquiryRefused](o)
		if err != nil {
			return fact{}, err
		}
		return factOf(&p.Command, &p.Record, inquiry.Refused)
	case event.TypeProvisionReported:
		p, err := projections.Decoded[event.ProvisionReported](o)
		if err != nil {
			return fact{}, err
		}
		answer, err := inquiry.ParseAnswerKind(p.Answer)
		if err != nil {
			return fact{}, fmt.Errorf("%w: %w", event.ErrMalformed, err)
		}
		return factOf(&p.Command, &p.Record, answer)
	case event.TypeInquiryLapsed:
		p, err := projections.Decoded[event.InquiryLapsed](o)
		if err != nil {
			return fact{}, err
		}
		return factOf(&p.Command, &p.Record, inquiry.Lapsed)
	}
	return fact{Skip: true}, nil
}

func factOf(c *event.Command, r *event.Record, state inquiry.State) (fact, error) {
	n, err := inquiry.ProcessingNumberFromBytes(r.ProcessingNumber)
	if err != nil {
		return fact{}, fmt.Errorf("%w: %w", event.ErrMalformed, err)
	}
	return fact{Command: c, Rows: step{
		number: uuid.UUID(n), state: state, provider: r.Provider, until: r.ValidUntil, amended: r.AmendmentReason != "",
		requested: projections.NumberOf(calendar.DayOf(time.UnixMicro(r.RequestedAt))),
	}}, nil
}

// standing returns how an inquiry stands before a step, and the day with which that ends.
func (m *Mediation) standing(b *projections.Batch, s step, day projections.DayNumber) (standing, projections.DayNumber, bool, error) {
	if m.seen.add(s.number) {
		return standing{}, 0, false, nil
	}
	at, found, err := latestDay(b, m.spans.All(), span.Of(min(s.requested, day)), s.number)
	if err != nil || !found {
		return standing{}, 0, false, err
	}
	before, found, err := decodeStanding(b.Get(tableStanding, standingKey(at, s.number)))
	if err == nil && !found {
		err = projections.ErrDamaged
	}
	return before, at, found, err
}

func (m *Mediation) write(b *projections.Batch, o *projections.Opened, s step) error {
	if day := o.Day(); day != "" && day <= b.LastEnded() {
		return nil
	}
	day := b.DayNumber(o)
	before, at, found, err := m.standing(b, s, day)
	if err != nil {
		return err
	}
	now := standing{state: s.state.String(), provider: s.provider, until: s.until, latest: o.Sealed()}
	switch {
	case s.amended && !found:
		return nil // the event that says how the inquiry stands has ended
	case s.amended: // it lives as long as what it corrects
		now.state, now.provider, now.until = before.state, before.provider, before.until
		b.Set(tableStanding, standingKey(at, s.number), now.append(b.Room(now.size())))
		return nil
	case found && (before.state != inquiry.Notified.String() || s.state == inquiry.Notified):
		b.Count(Contradicting, 1)
		return nil
	case found:
		b.Delete(tableOpen, openKey(before.provider, before.until, s.number))
		b.Delete(tableExpiry, expiryKey(before.until, s.number))
		m.leave(b, at, day, s.number)
	}
	m.spans.Add(span.Of(day))
	b.Set(tableDay, dayKey(span.Of(day), s.number), append(b.Room(1), span.Within(day)))
	b.Set(tableStanding, standingKey(day, s.number), now.append(b.Room(now.size())))
	if s.state == inquiry.Notified && !found {
		m.floor.lower(s.until)
		b.Set(tableOpen, openKey(s.provider, s.until, s.number), dayValue(day))
		b.Set(tableExpiry, expiryKey(s.until, s.number), dayValue(day))
	}
	return nil
}

// leave deletes what stands under one day, unless the other one takes its place.
func (m *Mediation) leave(b *projections.Batch, from, to projections.DayNumber, number uuid.UUID) {
	if from != to {
		b.Delete(tableStanding, standingKey(from, number))
	}
	if span.Of(from) != span.Of(to) {
		b.Delete(tableDay, dayKey(span.Of(from), number))
	}
}

// drop deletes what leads to a standing.
func drop(b *projections.Batch, row projections.DyingRow) error {
	number, err := uuid.FromBytes(row.Key)
	if err != nil {
		return projections.ErrDamaged
	}
	s, _, err := decodeStanding(row.Value, true, nil)
	if err != nil {
		return err
	}
	b.Delete(tableDay, dayKey(span.Of(row.Day), number))
	if s.state == inquiry.Notified.String() {
		b.Delete(tableOpen, openKey(s.provider, s.until, number))
		b.Delete(tableExpiry, expiryKey(s.until, number))
	}
	return nil
}

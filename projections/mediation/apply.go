package mediation

import (
	"fmt"
	"math"

	"github.com/google/uuid"

	"kiroku/domain/event"
	"kiroku/domain/inquiry"
	"kiroku/projections"
)

// step is what one event says of an inquiry.
type step struct {
	number   uuid.UUID
	state    inquiry.State
	provider string
	until    int64
	amended  bool // repeats a record with a correction: the state stays
}

type fact = projections.Fact[step]

// Apply implements projections.Projection.
func (m *Mediation) Apply(stream string, batch []projections.Opened, to projections.Checkpoint) error {
	if stream == event.StreamRegistry {
		return projections.ApplyRegistry(m.rows, batch, to, projections.Ending{Drop: drop, Earlier: true})
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
	}}, nil
}

// standing returns how an inquiry stands before a step.
func (m *Mediation) standing(b *projections.Batch, number uuid.UUID) (standing, bool, error) {
	if m.seen.add(number) {
		return standing{}, false, nil
	}
	return decodeStanding(b.Get(tableStanding, number[:]))
}

func (m *Mediation) write(b *projections.Batch, o *projections.Opened, s step) error {
	day := o.Day()
	if day != "" && day <= b.LastEnded() {
		return nil
	}
	before, found, err := m.standing(b, s.number)
	if err != nil {
		return err
	}
	now := standing{state: s.state.String(), provider: s.provider, day: day, until: s.until, latest: o.Sealed()}
	switch {
	case s.amended && !found:
		return nil // the event that says how the inquiry stands has ended
	case s.amended:
		now.state, now.provider, now.day, now.until = before.state, before.provider, before.day, before.until
	case found && (before.state != inquiry.Notified.String() || s.state == inquiry.Notified):
		b.Count(Contradicting, 1)
		return nil
	case found:
		b.Delete(tableOpen, openKey(before.provider, before.until, s.number))
		b.Delete(tableExpiry, expiryKey(before.until, s.number))
	}
	b.Set(tableStanding, s.number[:], now.append(b.Room(now.size())))
	if s.amended {
		return nil // it lives as long as what it corrects
	}
	if err := b.Note(o, s.number[:]); err != nil {
		return err
	}
	if s.state == inquiry.Notified && !found {
		m.floor.lower(s.until)
		b.Set(tableOpen, openKey(s.provider, s.until, s.number), nil)
		b.Set(tableExpiry, expiryKey(s.until, s.number), nil)
	}
	return nil
}

// drop deletes a standing, by the number that write noted, unless a later day made it what it is.
func drop(b *projections.Batch, note []byte) error {
	number, err := uuid.FromBytes(note)
	if err != nil {
		return projections.ErrDamaged
	}
	s, found, err := decodeStanding(b.Get(tableStanding, note))
	if err != nil || !found || s.day > b.LastEnded() {
		return err
	}
	b.Delete(tableStanding, note)
	b.Delete(tableOpen, openKey(s.provider, s.until, number))
	b.Delete(tableExpiry, expiryKey(s.until, number))
	return nil
}

package mediation

import (
	"fmt"

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
	return projections.Apply(m.rows, stream, batch, to, read, m.write)
}

func read(o *projections.Opened) (fact, error) {
	switch o.Event.Type {
	case event.TypeInquiryNotified:
		p, err := event.Decode[event.InquiryNotified](o.Payload)
		return factOf(&p.Command, &p.Record, inquiry.Notified, err)
	case event.TypeInquiryRefused:
		p, err := event.Decode[event.InquiryRefused](o.Payload)
		return factOf(&p.Command, &p.Record, inquiry.Refused, err)
	case event.TypeProvisionReported:
		p, err := event.Decode[event.ProvisionReported](o.Payload)
		if err != nil {
			return fact{}, err
		}
		answer, err := inquiry.ParseAnswerKind(p.Answer)
		if err != nil {
			return fact{}, fmt.Errorf("%w: %w", event.ErrMalformed, err)
		}
		return factOf(&p.Command, &p.Record, answer, nil)
	case event.TypeInquiryLapsed:
		p, err := event.Decode[event.InquiryLapsed](o.Payload)
		return factOf(&p.Command, &p.Record, inquiry.Lapsed, err)
	}
	return fact{Skip: true}, nil
}

func factOf(c *event.Command, r *event.Record, state inquiry.State, err error) (fact, error) {
	clear(r.Symbol)
	clear(r.Subject)
	if err != nil {
		return fact{}, err
	}
	n, err := inquiry.ProcessingNumberFromBytes(r.ProcessingNumber)
	if err != nil {
		return fact{}, fmt.Errorf("%w: %w", event.ErrMalformed, err)
	}
	return fact{Command: c, Rows: step{
		number: uuid.UUID(n), state: state, provider: r.Provider, until: r.ValidUntil, amended: r.AmendmentReason != "",
	}}, nil
}

func (m *Mediation) write(b *projections.Batch, o *projections.Opened, s step) error {
	before, found, err := decodeStanding(b.Get(tableStanding, s.number[:]))
	if err != nil {
		return err
	}
	now := storedStanding{
		State: s.state.String(), Provider: s.provider, Until: s.until,
		Header: o.HeaderBytes, Data: o.Event.Data,
	}
	switch {
	case found && s.amended:
		now.State, now.Provider, now.Until = before.State, before.Provider, before.Until
		return now.set(b, s.number)
	case found && (before.State != inquiry.Notified.String() || s.state == inquiry.Notified):
		b.Count(Contradicting, 1)
		return nil
	case found:
		b.Delete(tableOpen, openKey(before.Provider, before.Until, s.number))
		b.Delete(tableExpiry, expiryKey(before.Until, s.number))
	}
	if s.state == inquiry.Notified {
		m.floor.lower(s.until)
		b.Set(tableOpen, openKey(s.provider, s.until, s.number), nil)
		b.Set(tableExpiry, expiryKey(s.until, s.number), nil)
	}
	return now.set(b, s.number)
}

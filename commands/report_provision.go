package commands

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"kiroku/commands/sequencer"
	"kiroku/domain/agency"
	"kiroku/domain/event"
	"kiroku/domain/inquiry"
	"kiroku/domain/ledger"
)

// ReportProvision is a provider's report on a notified inquiry: it provided, has no such information, or cannot
// provide. What it provided went from gateway to gateway and is no part of it (domain rule Mediation 5).
type ReportProvision struct {
	Meta
	ProcessingNumber inquiry.ProcessingNumber
	Answer           inquiry.AnswerFields
}

// ReportProvision records the report. Errors: inquiry.ErrInvalid; inquiry.ErrLapsed, ErrAnswered and ErrRefused by
// the inquiry's state; ErrNotFound, ErrNotAllowed (not the provider that was notified), ErrConflict, ErrTooOld,
// and those of the sequencer.
func (c *Core) ReportProvision(ctx context.Context, cmd ReportProvision) error {
	if err := c.check(cmd.Meta); err != nil {
		return err
	}
	answer, err := inquiry.NewAnswer(cmd.Answer)
	if err != nil {
		return err
	}
	if err := mustBe(cmd.Actor, RoleGateway); err != nil {
		return err
	}
	x := newCall(cmd.Meta, c.digestOfAnswer(cmd.ProcessingNumber, answer))
	line := c.recordLine(cmd.ProcessingNumber)
	release, err := c.claim(x, &line.line)
	if err != nil {
		return err
	}
	defer release()
	if err := line.confirm(ctx, x); err != nil {
		return unlessRepeated(err)
	}
	code, err := agency.ParseCode(cmd.Actor.Agency)
	if err != nil {
		return fmt.Errorf("actor's agency: %w: %w", ErrNotAllowed, err)
	}
	if _, err := c.activeAgency(ctx, code); err != nil {
		return err
	}
	return unlessRepeated(c.step(ctx, line, x, cmd.ProcessingNumber, event.TypeProvisionReported,
		func(s standing, at time.Time) (standing, any, error) {
			if s.record.Provider != cmd.Actor.Agency {
				return s, nil, fmt.Errorf("inquiry %s was notified to another agency: %w", cmd.ProcessingNumber, ErrNotAllowed)
			}
			return c.answered(x, s, answer, at)
		}))
}

func (c *Core) answered(x call, s standing, answer inquiry.Answer, at time.Time) (standing, any, error) {
	life, err := s.life()
	if err != nil {
		return s, nil, err
	}
	if life, err = life.Answer(answer, s.record.Items, at); err != nil {
		return s, nil, err
	}
	r := s.record
	if answer.Kind() == inquiry.Provided {
		r.ProvidedAt, r.Items = answer.ProvidedAt().UnixMicro(), answer.Items()
	}
	r.WithheldProvision = answer.NonDisclosure()
	e := event.ProvisionReported{Command: x.command(), Record: r, Answer: answer.Kind().String(), At: at.UnixMicro()}
	return standing{life.State(), r}, e, nil
}

// step takes an inquiry one step further: prepared on how it stands, decided if it still stands so.
func (c *Core) step(ctx context.Context, line *recordLine, x call, n inquiry.ProcessingNumber, eventType string,
	take func(standing, time.Time) (standing, any, error)) error {
	for range attempts {
		before, err := c.standing(ctx, n)
		if err != nil {
			return err
		}
		at, err := notBefore(before, c.now())
		if err != nil {
			return err
		}
		after, _, refused := take(before, at)
		var draft ledger.Draft
		if refused == nil {
			if draft, err = c.sealRecord(ctx, &line.line, x, func(at time.Time) (string, any) {
				var e any
				if at, refused = notBefore(before, at); refused == nil {
					after, e, refused = take(before, at)
				}
				return eventType, e
			}); err != nil {
				return err
			}
		}
		_, err = line.submit(ctx, x, func(next uint64) ([]ledger.Draft, error) {
			if now, err := c.stateOf(line, n); err != nil || now != before.state {
				return nil, errors.Join(err, errStale)
			}
			if refused != nil {
				return nil, refused
			}
			line.standings.Put(next, uuid.UUID(n), after)
			return []ledger.Draft{draft}, nil
		})
		if !errors.Is(err, errStale) {
			return err
		}
	}
	return unavailable("take the inquiry further", errStale)
}

// notBefore is the time of a step on an inquiry. The notification may bear the time of another core, whose clock was a
// little ahead: that is no reason to refuse what comes right after it.
func notBefore(s standing, at time.Time) (time.Time, error) {
	notified := micros(s.record.RequestedAt)
	if at.Before(notified.Add(-sequencer.ClockTolerance)) {
		return at, fmt.Errorf("now %s, notification %s: %w", at.Format(time.RFC3339), notified.Format(time.RFC3339), sequencer.ErrClockBack)
	}
	if at.Before(notified) {
		return notified, nil
	}
	return at, nil
}

// stateOf is how an inquiry stands at the moment of a decision.
func (c *Core) stateOf(line *recordLine, n inquiry.ProcessingNumber) (inquiry.State, error) {
	if s, ok := line.standings.Get(uuid.UUID(n)); ok {
		return s.state, nil
	}
	v, ok, err := c.d.Inquiries.Standing(uuid.UUID(n))
	if err != nil || !ok {
		return 0, errors.Join(err, fmt.Errorf("inquiry %s: %w", n, ErrNotFound))
	}
	return inquiry.ParseState(v.State)
}

func unlessRepeated(err error) error {
	var again *repeated
	if errors.As(err, &again) {
		return nil
	}
	return err
}

func (c *Core) digestOfAnswer(n inquiry.ProcessingNumber, a inquiry.Answer) [16]byte {
	withheld := byte(0)
	if a.NonDisclosure() {
		withheld = 1
	}
	at := int64(0)
	if !a.ProvidedAt().IsZero() {
		at = a.ProvidedAt().UnixMicro()
	}
	parts := [][]byte{slices.Clone(n[:]), []byte(a.Kind().String()), {withheld}, binary.BigEndian.AppendUint64(nil, uint64(at))}
	for _, item := range a.Items() {
		parts = append(parts, []byte(item))
	}
	return c.d.Keyring.Digest("report-provision", parts...)
}

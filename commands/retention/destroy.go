package retention

import (
	"context"
	"errors"
	"fmt"

	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/domain/keyring"
)

// decide records that a day's key is destroyed from now on. It judges while nobody else adds to the registry: an order
// that holds the day is either seen here, or comes after and is refused. What is decided stays so, whoever does it.
func (s *pass) decide(ctx context.Context, day calendar.Day) error {
	_, _, err := s.d.Facts.ComposeFact(ctx, stepID("decide", day.String()), event.TypeDestructionDecided,
		func(ctx context.Context, next uint64) ([]any, error) {
			state, err := s.d.Ledger.Registry(ctx, next)
			if err != nil {
				return nil, err
			}
			d, _ := state.Day(day)
			switch {
			case d.Decided.There || d.Destroyed.There:
				return nil, nil
			case !d.Summary.There || !d.Announced.There:
				return nil, fmt.Errorf("%w: there is no notice or no summary of it", errNotReady)
			}
			if err := s.ready(state, day); err != nil {
				return nil, err
			}
			return []any{event.DestructionDecided{Day: day.String(), Due: s.d.Policy.Due(day).String(),
				Announced: d.Announced.Revision, Summary: d.Summary.Revision, At: s.d.Now().UnixMicro()}}, nil
		})
	if err != nil {
		return fmt.Errorf("decide the destruction: %w", err)
	}
	return nil
}

// destroy ends the key of a day of which that is decided, and records it. It judges once more: a decision that no core made
// by the rules, but somebody who has the signing key, is not carried out. What was decided rightly stays right, but for a
// core that was off: it has to anchor first.
func (s *pass) destroy(ctx context.Context, day calendar.Day) error {
	state, err := s.d.Ledger.Complete(ctx)
	if err != nil {
		return fmt.Errorf("read how the day stands: %w", err)
	}
	if calendar.DayOf(s.d.Now()).Before(s.d.Policy.Due(day)) {
		return ErrNotDecided
	}
	if err := s.ready(state, day); err != nil {
		return fmt.Errorf("its destruction is decided, and %w", err)
	}
	token, err := s.endKey(ctx, day)
	if err != nil {
		return err
	}
	var ended event.DayKeyDestroyed
	_, recorded, err := s.d.Facts.ComposeFact(ctx, stepID("destroy", day.String()), event.TypeDayKeyDestroyed,
		func(ctx context.Context, next uint64) ([]any, error) {
			state, err := s.d.Ledger.Registry(ctx, next)
			if err != nil {
				return nil, err
			}
			d, _ := state.Day(day)
			if d.Destroyed.There {
				return nil, nil
			}
			ended = event.DayKeyDestroyed{Day: day.String(), Label: keyring.DayLabel(day), Due: s.d.Policy.Due(day).String(),
				Announced: d.Announced.Revision, Summary: d.Summary.Revision, Streams: d.Streams, Events: d.Events,
				Token: token, At: s.d.Now().UnixMicro()}
			return []any{ended}, nil
		})
	if err != nil {
		return fmt.Errorf("record that the key was destroyed: %w", err)
	}
	if recorded {
		delete(s.keys, day)
		s.report.Destroyed = append(s.report.Destroyed, day)
		s.report.Events += ended.Events
		s.d.Log.Info("the key of a day was destroyed", "day", day.String(), "events", ended.Events)
	}
	return nil
}

// endKey destroys a key in the token and names the token that did it. It does not wait for ever: other days wait for it.
func (s *pass) endKey(ctx context.Context, day calendar.Day) (event.Token, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, tokenWithin, fmt.Errorf("the token gave no answer within %s", tokenWithin))
	defer cancel()
	token, err := s.d.HSM.Token(ctx)
	if err == nil {
		err = s.d.HSM.Destroy(ctx, day)
	}
	if err != nil {
		return token, fmt.Errorf("%w: %w", ErrNotDestroyed, err)
	}
	return token, nil
}

// destroyReturned destroys keys of ended days that are in the token again, as after its restoration from a copy. The key of
// a day that was lost is destroyed only when that of any other day like it could be: two officials' word that a key is gone
// destroys none.
func (s *pass) destroyReturned(ctx context.Context, state State) {
	for _, d := range state.Days() {
		if !d.Destroyed.There || !s.keys[d.Day] {
			continue
		}
		if d.Loss == nil && (!d.Decided.There || calendar.DayOf(s.d.Now()).Before(s.d.Policy.Due(d.Day))) {
			s.fail(d.Day, "keep the key of", ErrNotDecided)
			continue
		}
		if d.Loss != nil {
			if err := s.ready(state, d.Day); err != nil {
				s.fail(d.Day, "keep the returned key of", fmt.Errorf("%w; %w: %w", ErrKeyReturned, ErrKept, err))
				continue
			}
		}
		_, err := s.endKey(ctx, d.Day)
		if err == nil {
			delete(s.keys, d.Day)
			s.report.Returned = append(s.report.Returned, d.Day)
		}
		s.fail(d.Day, "destroy again the returned key of", errors.Join(ErrKeyReturned, err))
	}
}

package retention

import (
	"context"
	"errors"
	"fmt"
	"time"

	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/domain/keyring"
)

// destroy ends a day's key and records that, both while nobody else adds to the registry: an order that holds the day is
// either seen here, or comes after.
func (s *pass) destroy(ctx context.Context, day calendar.Day) error {
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
			if !d.Summary.There || !d.Announced.There {
				return nil, fmt.Errorf("%w: there is no notice or no summary of it", errNotReady)
			}
			if err := s.mayDestroy(ctx, state, d); err != nil {
				return nil, err
			}
			token, err := s.endKey(ctx, day, func() error { return s.endsAt(ctx, next) })
			if err != nil {
				return nil, err
			}
			ended = event.DayKeyDestroyed{Day: day.String(), Label: keyring.DayLabel(day), Due: s.d.Policy.Due(day).String(),
				Announced: d.Announced.Revision, Summary: d.Summary.Revision, Streams: d.Streams, Events: d.Events,
				Token: token, At: s.d.Now().UnixMicro()}
			return []any{ended}, nil
		})
	if err != nil {
		return err
	}
	if recorded {
		delete(s.keys, day)
		s.report.Destroyed = append(s.report.Destroyed, day)
		s.report.Events += ended.Events
		s.d.Log.Info("the key of a day was destroyed", "day", day.String(), "events", ended.Events)
	}
	return nil
}

// mayDestroy judges a day a last time. A key that an interrupted pass destroyed is gone whatever came between: then what
// remains is to say so. An order is no such thing: none is taken for a day whose key is gone, so the key of a day that one
// holds was taken away by somebody else, and that is not to be certified.
func (s *pass) mayDestroy(ctx context.Context, state State, d Day) error {
	err := s.ready(state, d.Day)
	if err == nil {
		return nil
	}
	keys, keysErr := s.Process.keys(ctx)
	if keysErr != nil {
		return fmt.Errorf("%w: %w", ErrNotDestroyed, keysErr)
	}
	switch {
	case keys[d.Day]:
		return err
	case s.heldBy(state, d.Day) != nil:
		return fmt.Errorf("%w; %w", ErrKeyLost, err)
	}
	s.d.Log.Error("a day is not to be destroyed any more, but its key went before: an interrupted pass destroyed it", "day", d.Day.String(), "why", err.Error())
	return nil
}

// endsAt refuses a destruction unless the registry still ends before revision next. It was judged on that, and a process
// that was stopped since, or a machine that slept, may be replaced by another core, which takes orders. So it counts the
// time of the look too, by the clock that goes on while a machine sleeps and by the one that nobody sets.
func (s *pass) endsAt(ctx context.Context, next uint64) error {
	ctx, cancel := context.WithTimeoutCause(ctx, lookWithin, fmt.Errorf("no answer within %s", lookWithin))
	defer cancel()
	began := time.Now()
	last, found, err := s.d.Ledger.Last(ctx, event.StreamRegistry)
	now := time.Now()
	switch took := max(now.Sub(began), now.Round(0).Sub(began.Round(0))); {
	case err != nil:
		return fmt.Errorf("%w: read the end of the registry: %w", ErrOvertaken, err)
	case !found || last+1 != next:
		return fmt.Errorf("%w: the registry has moved on", ErrOvertaken)
	case took > lookWithin:
		return fmt.Errorf("%w: the look at the registry took %s", ErrOvertaken, took.Round(time.Millisecond))
	}
	return nil
}

// endKey destroys a key in the token, if may still says so, and names the token that did it. It does not wait for ever: the
// registry waits for it.
func (s *pass) endKey(ctx context.Context, day calendar.Day, may func() error) (event.Token, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, tokenWithin, fmt.Errorf("the token gave no answer within %s", tokenWithin))
	defer cancel()
	token, err := s.d.HSM.Token(ctx)
	if err == nil {
		err = s.d.HSM.Destroy(ctx, day, may)
	}
	if errors.Is(err, ErrOvertaken) {
		return token, err
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
		if d.Loss != nil {
			if err := s.ready(state, d.Day); err != nil {
				s.fail(d.Day, "keep the returned key of", fmt.Errorf("%w; %w: %w", ErrKeyReturned, ErrKept, err))
				continue
			}
		}
		_, err := s.endKey(ctx, d.Day, func() error { return nil }) // whoever does it: the registry says that it is gone
		if err == nil {
			delete(s.keys, d.Day)
			s.report.Returned = append(s.report.Returned, d.Day)
		}
		s.fail(d.Day, "destroy again the returned key of", errors.Join(ErrKeyReturned, err))
	}
}

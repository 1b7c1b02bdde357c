package retention

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/domain/keyring"
	"kiroku/domain/retention"
)

// Loss is how a day ended whose key was found missing.
type Loss struct {
	Premature    bool // before the day was due
	Proposal     []byte
	Found        int64 // microseconds since 1970-01-01 UTC
	Acknowledged bool
}

// alarming reports whether the loss is still to be told of.
func (l *Loss) alarming() bool { return l != nil && l.Premature && !l.Acknowledged }

// lostDays records the ends of the days whose keys are missing, as far as two officials approved that, and alarms for the
// others. It never destroys anything. It reports whether it recorded any.
func (s *pass) lostDays(ctx context.Context, state State) bool {
	for _, day := range s.report.Before.in(KeyMissing) {
		if _, approved := state.LossApproved(day, s.d.Now()); !approved {
			s.fail(day, "keep", ErrKeyLost)
			continue
		}
		s.say(Step{What: "record the loss", Day: day})
		if err := s.lose(ctx, day); err != nil {
			s.fail(day, "record the loss of the key of", fmt.Errorf("%w; %w", ErrKeyLost, err))
		}
	}
	return len(s.report.Lost) > 0
}

// lose records that a day has ended because its key is gone, while nobody else adds to the registry. It rests on a look at
// the token of its own, between two of the token's proofs.
func (s *pass) lose(ctx context.Context, day calendar.Day) error {
	complete, err := s.d.Ledger.Complete(ctx)
	if err != nil {
		return fmt.Errorf("read how the day stands: %w", err)
	}
	seen, _ := complete.Day(day)
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
			if !slices.EqualFunc(d.Streams, seen.Streams, sameExtent) {
				return nil, errChanged
			}
			e, err := s.lossOf(ctx, state, d)
			if err != nil {
				return nil, err
			}
			return []any{e}, nil
		})
	if err != nil {
		return err
	}
	if recorded {
		s.report.Lost = append(s.report.Lost, day)
		s.report.Events += seen.Events
		s.d.Log.Warn("the key of a day is lost, and the day has ended by that", "day", day.String(), "events", seen.Events)
	}
	return nil
}

// lossOf makes the fact of a loss, or says what stands against it.
func (s *pass) lossOf(ctx context.Context, state State, d Day) (e event.DayKeyDestroyed, err error) {
	now := s.d.Now()
	proposal, approved := state.LossApproved(d.Day, now)
	switch {
	case d.Decided.There:
		return e, fmt.Errorf("%w: it is decided that the key is destroyed; that it is gone is recorded as that", errNotLost)
	case !approved || len(d.Streams) == 0:
		return e, fmt.Errorf("%w: two officials have not approved it", errNotLost)
	case !retention.Over(d.Day, now):
		return e, fmt.Errorf("%w: the day is not over, or has only just ended", errNotLost)
	case s.heldBy(state, d.Day) != nil:
		return e, fmt.Errorf("%w: an order holds the day; have it released first", errNotLost)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, tokenWithin, fmt.Errorf("the token gave no answer within %s", tokenWithin))
	defer cancel()
	token, err := s.d.HSM.Token(ctx)
	if err != nil {
		return e, fmt.Errorf("%w: %w", errNotLost, err)
	}
	keys, err := s.Process.keys(ctx)
	switch {
	case err != nil:
		return e, fmt.Errorf("%w: %w", errNotLost, err)
	case keys[d.Day]:
		return e, fmt.Errorf("%w: the token holds the key again", errNotLost)
	}
	due := s.d.Policy.Due(d.Day)
	return event.DayKeyDestroyed{Day: d.Day.String(), Label: keyring.DayLabel(d.Day), Due: due.String(),
		Announced: d.Announced.Revision, Streams: d.Streams, Events: d.Events, Token: token, At: now.UnixMicro(),
		Lost: true, Premature: calendar.DayOf(now).Before(due), Proposal: proposal}, nil
}

// errNotLost keeps a loss from being recorded.
var errNotLost = errors.New("the loss is not recorded")

// tellLosses alarms for days that were lost before they were due, until that is acknowledged.
func (s *pass) tellLosses(state State) {
	for _, d := range state.Days() {
		if d.Loss.alarming() {
			s.fail(d.Day, "keep", ErrLostEarly)
		}
	}
}

// noticesOfLost adds lost days of which notice is to be given: their keys may return, and what those sealed is kept, until
// any other day like them would have been destroyed.
func (s *pass) noticesOfLost(state State, days []calendar.Day) []calendar.Day {
	for _, d := range state.Days() {
		if d.Loss != nil && s.d.Policy.MustAnnounce(d.Day, d.Notified, s.d.Now()) && len(days) < noticeDays {
			days = append(days, d.Day)
		}
	}
	slices.SortFunc(days, calendar.Day.Compare)
	return slices.Compact(days)
}

// goes reports whether a lost day may go as any other: it is due, that is proven, and no order holds it.
func (s *pass) goes(state State) func(calendar.Day) bool {
	return func(day calendar.Day) bool { return s.ready(state, day) == nil }
}

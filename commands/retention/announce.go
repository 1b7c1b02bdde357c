package retention

import (
	"context"
	"crypto/sha256"
	"fmt"

	"kiroku/domain/calendar"
	"kiroku/domain/event"
)

// announce gives notice of the days that will fall due within the time of notice, held or not: an order may end.
func (s *pass) announce(ctx context.Context, state State) error {
	days := s.unannounced(state)
	if len(days) == 0 {
		return nil
	}
	s.say(Step{What: "announce", Of: len(days)})
	sum := sha256.Sum256(fmt.Append(nil, days, calendar.DayOf(s.d.Now()))) // a notice by a wrong clock is given again
	_, recorded, err := s.d.Facts.ComposeFact(ctx, stepID("announce", fmt.Sprintf("%x", sum)), event.TypeDestructionAnnounced,
		func(ctx context.Context, next uint64) ([]any, error) {
			state, err := s.d.Ledger.Registry(ctx, next)
			if err != nil {
				return nil, err
			}
			if days = s.unannounced(state); len(days) == 0 {
				return nil, nil
			}
			e := event.DestructionAnnounced{At: s.d.Now().UnixMicro()}
			for _, d := range days {
				e.Days = append(e.Days, d.String())
			}
			return []any{e}, nil
		})
	if err != nil {
		return fmt.Errorf("retention: announce the destruction of %d days: %w", len(days), err)
	}
	if recorded {
		s.report.Announced = days
	}
	return nil
}

// unannounced returns days of which notice is to be given now, rising: those of the ledger, and those that have but a key.
func (s *pass) unannounced(state State) []calendar.Day {
	now := s.d.Now()
	plan := s.plan(state, s.keys, now)
	var days []calendar.Day
	for _, p := range plan.Days {
		d, _ := state.Day(p.Day)
		if !d.Destroyed.There && s.d.Policy.MustAnnounce(p.Day, d.Notified, now) && len(days) < noticeDays {
			days = append(days, p.Day)
		}
	}
	return s.noticesOfLost(state, days)
}

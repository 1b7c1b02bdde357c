package retention

import (
	"context"
	"errors"
	"fmt"

	"kiroku/domain/calendar"
	"kiroku/domain/event"
)

// errKeyThere keeps a day from its certificate.
var errKeyThere = errors.New("the token lists the key of a day that was destroyed")

// certify waits until every view has dropped what came of the days whose keys are destroyed, once for all of them, and
// writes their certificates.
func (s *pass) certify(ctx context.Context) error {
	state, err := s.d.Ledger.Complete(ctx)
	if err != nil {
		return fmt.Errorf("retention: certify: %w", err)
	}
	var days []Day
	next := uint64(0)
	for _, d := range state.Days() {
		if d.Destroyed.There && !d.Certified.There {
			days = append(days, d)
			next = max(next, d.Destroyed.Revision+1)
		}
	}
	if len(days) == 0 {
		return nil
	}
	s.say(Step{What: "clear", Of: len(days)})
	cleared, err := s.d.Views.Cleared(ctx, next)
	if err != nil {
		return fmt.Errorf("retention: clear what came of %d days; their certificates wait for it: %w", len(days), err)
	}
	keys, err := s.Process.keys(ctx)
	if err != nil {
		return fmt.Errorf("retention: certify %d days: %w", len(days), err)
	}
	s.keys = keys
	for i, d := range days {
		if keys[d.Day] {
			s.fail(d.Day, "certify", errKeyThere)
			continue
		}
		s.say(Step{What: "certify", Day: d.Day, Done: i, Of: len(days)})
		if err := s.certifyDay(ctx, d.Day, cleared); err != nil {
			return fmt.Errorf("retention: certify %s: %w", d.Day, err)
		}
	}
	return nil
}

func (s *pass) certifyDay(ctx context.Context, day calendar.Day, cleared []string) error {
	_, recorded, err := s.d.Facts.ComposeFact(ctx, stepID("certify", day.String()), event.TypeDayCertified,
		func(ctx context.Context, next uint64) ([]any, error) {
			state, err := s.d.Ledger.Registry(ctx, next)
			if err != nil {
				return nil, err
			}
			d, _ := state.Day(day)
			if d.Certified.There || !d.Destroyed.There {
				return nil, nil
			}
			e := event.DayCertified{Day: day.String(), Destroyed: d.Destroyed.Revision, Leaf: d.Destroyed.Leaf[:],
				Cleared: cleared, At: s.d.Now().UnixMicro()}
			if d.Loss != nil {
				e.Lost, e.Found, e.Proposal = true, d.Loss.Found, d.Loss.Proposal
			}
			return []any{e}, nil
		})
	if err == nil && recorded {
		s.report.Certified = append(s.report.Certified, day)
	}
	return err
}

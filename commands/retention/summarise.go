package retention

import (
	"context"
	"fmt"
	"slices"

	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/domain/retention"
)

// summarise records what is kept of a day's exchanges, from the day's own events, while its key is there.
func (s *pass) summarise(ctx context.Context, day calendar.Day) error {
	state, err := s.d.Ledger.Complete(ctx)
	if err != nil {
		return fmt.Errorf("read how the day stands: %w", err)
	}
	d, _ := state.Day(day)
	if d.Summary.There {
		return nil
	}
	counts, err := s.count(ctx, day, d.Streams)
	if err != nil {
		return err
	}
	parts, err := summaryParts(day, counts)
	if err != nil {
		return err
	}
	_, _, err = s.d.Facts.ComposeFact(ctx, stepID("summarise", day.String()), event.TypeDaySummarised,
		func(ctx context.Context, next uint64) ([]any, error) {
			state, err := s.d.Ledger.Registry(ctx, next)
			if err != nil {
				return nil, err
			}
			now, _ := state.Day(day)
			if now.Summary.There {
				return nil, nil
			}
			if !slices.EqualFunc(now.Streams, d.Streams, sameExtent) {
				return nil, errChanged
			}
			return parts, s.ready(state, day)
		})
	if err != nil {
		return fmt.Errorf("record the summary: %w", err)
	}
	return nil
}

func sameExtent(a, b event.DayStream) bool {
	return a.Stream == b.Stream && a.First == b.First && a.Next == b.Next
}

// ready refuses a day of which, at this moment, something stands against its destruction.
func (s *pass) ready(state State, day calendar.Day) error {
	v := s.d.Policy.Judge(day, state.Evidence(day, s.d.Now()))
	if v.State != retention.Ready {
		return fmt.Errorf("%w: %s", errNotReady, v.Reason)
	}
	return nil
}

// heldBy returns the order that holds a day at this moment, nil if none does.
func (s *pass) heldBy(state State, day calendar.Day) *retention.Hold {
	return s.d.Policy.Judge(day, state.Evidence(day, s.d.Now())).Hold
}

// count reads what a day's streams hold of it. Nothing may be missing or unreadable: what is not counted now can never be.
func (s *pass) count(ctx context.Context, day calendar.Day, streams []event.DayStream) ([]retention.Counted, error) {
	t := newTally()
	for _, r := range streams {
		if !event.IsRecordStream(r.Stream) {
			continue // disclosures and operations are no exchanges
		}
		if err := s.d.Ledger.Open(ctx, day, r.Stream, r.First, r.Next, t.add); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrSummary, err)
		}
	}
	return t.counts(), nil
}

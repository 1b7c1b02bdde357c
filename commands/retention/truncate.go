package retention

import (
	"context"
	"errors"
	"fmt"

	"kiroku/domain/ledger"
)

// truncate gives up the beginnings of the streams, as far as they belong to certified days: first in the registry, then in
// the store. No day that lives or is held loses an event, no stream its last, and the registry none.
func (s *pass) truncate(ctx context.Context) error {
	state, err := s.d.Ledger.Complete(ctx)
	if err != nil {
		return fmt.Errorf("retention: truncate: %w", err)
	}
	var errs []error
	hidden := false
	for _, stream := range s.d.Ledger.Streams() {
		if err := s.giveUp(ctx, state, stream); err != nil {
			errs = append(errs, fmt.Errorf("retention: truncate %s: %w", stream, err))
			continue
		}
		changed, err := s.hide(ctx, stream)
		if err != nil {
			errs = append(errs, fmt.Errorf("retention: truncate %s in the store: %w", stream, err))
		}
		hidden = hidden || changed
	}
	if hidden {
		errs = append(errs, s.scavenge(ctx))
	}
	return errors.Join(errs...)
}

// giveUp records in the registry what a stream gives up now, if it is more than before.
func (s *pass) giveUp(ctx context.Context, state State, stream string) error {
	last, ok, err := s.d.Ledger.Last(ctx, stream)
	begin := min(state.Expendable(stream), last)
	if err != nil || !ok || begin <= state.Begins(stream) {
		return err
	}
	leaf, err := s.d.Ledger.Leaf(ctx, stream, begin-1)
	if err != nil {
		return err
	}
	s.say(Step{What: "truncate"})
	_, recorded, err := s.d.Facts.ComposeFact(ctx, stepID("truncate", fmt.Sprintf("%s %d", stream, begin)), ledger.TypeStreamTruncated,
		func(ctx context.Context, next uint64) ([]any, error) {
			state, err := s.d.Ledger.Registry(ctx, next)
			if err != nil || state.Begins(stream) >= begin || state.Expendable(stream) < begin {
				return nil, err
			}
			return []any{ledger.Truncation{Stream: stream, First: begin, Prev: leaf}}, nil
		})
	if err == nil && recorded {
		s.report.Truncated[stream] = begin
	}
	return err
}

// hide has the store hide what the registry gave up. It reports whether there is something for the store to remove: what
// an earlier process hid may not have been removed then.
func (s *pass) hide(ctx context.Context, stream string) (bool, error) {
	state, err := s.d.Ledger.Complete(ctx)
	if err != nil {
		return false, err
	}
	begin := state.Begins(stream)
	if begin == 0 || s.scavenged[stream] >= begin {
		return false, nil
	}
	mark, err := s.d.Store.TruncateBefore(ctx, stream)
	if err != nil {
		return false, err
	}
	if mark < begin {
		if err := s.d.Store.SetTruncateBefore(ctx, stream, begin); err != nil {
			return false, err
		}
	}
	return true, nil
}

// scavenge has the store remove what is hidden.
func (s *pass) scavenge(ctx context.Context) error {
	state, err := s.d.Ledger.Complete(ctx)
	if err != nil {
		return err
	}
	s.say(Step{What: "scavenge"})
	if err := s.d.Store.Scavenge(ctx); err != nil {
		return fmt.Errorf("retention: have the store remove what was truncated: %w", err)
	}
	for _, stream := range s.d.Ledger.Streams() {
		mark, err := s.d.Store.TruncateBefore(ctx, stream)
		if err != nil {
			return err
		}
		s.scavenged[stream] = min(mark, state.Begins(stream))
	}
	return nil
}

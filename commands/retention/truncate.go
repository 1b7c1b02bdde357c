package retention

import (
	"context"
	"errors"
	"fmt"
	"maps"

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
	begins := map[string]uint64{} // of the streams of which the store hides what it has not removed
	for _, stream := range s.d.Ledger.Streams() {
		begin, err := s.giveUp(ctx, state, stream)
		if err != nil {
			errs = append(errs, fmt.Errorf("retention: truncate %s: %w", stream, err))
			continue
		}
		if begin <= s.scavenged[stream] { // what an earlier process hid may not have been removed then
			continue
		}
		if err := s.hide(ctx, stream, begin); err != nil {
			errs = append(errs, fmt.Errorf("retention: truncate %s in the store: %w", stream, err))
			continue
		}
		begins[stream] = begin
	}
	return errors.Join(append(errs, s.scavenge(ctx, begins))...)
}

// giveUp records in the registry what a stream gives up now, if it is more than before. It returns where the stream begins.
func (s *pass) giveUp(ctx context.Context, state State, stream string) (uint64, error) {
	before := state.Begins(stream)
	last, ok, err := s.d.Ledger.Last(ctx, stream)
	begin := min(state.Expendable(stream, s.goes(state)), last)
	if err != nil || !ok || begin <= before {
		return before, err
	}
	leaf, err := s.d.Ledger.Leaf(ctx, stream, begin-1)
	if err != nil {
		return before, err
	}
	s.say(Step{What: "truncate"})
	_, recorded, err := s.d.Facts.ComposeFact(ctx, stepID("truncate", fmt.Sprintf("%s %d", stream, begin)), ledger.TypeStreamTruncated,
		func(ctx context.Context, next uint64) ([]any, error) {
			state, err := s.d.Ledger.Registry(ctx, next)
			if err != nil || state.Begins(stream) >= begin || state.Expendable(stream, s.goes(state)) < begin {
				return nil, err
			}
			return []any{ledger.Truncation{Stream: stream, First: begin, Prev: leaf}}, nil
		})
	if err != nil || !recorded {
		return before, err
	}
	s.report.Truncated[stream] = begin
	return begin, nil
}

// hide has the store hide what the registry gave up.
func (s *pass) hide(ctx context.Context, stream string, begin uint64) error {
	mark, err := s.d.Store.TruncateBefore(ctx, stream)
	if err != nil || mark >= begin {
		return err
	}
	return s.d.Store.SetTruncateBefore(ctx, stream, begin)
}

// scavenge has the store remove what is hidden.
func (s *pass) scavenge(ctx context.Context, begins map[string]uint64) error {
	if len(begins) == 0 {
		return nil
	}
	s.say(Step{What: "scavenge"})
	if err := s.d.Store.Scavenge(ctx); err != nil {
		return fmt.Errorf("retention: have the store remove what was truncated: %w", err)
	}
	maps.Copy(s.scavenged, begins)
	return nil
}

package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"kiroku/adapters/eventstore"
	"kiroku/commands/leadership"
	"kiroku/commands/sequencer"
	"kiroku/domain/ledger"
)

// store speaks the sequencer's terms: what the event store will never take, what it has not taken, and
// everything else, of which nobody knows.
type store struct{ *eventstore.Store }

func (s store) Append(ctx context.Context, stream string, next uint64, events []ledger.Event) error {
	err := s.Store.Append(ctx, stream, next, events)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, eventstore.ErrWrongRevision):
		return fmt.Errorf("%w: %w", sequencer.ErrWrongRevision, err)
	case errors.Is(err, eventstore.ErrTooLarge), errors.Is(err, eventstore.ErrTombstoned), errors.Is(err, eventstore.ErrDenied),
		errors.Is(err, eventstore.ErrRefused), errors.Is(err, eventstore.ErrInvalid):
		return fmt.Errorf("%w: %w", sequencer.ErrRefused, err)
	case errors.Is(err, eventstore.ErrFull):
		return fmt.Errorf("%w: %w", sequencer.ErrUnavailable, err)
	}
	return err
}

func (s store) ReadForward(ctx context.Context, stream string, from uint64, limit int) ([]ledger.Event, error) {
	events, err := s.Store.ReadForward(ctx, stream, from, limit)
	if errors.Is(err, eventstore.ErrNoStream) {
		return nil, nil
	}
	return events, err
}

// Count implements projections.Counter.
func (s store) Count(ctx context.Context, stream string) (uint64, error) {
	last, ok, err := s.ReadLast(ctx, stream)
	if err != nil || !ok {
		return 0, err
	}
	return last.Revision + 1, nil
}

// leaseStream holds the beats of the active core. It is no part of the ledger: it is neither chained nor kept.
const leaseStream = "writer-lease"

// keepBeats is how many beats stay readable; older ones are hidden every so often.
const keepBeats = 1000

type lease struct {
	s    store
	name string // of this core
}

// beat is a beat as it is stored: it also says to people whose it is.
type beat struct {
	leadership.Beat
	Core string `json:",omitempty"`
}

func (l lease) Last(ctx context.Context) (leadership.Beat, uint64, error) {
	b, next, err := l.last(ctx)
	return b.Beat, next, err
}

func (l lease) last(ctx context.Context) (b beat, next uint64, err error) {
	last, ok, err := l.s.ReadLast(ctx, leaseStream)
	if err != nil || !ok {
		return beat{}, 0, err
	}
	if err := json.Unmarshal(last.Data, &b); err != nil {
		return beat{}, 0, fmt.Errorf("beat %d of stream %s: %w", last.Revision, leaseStream, err)
	}
	return b, last.Revision + 1, nil
}

func (l lease) Beat(ctx context.Context, next uint64, b leadership.Beat) error {
	data, err := json.Marshal(beat{b, l.name})
	if err != nil {
		return err
	}
	id := uuid.NewSHA1(b.Writer, fmt.Appendf(nil, "beat %d %t", next, b.Released)) // the same beat again is the same event
	err = l.s.Append(ctx, leaseStream, next, []ledger.Event{{Stream: leaseStream, Revision: next, ID: id, Type: "writer-beat", Data: data}})
	if errors.Is(err, sequencer.ErrWrongRevision) {
		return fmt.Errorf("%w: %w", leadership.ErrTaken, err)
	}
	if err == nil && next%keepBeats == 0 && next > 0 {
		return l.s.SetTruncateBefore(ctx, leaseStream, next)
	}
	return err
}

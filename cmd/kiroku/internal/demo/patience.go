package demo

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// DefaultPatience is how long the core may stand still.
const DefaultPatience = time.Minute

// ErrStuck: nothing went on for as long as Options.Patience. The core repeats what fails for ever, because a gateway
// would; a demonstration ends.
var ErrStuck = errors.New("the core does not get on; its log says why, most often that a disk is full")

// whileItProceeds ends the context returned, with ErrStuck as its cause, once neither a step of the demonstration nor a
// view of the core has got any further for long enough.
func (w *world) whileItProceeds(parent context.Context) (ctx context.Context, end func()) {
	patience := w.o.Patience
	if patience == 0 {
		patience = DefaultPatience
	}
	ctx, cancel := context.WithCancelCause(parent)
	go func() {
		ticker := time.NewTicker(patience / 60)
		defer ticker.Stop()
		at, since := w.position(), time.Now()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			if now := w.position(); now != at {
				at, since = now, time.Now()
			} else if time.Since(since) >= patience {
				cancel(w.stuck(patience))
				return
			}
		}
	}()
	return ctx, func() { cancel(nil) }
}

// position changes when anything goes on: events of the views, and steps.
func (w *world) position() (sum uint64) {
	for _, projection := range w.n.Runner.Statuses() {
		for _, stream := range projection.Streams {
			sum += stream.Next
		}
	}
	return sum + uint64(w.steps.Load())
}

// stuck says why nothing goes on, as far as the views know.
func (w *world) stuck(patience time.Duration) error {
	err := fmt.Errorf("no progress for %s: %w", patience, ErrStuck)
	for _, projection := range w.n.Runner.Statuses() {
		for _, stream := range projection.Streams {
			if stream.Err != nil {
				return fmt.Errorf("%w: stream %s is %s: %w", err, stream.Stream, stream.State, stream.Err)
			}
		}
	}
	return err
}

// stuckOr is ErrStuck where that ended a step, and else its error.
func stuckOr(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); errors.Is(cause, ErrStuck) {
		return cause
	}
	return err
}

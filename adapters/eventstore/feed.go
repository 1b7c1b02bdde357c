package eventstore

import (
	"context"
	"fmt"
	"sync"

	"kiroku/domain/ledger"
)

// feed passes events from the goroutine that receives them to the one that
// handles them, at most one batch ahead. With whole set it waits for batches to
// fill, otherwise it gives whatever is there.
type feed struct {
	whole bool
	ready chan struct{} // holds a token when take should look
	space chan struct{} // holds a token when put should look

	mu      sync.Mutex // owns all below
	pending []ledger.Event
	bytes   int
	due     bool // pending may be taken though not full
	mark    int  // the subscription had caught up after so many of pending; -1: no mark
	closed  bool
	err     error // the end, after pending
}

func newFeed(whole bool) *feed {
	return &feed{whole: whole, mark: -1, ready: make(chan struct{}, 1), space: make(chan struct{}, 1)}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// put adds an event, waiting while the batch is full.
func (f *feed) put(ctx context.Context, e ledger.Event) error {
	size := EventSize(e)
	for {
		if f.offer(e, size) {
			return nil
		}
		signal(f.ready)
		select {
		case <-f.space:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (f *feed) offer(e ledger.Event, size int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := len(f.pending); n == BatchEvents || n > 0 && f.bytes+size > BatchBytes {
		f.due = true
		return false
	}
	if f.pending == nil && f.whole {
		f.pending = make([]ledger.Event, 0, BatchEvents)
	}
	f.pending = append(f.pending, e)
	f.bytes += size
	if !f.whole || len(f.pending) == BatchEvents {
		f.due = true
		signal(f.ready)
	}
	return true
}

// caughtUp marks that what was put so far is all there is.
func (f *feed) caughtUp() {
	f.mu.Lock()
	f.mark = len(f.pending)
	f.due = true
	f.mu.Unlock()
	signal(f.ready)
}

// close ends the feed; err is what drain returns after the last event.
func (f *feed) close(err error) {
	f.mu.Lock()
	f.closed, f.due, f.err = true, true, err
	f.mu.Unlock()
	signal(f.ready)
}

// take returns the next batch, and whether the stream's end was reached with it.
// done means that there is nothing more.
func (f *feed) take() (batch []ledger.Event, caughtUp, done bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.due {
		return nil, false, false, nil
	}
	n := len(f.pending)
	if f.mark >= 0 {
		n, f.mark, caughtUp = f.mark, -1, true
	}
	batch, f.pending = f.pending[:n:n], f.pending[n:]
	f.bytes = 0
	for _, e := range f.pending {
		f.bytes += EventSize(e)
	}
	if len(f.pending) == 0 {
		f.pending, f.due = nil, f.closed
		done, err = f.closed && n == 0 && !caughtUp, f.err
	}
	signal(f.space)
	return batch, caughtUp, done, err
}

// drain hands batches to handle until the feed ends, and calls caughtUp (unless
// nil) whenever all that the stream holds was handled.
func (f *feed) drain(ctx context.Context, handle func([]ledger.Event) error, caughtUp func()) error {
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		batch, reached, done, err := f.take()
		if done {
			return err
		}
		if len(batch) > 0 {
			if err := handle(batch); err != nil {
				return fmt.Errorf("handle events %d to %d of stream %q: %w",
					batch[0].Revision, batch[len(batch)-1].Revision, batch[0].Stream, err)
			}
		}
		if reached && caughtUp != nil {
			caughtUp()
		}
		if len(batch) > 0 || reached {
			continue
		}
		select {
		case <-f.ready:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

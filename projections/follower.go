package projections

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"kiroku/domain/ledger"
)

// follower follows one stream on behalf of the members that want it.
type follower struct {
	*settings
	stream  string
	members []*member
	wake    chan struct{} // ends a halt or a pause between attempts

	mu       sync.Mutex // guards the rest
	state    State
	since    time.Time          // of state
	err      error              // why it is halted or retrying
	caughtUp bool               // the attempt under way has reached the end of the stream
	seen     uint64             // revision after the last event received or counted
	restart  context.CancelFunc // ends the attempt under way
}

func newFollower(s *settings, stream string, members []*member) *follower {
	return &follower{settings: s, stream: stream, members: members, wake: make(chan struct{}, 1)}
}

// follow makes attempts until ctx ends.
func (f *follower) follow(ctx context.Context) {
	pause := f.MinBackoff
	for {
		began, from := f.Clock(), f.applied()
		err := f.attempt(ctx)
		if ctx.Err() != nil {
			f.enter(StateStopped, nil)
			return
		}
		halt := halting(err, f.stream, f.applied())
		if halt != nil {
			f.enter(StateHalted, halt)
			f.Metrics.Halted(f.stream)
			f.Log.Error("stream halted", "stream", f.stream, "revision", halt.Revision, "error", halt)
		} else if err != nil {
			f.retrying(err)
		}
		if f.applied() != from || f.Clock().Sub(began) > f.MaxBackoff {
			pause = f.MinBackoff
		}
		pause = f.rest(ctx, pause, halt != nil)
	}
}

// rest waits before the next attempt and returns how long to wait after that.
// A halt waits until it is ended.
func (f *follower) rest(ctx context.Context, pause time.Duration, halted bool) time.Duration {
	var after <-chan time.Time
	if !halted {
		timer := time.NewTimer(jitter(pause))
		defer timer.Stop()
		after = timer.C
	}
	select {
	case <-ctx.Done():
	case <-f.wake:
		return f.MinBackoff
	case <-after:
	}
	return min(2*pause, f.MaxBackoff)
}

// jitter keeps followers from returning all at once: three quarters to five quarters of d.
func jitter(d time.Duration) time.Duration {
	return d*3/4 + time.Duration(rand.Int64N(int64(d)/2+1))
}

func (f *follower) retrying(err error) {
	f.enter(StateRetrying, err)
	f.Metrics.Retried(f.stream)
	f.Log.Warn("following a stream failed, will be tried again", "stream", f.stream, "error", err)
}

func (f *follower) enter(s State, err error) {
	f.mu.Lock()
	if s != f.state {
		f.since = f.Clock()
	}
	f.state, f.err = s, err
	f.mu.Unlock()
	for _, m := range f.members {
		m.notify()
	}
}

// again starts over from the checkpoints, out of a halt too.
func (f *follower) again() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.state == StateHalted {
		f.state, f.since, f.err = StateRetrying, f.Clock(), nil
	}
	if f.restart != nil {
		f.restart()
	}
}

// applied is the lowest position of the members.
func (f *follower) applied() uint64 {
	lowest, _, _ := f.members[0].at(f.stream)
	for _, m := range f.members[1:] {
		next, _, _ := m.at(f.stream)
		lowest = min(lowest, next)
	}
	return lowest
}

// checkpoints reads where the members stand.
func (f *follower) checkpoints() ([]Checkpoint, error) {
	var all []Checkpoint
	for _, m := range f.members {
		c, err := m.projection.Checkpoint(f.stream)
		if err != nil {
			return nil, fmt.Errorf("position of %s in %s: %w", m.projection.Name(), f.stream, err)
		}
		m.move(f.stream, c.Next, time.Time{})
		all = append(all, c)
	}
	return all, nil
}

// attempt follows the stream from the checkpoints until something fails.
// Ended by again, it returns nil.
func (f *follower) attempt(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	f.mu.Lock()
	f.restart, f.caughtUp = cancel, false
	f.mu.Unlock()
	all, err := f.checkpoints()
	if err != nil {
		return err
	}
	w := newWalk(all)
	f.enter(StateFollowing, nil)

	arrived := make(chan arrival, 4)
	jobs := make(chan *job, 2*f.Workers)
	var subscription error
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(arrived)
		subscription = f.subscribe(ctx, w.at.Next, arrived)
	})
	wg.Go(func() {
		defer close(jobs)
		f.dispatch(ctx, arrived, jobs)
	})
	err = f.apply(ctx, w, jobs)
	again := ctx.Err() != nil
	cancel()
	for range arrived { // lets the subscription return
	}
	for j := range jobs {
		<-j.done
	}
	wg.Wait()
	if again && halting(err, "", 0) == nil {
		return nil
	}
	if err == nil {
		err = subscription
	}
	if err == nil {
		err = fmt.Errorf("subscription to %s ended", f.stream)
	}
	return err
}

// arrival is what the source says: events, or that there are no more for now.
type arrival struct {
	events   []ledger.Event
	caughtUp bool
}

func (f *follower) subscribe(ctx context.Context, from uint64, arrived chan<- arrival) error {
	hand := func(a arrival) {
		select {
		case arrived <- a:
		case <-ctx.Done():
		}
	}
	err := f.Source.Subscribe(ctx, f.stream, from, func(_ context.Context, events []ledger.Event) error {
		if len(events) > 0 {
			f.see(events[len(events)-1].Revision + 1)
			hand(arrival{events: events})
		}
		return ctx.Err()
	}, func() { hand(arrival{caughtUp: true}) })
	if err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("subscribe to %s from %d: %w", f.stream, from, err)
	}
	return nil
}

func (f *follower) see(next uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen = max(f.seen, next)
}

// dispatch cuts what arrives into jobs and has them worked on in parallel.
func (f *follower) dispatch(ctx context.Context, arrived <-chan arrival, jobs chan<- *job) {
	for a := range arrived {
		a = gather(a, arrived)
		for first := true; first || len(a.events) > 0; first = false {
			n := min(len(a.events), jobSize)
			j := &job{events: a.events[:n:n], caughtUp: a.caughtUp && n == len(a.events), done: make(chan struct{})}
			a.events = a.events[n:]
			select {
			case <-ctx.Done():
				return
			case f.slots <- struct{}{}:
			}
			go func() {
				defer func() { <-f.slots; close(j.done) }()
				j.run(ctx, f.Trust, f.Opener)
			}()
			select {
			case <-ctx.Done():
				<-j.done
				return
			case jobs <- j:
			}
		}
	}
}

// jobSize is how many events one goroutine verifies and opens at a time.
const jobSize = 256

// gather adds what has arrived meanwhile to small arrivals.
func gather(a arrival, arrived <-chan arrival) arrival {
	owned := false
	for !a.caughtUp && len(a.events) < jobSize {
		select {
		case next, more := <-arrived:
			if !more {
				return a
			}
			if !owned && len(next.events) > 0 {
				a.events = append(make([]ledger.Event, 0, 2*jobSize), a.events...)
				owned = true
			}
			a.events = append(a.events, next.events...)
			a.caughtUp = next.caughtUp
		default:
			return a
		}
	}
	return a
}

func (f *follower) reachEnd() {
	f.mu.Lock()
	f.caughtUp = true
	f.mu.Unlock()
	for _, m := range f.members {
		m.notify()
	}
}

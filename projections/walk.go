package projections

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"kiroku/domain/event"
	"kiroku/domain/ledger"
)

// walk is the verified way through a stream during one attempt.
type walk struct {
	at      Checkpoint   // after the last event taken
	members []Checkpoint // where each member stood at the beginning
	batch   []Opened     // taken, not yet applied
	begun   bool         // something was taken
}

// newWalk begins at the lowest checkpoint.
func newWalk(members []Checkpoint) *walk {
	w := &walk{at: members[0], members: members}
	for _, c := range members[1:] {
		if c.Next < w.at.Next {
			w.at = c
		}
	}
	return w
}

// take adds a finished job to the batch if it follows what came before and
// agrees with what every member has seen.
func (w *walk) take(j *job, trust Trust) error {
	if len(j.events) == 0 {
		return nil
	}
	first := &j.proven[0]
	truncated := !w.begun && first.header.Revision > w.at.Next // the source leaves no gap in what it gives
	var err error
	if truncated {
		err = w.at.begins(first, trust)
	} else {
		err = w.at.precedes(first)
	}
	if err != nil {
		return err
	}
	for _, c := range w.members {
		if err := w.agrees(c, j.proven); err != nil {
			return err
		}
	}
	j.opened[0].Begins = truncated
	w.begun, w.at = true, j.proven[len(j.proven)-1].after()
	w.batch = append(w.batch, j.opened...)
	return nil
}

// agrees checks that the stream has at a member's position what the member saw there. Of what was truncated nobody can tell.
func (w *walk) agrees(c Checkpoint, proven []proven) error {
	first, last := &proven[0].header, proven[len(proven)-1].after()
	if c.Next <= w.at.Next || c.Next > last.Next || c.Next < first.Revision {
		return nil
	}
	leaf := first.Prev
	if c.Next > first.Revision {
		leaf = proven[c.Next-1-first.Revision].leaf
	}
	if leaf != c.Leaf {
		return finding(first.Stream, c.Next-1, ledger.KindHeadMismatch,
			"a view saw another event here; if the ledger is the right one, rebuild the view")
	}
	return nil
}

// apply takes the jobs in order and applies their events in batches: full ones
// while there is much to do, smaller ones as soon as there is nothing to wait for.
func (f *follower) apply(ctx context.Context, w *walk, jobs <-chan *job) error {
	for {
		j, more, err := f.next(ctx, w, jobs)
		if err != nil || !more {
			return err
		}
		if err := f.settle(ctx, w, j); err != nil {
			return err
		}
		if len(w.batch) >= f.BatchSize || j.caughtUp {
			if err := f.flush(ctx, w); err != nil {
				return err
			}
		}
		if j.caughtUp {
			f.reachEnd()
		}
	}
}

// next returns the next finished job. Rather than waiting for it, it applies
// what is there.
func (f *follower) next(ctx context.Context, w *walk, jobs <-chan *job) (j *job, more bool, err error) {
	select {
	case j, more = <-jobs:
	default:
		if err := f.flush(ctx, w); err != nil {
			return nil, false, err
		}
		j, more = <-jobs
	}
	if !more {
		return nil, false, nil
	}
	select {
	case <-j.done:
	default:
		if err := f.flush(ctx, w); err != nil {
			<-j.done
			return nil, false, err
		}
		<-j.done
	}
	return j, true, nil
}

// patience is how long the registry is waited for.
type patience struct {
	began time.Time // of what is counted against Limits.Patience
	known bool      // end is
	end   uint64    // of the registry, when the wait began: what it is waited for was there before
}

// waits reports whether the registry may still clear up a finding. Until the registry has been read as far as it went
// when the finding was met, however long that takes, it may; after that, for as long as Limits.Patience.
func (f *follower) waits(ctx context.Context, p *patience) bool {
	trust, learns := f.Trust.(Learner)
	source, counts := f.Source.(Counter)
	if learns && counts && f.stream != event.StreamRegistry {
		var err error
		if !p.known {
			p.end, err = source.Count(ctx, event.StreamRegistry)
			p.known = err == nil
		}
		next, failed := trust.Learned()
		if err != nil || failed != nil || next < p.end {
			p.began = f.Clock()
			return true
		}
	}
	return f.Clock().Sub(p.began) < f.Patience
}

// settle takes a job, repeating it until it succeeds or the cause is final. What
// the registry has not shown yet is waited for, but not for ever.
func (f *follower) settle(ctx context.Context, w *walk, j *job) error {
	pause, failed := f.MinBackoff, false
	p := patience{began: f.Clock()}
	for {
		err := j.err
		if err == nil {
			err = w.take(j, f.Trust)
		}
		if err == nil {
			if failed {
				f.enter(StateFollowing, nil)
			}
			return nil
		}
		if err := f.flush(ctx, w); err != nil {
			return err
		}
		waiting := awaitsRegistry(err) && f.waits(ctx, &p)
		if !waiting && halting(err, f.stream, 0) != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		failed = true
		if waiting {
			err = fmt.Errorf("waiting for the registry, which may explain it: %w", err)
		}
		f.retrying(err)
		pause = f.rest(ctx, pause, false)
		j.run(ctx, f.Trust, f.Opener)
	}
}

// flush applies the batch to every member and forgets its plaintexts.
func (f *follower) flush(ctx context.Context, w *walk) error {
	if len(w.batch) == 0 {
		return nil
	}
	errs := make([]error, len(f.members))
	var wg sync.WaitGroup
	for i, m := range f.members {
		if i == len(f.members)-1 {
			errs[i] = f.applyTo(ctx, m, w.batch, w.at)
			continue
		}
		wg.Go(func() { errs[i] = f.applyTo(ctx, m, w.batch, w.at) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	wipe(w.batch)
	clear(w.batch) // what was decoded is text: it must not stay within reach until the next batch
	w.batch = w.batch[:0]
	return nil
}

// applyTo applies a batch to one member, again and again if need be.
func (f *follower) applyTo(ctx context.Context, m *member, batch []Opened, to Checkpoint) error {
	last := batch[len(batch)-1].Header.Time
	for pause, failed := f.MinBackoff, false; ; failed = true {
		err := m.apply(f.stream, batch, to, last)
		if err == nil {
			if failed {
				f.enter(StateFollowing, nil)
			}
			f.Metrics.Applied(m.projection.Name(), f.stream, len(batch), unreadable(batch))
			return nil
		}
		err = fmt.Errorf("apply to %s: %w", m.projection.Name(), err)
		if halting(err, f.stream, batch[0].Event.Revision) != nil || errors.Is(err, ErrStartOver) || ctx.Err() != nil {
			return err
		}
		f.retrying(err)
		pause = f.rest(ctx, pause, false)
	}
}

func unreadable(batch []Opened) (n int) {
	for i := range batch {
		if batch[i].Unreadable {
			n++
		}
	}
	return n
}

func (m *member) apply(stream string, batch []Opened, to Checkpoint, last time.Time) error {
	m.live.RLock()
	defer m.live.RUnlock()
	if err := m.projection.Apply(stream, batch, to); err != nil {
		return err
	}
	if next, _, _ := m.at(stream); to.Next > next {
		m.move(stream, to.Next, last)
	}
	return nil
}

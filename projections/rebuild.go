package projections

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Progress is how far the rebuild of one stream has come.
type Progress struct {
	Stream string
	Done   uint64 // revision expected next by the new rows
	Of     uint64 // revision that the old rows stood at
}

// progressEvery is how often progress is told.
const progressEvery = 500 * time.Millisecond

// Rebuild makes the rows of the named projection again from the ledger. A
// Shadowing projection answers from the old rows, and keeps them up to date,
// until the new ones have caught up; any other begins empty. Run must be
// running. A halt of the projection's streams ends with a successful rebuild.
//
// progress may be nil; it is called from one goroutine. If Rebuild fails, the old
// rows of a Shadowing projection stay in force.
func (r *Runner) Rebuild(ctx context.Context, name string, progress func(Progress)) error {
	m := r.members[name]
	if m == nil {
		return fmt.Errorf("rebuild %s: %w", name, ErrUnknownProjection)
	}
	if progress == nil {
		progress = func(Progress) {}
	}
	r.rebuild.Lock()
	defer r.rebuild.Unlock()
	if err := r.rebuildMember(ctx, m, progress); err != nil {
		return fmt.Errorf("rebuild %s: %w", name, err)
	}
	return nil
}

func (r *Runner) rebuildMember(ctx context.Context, m *member, progress func(Progress)) error {
	p, ok := m.projection.(Shadowing)
	if !ok {
		return r.refill(ctx, m, progress)
	}
	shadow, err := p.Shadow()
	if err != nil {
		return err
	}
	b := r.newBuild(m, shadow)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	for _, f := range b.followers {
		wg.Go(func() { f.follow(ctx) })
	}
	err = b.await(ctx, progress)
	if err == nil {
		m.live.Lock() // the old rows stand still; what they are ahead is little
		defer m.live.Unlock()
		err = b.await(ctx, progress)
	}
	cancel()
	wg.Wait()
	if err != nil {
		return err
	}
	if err := p.Promote(shadow); err != nil {
		return err
	}
	return r.resume(m)
}

// refill empties a projection and waits until it is full again.
func (r *Runner) refill(ctx context.Context, m *member, progress func(Progress)) error {
	b := &build{old: m, new: m, targets: map[string]uint64{}}
	for stream := range m.positions {
		b.followers = append(b.followers, r.followers[stream])
		b.targets[stream], _, _ = m.at(stream)
	}
	m.live.Lock()
	err := m.projection.Reset()
	if err == nil {
		err = r.resume(m)
	}
	m.live.Unlock()
	if err != nil {
		return err
	}
	return b.await(ctx, progress)
}

// resume has the followers of a member begin again from its checkpoints.
func (r *Runner) resume(m *member) error {
	for stream := range m.positions {
		c, err := m.projection.Checkpoint(stream)
		if err != nil {
			return err
		}
		m.move(stream, c.Next, time.Time{})
		r.followers[stream].again()
	}
	return nil
}

// build is a rebuild under way.
type build struct {
	old, new  *member
	followers []*follower          // that fill the new rows
	live      map[string]*follower // of the old rows, by stream
	targets   map[string]uint64    // fixed targets; otherwise the old rows' positions
}

func (r *Runner) newBuild(m *member, shadow Projection) *build {
	b := &build{old: m, new: newMember(shadow, r.Streams), live: r.followers}
	quiet := *r.settings
	quiet.Metrics = noMetrics{}
	for stream := range m.positions {
		b.followers = append(b.followers, newFollower(&quiet, stream, []*member{b.new}))
	}
	return b
}

// await returns when the new rows have reached the old ones in every stream.
func (b *build) await(ctx context.Context, progress func(Progress)) error {
	ticker := time.NewTicker(progressEvery)
	defer ticker.Stop()
	for {
		changed := b.new.change()
		ready := true
		for _, f := range b.followers {
			reached, err := b.reached(f)
			if err != nil {
				return err
			}
			ready = ready && reached
		}
		if ready {
			b.tell(progress)
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		case <-ticker.C:
			b.tell(progress)
		}
	}
}

func (b *build) target(stream string) uint64 {
	if b.targets != nil {
		return b.targets[stream]
	}
	next, _, _ := b.old.at(stream)
	return next
}

// reached reports whether the new rows stand at least where the old ones do.
// Old rows that are not being followed may stand where the ledger never gets
// to; then the end of the stream is enough.
func (b *build) reached(f *follower) (bool, error) {
	if halt := f.halted(); halt != nil {
		return false, halt
	}
	next, _, _ := b.new.at(f.stream)
	if next >= b.target(f.stream) {
		return true, nil
	}
	live := b.live[f.stream]
	return live != nil && !live.following() && f.atEnd(), nil
}

func (b *build) tell(progress func(Progress)) {
	for _, f := range b.followers {
		next, _, _ := b.new.at(f.stream)
		progress(Progress{Stream: f.stream, Done: next, Of: b.target(f.stream)})
	}
}

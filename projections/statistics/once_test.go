package statistics_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"kiroku/adapters/clickhouse/clickhousetest"
	"kiroku/projections/statistics"
)

// TestEveryEventCountsOnce disturbs the projection in every way there is, and compares the facts and everything summed
// up from them with an undisturbed run.
func TestEveryEventCountsOnce(t *testing.T) {
	engine := clickhousetest.Start(t)
	course, _ := makeCourse(t, 1, 2000)
	calm := engine.Open(inDatabase("calm"))
	follow(t.Context(), course, statistics.Open(t.Context(), calm, quick(1000)), 700)
	expected := dump(t, calm, "calm")

	same := func(t *testing.T, database string) {
		t.Helper()
		if got := dump(t, engine.Open(), database); got != expected {
			t.Errorf("the rows differ from those of an undisturbed run:\n%s", differences(expected, got))
		}
	}

	t.Run("errors before and after, and restarts", func(t *testing.T) {
		store := &unreliable{Store: engine.Open(inDatabase("unreliable")), random: rand.New(rand.NewPCG(2, 0)), one: 8}
		for range 200 {
			ctx, cancel := context.WithCancel(t.Context())
			store.endAfter(cancel, 40)
			follow(ctx, course, statistics.Open(ctx, store, quick(1+store.intN(400))), 1+store.intN(300))
			ended := ctx.Err() != nil
			cancel()
			if !ended {
				break
			}
		}
		follow(t.Context(), course, statistics.Open(t.Context(), store.Store, quick(500)), 500)
		same(t, "unreliable")
	})

	t.Run("two processes at once", func(t *testing.T) {
		var wg sync.WaitGroup
		for i := range 2 {
			p := statistics.Open(t.Context(), engine.Open(inDatabase("shared")), quick(90+40*i))
			wg.Go(func() { follow(t.Context(), course, p, 150-30*i) })
		}
		wg.Wait()
		same(t, "shared")
	})

	t.Run("the engine killed, and emptied in between", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var killer sync.WaitGroup
		killer.Go(func() {
			for range 8 {
				time.Sleep(time.Duration(rand.IntN(150)) * time.Millisecond)
				engine.Kill()
				engine.Resume()
			}
			cancel()
		})
		store := engine.Open(inDatabase("killed"))
		for ctx.Err() == nil { // over and over: there is always something under way when the engine is killed
			p := statistics.Open(t.Context(), store, quick(60))
			follow(ctx, course, p, 50)
			if ctx.Err() == nil {
				if err := p.Reset(); err != nil {
					t.Logf("emptying was interrupted: %v", err)
				}
			}
		}
		killer.Wait()
		p := statistics.Open(t.Context(), store, quick(60))
		follow(t.Context(), course, p, 50)
		same(t, "killed")
	})

	t.Run("given again, and built again", func(t *testing.T) {
		p := statistics.Open(t.Context(), engine.Open(inDatabase("again")), quick(300))
		follow(t.Context(), course, p, 100)
		if err := course.ApplyAll(p); err != nil {
			t.Fatal(err)
		}
		same(t, "again")
		if err := p.Reset(); err != nil {
			t.Fatal(err)
		}
		follow(t.Context(), course, p, 1000)
		same(t, "again")
	})
}

var errLost = errors.New("the connection was lost")

// unreliable loses calls before they are made and answers after.
type unreliable struct {
	statistics.Store
	mu     sync.Mutex // guards the rest
	random *rand.Rand
	one    int // in how many calls is lost, and the answer to one
	left   int
	end    context.CancelFunc
}

func (u *unreliable) intN(n int) int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.random.IntN(n)
}

// endAfter ends the process, as it were, in the middle of one of the next calls.
func (u *unreliable) endAfter(end context.CancelFunc, calls int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.end, u.left = end, 1+u.random.IntN(calls)
}

func (u *unreliable) do(call func() error) error {
	u.mu.Lock()
	fate := u.random.IntN(u.one)
	if u.left--; u.left == 0 && u.end != nil {
		u.end()
	}
	u.mu.Unlock()
	if fate == 0 {
		return errLost
	}
	if err := call(); err != nil {
		return err
	}
	if fate == 1 {
		return errLost
	}
	return nil
}

func (u *unreliable) Agree(ctx context.Context, stream string, at statistics.Position, to uint64) (agreed uint64, err error) {
	err = u.do(func() error {
		agreed, err = u.Store.Agree(ctx, stream, at, to)
		return err
	})
	return agreed, err
}

func (u *unreliable) Insert(ctx context.Context, c statistics.Chunk) error {
	return u.do(func() error { return u.Store.Insert(ctx, c) })
}

func (u *unreliable) Finish(ctx context.Context, c statistics.Chunk) error {
	return u.do(func() error { return u.Store.Finish(ctx, c) })
}

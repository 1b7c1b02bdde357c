package sequencer_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"kiroku/commands/sequencer"
	"kiroku/domain/ledger"
)

// TestAnyFaultsInAnyOrder gives two cores a random course of faults, takeovers and commands; commands without a
// definite answer are repeated, in the end until they have one. Then every command stands exactly once.
func TestAnyFaultsInAnyOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rapid.Check(fakeTime{t}, func(rt *rapid.T) {
			c := newCourse(rt)
			rt.Repeat(map[string]func(*rapid.T){
				"commands": c.commands,
				"takeover": c.takeover,
				"stand by": func(rt *rapid.T) { c.any(rt).seq.StandDown() },
				"sign":     c.sign,
				"land":     func(*rapid.T) { c.b.shelf.land() },
				"wait":     func(rt *rapid.T) { time.Sleep(time.Duration(rapid.IntRange(1, 200).Draw(rt, "ms")) * time.Millisecond) },
			})
			c.finish()
		})
	})
}

// fakeTime hides the deadline of the test, which is of real time.
type fakeTime struct{ rapid.TB }

// course is one run.
type course struct {
	b       *bed
	cores   []*desk
	running sync.WaitGroup

	mu   sync.Mutex
	todo []command
}

type command struct {
	id    uuid.UUID
	facts int
}

func newCourse(rt *rapid.T) *course {
	c := &course{b: newBed(rt)}
	for range 2 {
		d := c.b.desk()
		faults := rapid.SliceOfN(rapid.SampledFrom([]fault{none, none, none, dropped, unheard, delayed, refused}), 0, 20).Draw(rt, "faults")
		d.door.inTurn(faults...)
		reads := rapid.SliceOfN(rapid.Bool(), 0, 10).Draw(rt, "reads")
		d.door.readFaults(func() error {
			if len(reads) == 0 {
				return nil
			}
			fails := reads[0]
			if reads = reads[1:]; fails {
				return errFault
			}
			return nil
		})
		c.cores = append(c.cores, d)
	}
	return c
}

func (c *course) any(rt *rapid.T) *desk { return c.cores[rapid.IntRange(0, 1).Draw(rt, "core")] }

func (c *course) commands(rt *rapid.T) {
	d := c.any(rt)
	for range rapid.IntRange(1, 10).Draw(rt, "commands") {
		x := command{uuid.New(), rapid.IntRange(1, 3).Draw(rt, "facts")}
		patience := time.Duration(rapid.IntRange(1, 300).Draw(rt, "patience")) * time.Millisecond
		c.running.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			if d.do(ctx, x.id, x.facts) != nil {
				c.mu.Lock()
				c.todo = append(c.todo, x)
				c.mu.Unlock()
			}
		})
	}
}

func (c *course) takeover(rt *rapid.T) {
	d, patience := c.any(rt), time.Duration(rapid.IntRange(1, 300).Draw(rt, "patience"))*time.Millisecond
	c.running.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_ = d.seq.Takeover(ctx) // it may well fail
	})
}

func (c *course) sign(rt *rapid.T) {
	d := c.any(rt)
	if rapid.Bool().Draw(rt, "HSM fails") {
		d.hsm.fail(errFault)
		return
	}
	d.hsm.fail(nil)
}

// finish ends all faults and repeats what is not known to be done.
func (c *course) finish() {
	c.running.Wait()
	for _, d := range c.cores {
		d.door.faults(nil)
		d.door.readFaults(nil)
		d.hsm.fail(nil)
	}
	time.Sleep(10 * time.Second)
	d := c.cores[0]
	for _, x := range c.todo {
		err := d.do(context.Background(), x.id, x.facts)
		if errors.Is(err, sequencer.ErrNotWriter) { // it is not, or only now learns that it is not
			if err := d.seq.Takeover(context.Background()); err != nil {
				c.b.t.Fatalf("the last takeover: %v", err)
			}
			err = d.do(context.Background(), x.id, x.facts)
		}
		if err != nil && !errors.Is(err, errRepeated) {
			c.b.t.Errorf("repeated command: %v", err)
		}
	}
	c.b.shelf.land()
	if _, stalled := d.seq.Stalled(); stalled {
		c.b.t.Errorf("still stalled")
	}
	c.b.prove()
}

// BenchmarkSubmit measures decision, chain, software signature and answer on a store in memory: commands of one
// event, 256 under way.
func BenchmarkSubmit(b *testing.B) {
	bed := newBed(b)
	d := bed.active()
	b.SetParallelism(64)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			drafts := bed.drafts(uuid.New(), 1, 1024)
			if _, err := d.seq.Submit(context.Background(), func(uint64) ([]ledger.Draft, error) { return drafts, nil }); err != nil {
				b.Error(err)
			}
		}
	})
	b.StopTimer()
	_ = d.seq.Close(context.Background())
}

package leadership_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"kiroku/commands/leadership"
)

var errDown = errors.New("the store does not answer")

// beats is the lease that all cores share.
type beats struct {
	mu   sync.Mutex
	list []leadership.Beat
}

// path is one core's way to the lease: it can be cut, and it stops where the core is paused.
type path struct {
	*beats
	core *core
}

func (p path) Last(ctx context.Context) (leadership.Beat, uint64, error) {
	if err := p.core.pass(ctx); err != nil {
		return leadership.Beat{}, 0, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.list) == 0 {
		return leadership.Beat{}, 0, nil
	}
	return p.list[len(p.list)-1], uint64(len(p.list)), nil
}

func (p path) Beat(ctx context.Context, next uint64, b leadership.Beat) error {
	if err := p.core.pass(ctx); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	have := uint64(len(p.list))
	switch {
	case next == have:
		p.list = append(p.list, b)
	case next > have || p.list[next] != b: // the same beat again is no other
		return leadership.ErrTaken
	}
	if p.core.unheard() {
		return errDown
	}
	return nil
}

// core is one candidate with what happens around it.
type core struct {
	*leadership.Candidate
	id   uuid.UUID
	stop context.CancelFunc
	done chan struct{}

	mu       sync.Mutex
	down     bool          // the lease does not answer
	deaf     bool          // the lease is written, but does not answer
	paused   chan struct{} // not nil: closed when the core wakes up
	acquire  func(ctx context.Context) error
	writer   bool
	acquired int
}

func (c *core) pass(ctx context.Context) error {
	c.mu.Lock()
	paused, down := c.paused, c.down
	c.mu.Unlock()
	if paused != nil {
		<-paused
	}
	if down {
		return errDown
	}
	return ctx.Err()
}

func (c *core) set(change func(*core)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(c)
}

func (c *core) unheard() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.deaf
}

// pause stops the core at its next step, as a stopped process or a sleeping machine does.
func (c *core) pause() (wake func()) {
	gate := make(chan struct{})
	c.set(func(c *core) { c.paused = gate })
	return func() {
		c.set(func(c *core) { c.paused = nil })
		close(gate)
	}
}

// writes reports whether the core's streams are open for commands.
func (c *core) writes() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.writer
}

const (
	interval = time.Second
	timeout  = 5 * time.Second
	soon     = interval + interval/2 // one look at the lease
	patience = timeout + 2*interval  // the time-out, and a look before and after
)

func (b *beats) join(change ...func(*core)) *core {
	c := &core{id: uuid.New(), done: make(chan struct{})}
	for _, f := range change {
		f(c)
	}
	c.Candidate = leadership.New(leadership.Options{Lease: path{b, c}, Writer: c.id, Interval: interval, Timeout: timeout, AcquireTimeout: time.Minute,
		Acquire: func(ctx context.Context) error {
			c.mu.Lock()
			acquire := c.acquire
			c.mu.Unlock()
			if acquire != nil {
				if err := acquire(ctx); err != nil {
					return err
				}
			}
			c.set(func(c *core) { c.writer = true; c.acquired++ })
			return nil
		},
		StandDown: func() { c.set(func(c *core) { c.writer = false }) }})
	ctx, stop := context.WithCancel(context.Background())
	c.stop = stop
	go func() {
		defer close(c.done)
		c.Run(ctx)
	}()
	return c
}

// after lets time pass, and everything happen that happens by then.
func after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// leads fails unless leader, and none of the others, is active and writes.
func leads(t interface {
	Helper()
	Errorf(string, ...any)
}, leader *core, others ...*core) {
	t.Helper()
	if leader != nil && (!leader.Active() || !leader.writes()) {
		t.Errorf("the core that should lead: active %v, writes %v", leader.Active(), leader.writes())
	}
	for i, o := range others {
		if o.Active() || o.writes() {
			t.Errorf("core %d should stand by: active %v, writes %v", i, o.Active(), o.writes())
		}
	}
}

// inBubble runs on fake time with two cores, the first of which leads.
func inBubble(t *testing.T, test func(t *testing.T, b *beats, first, second *core)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &beats{}
		first := b.join()
		synctest.Wait()
		second := b.join()
		after(interval)
		leads(t, first, second)
		test(t, b, first, second)
		for _, c := range []*core{first, second} {
			c.stop()
			<-c.done
			leads(t, nil, c)
		}
	})
}

func TestACoreStandsByWhileAnotherLeads(t *testing.T) {
	inBubble(t, func(t *testing.T, b *beats, first, second *core) {
		for range 100 {
			after(interval)
			leads(t, first, second)
		}
		if len(b.list) < 100 {
			t.Errorf("%d beats in 100 intervals", len(b.list))
		}
		if first.acquired != 1 || second.acquired != 0 {
			t.Errorf("the streams were acquired %d and %d times", first.acquired, second.acquired)
		}
	})
}

func TestACoreThatStopsInOrderIsReplacedSoon(t *testing.T) {
	inBubble(t, func(t *testing.T, b *beats, first, second *core) {
		first.stop()
		<-first.done
		leads(t, nil, first)
		after(soon)
		leads(t, second, first)
	})
}

func TestACoreThatDiesIsReplaced(t *testing.T) {
	inBubble(t, func(t *testing.T, b *beats, first, second *core) {
		first.set(func(c *core) { c.down = true })
		first.stop() // cannot release the lease
		after(timeout - soon)
		if second.writes() {
			t.Error("replaced before its time was over")
		}
		after(patience)
		leads(t, second, first)
	})
}

func TestAPausedCoreStandsByWhenItWakes(t *testing.T) {
	inBubble(t, func(t *testing.T, b *beats, first, second *core) {
		wake := first.pause()
		after(patience)
		if !second.Active() {
			t.Fatal("a core that hangs was not replaced")
		}
		after(time.Hour)
		wake()
		after(soon)
		leads(t, second, first)
		after(time.Minute)
		leads(t, second, first)
	})
}

func TestACoreThatStandsByMaySleepToo(t *testing.T) {
	inBubble(t, func(t *testing.T, b *beats, first, second *core) {
		wake := second.pause()
		after(time.Hour)
		wake()
		for range 20 {
			after(interval / 2)
			leads(t, first, second)
		}
	})
}

func TestALeaderThatCannotBeatGoesOn(t *testing.T) {
	inBubble(t, func(t *testing.T, b *beats, first, second *core) {
		for _, c := range []*core{first, second} { // the store is gone for all
			c.set(func(c *core) { c.down = true })
		}
		after(time.Hour)
		leads(t, first, second)
		first.set(func(c *core) { c.down = false })
		after(soon)
		second.set(func(c *core) { c.down = false })
		after(time.Minute)
		leads(t, first, second)
	})
}

func TestABeatWhoseAnswerIsLostIsNoOtherCore(t *testing.T) {
	inBubble(t, func(t *testing.T, b *beats, first, second *core) {
		first.set(func(c *core) { c.deaf = true })
		after(3 * interval)
		first.set(func(c *core) { c.deaf = false })
		after(time.Minute)
		leads(t, first, second)
		if first.acquired != 1 {
			t.Error("it took itself for another core")
		}
	})
}

func TestALeaseIsReleasedBehindABeatWhoseAnswerIsLost(t *testing.T) {
	inBubble(t, func(t *testing.T, b *beats, first, second *core) {
		first.set(func(c *core) { c.deaf = true })
		after(soon)
		first.set(func(c *core) { c.deaf = false })
		first.stop()
		<-first.done
		after(soon)
		leads(t, second, first)
	})
}

func TestAnotherWriterInTheLedger(t *testing.T) {
	inBubble(t, func(t *testing.T, b *beats, first, second *core) {
		first.Lost()
		first.Lost()
		synctest.Wait()
		after(patience)
		leads(t, first, second) // nobody else holds the lease: it takes the streams again
		if first.acquired < 2 || first.acquired > 3 {
			t.Errorf("acquired %d times", first.acquired)
		}
	})
}

func TestACoreThatCannotAcquireLeavesItToOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &beats{}
		first := b.join(func(c *core) { c.acquire = func(context.Context) error { return errDown } })
		synctest.Wait()
		second := b.join()
		after(3 * interval)
		leads(t, second, first)
		second.stop()
		<-second.done
		after(time.Minute)
		leads(t, nil, first)
		first.set(func(c *core) { c.acquire = nil })
		after(4 * interval)
		leads(t, first)
		first.stop()
		<-first.done
	})
}

func TestASlowAcquireIsNotDisturbed(t *testing.T) {
	inBubble(t, func(t *testing.T, b *beats, first, second *core) {
		for _, c := range []*core{first, second} {
			c.set(func(c *core) {
				c.acquire = func(ctx context.Context) error {
					select {
					case <-time.After(6 * timeout):
						return nil
					case <-ctx.Done():
						return ctx.Err()
					}
				}
			})
		}
		first.stop()
		<-first.done
		third := b.join()
		after(6*timeout + 4*interval)
		if second.Active() == third.Active() {
			t.Errorf("active: %v and %v; neither let the other finish, or both did", second.Active(), third.Active())
		}
		if n := second.acquired + third.acquired; n != 1 {
			t.Errorf("the streams were acquired %d times", n)
		}
		third.stop()
		<-third.done
	})
}

func TestAnAcquireThatHangsIsGivenUp(t *testing.T) {
	inBubble(t, func(t *testing.T, b *beats, first, second *core) {
		second.set(func(c *core) {
			c.acquire = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		})
		first.stop()
		<-first.done
		after(soon)
		third := b.join()
		after(time.Minute + 3*interval)
		leads(t, third, second)
		third.stop()
		<-third.done
	})
}

func TestALeaseTakenDuringAcquireEndsIt(t *testing.T) {
	inBubble(t, func(t *testing.T, b *beats, first, second *core) {
		ended := make(chan struct{})
		second.set(func(c *core) {
			c.acquire = func(ctx context.Context) error { <-ctx.Done(); close(ended); return nil } // it even succeeds
		})
		first.stop()
		<-first.done
		after(soon)
		b.mu.Lock()
		b.list = append(b.list, leadership.Beat{Writer: uuid.New()})
		b.mu.Unlock()
		after(soon)
		select {
		case <-ended:
		default:
			t.Error("acquires on though another core holds the lease")
		}
		leads(t, nil, second)
		second.set(func(c *core) { c.acquire = nil })
		after(patience)
		leads(t, second, first) // the other one never beat again
	})
}

func TestAStopDuringAcquireReleasesTheLease(t *testing.T) {
	inBubble(t, func(t *testing.T, b *beats, first, second *core) {
		second.set(func(c *core) {
			c.acquire = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		})
		first.stop()
		<-first.done
		after(soon)
		second.stop()
		<-second.done
		third := b.join()
		after(0)
		leads(t, third, second)
		third.stop()
		<-third.done
	})
}

// TestSomebodyLeadsInTheEnd: after any course of failures of three cores, one leads and the others stand by.
func TestSomebodyLeadsInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rapid.Check(struct{ rapid.TB }{t}, func(t *rapid.T) {
			b := &beats{}
			cores := []*core{b.join(), b.join(), b.join()}
			wakes := map[*core]func(){}
			draw := func(t *rapid.T) *core { return cores[rapid.IntRange(0, 2).Draw(t, "core")] }
			t.Repeat(map[string]func(*rapid.T){
				"pause or wake": func(t *rapid.T) {
					c := draw(t)
					if wake := wakes[c]; wake != nil {
						wake()
						delete(wakes, c)
						return
					}
					wakes[c] = c.pause()
				},
				"down": func(t *rapid.T) { draw(t).set(func(c *core) { c.down = !c.down }) },
				"deaf": func(t *rapid.T) { draw(t).set(func(c *core) { c.deaf = !c.deaf }) },
				"lost": func(t *rapid.T) { draw(t).Lost() },
				"cannot acquire": func(t *rapid.T) {
					draw(t).set(func(c *core) {
						if c.acquire == nil {
							c.acquire = func(context.Context) error { return errDown }
						} else {
							c.acquire = nil
						}
					})
				},
				"time": func(t *rapid.T) { after(time.Duration(rapid.IntRange(1, 8000).Draw(t, "ms")) * time.Millisecond) },
			})
			for _, c := range cores {
				if wake := wakes[c]; wake != nil {
					wake()
				}
				c.set(func(c *core) { c.down, c.deaf, c.acquire = false, false, nil })
			}
			after(3 * patience)
			leaders := 0
			for _, c := range cores {
				if c.Active() != c.writes() {
					t.Errorf("active %v, but writes %v", c.Active(), c.writes())
				}
				if c.Active() {
					leaders++
				}
			}
			if leaders != 1 {
				t.Errorf("%d cores lead", leaders)
			}
			for _, c := range cores {
				c.stop()
				<-c.done
			}
		})
	})
}

package sequencer_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"kiroku/commands/sequencer"
	"kiroku/domain/ledger"
)

// behind starts commands that wait for an append that is held, and returns their answers.
func behind(t *testing.T, d *desk, commands int) (answers chan error) {
	t.Helper()
	d.door.hold()
	answers = make(chan error, commands)
	for range commands {
		go func() { answers <- d.do(context.Background(), uuid.New(), 1) }()
		synctest.Wait() // one after the other: the first alone is under way
	}
	return answers
}

// TestAFullQueueIsRefusedAtOnce: nobody waits in front of a queue that does not move.
func TestAFullQueueIsRefusedAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed) {
		const queue, batch = 8, 4
		d := b.active(func(o *sequencer.Options) { o.Queue, o.Batch = queue, batch })
		// One append under way, a full batch decided behind it, the queue full.
		answers := behind(t, d, 1+batch+queue)
		if d.seq.Queued() != queue {
			t.Fatalf("%d commands wait for a decision, want %d", d.seq.Queued(), queue)
		}
		began := time.Now()
		want(t, d.do(t.Context(), uuid.New(), 1), sequencer.ErrOverloaded)
		if waited := time.Since(began); waited != 0 {
			t.Errorf("refused after %s", waited)
		}
		d.door.release()
		for range cap(answers) {
			if err := <-answers; err != nil {
				t.Error(err)
			}
		}
		d.must(1)
		if n := d.seq.Counters.Overloads.Load(); n != 1 {
			t.Errorf("%d refusals counted", n)
		}
	})
}

// TestACallerMayStopWaiting: it is told that the outcome is open, and the command takes effect once.
func TestACallerMayStopWaiting(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed) {
		d := b.active()
		answers := behind(t, d, 1)
		command := uuid.New()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := d.do(ctx, command, 1)
		want(t, err, sequencer.ErrOutcomeOpen)
		want(t, err, context.DeadlineExceeded)
		repeated := make(chan error, 1)
		go func() { repeated <- d.do(t.Context(), command, 1) }()
		synctest.Wait()
		select {
		case err := <-repeated:
			t.Fatalf("answered with %v before its fact is durable", err)
		default:
		}
		d.door.release()
		want(t, <-repeated, errRepeated)
		if err := <-answers; err != nil {
			t.Error(err)
		}
	})
}

// TestAnAnswerWithoutFactsWaits for what it may rest on, and fails with it.
func TestAnAnswerWithoutFactsWaits(t *testing.T) {
	for name, fails := range map[string]bool{"what is before it becomes durable": false, "what is before it fails": true} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bed) {
				d := b.active()
				if fails {
					d.door.inTurn(refused)
				}
				answers := behind(t, d, 1)
				answered := make(chan error, 2)
				for _, says := range []error{nil, errRepeated} {
					go func() {
						_, err := d.seq.Submit(t.Context(), func(uint64) ([]ledger.Draft, error) { return nil, says })
						answered <- err
					}()
				}
				synctest.Wait()
				if len(answered) != 0 {
					t.Fatal("answered before what it rests on is durable")
				}
				d.door.release()
				err, one, other := <-answers, <-answered, <-answered
				if fails {
					want(t, err, sequencer.ErrRefused)
					want(t, one, sequencer.ErrRefused)
					want(t, other, sequencer.ErrRefused)
					return
				}
				if err != nil || errors.Join(one, other).Error() != errRepeated.Error() {
					t.Errorf("got %v, %v and %v", err, one, other)
				}
			})
		})
	}
}

// TestDecisionsSeeEachOther: a decision sees those before it though they are not durable, and sees no more of
// them when their append fails. A reader outside sees what is durable only.
func TestDecisionsSeeEachOther(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed) {
		d := b.active()
		d.door.inTurn(refused)
		d.door.hold()
		command := uuid.New()
		answers := make(chan error, 3)
		for range 3 {
			go func() { answers <- d.do(t.Context(), command, 1) }()
			synctest.Wait()
		}
		id := b.drafts(command, 1, 1)[0].ID
		if _, ok := d.pending.Get(id); !ok {
			t.Error("a decision does not see the one before it")
		}
		if _, ok := d.pending.GetDurable(id); ok {
			t.Error("a reader outside sees what is not durable")
		}
		d.door.release()
		for range 3 {
			want(t, <-answers, sequencer.ErrRefused)
		}
		if d.pending.Len() != 0 {
			t.Error("what was never written is still in the index")
		}
		if err := d.do(t.Context(), command, 1); err != nil {
			t.Fatal(err)
		}
		if _, ok := d.pending.GetDurable(id); !ok {
			t.Error("a reader outside does not see what is durable")
		}
	})
}

// TestAFailedDecisionLeavesNoTrace, at whatever point it fails.
func TestAFailedDecisionLeavesNoTrace(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed) {
		d := b.active()
		id := uuid.New()
		for name, decide := range map[string]sequencer.Decide{
			"fails after it entered something": func(next uint64) ([]ledger.Draft, error) {
				d.pending.Put(next, id, next)
				return nil, errFault
			},
			"fails with facts": func(next uint64) ([]ledger.Draft, error) {
				d.pending.Put(next, id, next)
				return b.drafts(id, 1, 1), errFault
			},
			"has no facts": func(next uint64) ([]ledger.Draft, error) {
				d.pending.Put(next, id, next)
				return nil, nil
			},
			"has facts too large": func(next uint64) ([]ledger.Draft, error) {
				d.pending.Put(next, id, next)
				return b.drafts(id, 3, 400_000), nil
			},
			"has facts of another stream": func(next uint64) ([]ledger.Draft, error) {
				d.pending.Put(next, id, next)
				drafts := b.drafts(id, 1, 1)
				drafts[0].Stream = "record-01"
				return drafts, nil
			},
			"has an epoch": func(next uint64) ([]ledger.Draft, error) {
				d.pending.Put(next, id, next)
				drafts := b.drafts(id, 1, 1)
				drafts[0].Type = ledger.TypeEpochStarted
				return drafts, nil
			},
		} {
			_, err := d.seq.Submit(t.Context(), decide)
			if (err == nil) != (name == "has no facts") {
				t.Errorf("%s: %v", name, err)
			}
			if _, ok := d.pending.Get(id); ok || d.pending.Len() != 0 {
				t.Errorf("%s: it is in the index", name)
			}
		}
		d.must(1)
	})
}

// TestCloseDrains: what was taken is finished, what comes after is refused, and nothing is left behind.
func TestCloseDrains(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed) {
		d := b.active(func(o *sequencer.Options) { o.Batch = 4 })
		answers := behind(t, d, 30)
		closed := make(chan error, 2)
		for range 2 {
			go func() { closed <- d.seq.Close(t.Context()) }()
		}
		synctest.Wait()
		want(t, d.do(t.Context(), uuid.New(), 1), sequencer.ErrClosed)
		d.door.release()
		for range 2 {
			if err := <-closed; err != nil {
				t.Error(err)
			}
		}
		for range cap(answers) {
			if err := <-answers; err != nil {
				t.Error(err)
			}
		}
		want(t, d.do(t.Context(), uuid.New(), 1), sequencer.ErrClosed)
		want(t, d.seq.Takeover(t.Context()), sequencer.ErrClosed)
		d.seq.StandDown()
		if err := d.seq.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestCloseGivesUp when its time is over, however the store behaves; everybody is answered.
func TestCloseGivesUp(t *testing.T) {
	for name, f := range map[string]fault{"store does not answer": noAnswer, "append never lands": dropped, "append landed": unheard} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bed) {
				d := b.active(func(o *sequencer.Options) { o.Batch, o.Queue = 4, 20 })
				d.door.faults(func(uint64, []ledger.Event) fault { return f })
				answers := make(chan error, 20)
				for range cap(answers) {
					go func() { answers <- d.do(context.Background(), uuid.New(), 1) }()
					synctest.Wait()
				}
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				want(t, d.seq.Close(ctx), context.DeadlineExceeded)
				open := 0
				for range cap(answers) {
					err := <-answers
					switch {
					case errors.Is(err, sequencer.ErrOutcomeOpen):
						open++
					case !errors.Is(err, sequencer.ErrClosed):
						t.Errorf("got %v", err)
					}
				}
				if open != 1 {
					t.Errorf("%d outcomes are open; one append was under way", open)
				}
				if d.pending.Len() != 0 {
					t.Error("the index holds what was given up")
				}
			})
		})
	}
}

// TestCloseEndsATakeover that waits for a store or an index that is gone.
func TestCloseEndsATakeover(t *testing.T) {
	for name, change := range map[string]func(*sequencer.Options){
		"append": func(o *sequencer.Options) {
			o.Store.(*door).faults(func(uint64, []ledger.Event) fault { return dropped })
		},
		"answer": func(o *sequencer.Options) { o.Store.(*door).inTurn(noAnswer) },
		"index": func(o *sequencer.Options) {
			o.CaughtUp = func(ctx context.Context, _ uint64) error { <-ctx.Done(); return ctx.Err() }
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bed) {
				d := b.desk(change)
				taken := make(chan error, 1)
				go func() { taken <- d.seq.Takeover(context.Background()) }()
				synctest.Wait()
				if err := d.seq.Close(t.Context()); err != nil {
					t.Error(err)
				}
				want(t, <-taken, sequencer.ErrClosed)
			})
		})
	}
}

// TestStandDown gives up what was not sent; the append under way ends as it ends.
func TestStandDown(t *testing.T) {
	for name, f := range map[string]fault{"append under way succeeds": none, "append under way fails": refused, "append under way is unheard": unheard} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bed) {
				d := b.active(func(o *sequencer.Options) { o.Batch = 3 })
				d.must(2)
				d.door.inTurn(f)
				answers := behind(t, d, 9)
				d.seq.StandDown()
				d.seq.StandDown()
				for range 8 {
					want(t, <-answers, sequencer.ErrNotWriter)
				}
				want(t, d.do(t.Context(), uuid.New(), 1), sequencer.ErrNotWriter)
				if err := d.seq.Takeover(t.Context()); err == nil {
					t.Error("took over beside an append under way")
				}
				d.door.release()
				if err := <-answers; (err != nil) != (f == refused) {
					t.Errorf("the append under way: %v", err)
				}
				if d.losses() != 0 {
					t.Error("another writer was announced where there is none")
				}
				if err := d.seq.Takeover(t.Context()); err != nil {
					t.Fatal(err)
				}
				d.must(3)
			})
		})
	}
}

// TestSubmitRacesEverything: whatever happens meanwhile, every caller gets an answer.
func TestSubmitRacesEverything(t *testing.T) {
	for range 20 {
		b := newBed(t)
		d := b.active(func(o *sequencer.Options) { o.Queue, o.Batch = 64, 8 })
		var clients sync.WaitGroup
		for range 8 {
			clients.Go(func() {
				for range 20 {
					_ = d.do(context.Background(), uuid.New(), 1) // its answer is held against the log
				}
			})
		}
		var owners sync.WaitGroup
		owners.Go(func() {
			for range 5 {
				d.seq.StandDown()
				_ = d.seq.Takeover(context.Background()) // refused while an append is under way
			}
			_ = d.seq.Close(context.Background())
		})
		clients.Wait()
		owners.Wait()
		b.prove()
	}
}

package sequencer_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"kiroku/commands/sequencer"
	"kiroku/domain/event"
	"kiroku/domain/ledger"
)

// TestAPausedWriterWakesUpBehindAnother: a core that slept through a takeover writes nothing more.
func TestAPausedWriterWakesUpBehindAnother(t *testing.T) {
	for name, pause := range map[string]struct {
		fault fault
		err   error
	}{
		"before its append":                       {none, sequencer.ErrNotWriter},
		"before its append, whose answer is lost": {unheard, sequencer.ErrNotWriter},
		"while its append is on its way":          {delayed, sequencer.ErrNotWriter},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bed) {
				old := b.active()
				old.must(3)
				old.door.inTurn(pause.fault)
				old.door.hold()
				var waiting sync.WaitGroup
				for range 5 {
					waiting.Go(func() {
						if err := old.do(t.Context(), uuid.New(), 2); !errors.Is(err, pause.err) {
							t.Errorf("got %v, want %v", err, pause.err)
						}
					})
				}
				synctest.Wait()
				next := b.active()
				next.must(3)
				old.door.release()
				waiting.Wait()
				b.shelf.land()
				next.must(3)
				synctest.Wait()
				if old.seq.Active() || old.losses() != 1 {
					t.Errorf("the old writer is active: %v; it was told %d times that another took over", old.seq.Active(), old.losses())
				}
				want(t, old.do(t.Context(), uuid.New(), 1), sequencer.ErrNotWriter)
			})
		})
	}
}

// TestAnUnheardAppendIsKnownBehindAnothersWriter: the append landed, its answer was lost, and another writer
// has gone on behind it. It stands, and its commands are told so.
func TestAnUnheardAppendIsKnownBehindAnothersWriter(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed) {
		old := b.active()
		old.must(1)
		old.door.faults(func() func(uint64, []ledger.Event) fault {
			first := true
			return func(uint64, []ledger.Event) fault {
				if first {
					first = false
					return unheard
				}
				return none
			}
		}())
		command := uuid.New()
		answer := make(chan error, 1)
		go func() { answer <- old.do(t.Context(), command, 3) }()
		synctest.Wait() // landed; the repetition waits for its pause
		next := b.active()
		next.must(2)
		if err := <-answer; err != nil {
			t.Fatalf("the append stands, but its command was told %v", err)
		}
		want(t, next.do(t.Context(), command, 3), errRepeated)
		want(t, old.do(t.Context(), uuid.New(), 1), sequencer.ErrNotWriter)
	})
}

// TestOtherBytesUnderEqualIDs: the store confirms a repetition by ids alone. What stands there is another writer's.
func TestOtherBytesUnderEqualIDs(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed) {
		d := b.active()
		d.must(2)
		command := uuid.New()
		d.door.faults(func(next uint64, events []ledger.Event) fault {
			d.door.append = nil
			head, err := checkedHead(b)
			if err != nil {
				t.Error(err)
			}
			forged, _, err := ledger.BuildBatch(head, head.Epoch, b.drafts(command, 1, 50), b.key.ID, b.key.Sign)
			if err != nil {
				t.Error(err)
			}
			if err := b.shelf.put(next, forged); err != nil {
				t.Error(err)
			}
			return dropped
		})
		want(t, d.do(t.Context(), command, 1), sequencer.ErrNotWriter)
		b.note(command, 3, 1, nil) // the other writer's command is done
		synctest.Wait()
		if d.losses() != 1 {
			t.Error("nobody was told that another writer was met")
		}
		if err := d.seq.Takeover(t.Context()); err != nil {
			t.Fatal(err)
		}
		want(t, d.do(t.Context(), command, 1), errRepeated)
		d.must(2)
	})
}

func checkedHead(b *bed) (ledger.Head, error) {
	all := b.shelf.all()
	c, err := ledger.CheckEvent(all[len(all)-1], b.keys)
	return c.Head(), err
}

// TestWritersFight lets cores take the stream from one another while all are given commands, and repeats at
// any of them what was not done.
func TestWritersFight(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed) {
		cores := []*desk{b.desk(), b.desk(), b.desk()}
		over := make(chan struct{})
		var fighters, clients sync.WaitGroup
		for i, c := range cores {
			c.door.faults(func() func(uint64, []ledger.Event) fault {
				n := i
				return func(uint64, []ledger.Event) fault {
					n++
					time.Sleep(time.Duration(n%3) * time.Millisecond)
					return []fault{none, none, none, unheard, none, dropped, none, delayed, none, none}[n%10]
				}
			}())
			fighters.Go(func() {
				for {
					select {
					case <-over:
						return
					case <-time.After(time.Duration(7+i) * 10 * time.Millisecond):
						if err := c.seq.Takeover(t.Context()); err != nil && !errors.Is(err, sequencer.ErrNotWriter) &&
							c.seq.Counters.Appends.Load() == 0 {
							t.Error(err)
						}
					}
				}
			})
		}
		for client := range 8 {
			clients.Go(func() {
				for range 30 {
					command := uuid.New()
					for try := client; ; try++ {
						err := cores[try%len(cores)].do(t.Context(), command, 1+client%3)
						if err == nil || errors.Is(err, errRepeated) {
							break
						}
						time.Sleep(3 * time.Millisecond)
					}
				}
			})
		}
		clients.Wait()
		close(over)
		fighters.Wait()
		if b.epochs() < 3 {
			t.Error("nobody took the stream from another")
		}
		if len(b.acked) < 200 {
			t.Errorf("only %d commands were acknowledged by the first answer", len(b.acked))
		}
	})
}

// TestATakeoverOfABusyStreamEnds: another writer that never stops appending is not fought for ever.
func TestATakeoverOfABusyStreamEnds(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed) {
		busy, d := b.active(), b.desk()
		d.door.faults(func(uint64, []ledger.Event) fault {
			busy.must(1)
			return none
		})
		want(t, d.seq.Takeover(t.Context()), sequencer.ErrNotWriter)
		busy.must(1)
		if b.epochs() != 1 {
			t.Error("the takeover failed, and yet an epoch began")
		}
	})
}

// truncated hides the beginning of the stream, as the store does.
type truncated struct {
	*door
	first uint64
}

func (d truncated) ReadForward(ctx context.Context, name string, from uint64, limit int) ([]ledger.Event, error) {
	return d.door.ReadForward(ctx, name, max(from, d.first), limit)
}

// TestATailReadWhileItGrows: a batch that lands between the reads of a takeover is not read in part and taken for
// a stream cut off, also where so little is left of the stream that more is read than was meant.
func TestATailReadWhileItGrows(t *testing.T) {
	for name, first := range map[string]uint64{"whole": 0, "truncated": 300, "truncated to its last event": 400} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bed) {
				busy, d := b.active(), b.desk()
				if err := busy.do(t.Context(), uuid.New(), 400); err != nil {
					t.Fatal(err)
				}
				reads := 0
				d.door.readFaults(func() error {
					if reads++; reads == 2 {
						return busy.do(context.Background(), uuid.New(), 450)
					}
					return nil
				})
				heir := b.desk(func(o *sequencer.Options) { o.Store = truncated{d.door, first} })
				if err := heir.seq.Takeover(t.Context()); err != nil {
					t.Fatal(err)
				}
				heir.must(1)
			})
		})
	}
}

// TestARepeatedTakeoverKeepsTheEpoch: who writes already begins nothing.
func TestARepeatedTakeoverKeepsTheEpoch(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed) {
		d := b.active()
		d.must(1)
		if err := d.seq.Takeover(t.Context()); err != nil {
			t.Fatal(err)
		}
		d.must(1)
		head, ok := d.seq.Head()
		if !ok || head.Epoch != 1 || head.Count != 3 || b.epochs() != 1 {
			t.Errorf("head %+v (%v), %d epochs; want epoch 1 and 3 events", head, ok, b.epochs())
		}
		first, err := event.Decode[event.EpochStarted](b.shelf.all()[0].Data)
		if err != nil || first.Writer == uuid.Nil {
			t.Errorf("the epoch does not say who began it: %v", err)
		}
	})
}

// TestARefusalIsTheWritersToo: a core that does not know yet that another took over gives no answer from what it
// remembers, not even a no.
func TestARefusalIsTheWritersToo(t *testing.T) {
	for name, answer := range map[string]error{"repeated": errRepeated, "done without a fact": nil} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bed) {
				old := b.active()
				old.must(2)
				ask := func(d *desk) error {
					_, err := d.seq.Submit(t.Context(), func(uint64) ([]ledger.Draft, error) { return nil, answer })
					return err
				}
				if err := ask(old); !errors.Is(err, answer) {
					t.Errorf("the writer answers %v", err)
				}
				old.door.readFaults(func() error { return errFault })
				want(t, ask(old), sequencer.ErrUnavailable)
				old.door.readFaults(nil)
				old.must(1)
				next := b.active()
				want(t, ask(old), sequencer.ErrNotWriter)
				synctest.Wait()
				if old.seq.Active() || old.losses() != 1 {
					t.Error("the old writer does not stand by")
				}
				if err := ask(next); !errors.Is(err, answer) {
					t.Errorf("the writer answers %v", err)
				}
			})
		})
	}
}

// TestAStallIsShown while an append is sent again and again, to operators and to who stops waiting for it.
func TestAStallIsShown(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed) {
		d := b.active()
		d.must(1)
		d.door.faults(func(uint64, []ledger.Event) fault { return dropped })
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err := d.do(ctx, uuid.New(), 1)
		want(t, err, sequencer.ErrOutcomeOpen)
		if since, stalled := d.seq.Stalled(); !stalled || !since.Equal(began) {
			t.Errorf("stalled since %s (%v), want %s", since, stalled, began)
		}
		if !strings.Contains(err.Error(), "the store has not answered for 1m0s") {
			t.Errorf("who waited is told %q", err)
		}
		if n := d.seq.Counters.Retries.Load(); n < 100 || n > 300 {
			t.Errorf("sent %d times in a minute", n)
		}
		d.door.faults(nil)
		time.Sleep(time.Second)
		if _, stalled := d.seq.Stalled(); stalled {
			t.Error("still stalled")
		}
		d.must(1)
	})
}

// TestAnAppendThatIsRepeatedIsToldOfAgain: as long as it lasts, with its reason.
func TestAnAppendThatIsRepeatedIsToldOfAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed) {
		var said bytes.Buffer
		d := b.desk(func(o *sequencer.Options) { o.Logger = slog.New(slog.NewTextHandler(&said, nil)) })
		if err := d.seq.Takeover(t.Context()); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		d.door.faults(func(uint64, []ledger.Event) fault {
			if time.Since(began) < time.Minute {
				return dropped
			}
			return none
		})
		d.must(1)
		if told := strings.Count(said.String(), errFault.Error()); told < 5 || told > 7 {
			t.Errorf("told %d times in a minute:\n%s", told, &said)
		}
	})
}

package sequencer_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"

	"kiroku/commands/sequencer"
	"kiroku/domain/ledger"
)

// TestEveryWriteStepFails makes each step of a batch's way fail in turn. However it fails, the answer is true
// of the log, and the next command is served.
func TestEveryWriteStepFails(t *testing.T) {
	open := func(f ...fault) func(*desk) { return func(d *desk) { d.door.inTurn(f...) } }
	readBack := func(fails int) func(*desk) {
		return func(d *desk) {
			d.door.inTurn(unheard)
			d.door.readFaults(func() error {
				if fails == 0 {
					return nil
				}
				fails--
				return errFault
			})
		}
	}
	for _, step := range []struct {
		name      string
		fault     func(*desk)
		err       error // of the command; nil: it is done
		readBacks uint64
	}{
		{"the HSM does not sign", func(d *desk) {
			d.hsm.fail(errFault)
			time.AfterFunc(time.Millisecond, func() { d.hsm.fail(nil) })
		}, sequencer.ErrUnavailable, 0},
		{"append fails and is not persisted", open(dropped), nil, 1},
		{"append fails but is persisted", open(unheard), nil, 1},
		{"append fails twice and is not persisted", open(dropped, dropped), nil, 1},
		{"append fails twice but the first is persisted", open(unheard, dropped), nil, 1},
		{"append fails twice but the second is persisted", open(dropped, unheard), nil, 1},
		{"append lands after its repetition", open(delayed), nil, 1},
		{"two appends land after their repetition", open(delayed, delayed), nil, 1},
		{"store refuses", open(refused), sequencer.ErrRefused, 0},
		{"store has no room", open(noRoom), sequencer.ErrUnavailable, 0},
		{"store has no room for the repetition of what is not persisted", open(dropped, noRoom, noRoom), nil, 1},
		{"store has no room for the repetition of what is persisted", open(unheard, noRoom), nil, 1},
		{"store refuses the repetition of what is not persisted", open(dropped, refused), nil, 1},
		{"store refuses the repetition of what is persisted", open(unheard, refused), nil, 1},
		{"store refuses the repetition of what lands late", open(delayed, refused, refused), nil, 1},
		{"read back fails once", readBack(1), nil, 2},
		{"read back fails thrice", readBack(3), nil, 4},
	} {
		t.Run(step.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bed) {
				d := b.active()
				d.must(3)
				step.fault(d)
				command := uuid.New()
				err := d.do(t.Context(), command, 2)
				if !errors.Is(err, step.err) {
					t.Fatalf("got %v, want %v", err, step.err)
				}
				if got := d.seq.Counters.ReadBacks.Load(); got != step.readBacks {
					t.Errorf("read back %d times, want %d", got, step.readBacks)
				}
				time.Sleep(time.Second) // whatever was wrong is over
				if _, stalled := d.seq.Stalled(); stalled {
					t.Error("still reported as stalled")
				}
				if step.err != nil {
					if err := d.do(t.Context(), command, 2); err != nil {
						t.Fatalf("the same command again: %v", err)
					}
				}
				want(t, d.do(t.Context(), command, 2), errRepeated)
				d.must(3)
			})
		})
	}
}

// TestALateAppendOfARefusedOneCannotFork: what was refused after an open outcome stays open, for a command that is
// made anew has the same event id, and the store would confirm the old bytes for the new.
func TestALateAppendOfARefusedOneCannotFork(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed) {
		d := b.active()
		d.door.faults(func() func(uint64, []ledger.Event) fault {
			n := 0
			return func(uint64, []ledger.Event) fault {
				n++
				switch {
				case n == 1:
					return delayed
				case n < 10:
					return refused
				}
				return none
			}
		}())
		command := uuid.New()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		want(t, d.do(ctx, command, 1), sequencer.ErrOutcomeOpen)
		time.AfterFunc(time.Second, b.shelf.land)
		want(t, d.do(t.Context(), command, 1), errRepeated)
		d.must(2)
	})
}

// TestEveryTakeoverStepFails makes each step of a takeover fail. The stream stays without a writer, and the next
// attempt makes it one.
func TestEveryTakeoverStepFails(t *testing.T) {
	var failReads = func(from, to int) func(*desk) {
		return func(d *desk) {
			n := 0
			d.door.readFaults(func() error {
				n++
				if n >= from && n <= to {
					return errFault
				}
				return nil
			})
		}
	}
	for _, step := range []struct {
		name   string
		fault  func(*desk)
		err    error
		epochs int // more after the second attempt
	}{
		{"last event cannot be read", failReads(1, 1), errFault, 1},
		{"tail cannot be read", failReads(2, 2), errFault, 1},
		{"the HSM does not sign", func(d *desk) { d.hsm.fail(errFault) }, sequencer.ErrUnavailable, 1},
		{"append is refused", func(d *desk) { d.door.inTurn(refused) }, sequencer.ErrRefused, 1},
		{"the store has no room", func(d *desk) { d.door.inTurn(noRoom) }, sequencer.ErrUnavailable, 1},
		{"append is not persisted", func(d *desk) { d.door.inTurn(dropped) }, nil, 1},
		{"append is persisted, the answer lost", func(d *desk) { d.door.inTurn(unheard) }, nil, 1},
		{"append lands late", func(d *desk) { d.door.inTurn(delayed) }, nil, 1},
		{"attempt is given up, its append never lands", func(d *desk) { d.door.inTurn(noAnswer) }, context.DeadlineExceeded, 1},
		{"attempt is given up, its append has landed", func(d *desk) { d.door.inTurn(unheard, noAnswer) }, context.DeadlineExceeded, 2},
		{"index does not catch up", func(d *desk) {
			d.mu.Lock()
			d.caughtUp = errFault
			d.mu.Unlock()
		}, errFault, 2},
		{"clock stands before the last event", func(d *desk) { d.b.turnClock(-time.Hour) }, sequencer.ErrClockBack, 1},
	} {
		t.Run(step.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bed) {
				first := b.active()
				first.must(3)
				before := b.epochs()
				d := b.desk()
				step.fault(d)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				err := d.seq.Takeover(ctx)
				if !errors.Is(err, step.err) {
					t.Fatalf("got %v, want %v", err, step.err)
				}
				if active := d.seq.Active(); active != (step.err == nil) {
					t.Fatalf("active %v after %v", active, err)
				}
				if err != nil {
					want(t, d.do(t.Context(), uuid.New(), 1), sequencer.ErrNotWriter)
					if _, ok := d.seq.Head(); ok {
						t.Error("a head is shown of a stream that is not written")
					}
				}
				d.hsm.fail(nil)
				d.mu.Lock()
				d.caughtUp = nil
				d.mu.Unlock()
				b.turnClock(2 * time.Hour)
				if err := d.seq.Takeover(t.Context()); err != nil {
					t.Fatalf("the second attempt: %v", err)
				}
				d.must(2)
				if got := b.epochs() - before; got != step.epochs {
					t.Errorf("%d epochs began, want %d", got, step.epochs)
				}
				want(t, first.do(t.Context(), uuid.New(), 1), sequencer.ErrNotWriter)
			})
		})
	}
}

// TestATakeoverRepeatedAcrossALateAppend: the first attempt's epoch lands while the second is under way. The store
// must not confirm the one for the other.
func TestATakeoverRepeatedAcrossALateAppend(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed) {
		d := b.desk()
		d.door.inTurn(delayed, noAnswer)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		want(t, d.seq.Takeover(ctx), context.DeadlineExceeded)
		d.door.faults(func(uint64, []ledger.Event) fault {
			b.shelf.land() // just before the second attempt's append
			return none
		})
		if err := d.seq.Takeover(t.Context()); err != nil {
			t.Fatal(err)
		}
		d.must(3)
		if n := b.epochs(); n != 2 {
			t.Errorf("%d epochs, want both attempts'", n)
		}
	})
}

// TestATamperedTailIsNotContinued changes the end of the stream in every way that a takeover can notice.
func TestATamperedTailIsNotContinued(t *testing.T) {
	for name, tamper := range map[string]func(*shelf){
		"payload changed":     func(s *shelf) { s.events[4].Data[0] ^= 1 },
		"header changed":      func(s *shelf) { m := s.events[4].Metadata; m[len(m)/4] ^= 1 },
		"event missing":       func(s *shelf) { s.events = append(s.events[:3], s.events[4:]...) },
		"end cut in a batch":  func(s *shelf) { s.events = s.events[:len(s.events)-1] },
		"events swapped":      func(s *shelf) { s.events[2], s.events[3] = s.events[3], s.events[2] },
		"other stream's name": func(s *shelf) { s.events[4].Stream = "record-01" },
	} {
		t.Run(name, func(t *testing.T) {
			synctestOnly(t, func(t *testing.T, b *bed) {
				d := b.active()
				d.must(4)
				if err := d.do(t.Context(), uuid.New(), 3); err != nil {
					t.Fatal(err)
				}
				_ = d.seq.Close(t.Context())
				b.shelf.mu.Lock()
				tamper(b.shelf)
				count := len(b.shelf.events)
				b.shelf.mu.Unlock()
				other := b.desk()
				want(t, other.seq.Takeover(t.Context()), sequencer.ErrTail)
				if got := len(b.shelf.all()); got != count {
					t.Errorf("%d events were appended behind a tampered end", got-count)
				}
				_ = other.seq.Close(t.Context())
			})
		})
	}
}

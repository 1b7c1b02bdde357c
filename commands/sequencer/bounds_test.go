package sequencer_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"kiroku/commands/sequencer"
	"kiroku/domain/ledger"
)

// storeLimit is what the store accepts in one append: data, metadata and the types in UTF-16.
const storeLimit = 1 << 20

// TestBatchesAreBounded in number and in bytes, and one command's facts are never torn apart.
func TestBatchesAreBounded(t *testing.T) {
	for name, c := range map[string]struct{ commands, facts, size, most int }{
		"many small facts":        {1000, 1, 100, 256},
		"few large facts":         {40, 1, 150_000, 7},
		"commands of three facts": {300, 3, 100, 258},
		"large and small":         {100, 5, 12_000, 256},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bed) {
				d := b.active()
				d.door.faults(func(uint64, []ledger.Event) fault {
					time.Sleep(time.Millisecond) // what comes meanwhile waits for company
					return none
				})
				var all sync.WaitGroup
				for range c.commands {
					all.Go(func() {
						command := uuid.New()
						for d.record(t.Context(), command, b.drafts(command, c.facts, c.size)) != nil {
							time.Sleep(time.Millisecond) // beside others it may be told to come back
						}
					})
				}
				all.Wait()
				if d.door.largest > c.most || d.door.heaviest > storeLimit {
					t.Errorf("an append of %d events and %d bytes", d.door.largest, d.door.heaviest)
				}
				if d.door.appends > 2+c.commands/3 {
					t.Errorf("%d appends for %d commands", d.door.appends, c.commands)
				}
			})
		})
	}
}

// TestTheLargestAppendFitsTheStore with the longest names that the format has.
func TestTheLargestAppendFitsTheStore(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed) {
		d := b.active()
		kind := strings.Repeat("t", ledger.MaxTypeName)
		for _, size := range []int{0, 1, 500, 4000} {
			n := 0
			var drafts []ledger.Draft
			command := uuid.New()
			for {
				one := b.drafts(command, 1, size)[0]
				sealed, err := ledger.Seal(make([]byte, ledger.DataKeySize), ledger.AAD{Stream: stream, ID: uuid.New(), Type: kind, Time: one.Time,
					KeyID: strings.Repeat("k", ledger.MaxKeyID)}, make([]byte, size))
				if err != nil {
					t.Fatal(err)
				}
				drafts = append(drafts, sealed)
				n += len(sealed.Data) + 2*len(kind) + ledger.MaxKeyID + 1024
				if n > sequencer.MaxAppendBytes {
					drafts = drafts[:len(drafts)-1]
					break
				}
			}
			before := d.door.appends
			if _, err := d.seq.Submit(t.Context(), func(uint64) ([]ledger.Draft, error) { return drafts, nil }); err != nil {
				t.Fatalf("%d events with %d bytes each: %v", len(drafts), size, err)
			}
			if d.door.appends != before+1 || d.door.heaviest > storeLimit {
				t.Errorf("%d events with %d bytes each: %d bytes in %d appends", len(drafts), size, d.door.heaviest, d.door.appends-before)
			}
		}
		b.shelf.mu.Lock()
		b.shelf.events = b.shelf.events[:1] // these facts are no command's
		b.shelf.mu.Unlock()
	})
}

// TestTooLarge: what fits no append is refused for good, and harms nobody beside it.
func TestTooLarge(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed) {
		d := b.active()
		answers := behind(t, d, 2)
		command := uuid.New()
		large := make(chan error, 1)
		go func() { large <- d.record(t.Context(), command, b.drafts(command, 3, 350_000)) }()
		synctest.Wait()
		d.door.release()
		for range 2 {
			if err := <-answers; err != nil {
				t.Error(err)
			}
		}
		want(t, <-large, sequencer.ErrOverloaded) // beside others
		want(t, d.record(t.Context(), command, b.drafts(command, 3, 350_000)), sequencer.ErrTooLarge)
		d.must(1)
	})
}

// TestTheClockMayNotGoBack further than clocks differ, nor creep back through commands that fail.
func TestTheClockMayNotGoBack(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed) {
		d := b.active()
		d.must(1)
		b.turnClock(-sequencer.ClockTolerance + time.Second)
		d.must(1)
		b.turnClock(-2 * time.Second)
		want(t, d.do(t.Context(), uuid.New(), 1), sequencer.ErrClockBack)
		b.turnClock(3 * time.Second)
		d.must(1)
		b.turnClock(time.Hour)
		d.must(1) // the latest event
		b.turnClock(-sequencer.ClockTolerance + time.Second)
		d.must(1)
		d.hsm.fail(errFault)
		want(t, d.do(t.Context(), uuid.New(), 1), sequencer.ErrUnavailable)
		d.hsm.fail(nil)
		b.turnClock(-2 * time.Second)
		want(t, d.do(t.Context(), uuid.New(), 1), sequencer.ErrClockBack)
		b.turnClock(time.Hour)
		d.must(1)
	})
}

// TestOneCommandAloneIsOneAppend: nothing waits for company.
func TestOneCommandAloneIsOneAppend(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed) {
		d := b.active()
		began := time.Now()
		for range 10 {
			if err := d.do(context.Background(), uuid.New(), 1); err != nil {
				t.Fatal(err)
			}
		}
		if waited := time.Since(began); waited != 0 || d.door.appends != 11 {
			t.Errorf("%d appends, and %s of waiting", d.door.appends, waited)
		}
		if c := &d.seq.Counters; c.Appends.Load() != 11 || c.Events.Load() != 11 || c.Takeovers.Load() != 1 || c.Bytes.Load() == 0 {
			t.Errorf("counted %d appends, %d events, %d takeovers", c.Appends.Load(), c.Events.Load(), c.Takeovers.Load())
		}
	})
}

package eventstore

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"kiroku/domain/ledger"
)

// Whatever the pace of both sides, a feed gives every event once and in order,
// in batches within their bounds, and the end only after the last event. What it
// calls caught up lies at a mark.
func TestFeed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		whole := rapid.Bool().Draw(t, "whole")
		sizes := rapid.SliceOfN(rapid.SampledFrom([]int{0, 10, 1000, BatchBytes / 3, BatchBytes + 1}), 0, 1200).Draw(t, "sizes")
		marks := rapid.SliceOfN(rapid.IntRange(0, len(sizes)), 0, 5).Draw(t, "marks")
		end := errors.New("end")
		data := make([]byte, BatchBytes+1)
		f := newFeed(whole)
		go func() {
			for i, size := range sizes {
				if slices.Contains(marks, i) {
					f.caughtUp()
				}
				if err := f.put(context.Background(), ledger.Event{Revision: uint64(i), Data: data[:size]}); err != nil {
					panic(err)
				}
			}
			if slices.Contains(marks, len(sizes)) {
				f.caughtUp()
			}
			f.close(end)
		}()
		next, reached := 0, -1
		err := f.drain(context.Background(), func(batch []ledger.Event) error {
			bytes := 0
			for _, e := range batch {
				if e.Revision != uint64(next) {
					t.Fatalf("event %d came for event %d", e.Revision, next)
				}
				next++
				bytes += EventSize(e)
			}
			if len(batch) > BatchEvents || bytes > BatchBytes && len(batch) > 1 {
				t.Fatalf("a batch of %d events and %d bytes", len(batch), bytes)
			}
			return nil
		}, func() {
			reached = next
			if !slices.Contains(marks, next) {
				t.Fatalf("caught up after %d events, the marks are %v", next, marks)
			}
		})
		if !errors.Is(err, end) || next != len(sizes) {
			t.Fatalf("ended after %d of %d events with %v", next, len(sizes), err)
		}
		if len(marks) > 0 && reached != slices.Max(marks) {
			t.Fatalf("last caught up after %d events, the marks are %v", reached, marks)
		}
	})
}

func TestBackoffGrowsWithinItsBounds(t *testing.T) {
	b := Backoff{Min: 8 * time.Millisecond, Max: time.Second}
	if d := b.delay(0); d != 0 {
		t.Errorf("the first attempt waits %v", d)
	}
	for n := 1; n < 200; n++ {
		longest := b.Max
		if n < 8 {
			longest = b.Min << (n - 1)
		}
		if d := b.delay(n); d > longest || d < longest/2-1 {
			t.Errorf("repetition %d waits %v, want between half of %v and that", n, d, longest)
		}
	}
}

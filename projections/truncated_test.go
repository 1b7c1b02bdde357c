package projections_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"kiroku/domain/event"
	"kiroku/domain/ledger"
	"kiroku/projections"
	"kiroku/projections/projectiontest"
)

// leafAt is the leaf hash of an event.
func leafAt(t *testing.T, l *projectiontest.Ledger, s string, revision uint64) ledger.Hash {
	t.Helper()
	_, header, _, err := ledger.DecodeMetadata(l.Events(s)[revision].Metadata)
	if err != nil {
		t.Fatal(err)
	}
	return ledger.LeafHash(header)
}

// TestTruncatedBehindAView: a projection that stood still meanwhile goes on where the stream begins now; one beside it that
// is new, and ones that stand elsewhere, do so too.
func TestTruncatedBehindAView(t *testing.T) {
	l := newLedger(t, map[string]int{stream: 600})
	c, err := projectiontest.Read(t.Context(), l, stream)
	if err != nil {
		t.Fatal(err)
	}
	const first = 300
	prev := leafAt(t, l, stream, first-1)
	stood := map[string]int{"new": 0, "behind": 100, "little behind": 299, "at the beginning": 300, "after it": 450}
	var all []projections.Projection
	tallies := map[string]*tally{}
	for name, n := range stood {
		tallies[name] = newTally(t, &projectiontest.Memory{})
		if err := c.Apply(tallies[name], stream, 0, n); err != nil {
			t.Fatal(err)
		}
		all = append(all, renamed{tallies[name], name})
	}
	l.Truncate(stream, first)
	r := run(t, l, nil, all...)
	var f *ledger.Finding
	if err := r.WaitFor(t.Context(), "behind", stream, 601); !errors.As(err, &f) || f.Kind != ledger.KindStartNotTrusted || f.Revision != first {
		t.Fatalf("a beginning that nothing authorises: %v", err)
	}
	r.stop()
	l.Authorise(stream, first, prev)
	r = run(t, l, nil, all...)
	for name, n := range stood {
		waitFor(t, r, name, stream, 601)
		expect(t, tallies[name].receipts(t), append(want(0, max(0, min(n, first)-1)), want(first-1, 600)...))
	}
}

// TestAViewOfAnotherPast: what a view saw last before the beginning must be what the registry says was there.
func TestAViewOfAnotherPast(t *testing.T) {
	l := newLedger(t, map[string]int{stream: 20})
	prev := leafAt(t, l, stream, 9)
	p := newTally(t, &projectiontest.Memory{})
	if err := p.Apply(stream, nil, projections.Checkpoint{Next: 10, Leaf: ledger.Hash{1}, Epoch: 1}); err != nil {
		t.Fatal(err)
	}
	l.Truncate(stream, 10)
	l.Authorise(stream, 10, prev)
	r := run(t, l, nil, p, renamed{newTally(t, &projectiontest.Memory{}), "new"})
	var f *ledger.Finding
	if err := r.WaitFor(t.Context(), "new", stream, 21); !errors.As(err, &f) || f.Kind != ledger.KindHeadMismatch || f.Revision != 9 {
		t.Fatalf("got %v, want another event at 9", err)
	}
}

// slow is a trust that learns of a truncation only when it has read the whole registry.
type slow struct {
	*projectiontest.Ledger
	next  atomic.Uint64
	whole uint64
}

func (s *slow) Learned() (uint64, error) { return s.next.Load(), nil }

func (s *slow) Truncated(stream string, first uint64) (ledger.Hash, bool) {
	if s.next.Load() < s.whole {
		return ledger.Hash{}, false
	}
	return s.Ledger.Truncated(stream, first)
}

// TestTheRegistryIsWaitedFor: as long as the registry is still being read, a beginning that it does not authorise yet is no
// finding, whatever the patience; when it has been read, it is one unless it is authorised.
func TestTheRegistryIsWaitedFor(t *testing.T) {
	for name, authorised := range map[string]bool{"authorised": true, "not authorised": false} {
		t.Run(name, func(t *testing.T) {
			l := newLedger(t, map[string]int{stream: 20})
			appendTo(t, l, event.StreamRegistry, projectiontest.Fact{Type: event.TypeVaultCompleted, Time: start, Payload: event.VaultCompleted{Generation: 2}})
			if authorised {
				l.Authorise(stream, 10, leafAt(t, l, stream, 9))
			}
			l.Truncate(stream, 10)
			trust := &slow{Ledger: l, whole: 2}
			tried := make(chan struct{}, 10000)
			p := newTally(t, &projectiontest.Memory{})
			r := run(t, l, func(c *projections.Config) {
				c.Trust, c.Metrics, c.Patience = trust, counting{tried}, time.Nanosecond
			}, p)
			for range 20 {
				<-tried
			}
			if s := statusOf(t, r, stream); s.State != projections.StateRetrying || s.Next != 0 || s.Err == nil {
				t.Errorf("meanwhile: %+v", s)
			}
			trust.next.Store(2)
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			err := r.WaitFor(ctx, "tally", stream, 21)
			var f *ledger.Finding
			switch {
			case authorised && err != nil:
				t.Fatal(err)
			case authorised:
				expect(t, p.receipts(t), want(9, 20))
			case !errors.As(err, &f) || f.Kind != ledger.KindStartNotTrusted:
				t.Fatalf("got %v, want a beginning that is not trusted", err)
			}
		})
	}
}

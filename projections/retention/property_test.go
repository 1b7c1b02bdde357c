package retention_test

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"kiroku/adapters/views"
	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/projections"
	"kiroku/projections/projectiontest"
	"kiroku/projections/retention"
)

// memory is the keys of one process.
type memory map[calendar.Day]bool // days whose keys were dropped

func (m memory) forget(d calendar.Day) { m[d] = true }

func open(t tb, view projections.View, m memory) *retention.Retention {
	t.Helper()
	r, err := retention.Open(view, m.forget)
	check(t, err)
	return r
}

func read(t tb, a *archive) projectiontest.Course {
	t.Helper()
	c, err := projectiontest.Read(context.Background(), a.ledger, streams...)
	check(t, err)
	return c
}

func newChoice(seed uint64) func(n int) int { return rand.New(rand.NewPCG(seed, 0)).IntN }

// TestEveryWayEndsInTheSameRows: followed while it happens, when every payload could be opened; afterwards at once, piece by
// piece with restarts and crashes, the registry first or last; beside the old rows; and from streams of which the
// certified days were cut off.
func TestEveryWayEndsInTheSameRows(t *testing.T) {
	cuts, ends, refused, decided := 0, 0, 0, 0
	officials := newStaff(t)
	rapid.Check(t, func(rt *rapid.T) {
		choose := newChoice(rapid.Uint64().Draw(rt, "seed")) // evenly: rapid likes small numbers
		a := newArchive(rt, officials, choose)
		a.employ()
		liveKeys := memory{}
		live := open(rt, &projectiontest.Memory{}, liveKeys)
		for range 20 + choose(120) {
			a.step()
			if choose(8) == 0 {
				check(rt, read(rt, a).ApplyAll(live))
			}
		}
		for _, stream := range streams[1:] { // as the retention does: said in the registry first
			check(rt, read(rt, a).ApplyAll(live))
			if first := live.Snapshot().Expendable(stream, nil); first > 0 && first < a.next(stream) {
				a.truncate(stream, first)
			}
		}
		c := read(rt, a)
		check(rt, c.ApplyAll(live))
		rows, told := dump(rt, live), describe(live.Snapshot(), a.now)
		ends += len(a.destroyed)
		refused += len(live.Snapshot().Refused())
		for _, p := range live.Snapshot().Proposals() {
			if p.Done > 0 {
				decided++
			}
		}
		for d := range a.destroyed {
			if !liveKeys[d] {
				rt.Fatalf("the keys of %s were not dropped", d)
			}
		}
		if len(liveKeys) != len(a.destroyed) {
			rt.Fatalf("dropped were the keys of %v, destroyed %v", liveKeys, a.destroyed)
		}
		same := func(what string, r *retention.Retention) {
			if got := dump(rt, r); got != rows {
				rt.Fatalf("%s, the rows differ:\n%s\nlive:\n%s", what, got, rows)
			}
			if got := describe(r.Snapshot(), a.now); got != told {
				rt.Fatalf("%s, the snapshot differs:\n%s\nlive:\n%s", what, got, told)
			}
		}
		a.checkSnapshot(rt, live.Snapshot())

		view, p, err := c.Wander(choose, &projectiontest.Memory{}, func(v projections.View) (projections.Projection, error) {
			return retention.Open(v, memory{}.forget)
		})
		check(rt, err)
		same("piece by piece", p.(*retention.Retention))
		check(rt, c.ApplyAll(p))
		same("applied again", p.(*retention.Retention))
		same("reopened", open(rt, view, memory{}))

		last := open(rt, &projectiontest.Memory{}, memory{})
		for _, stream := range slices.Backward(streams) {
			check(rt, c.Apply(last, stream, 0, len(c[stream])))
		}
		same("the registry last", last)

		for _, stream := range streams[1:] {
			if cut, ok := live.Snapshot().Truncated(stream); ok {
				a.ledger.Truncate(stream, cut.First)
				cuts++
			}
		}
		cut := read(rt, a)
		again := memory{}
		fresh := open(rt, &projectiontest.Memory{}, again)
		check(rt, cut.ApplyAll(fresh))
		same("from what was left", fresh)
		if len(again) != len(a.destroyed) {
			rt.Fatalf("made anew, keys were dropped of %v, destroyed %v", again, a.destroyed)
		}
		shadow, err := live.Shadow()
		check(rt, err)
		for _, stream := range slices.Backward(streams) {
			check(rt, cut.Apply(shadow, stream, 0, len(cut[stream])))
		}
		check(rt, live.Promote(shadow))
		same("rebuilt beside", live)
		check(rt, live.Reset())
		if len(live.Snapshot().Days()) > 0 || live.Snapshot().Next(event.StreamRegistry) > 0 {
			rt.Fatalf("emptied, there is %v", live.Snapshot().Days())
		}
		check(rt, cut.ApplyAll(live))
		same("emptied and filled", live)
	})
	if cuts < 5 || ends < 50 || refused < 50 || decided < 50 {
		t.Errorf("%d streams were cut, %d days ended, %d facts were refused and %d proposals carried out: the property says little", cuts, ends, refused, decided)
	}
}

// checkSnapshot compares with what was noted as it was written.
func (a *archive) checkSnapshot(t tb, s *retention.Snapshot) {
	t.Helper()
	for day := range a.held {
		d, found := s.Day(day)
		if !found || len(d.Streams) != len(a.held[day]) || d.Living() == a.destroyed[day] || s.Destroyed(day) != a.destroyed[day] || (d.Certified > 0) != a.certified[day] {
			t.Fatalf("of %s: %v %+v, written was %v", day, found, d, a.streamsOf(day))
		}
		for i, want := range a.streamsOf(day) {
			got := d.Streams[i]
			if got.Stream != want.Stream || got.First != want.First || got.Next != want.Next || len(got.Keys) != len(want.Keys) {
				t.Fatalf("of %s: %+v, written was %+v", day, got, want)
			}
			for k, key := range want.Keys {
				if got.Keys[k].Revision != key.Revision || !slices.Equal(got.Keys[k].Commitment, key.Commitment) {
					t.Fatalf("of %s: key %+v, written was %+v", day, got.Keys[k], key)
				}
			}
		}
	}
	for _, stream := range streams[1:] {
		first := s.Expendable(stream, nil)
		for day, of := range a.held {
			if span := of[stream]; span != nil && !a.certified[day] && span.First < first {
				t.Fatalf("%s may be cut at %d, which takes %s along from %d", stream, first, day, span.First)
			}
		}
	}
}

// TestTheRealView does the same on disk, with the process ended in between.
func TestTheRealView(t *testing.T) {
	for seed := range uint64(3) {
		a := newArchive(t, newStaff(t), newChoice(seed))
		a.employ()
		dir := t.TempDir()
		for range 4 {
			for range 60 {
				a.step()
			}
			v, err := views.Open(dir, views.Options{Ledger: "test", Logger: slog.New(slog.DiscardHandler)})
			check(t, err)
			r := open(t, v, memory{})
			check(t, read(t, a).ApplyAll(r))
			reference := open(t, &projectiontest.Memory{}, memory{})
			check(t, read(t, a).ApplyAll(reference))
			if dump(t, r) != dump(t, reference) || describe(r.Snapshot(), a.now) != describe(reference.Snapshot(), a.now) {
				t.Errorf("seed %d: rows on disk differ", seed)
			}
			check(t, v.Close())
		}
	}
}

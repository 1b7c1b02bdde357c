package contract

import (
	"context"
	"fmt"
	"testing"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
)

// expectEvents receives until it has seen these revisions, in this order and without
// others between; checkpoints and caught-up messages may come anywhere.
func expectEvents(t testing.TB, sub *esdb.Subscription, want ...uint64) (caughtUp int) {
	t.Helper()
	for i := 0; i < len(want); {
		e := sub.Recv()
		switch {
		case e.SubscriptionDropped != nil:
			t.Fatalf("dropped before revision %d: %v", want[i], e.SubscriptionDropped.Error)
		case e.CaughtUp != nil:
			caughtUp++
		case e.EventAppeared != nil:
			if got := e.EventAppeared.OriginalEvent().EventNumber; got != want[i] {
				t.Fatalf("revision %d, want %d", got, want[i])
			}
			i++
		}
	}
	return caughtUp
}

func expectCaughtUp(t testing.TB, sub *esdb.Subscription) {
	t.Helper()
	for {
		e := sub.Recv()
		switch {
		case e.CaughtUp != nil:
			return
		case e.SubscriptionDropped != nil:
			t.Fatalf("dropped before it caught up: %v", e.SubscriptionDropped.Error)
		case e.EventAppeared != nil:
			t.Fatalf("revision %d before it caught up", e.EventAppeared.OriginalEvent().EventNumber)
		}
	}
}

func (n *node) subscribe(t testing.TB, stream string, from esdb.StreamPosition) *esdb.Subscription {
	t.Helper()
	ctx, _ := cancellable(t)
	sub, err := n.SubscribeToStream(ctx, stream, esdb.SubscribeToStreamOptions{From: from})
	if err != nil {
		t.Fatalf("subscribe to %s: %v", stream, err)
	}
	t.Cleanup(func() { sub.Close() })
	return sub
}

func testSubscribeStream(t *testing.T, n *node) {
	for _, c := range []struct {
		name string
		from esdb.StreamPosition
		past []uint64 // of five events
	}{
		{"from the start", esdb.Start{}, []uint64{0, 1, 2, 3, 4}},
		{"after a revision", esdb.Revision(1), []uint64{2, 3, 4}},
		{"after the last", esdb.Revision(4), nil},
		{"from the end", esdb.End{}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := fresh("sub")
			n.mustAppend(t, s, none, events(5)...)
			sub := n.subscribe(t, s, c.from)
			expectEvents(t, sub, c.past...)
			expectCaughtUp(t, sub)
			n.mustAppend(t, s, at(4), events(2)...)
			n.mustAppend(t, s, at(6), events(1)...)
			expectEvents(t, sub, 5, 6, 7)
		})
	}
	t.Run("beyond the tail skips up to there", func(t *testing.T) {
		s := fresh("sub")
		n.mustAppend(t, s, none, events(2)...)
		sub := n.subscribe(t, s, esdb.Revision(3))
		expectCaughtUp(t, sub)
		n.mustAppend(t, s, at(1), events(4)...)
		expectEvents(t, sub, 4, 5)
	})
	t.Run("no such stream yet", func(t *testing.T) {
		s := fresh("sub")
		sub := n.subscribe(t, s, esdb.Start{})
		expectCaughtUp(t, sub)
		n.mustAppend(t, s, none, events(2)...)
		expectEvents(t, sub, 0, 1)
	})
	t.Run("soft deletion does not end it", func(t *testing.T) {
		s := fresh("sub")
		n.mustAppend(t, s, none, events(2)...)
		sub := n.subscribe(t, s, esdb.Start{})
		expectEvents(t, sub, 0, 1)
		expectCaughtUp(t, sub)
		n.mustDelete(t, s, anyRev)
		n.mustAppend(t, s, anyRev, events(1)...)
		expectEvents(t, sub, 2)
	})
	t.Run("a tombstone ends it", func(t *testing.T) {
		s := fresh("sub")
		n.mustAppend(t, s, none, events(1)...)
		sub := n.subscribe(t, s, esdb.Start{})
		expectEvents(t, sub, 0)
		expectCaughtUp(t, sub)
		n.mustTombstone(t, s, anyRev)
		expectEvents(t, sub, 1<<63-1)
		if e := sub.Recv(); e.SubscriptionDropped == nil {
			t.Errorf("%+v after the tombstone", e)
		}
		if _, err := n.SubscribeToStream(t.Context(), s, esdb.SubscribeToStreamOptions{}); code(err) != esdb.ErrorCodeStreamDeleted {
			t.Errorf("subscribe to a tombstoned stream: %v", err)
		}
	})
	t.Run("past and present join without gap or repetition", func(t *testing.T) {
		s := fresh("sub")
		const appends, size = 60, 25
		n.mustAppend(t, s, none, events(1)...)
		finished := make(chan error, 1)
		go func() {
			for range appends {
				if _, err := n.AppendToStream(context.Background(), s, esdb.AppendToStreamOptions{}, events(size)...); err != nil {
					finished <- err
					return
				}
			}
			finished <- nil
		}()
		want := make([]uint64, appends*size+1)
		for i := range want {
			want[i] = uint64(i)
		}
		expectEvents(t, n.subscribe(t, s, esdb.Start{}), want...)
		if err := <-finished; err != nil {
			t.Fatal(err)
		}
	})
	t.Run("only what metadata leaves visible", func(t *testing.T) {
		s := fresh("sub")
		n.mustAppend(t, s, none, events(5)...)
		n.writeMetadata(t, s, `{"$tb":3}`)
		sub := n.subscribe(t, s, esdb.Start{})
		expectEvents(t, sub, 3, 4)
		expectCaughtUp(t, sub)
	})
}

func (n *node) subscribeAll(t testing.TB, o esdb.SubscribeToAllOptions) *esdb.Subscription {
	t.Helper()
	ctx, _ := cancellable(t)
	sub, err := n.SubscribeToAll(ctx, o)
	if err != nil {
		t.Fatalf("subscribe to $all: %v", err)
	}
	t.Cleanup(func() { sub.Close() })
	return sub
}

func testSubscribeAll(t *testing.T, n *node) {
	t.Run("after a position, and on", func(t *testing.T) {
		s := fresh("suball")
		w := n.mustAppend(t, s, none, events(1)...)
		n.mustAppend(t, s, at(0), events(2)...)
		sub := n.subscribeAll(t, esdb.SubscribeToAllOptions{From: positionOf(w)})
		expectEvents(t, sub, 1, 2)
		expectCaughtUp(t, sub)
		n.mustAppend(t, s, at(2), events(1)...)
		expectEvents(t, sub, 3)
	})
	t.Run("from the end", func(t *testing.T) {
		s := fresh("suball")
		n.mustAppend(t, s, none, events(1)...)
		sub := n.subscribeAll(t, esdb.SubscribeToAllOptions{From: esdb.End{}})
		expectCaughtUp(t, sub)
		n.mustAppend(t, s, at(0), events(1)...)
		expectEvents(t, sub, 1)
	})
	for _, c := range []struct {
		name   string
		filter func(mark string) *esdb.SubscriptionFilter
	}{
		{"stream prefix", func(m string) *esdb.SubscriptionFilter {
			return &esdb.SubscriptionFilter{Type: esdb.StreamFilterType, Prefixes: []string{"nothing-", m}}
		}},
		{"stream expression", func(m string) *esdb.SubscriptionFilter {
			return &esdb.SubscriptionFilter{Type: esdb.StreamFilterType, Regex: "^" + m + "$"}
		}},
		{"type prefix", func(m string) *esdb.SubscriptionFilter {
			return &esdb.SubscriptionFilter{Type: esdb.EventFilterType, Prefixes: []string{m}}
		}},
		{"type expression, unanchored", func(m string) *esdb.SubscriptionFilter {
			return &esdb.SubscriptionFilter{Type: esdb.EventFilterType, Regex: m[3:] + "-.x"}
		}},
	} {
		t.Run("filter on "+c.name, func(t *testing.T) {
			s := fresh("filtered")
			marked := func(k int) esdb.EventData { return event(fmt.Sprintf("%s-%dx", s, k)) }
			start := n.mustAppend(t, fresh("other"), none, events(1)...)
			n.mustAppend(t, s, none, marked(0), marked(1))
			n.mustAppend(t, fresh("other"), none, events(50)...)
			sub := n.subscribeAll(t, esdb.SubscribeToAllOptions{From: positionOf(start), Filter: c.filter(s)})
			expectEvents(t, sub, 0, 1)
			n.mustAppend(t, fresh("other"), none, events(3)...)
			n.mustAppend(t, s, at(1), marked(2))
			expectEvents(t, sub, 2)
		})
	}
	t.Run("a checkpoint may be resumed from", func(t *testing.T) {
		s := fresh("checkpoint")
		filter := &esdb.SubscriptionFilter{Type: esdb.StreamFilterType, Prefixes: []string{s}}
		start := n.mustAppend(t, s, none, events(1)...)
		n.mustAppend(t, fresh("other"), none, events(200)...)
		n.mustAppend(t, s, at(0), events(1)...)
		sub := n.subscribeAll(t, esdb.SubscribeToAllOptions{From: positionOf(start), Filter: filter, MaxSearchWindow: 10, CheckpointInterval: 2})
		var at esdb.Position
		for checkpoints, seen := 0, false; checkpoints == 0 || !seen; {
			e := sub.Recv()
			switch {
			case e.SubscriptionDropped != nil:
				t.Fatal(e.SubscriptionDropped.Error)
			case e.CheckPointReached != nil && !seen:
				at, checkpoints = *e.CheckPointReached, checkpoints+1
			case e.EventAppeared != nil:
				seen = true
			}
		}
		if at.Commit <= start.CommitPosition {
			t.Errorf("checkpoint %v is before the start", at)
		}
		again := n.subscribeAll(t, esdb.SubscribeToAllOptions{From: at, Filter: filter})
		expectEvents(t, again, 1)
	})
	t.Run("checkpoints go on while live", func(t *testing.T) {
		filter := &esdb.SubscriptionFilter{Type: esdb.StreamFilterType, Prefixes: []string{fresh("never")}}
		sub := n.subscribeAll(t, esdb.SubscribeToAllOptions{From: esdb.End{}, Filter: filter, MaxSearchWindow: 10, CheckpointInterval: 1})
		expectCaughtUp(t, sub)
		w := n.mustAppend(t, fresh("other"), none, events(40)...)
		e := sub.Recv()
		if e.CheckPointReached == nil || e.CheckPointReached.Commit > w.CommitPosition {
			t.Errorf("%+v", e)
		}
	})
}

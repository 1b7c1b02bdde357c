package embedded_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"kiroku/adapters/eventstore/embedded/embeddedtest"
)

// TestManyWritersOneStream: appends at "any" revision neither mix nor get lost, and a
// subscriber sees what a reader sees.
func TestManyWritersOneStream(t *testing.T) {
	connectionString, srv := embeddedtest.Start(t)
	const writers, appends, size = 8, 25, 3
	reader := connect(t, connectionString)
	sub, err := reader.SubscribeToStream(t.Context(), "s", esdb.SubscribeToStreamOptions{From: esdb.Start{}})
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	var done sync.WaitGroup
	for i := range writers {
		c := connect(t, connectionString)
		done.Go(func() {
			for k := range appends {
				es := events(size)
				for n := range es {
					es[n].Data = fmt.Appendf(nil, "%d/%d", i, k)
				}
				if _, err := c.AppendToStream(context.Background(), "s", esdb.AppendToStreamOptions{}, es...); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	seen := map[string]int{}
	var current string
	for n := uint64(0); n < writers*appends*size; {
		e := sub.Recv()
		if e.SubscriptionDropped != nil {
			t.Fatal(e.SubscriptionDropped.Error)
		}
		if e.EventAppeared == nil {
			continue
		}
		if e.EventAppeared.Event.EventNumber != n {
			t.Fatalf("revision %d, want %d", e.EventAppeared.Event.EventNumber, n)
		}
		from := string(e.EventAppeared.Event.Data)
		if n%size == 0 {
			current = from
		}
		if from != current {
			t.Fatalf("revision %d: an event of %s inside the append %s", n, from, current)
		}
		seen[from]++
		n++
	}
	done.Wait()
	if len(seen) != writers*appends {
		t.Errorf("%d appends seen, want %d", len(seen), writers*appends)
	}
	if m := srv.Metrics(); m.Appends != writers*appends || m.Events != writers*appends*size {
		t.Errorf("metrics %+v", m)
	}
}

// TestAge hides events by the server's clock, and only in streams.
func TestAge(t *testing.T) {
	f := embeddedtest.New(t)
	var offset atomic.Int64
	f.Config.Clock = func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }
	c := connect(t, f.ConnectionString(f.Open(t)))
	m := esdb.StreamMetadata{}
	m.SetMaxAge(time.Hour)
	if _, err := c.SetStreamMetadata(t.Context(), "s", esdb.AppendToStreamOptions{}, m); err != nil {
		t.Fatal(err)
	}
	var first *esdb.WriteResult
	for _, minutes := range []int{0, 40} {
		offset.Store(int64(time.Duration(minutes) * time.Minute))
		w, err := c.AppendToStream(t.Context(), "s", esdb.AppendToStreamOptions{}, events(2)...)
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = w
		}
	}
	for _, step := range []struct {
		minutes int
		want    string
	}{{40, "[0 1 2 3]"}, {70, "[2 3]"}, {120, "[]"}} {
		offset.Store(int64(time.Duration(step.minutes) * time.Minute))
		if got := fmt.Sprint(readNumbers(t, c, "s")); got != step.want {
			t.Errorf("after %d minutes: %s, want %s", step.minutes, got, step.want)
		}
	}
	r, err := c.ReadAll(t.Context(), esdb.ReadAllOptions{From: esdb.Position{Commit: first.CommitPosition, Prepare: first.PreparePosition}}, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if e, err := r.Recv(); err != nil || e.Event.StreamID != "s" {
		t.Errorf("$all: %v %v", e, err)
	}
}

// TestCloseEndsSubscriptions with a status that tells the client to look for the server
// again, and without waiting for the client to leave.
func TestCloseEndsSubscriptions(t *testing.T) {
	connectionString, srv := embeddedtest.Start(t)
	c := connect(t, connectionString)
	sub, err := c.SubscribeToAll(t.Context(), esdb.SubscribeToAllOptions{From: esdb.Start{}})
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	if err := srv.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	for {
		e := sub.Recv()
		if e.SubscriptionDropped == nil {
			continue
		}
		if status.Code(e.SubscriptionDropped.Error) != codes.Unavailable {
			t.Error(e.SubscriptionDropped.Error)
		}
		return
	}
}

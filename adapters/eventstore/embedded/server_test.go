package embedded_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/google/uuid"

	"kiroku/adapters/eventstore/embedded/embeddedtest"
)

func connect(t testing.TB, connectionString string) *esdb.Client {
	t.Helper()
	c, err := esdb.ParseConnectionString(connectionString)
	if err != nil {
		t.Fatal(err)
	}
	c.Logger = esdb.NoopLogging()
	client, err := esdb.NewClient(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

func events(n int) []esdb.EventData {
	es := make([]esdb.EventData, n)
	for i := range es {
		es[i] = esdb.EventData{EventID: uuid.New(), EventType: "tested", Data: fmt.Appendf(nil, "event %d", i)}
	}
	return es
}

// readNumbers lists the revisions of a stream, forwards from the start.
func readNumbers(t testing.TB, c *esdb.Client, stream string) []uint64 {
	t.Helper()
	r, err := c.ReadStream(context.Background(), stream, esdb.ReadStreamOptions{}, 1<<40)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var numbers []uint64
	for {
		e, err := r.Recv()
		if err == io.EOF {
			return numbers
		}
		var missing *esdb.Error
		if errors.As(err, &missing) && missing.Code() == esdb.ErrorCodeResourceNotFound {
			return nil
		}
		if err != nil {
			t.Fatal(err)
		}
		numbers = append(numbers, e.Event.EventNumber)
	}
}

func TestAppendReadAndSubscribe(t *testing.T) {
	connectionString, srv := embeddedtest.Start(t)
	c := connect(t, connectionString)
	sub, err := c.SubscribeToStream(t.Context(), "s", esdb.SubscribeToStreamOptions{From: esdb.Start{}})
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	w, err := c.AppendToStream(t.Context(), "s", esdb.AppendToStreamOptions{ExpectedRevision: esdb.NoStream{}}, events(3)...)
	if err != nil || w.NextExpectedVersion != 2 || w.CommitPosition == 0 {
		t.Fatal(w, err)
	}
	if _, err := c.AppendToStream(t.Context(), "s", esdb.AppendToStreamOptions{ExpectedRevision: esdb.Revision(2)}, events(2)...); err != nil {
		t.Fatal(err)
	}
	if got := readNumbers(t, c, "s"); len(got) != 5 || got[4] != 4 {
		t.Fatal(got)
	}
	for want := uint64(0); want < 5; {
		e := sub.Recv()
		if e.SubscriptionDropped != nil {
			t.Fatal(e.SubscriptionDropped.Error)
		}
		if e.EventAppeared != nil {
			if e.EventAppeared.Event.EventNumber != want {
				t.Fatal(e.EventAppeared.Event.EventNumber, want)
			}
			want++
		}
	}
	if m := srv.Metrics(); m.Appends != 2 || m.Events != 5 || m.Syncs == 0 {
		t.Errorf("%+v", m)
	}
}

// Package contract is what this product expects of an event store, as tests that any
// EventStoreDB server can be held to: the embedded one always, a real one where there is
// one. The facts are those of EventStoreDB 24.10; where versions differ a test accepts
// both or does not look.
package contract

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/google/uuid"
)

// Run holds a server to the contract. start returns a connection string of a user in
// $admins; it is called once for each group of tests and may return the same server.
// Streams get fresh names, so a used server will do.
func Run(t *testing.T, start func(t testing.TB) (connectionString string)) {
	groups := []struct {
		name string
		test func(*testing.T, *node)
	}{
		{"append", testAppend},
		{"idempotency", testIdempotency},
		{"limits", testLimits},
		{"events", testEvents},
		{"read stream", testReadStream},
		{"read all", testReadAll},
		{"links", testLinks},
		{"subscribe to stream", testSubscribeStream},
		{"subscribe to all", testSubscribeAll},
		{"metadata", testMetadata},
		{"delete", testDelete},
		{"tombstone", testTombstone},
		{"batch append", testBatchAppend},
		{"invalid requests", testInvalid},
	}
	for _, g := range groups {
		t.Run(g.name, func(t *testing.T) { g.test(t, connect(t, start(t))) })
	}
}

// node is a server as one test sees it.
type node struct {
	*esdb.Client
	connectionString string
}

func connect(t testing.TB, connectionString string) *node {
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
	return &node{client, connectionString}
}

// fresh is a stream name nobody has used.
func fresh(prefix string) string { return prefix + "-" + uuid.NewString() }

// event with an id of its own.
func event(kind string) esdb.EventData {
	return esdb.EventData{EventID: uuid.New(), EventType: kind, Data: []byte("data"), Metadata: []byte("meta")}
}

func events(n int) []esdb.EventData {
	es := make([]esdb.EventData, n)
	for i := range es {
		es[i] = event(fmt.Sprintf("kind-%d", i))
	}
	return es
}

// outcome of a write, short enough for a table.
type outcome string

const (
	written outcome = "written"
	wrong   outcome = "wrong"
	deleted outcome = "deleted"
)

func (n *node) append(t testing.TB, stream string, expected esdb.ExpectedRevision, es ...esdb.EventData) (*esdb.WriteResult, outcome) {
	t.Helper()
	w, err := n.AppendToStream(t.Context(), stream, esdb.AppendToStreamOptions{ExpectedRevision: expected}, es...)
	if err == nil {
		return w, written
	}
	switch code(err) {
	case esdb.ErrorCodeWrongExpectedVersion:
		return nil, wrong
	case esdb.ErrorCodeStreamDeleted:
		return nil, deleted
	}
	t.Fatalf("append to %s: %v", stream, err)
	return nil, ""
}

func (n *node) mustAppend(t testing.TB, stream string, expected esdb.ExpectedRevision, es ...esdb.EventData) *esdb.WriteResult {
	t.Helper()
	w, o := n.append(t, stream, expected, es...)
	if o != written {
		t.Fatalf("append to %s: %s", stream, o)
	}
	return w
}

// code finds the client's error wherever it is wrapped.
func code(err error) esdb.ErrorCode {
	var e *esdb.Error
	if errors.As(err, &e) {
		return e.Code()
	}
	return esdb.ErrorCodeUnknown
}

const noLimit = 1 << 40

// read collects a read of a stream; a failure is the read's error.
func (n *node) read(t testing.TB, stream string, o esdb.ReadStreamOptions, count uint64) ([]*esdb.ResolvedEvent, error) {
	t.Helper()
	r, err := n.ReadStream(t.Context(), stream, o, count)
	if err != nil {
		return nil, err
	}
	return collect(r)
}

func (n *node) readAll(t testing.TB, o esdb.ReadAllOptions, count uint64) ([]*esdb.ResolvedEvent, error) {
	t.Helper()
	r, err := n.ReadAll(t.Context(), o, count)
	if err != nil {
		return nil, err
	}
	return collect(r)
}

func collect(r *esdb.ReadStream) ([]*esdb.ResolvedEvent, error) {
	defer r.Close()
	var got []*esdb.ResolvedEvent
	for {
		e, err := r.Recv()
		if err == io.EOF {
			return got, nil
		}
		if err != nil {
			return got, err
		}
		got = append(got, e)
	}
}

func revisions(es []*esdb.ResolvedEvent) []uint64 {
	ns := []uint64{}
	for _, e := range es {
		ns = append(ns, e.OriginalEvent().EventNumber)
	}
	return ns
}

// expectRevisions reads a stream forwards and compares.
func (n *node) expectRevisions(t testing.TB, stream string, want ...uint64) {
	t.Helper()
	es, err := n.read(t, stream, esdb.ReadStreamOptions{}, noLimit)
	if err != nil {
		t.Fatalf("read %s: %v", stream, err)
	}
	if got := fmt.Sprint(revisions(es)); got != fmt.Sprint(want) {
		t.Errorf("stream holds %s, want %v", got, want)
	}
}

// metadata document as it is stored.
func (n *node) writeMetadata(t testing.TB, stream, document string) {
	t.Helper()
	n.mustAppend(t, "$$"+stream, esdb.Any{}, esdb.EventData{
		EventID: uuid.New(), EventType: "$metadata", ContentType: esdb.ContentTypeJson, Data: []byte(document)})
}

func cancellable(t testing.TB) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	return ctx, cancel
}

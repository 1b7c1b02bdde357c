package contract

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/google/uuid"
)

var (
	none   = esdb.NoStream{}
	anyRev = esdb.Any{}
	exists = esdb.StreamExists{}
	at     = esdb.Revision
)

// state brings a new stream into a condition.
var states = map[string]func(testing.TB, *node, string){
	"new":           func(testing.TB, *node, string) {},
	"three events":  func(t testing.TB, n *node, s string) { n.mustAppend(t, s, none, events(3)...) },
	"metadata only": func(t testing.TB, n *node, s string) { n.writeMetadata(t, s, `{"a":1}`) },
	"soft-deleted": func(t testing.TB, n *node, s string) {
		n.mustAppend(t, s, none, events(3)...)
		n.mustDelete(t, s, anyRev)
	},
	"tombstoned": func(t testing.TB, n *node, s string) {
		n.mustAppend(t, s, none, events(3)...)
		n.mustTombstone(t, s, anyRev)
	},
}

func testAppend(t *testing.T, n *node) {
	for _, c := range []struct {
		state    string
		name     string
		expected esdb.ExpectedRevision
		want     outcome
		revision uint64 // of the last of two events
	}{
		{"new", "no stream", none, written, 1},
		{"new", "any", anyRev, written, 1},
		{"new", "exists", exists, wrong, 0},
		{"new", "0", at(0), wrong, 0},
		{"three events", "2", at(2), written, 4},
		{"three events", "any", anyRev, written, 4},
		{"three events", "exists", exists, written, 4},
		{"three events", "no stream", none, wrong, 0},
		{"three events", "1", at(1), wrong, 0},
		{"three events", "3", at(3), wrong, 0},
		{"metadata only", "exists", exists, written, 1},
		{"metadata only", "no stream", none, written, 1},
		{"soft-deleted", "any", anyRev, written, 4},
		{"soft-deleted", "no stream", none, written, 4},
		{"soft-deleted", "2", at(2), written, 4},
		{"soft-deleted", "exists", exists, deleted, 0},
		{"soft-deleted", "1", at(1), wrong, 0},
		{"tombstoned", "any", anyRev, deleted, 0},
		{"tombstoned", "no stream", none, deleted, 0},
		{"tombstoned", "exists", exists, deleted, 0},
		{"tombstoned", "2", at(2), deleted, 0},
	} {
		t.Run(c.state+"/"+c.name, func(t *testing.T) {
			s := fresh("append")
			states[c.state](t, n, s)
			w, got := n.append(t, s, c.expected, events(2)...)
			if got != c.want {
				t.Fatalf("%s, want %s", got, c.want)
			}
			if got == written && (w.NextExpectedVersion != c.revision || w.CommitPosition == 0 || w.CommitPosition != w.PreparePosition) {
				t.Errorf("%+v, want revision %d and one position", w, c.revision)
			}
		})
	}
	t.Run("the position is that of the last event", func(t *testing.T) {
		s := fresh("append")
		w := n.mustAppend(t, s, none, events(3)...)
		es, err := n.readAll(t, esdb.ReadAllOptions{From: esdb.Position{Commit: w.CommitPosition, Prepare: w.PreparePosition}}, 1)
		if err != nil || len(es) != 1 || es[0].Event.StreamID != s || es[0].Event.EventNumber != 2 {
			t.Fatal(es, err)
		}
	})
	t.Run("no events", func(t *testing.T) {
		s := fresh("append")
		if _, got := n.append(t, s, at(0)); got != wrong {
			t.Errorf("expecting revision 0 of a new stream: %s", got)
		}
		n.mustAppend(t, s, none)
		if _, err := n.read(t, s, esdb.ReadStreamOptions{}, 1); code(err) != esdb.ErrorCodeResourceNotFound {
			t.Errorf("an empty append made a stream: %v", err)
		}
		n.mustAppend(t, s, none, events(2)...)
		if w := n.mustAppend(t, s, at(1)); w.NextExpectedVersion != 1 {
			t.Errorf("%+v", w)
		}
		if _, got := n.append(t, s, at(0)); got != wrong {
			t.Errorf("behind: %s", got)
		}
	})
}

// testIdempotency replays a first write and then tries a second one: what a writer sees
// that never got its answer. 0..5 are ids; "em1" means: expecting no stream.
func testIdempotency(t *testing.T, n *node) {
	for _, c := range []struct {
		name     string
		first    []int
		second   []int
		expected esdb.ExpectedRevision
		want     outcome
		stored   int // events in the stream afterwards
	}{
		{"0..5, 0em1", []int{0, 1, 2, 3, 4, 5}, []int{0}, none, written, 6},
		{"0..5, 0any", []int{0, 1, 2, 3, 4, 5}, []int{0}, anyRev, written, 6},
		{"0..5, 0e5", []int{0, 1, 2, 3, 4, 5}, []int{0}, at(5), written, 7},
		{"0..5, 0e4", []int{0, 1, 2, 3, 4, 5}, []int{0}, at(4), wrong, 6},
		{"0..5, 0e6", []int{0, 1, 2, 3, 4, 5}, []int{0}, at(6), wrong, 6},
		{"0..5, 0exists", []int{0, 1, 2, 3, 4, 5}, []int{0}, exists, written, 6},
		{"01, 0em1", []int{0, 1}, []int{0}, none, written, 2},
		{"01, 0any", []int{0, 1}, []int{0}, anyRev, written, 2},
		{"01, 1e0", []int{0, 1}, []int{1}, at(0), written, 2},
		{"01, 1any", []int{0, 1}, []int{1}, anyRev, written, 2},
		{"01, 01em1", []int{0, 1}, []int{0, 1}, none, written, 2},
		{"01, 10any", []int{0, 1}, []int{1, 0}, anyRev, written, 2},
		{"01, 012em1", []int{0, 1}, []int{0, 1, 2}, none, wrong, 2},
		{"01, 012any", []int{0, 1}, []int{0, 1, 2}, anyRev, wrong, 2},
		{"01, 2em1", []int{0, 1}, []int{2}, none, wrong, 2},
		{"01, 20any", []int{0, 1}, []int{2, 0}, anyRev, written, 4},
		{"01, 01e1", []int{0, 1}, []int{0, 1}, at(1), written, 4},
		{"00 in one request", []int{0, 0}, []int{1}, at(1), written, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			ids := events(7)
			pick := func(which []int) (es []esdb.EventData) {
				for _, i := range which {
					es = append(es, ids[i])
				}
				return es
			}
			s := fresh("idempotent")
			n.mustAppend(t, s, none, pick(c.first)...)
			if _, got := n.append(t, s, c.expected, pick(c.second)...); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
			if es, err := n.read(t, s, esdb.ReadStreamOptions{}, noLimit); err != nil || len(es) != c.stored {
				t.Errorf("%d events stored, want %d (%v)", len(es), c.stored, err)
			}
		})
	}
	t.Run("a retry answers what the first write did", func(t *testing.T) {
		s, es := fresh("idempotent"), events(3)
		first := n.mustAppend(t, s, none, es...)
		n.mustAppend(t, s, at(2), events(1)...)
		if again := n.mustAppend(t, s, none, es...); *again != *first {
			t.Errorf("%+v, first %+v", again, first)
		}
	})
	t.Run("an id of another stream is new", func(t *testing.T) {
		a, b, e := fresh("idempotent"), fresh("idempotent"), event("k")
		n.mustAppend(t, a, anyRev, e)
		n.mustAppend(t, b, anyRev, e)
		n.expectRevisions(t, b, 0)
	})
	t.Run("a retry does not bring a deleted stream back", func(t *testing.T) {
		s, e := fresh("idempotent"), event("k")
		n.mustAppend(t, s, none, e)
		n.mustDelete(t, s, anyRev)
		n.mustAppend(t, s, none, e)
		n.mustAppend(t, s, anyRev, e)
		if _, err := n.read(t, s, esdb.ReadStreamOptions{}, 1); code(err) != esdb.ErrorCodeResourceNotFound {
			t.Errorf("want not found, got %v", err)
		}
	})
}

func testLimits(t *testing.T, n *node) {
	sized := func(total int) esdb.EventData { // type "k" counts two bytes
		return esdb.EventData{EventID: uuid.New(), EventType: "k", Data: make([]byte, total-2-10), Metadata: make([]byte, 10)}
	}
	t.Run("exactly the limit", func(t *testing.T) {
		s := fresh("limit")
		n.mustAppend(t, s, none, sized(1<<20))
		n.mustAppend(t, s, at(0), sized(1<<19), sized(1<<19))
		es, err := n.read(t, s, esdb.ReadStreamOptions{}, noLimit)
		if err != nil || len(es) != 3 || len(es[0].Event.Data) != 1<<20-12 {
			t.Error(len(es), err)
		}
	})
	for name, es := range map[string][]esdb.EventData{
		"one event":          {sized(1<<20 + 1)},
		"the sum":            {sized(1 << 19), sized(1<<19 + 1)},
		"then many more":     append([]esdb.EventData{sized(1<<20 + 1)}, events(3000)...),
		"UTF-16 of the type": {{EventID: uuid.New(), EventType: "型𠮷", Data: make([]byte, 1<<20-5)}},
	} {
		t.Run("above it, "+name, func(t *testing.T) {
			s := fresh("limit")
			_, err := n.AppendToStream(t.Context(), s, esdb.AppendToStreamOptions{ExpectedRevision: none}, es...)
			if err == nil || !strings.Contains(err.Error(), "InvalidArgument") {
				t.Fatalf("want InvalidArgument, got %v", err)
			}
			if _, err := n.read(t, s, esdb.ReadStreamOptions{}, 1); code(err) != esdb.ErrorCodeResourceNotFound {
				t.Errorf("something was written: %v", err)
			}
		})
	}
}

func testEvents(t *testing.T, n *node) {
	s := fresh("事象")
	before := time.Now().Add(-time.Minute)
	sent := []esdb.EventData{
		{EventID: uuid.New(), EventType: "型", ContentType: esdb.ContentTypeJson, Data: []byte(`{"a":1}`), Metadata: []byte(`{}`)},
		{EventID: uuid.New(), EventType: "binary", ContentType: esdb.ContentTypeBinary, Data: []byte{0, 255, 1}, Metadata: []byte{9}},
		{EventID: uuid.New(), EventType: "empty"},
	}
	w := n.mustAppend(t, s, none, sent...)
	es, err := n.read(t, s, esdb.ReadStreamOptions{}, noLimit)
	if err != nil || len(es) != len(sent) {
		t.Fatal(len(es), err)
	}
	var last uint64
	for i, e := range es {
		got, want := e.Event, sent[i]
		content := "application/octet-stream"
		if want.ContentType == esdb.ContentTypeJson {
			content = "application/json"
		}
		if got.EventID != want.EventID || got.EventType != want.EventType || got.ContentType != content ||
			!bytes.Equal(got.Data, want.Data) || !bytes.Equal(got.UserMetadata, want.Metadata) ||
			got.StreamID != s || got.EventNumber != uint64(i) {
			t.Errorf("event %d came back as %+v", i, got)
		}
		if got.CreatedDate.Before(before) || got.CreatedDate.After(time.Now().Add(time.Minute)) {
			t.Errorf("created %v", got.CreatedDate)
		}
		if got.Position.Commit != got.Position.Prepare || got.Position.Commit <= last {
			t.Errorf("position %v after %d", got.Position, last)
		}
		last = got.Position.Commit
		if e.Commit == nil || *e.Commit != got.Position.Commit {
			t.Error("the commit position is not that of the event")
		}
	}
	if last != w.CommitPosition {
		t.Errorf("last event at %d, append answered %d", last, w.CommitPosition)
	}
}

package contract

import (
	"fmt"
	"strings"
	"testing"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
)

func (n *node) delete(t testing.TB, stream string, expected esdb.ExpectedRevision) (*esdb.DeleteResult, error) {
	return n.DeleteStream(t.Context(), stream, esdb.DeleteStreamOptions{ExpectedRevision: expected})
}

func (n *node) tombstone(t testing.TB, stream string, expected esdb.ExpectedRevision) (*esdb.DeleteResult, error) {
	return n.TombstoneStream(t.Context(), stream, esdb.TombstoneStreamOptions{ExpectedRevision: expected})
}

func (n *node) mustDelete(t testing.TB, stream string, expected esdb.ExpectedRevision) *esdb.DeleteResult {
	t.Helper()
	d, err := n.delete(t, stream, expected)
	if err != nil {
		t.Fatalf("delete %s: %v", stream, err)
	}
	return d
}

func (n *node) mustTombstone(t testing.TB, stream string, expected esdb.ExpectedRevision) *esdb.DeleteResult {
	t.Helper()
	d, err := n.tombstone(t, stream, expected)
	if err != nil {
		t.Fatalf("tombstone %s: %v", stream, err)
	}
	return d
}

// removal sorts the outcome of a delete, for tables.
func removal(err error) outcome {
	switch {
	case err == nil:
		return written
	case code(err) == esdb.ErrorCodeStreamDeleted:
		return deleted
	case strings.Contains(err.Error(), "FailedPrecondition"):
		return wrong
	}
	return outcome(err.Error())
}

type removalCase struct {
	state    string
	name     string
	expected esdb.ExpectedRevision
	want     outcome
}

func testRemovals(t *testing.T, n *node, cases []removalCase, remove func(testing.TB, string, esdb.ExpectedRevision) (*esdb.DeleteResult, error)) {
	for _, c := range cases {
		t.Run(c.state+"/"+c.name, func(t *testing.T) {
			s := fresh("remove")
			states[c.state](t, n, s)
			d, err := remove(t, s, c.expected)
			if got := removal(err); got != c.want {
				t.Fatalf("%s, want %s (%v)", got, c.want, err)
			}
			if err == nil && d.Position.Commit == 0 {
				t.Error("no position")
			}
		})
	}
}

func testDelete(t *testing.T, n *node) {
	testRemovals(t, n, []removalCase{
		{"new", "any", anyRev, wrong},
		{"new", "no stream", none, wrong},
		{"three events", "any", anyRev, written},
		{"three events", "2", at(2), written},
		{"three events", "exists", exists, written},
		{"three events", "1", at(1), wrong},
		{"three events", "no stream", none, wrong},
		{"soft-deleted", "any", anyRev, written},
		{"soft-deleted", "2", at(2), written},
		{"soft-deleted", "exists", exists, deleted},
		{"tombstoned", "any", anyRev, deleted},
	}, n.delete)
	t.Run("hides and keeps the numbering", func(t *testing.T) {
		s := fresh("remove")
		n.writeMetadata(t, s, `{"kept":"no"}`)
		n.mustAppend(t, s, none, events(3)...)
		n.mustDelete(t, s, at(2))
		if _, err := n.read(t, s, esdb.ReadStreamOptions{}, 1); code(err) != esdb.ErrorCodeResourceNotFound {
			t.Errorf("still readable: %v", err)
		}
		n.mustAppend(t, s, anyRev, events(2)...)
		n.expectRevisions(t, s, 3, 4)
		if _, got := n.append(t, s, none, events(1)...); got != wrong {
			t.Errorf("expecting no stream after recreation: %s", got)
		}
		es, err := n.read(t, "$$"+s, esdb.ReadStreamOptions{Direction: esdb.Backwards, From: esdb.End{}}, 1)
		if err != nil || len(es) != 1 || string(es[0].Event.Data) == "" || strings.Contains(string(es[0].Event.Data), "kept") {
			t.Errorf("metadata after recreation: %v %v", es, err)
		}
	})
	t.Run("recreation writes its metadata directly after the events", func(t *testing.T) {
		s := fresh("remove")
		n.mustAppend(t, s, none, events(1)...)
		n.mustDelete(t, s, anyRev)
		w := n.mustAppend(t, s, anyRev, events(2)...)
		es, err := n.readAll(t, esdb.ReadAllOptions{From: positionOf(w)}, 2)
		if err != nil || len(es) != 2 || es[1].Event.StreamID != "$$"+s {
			t.Error(es, err)
		}
	})
	t.Run("metadata brings a stream back", func(t *testing.T) {
		s := fresh("remove")
		n.mustAppend(t, s, none, events(2)...)
		n.mustDelete(t, s, anyRev)
		n.writeMetadata(t, s, `{"k":1}`)
		es, err := n.read(t, s, esdb.ReadStreamOptions{}, noLimit)
		if err != nil || len(es) != 0 {
			t.Errorf("want an empty stream: %v %v", revisions(es), err)
		}
		n.mustAppend(t, s, at(1), events(1)...)
		n.expectRevisions(t, s, 2)
	})
	t.Run("an append of nothing brings a stream back", func(t *testing.T) {
		s := fresh("remove")
		n.mustAppend(t, s, none, events(2)...)
		n.mustDelete(t, s, anyRev)
		n.mustAppend(t, s, anyRev)
		if es, err := n.read(t, s, esdb.ReadStreamOptions{}, noLimit); err != nil || len(es) != 0 {
			t.Errorf("want an empty stream: %v %v", revisions(es), err)
		}
	})
}

func testTombstone(t *testing.T, n *node) {
	testRemovals(t, n, []removalCase{
		{"new", "any", anyRev, written},
		{"new", "no stream", none, written},
		{"new", "0", at(0), wrong},
		{"three events", "any", anyRev, written},
		{"three events", "2", at(2), written},
		{"three events", "0", at(0), wrong},
		{"soft-deleted", "any", anyRev, written},
		{"tombstoned", "any", anyRev, deleted},
	}, n.tombstone)
	t.Run("nothing works afterwards", func(t *testing.T) {
		s := fresh("remove")
		n.mustAppend(t, s, none, events(1)...)
		d := n.mustTombstone(t, s, anyRev)
		for _, stream := range []string{s, "$$" + s} {
			if _, err := n.read(t, stream, esdb.ReadStreamOptions{}, 1); code(err) != esdb.ErrorCodeStreamDeleted {
				t.Errorf("read %s: %v", stream, err)
			}
		}
		if _, err := n.delete(t, s, anyRev); removal(err) != deleted {
			t.Errorf("delete: %v", err)
		}
		es, err := n.readAll(t, esdb.ReadAllOptions{From: d.Position}, 1)
		if err != nil || len(es) != 1 {
			t.Fatal(es, err)
		}
		e := es[0].Event
		if e.EventType != "$streamDeleted" || e.EventNumber != 1<<63-1 || len(e.Data) != 0 {
			t.Errorf("tombstone is %s", fmt.Sprint(e.EventType, e.EventNumber, len(e.Data)))
		}
	})
}

package contract

import (
	"fmt"
	"strings"
	"testing"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/google/uuid"
)

func testReadStream(t *testing.T, n *node) {
	s := fresh("read")
	for i := range 10 { // ten events in appends of one, two and three
		n.mustAppend(t, s, anyRev, events(1+i%3)...)
		if i == 4 {
			break
		}
	}
	n.mustAppend(t, s, at(8), events(1)...)
	forwards, backwards := esdb.Forwards, esdb.Backwards
	for _, c := range []struct {
		name  string
		dir   esdb.Direction
		from  esdb.StreamPosition
		count uint64
		want  []uint64
	}{
		{"all", forwards, esdb.Start{}, noLimit, []uint64{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}},
		{"count", forwards, esdb.Start{}, 3, []uint64{0, 1, 2}},
		{"inclusive", forwards, esdb.Revision(4), 2, []uint64{4, 5}},
		{"last", forwards, esdb.Revision(9), 5, []uint64{9}},
		{"beyond the last", forwards, esdb.Revision(10), 5, []uint64{}},
		{"back all", backwards, esdb.End{}, noLimit, []uint64{9, 8, 7, 6, 5, 4, 3, 2, 1, 0}},
		{"back count", backwards, esdb.End{}, 2, []uint64{9, 8}},
		{"back inclusive", backwards, esdb.Revision(4), 3, []uint64{4, 3, 2}},
		{"back beyond the last", backwards, esdb.Revision(99), 1, []uint64{9}},
		{"back from the start", backwards, esdb.Start{}, 5, []uint64{0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			es, err := n.read(t, s, esdb.ReadStreamOptions{Direction: c.dir, From: c.from}, c.count)
			if err != nil || fmt.Sprint(revisions(es)) != fmt.Sprint(c.want) {
				t.Errorf("%v (%v), want %v", revisions(es), err, c.want)
			}
		})
	}
	t.Run("forwards from the end", func(t *testing.T) {
		if _, err := n.read(t, s, esdb.ReadStreamOptions{From: esdb.End{}}, 1); err == nil || !strings.Contains(err.Error(), "Unexpected ReadStreamResult") {
			t.Error(err)
		}
	})
	t.Run("count zero", func(t *testing.T) {
		if _, err := n.read(t, s, esdb.ReadStreamOptions{}, 0); err == nil {
			t.Error("no error")
		}
	})
	t.Run("no such stream", func(t *testing.T) {
		for _, o := range []esdb.ReadStreamOptions{{}, {Direction: backwards, From: esdb.End{}}} {
			if _, err := n.read(t, fresh("read"), o, 1); code(err) != esdb.ErrorCodeResourceNotFound {
				t.Error(err)
			}
		}
	})
	t.Run("more than a page", func(t *testing.T) {
		long := fresh("read")
		var expected esdb.ExpectedRevision = none
		for range 9 {
			w := n.mustAppend(t, long, expected, events(333)...)
			expected = at(w.NextExpectedVersion)
		}
		for _, o := range []esdb.ReadStreamOptions{{}, {Direction: backwards, From: esdb.End{}}} {
			es, err := n.read(t, long, o, noLimit)
			if err != nil || len(es) != 9*333 {
				t.Fatal(len(es), err)
			}
			for i, e := range es {
				want := uint64(i)
				if o.Direction == backwards {
					want = 9*333 - 1 - uint64(i)
				}
				if e.Event.EventNumber != want {
					t.Fatalf("event %d is revision %d, want %d", i, e.Event.EventNumber, want)
				}
			}
		}
	})
}

func positionOf(w *esdb.WriteResult) esdb.Position {
	return esdb.Position{Commit: w.CommitPosition, Prepare: w.PreparePosition}
}

func testReadAll(t *testing.T, n *node) {
	a, b := fresh("all"), fresh("all")
	before := n.mustAppend(t, a, none, events(1)...)
	n.mustAppend(t, b, none, events(2)...)
	n.mustAppend(t, a, at(0), events(2)...)
	after := n.mustAppend(t, b, at(1), events(1)...)
	names := func(es []*esdb.ResolvedEvent) string {
		var out []string
		for _, e := range es {
			switch e.Event.StreamID {
			case a:
				out = append(out, fmt.Sprint("a", e.Event.EventNumber))
			case b:
				out = append(out, fmt.Sprint("b", e.Event.EventNumber))
			}
		}
		return strings.Join(out, " ")
	}
	for _, c := range []struct {
		name  string
		dir   esdb.Direction
		from  esdb.AllPosition
		count uint64
		want  string
	}{
		{"forwards is inclusive", esdb.Forwards, positionOf(before), noLimit, "a0 b0 b1 a1 a2 b2"},
		{"count", esdb.Forwards, positionOf(before), 3, "a0 b0 b1"},
		{"backwards is exclusive", esdb.Backwards, positionOf(after), 4, "a2 a1 b1 b0"},
		{"from the end back", esdb.Backwards, esdb.End{}, 2, "b2 a2"},
		{"forwards from the end", esdb.Forwards, esdb.End{}, 5, ""},
		{"backwards from the start", esdb.Backwards, esdb.Start{}, 5, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			es, err := n.readAll(t, esdb.ReadAllOptions{Direction: c.dir, From: c.from}, c.count)
			if err != nil || names(es) != c.want {
				t.Errorf("%q (%v), want %q", names(es), err, c.want)
			}
		})
	}
	t.Run("positions rise strictly", func(t *testing.T) {
		es, err := n.readAll(t, esdb.ReadAllOptions{From: esdb.Start{}}, 1000)
		if err != nil || len(es) == 0 {
			t.Fatal(len(es), err)
		}
		var last uint64
		for _, e := range es {
			if e.Event.Position.Commit <= last {
				t.Fatalf("%d after %d", e.Event.Position.Commit, last)
			}
			last = e.Event.Position.Commit
		}
	})
	t.Run("no position between records", func(t *testing.T) {
		p := positionOf(before)
		p.Commit, p.Prepare = p.Commit+1, p.Prepare+1
		if _, err := n.readAll(t, esdb.ReadAllOptions{From: p}, 1); err == nil {
			t.Error("read from the middle of a record")
		}
	})
	t.Run("deletion hides nothing here", func(t *testing.T) {
		s := fresh("all")
		w := n.mustAppend(t, s, none, events(2)...)
		n.mustDelete(t, s, anyRev)
		es, err := n.readAll(t, esdb.ReadAllOptions{From: positionOf(w)}, 1)
		if err != nil || len(es) != 1 || es[0].Event.StreamID != s {
			t.Error(es, err)
		}
	})
}

func testLinks(t *testing.T, n *node) {
	target, links := fresh("target"), fresh("links")
	n.mustAppend(t, target, none, events(3)...)
	link := func(data string) esdb.EventData {
		return esdb.EventData{EventID: uuid.New(), EventType: "$>", Data: []byte(data)}
	}
	n.mustAppend(t, links, none, link("1@"+target), link("9@"+target), link("x@"+target))
	es, err := n.read(t, links, esdb.ReadStreamOptions{ResolveLinkTos: true}, noLimit)
	if err != nil || len(es) != 3 {
		t.Fatal(len(es), err)
	}
	if e := es[0]; e.Event == nil || e.Event.StreamID != target || e.Event.EventNumber != 1 || e.Link == nil || e.Link.StreamID != links {
		t.Errorf("resolved: %+v", e)
	}
	if e := es[1]; e.Event != nil || e.Link == nil {
		t.Errorf("target missing: %+v", e)
	}
	if e := es[2]; e.Event == nil || e.Event.StreamID != links || e.Link != nil {
		t.Errorf("malformed: %+v", e)
	}
	es, err = n.read(t, links, esdb.ReadStreamOptions{}, 1)
	if err != nil || len(es) != 1 || es[0].Event.EventType != "$>" || es[0].Link != nil {
		t.Errorf("unresolved: %+v %v", es, err)
	}
}

package projectiontest

import (
	"context"
	"fmt"

	"pgregory.net/rapid"

	"kiroku/domain/calendar"
	"kiroku/projections"
)

// Open opens a projection on a view; the Indexer is the ledger's.
type Open func(view projections.View, index projections.Indexer) (Rebuildable, error)

// Rebuildable is a projection whose rows can be compared.
type Rebuildable interface {
	projections.Shadowing
	Rows() *projections.Rows
}

// CheckConvergence draws a history and states what every projection promises: applied at
// once, applied piece by piece with repetitions, restarts and crashes, and
// rebuilt beside the old rows, it ends with the same rows; and none of them holds a secret.
func CheckConvergence(t *rapid.T, open Open) {
	choose := func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "choice") }
	l, err := New()
	must(t, err)
	h := &History{Choose: choose}
	must(t, h.Fill(l, 20+choose(120)))
	if choose(3) == 0 {
		l.Destroy(DayKey(calendar.DayOf(Begin), "record-00"))
	}
	c, err := Read(context.Background(), l, Streams...)
	must(t, err)

	once := &Memory{}
	reference, err := open(once, l)
	must(t, err)
	must(t, c.ApplyAll(reference))
	expected := dump(t, reference)

	view, p, err := c.Wander(choose, &Memory{}, func(v projections.View) (projections.Projection, error) { return open(v, l) })
	must(t, err)
	same(t, "piece by piece", expected, dump(t, p.(Rebuildable)))
	must(t, c.ApplyAll(p))
	same(t, "applied again", expected, dump(t, p.(Rebuildable)))

	shadow, err := p.(Rebuildable).Shadow()
	must(t, err)
	must(t, c.ApplyAll(shadow))
	must(t, p.(Rebuildable).Promote(shadow))
	same(t, "rebuilt", expected, dump(t, p.(Rebuildable)))
	reopened, err := open(view, l)
	must(t, err)
	same(t, "reopened", expected, dump(t, reopened))

	found, err := Find(view, Forms(h.Secrets...)...)
	must(t, err)
	if len(found) > 0 {
		t.Fatalf("%d rows hold a secret in clear, the first is %q", len(found), found[0])
	}
}

func dump(t *rapid.T, p Rebuildable) string {
	text, err := Dump(p.Rows())
	must(t, err)
	return text
}

func same(t *rapid.T, what, expected, got string) {
	if got != expected {
		t.Fatalf("%s, the rows differ:\n%s\nexpected:\n%s", what, got, expected)
	}
}

func must(t *rapid.T, err error) {
	if err != nil {
		t.Fatal(fmt.Sprint(err))
	}
}

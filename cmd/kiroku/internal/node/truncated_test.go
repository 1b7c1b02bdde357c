package node_test

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"kiroku/cmd/kiroku/internal/node"
	"kiroku/cmd/kiroku/internal/node/nodetest"
	ends "kiroku/commands/retention"
	"kiroku/domain/inquiry"
	"kiroku/projections"
	"kiroku/projections/projectiontest"
)

// hoarding is a store that frees no space when it is asked to.
type hoarding struct{ ends.Store }

func (hoarding) Scavenge(context.Context) error { return nil }

// rows is what every read model of a core holds, once it has everything.
func rows(t *testing.T, c *nodetest.Core) map[string]string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := c.CaughtUp(ctx); err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, p := range c.Runner.Projections {
		text, err := projectiontest.Dump(p.(interface{ Rows() *projections.Rows }).Rows())
		if err != nil {
			t.Fatal(err)
		}
		all[p.Name()] = text
	}
	return all
}

func sameRows(t *testing.T, what string, want, got map[string]string) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if got[name] != want[name] {
			t.Errorf("%s, the rows of %s differ:\n%s\nwant:\n%s", what, name, got[name], want[name])
		}
	}
}

// TestStreamsThatWereTruncated: whoever comes after days have ended and streams were truncated finds the ledger in order,
// before the store has freed the space and after: a core that makes its views anew, each projection rebuilt, a core that
// takes over, one that starts with an anchor of before, and the verification.
func TestStreamsThatWereTruncated(t *testing.T) {
	k := newKeeping(t, brief, func(c *node.Config) {
		c.RetentionPorts = func(d *ends.Deps) { d.Store = hoarding{d.Store} }
	})
	first := k.today()
	for range 5 {
		k.exchange(inquiry.Provided)
	}
	k.exchange(inquiry.Notified) // lapses on the next day
	k.anchor()
	anchors := filepath.Join(k.Dir, "anchors")
	before, err := os.ReadDir(anchors)
	if err != nil || len(before) != 1 {
		t.Fatal(before, err)
	}
	anchor, err := os.ReadFile(filepath.Join(anchors, before[0].Name()))
	if err != nil {
		t.Fatal(err)
	}
	k.Turn(day)
	k.exchange(inquiry.Provided)
	k.exchange(inquiry.CannotProvide)
	k.anchor()
	k.toDue(brief, first)
	if r := k.pass(); len(r.Certified) != 1 || len(r.Truncated) == 0 {
		t.Fatalf("%+v", r)
	}
	for _, space := range []string{"hidden", "freed"} {
		if space == "freed" {
			if done, err := k.Server.Scavenge(t.Context()); err != nil || done.Events == 0 {
				t.Fatal(done, err)
			}
		}
		live := rows(t, k.core)
		for _, p := range k.core.Runner.Projections {
			if err := k.core.Runner.Rebuild(t.Context(), p.Name(), nil); err != nil {
				t.Fatalf("%s: %v", space, err)
			}
		}
		sameRows(t, space+", rebuilt", live, rows(t, k.core))
		standby := k.Open("anew, "+space, k.change...)
		sameRows(t, space+", in a new process", live, rows(t, standby))
		k.core.Stop()
		standby.WaitLead()
		k.core = standby
		k.exchange(inquiry.Provided)
		k.anchor()
		k.core.Verify()
		k.core.Stop()
		if err := os.WriteFile(filepath.Join(anchors, before[0].Name()), anchor, 0o600); err != nil {
			t.Fatal(err)
		}
		k.open() // with its views of before and an anchor that is older than the beginnings
		k.exchange(inquiry.Provided)
		beside := k.Open("beside, "+space, k.change...)
		sameRows(t, space+", beside the first", rows(t, k.core), rows(t, beside))
		beside.Stop()
	}
}

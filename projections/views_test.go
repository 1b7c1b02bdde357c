package projections_test

import (
	"errors"
	"log/slog"
	"math/rand/v2"
	"testing"

	"kiroku/adapters/views"
	"kiroku/projections"
	"kiroku/projections/dedup"
	"kiroku/projections/disclosure"
	"kiroku/projections/mediation"
	"kiroku/projections/projectiontest"
	"kiroku/projections/registry"
)

// core is the read models of a core, in one real view.
type core struct {
	view        *views.DB
	projections []projections.Projection
}

func openCore(t *testing.T, dir string, l *projectiontest.Ledger) *core {
	t.Helper()
	v, err := views.Open(dir, views.Options{Ledger: "test", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	r, err1 := registry.Open(v, l.SigningKeys())
	d, err2 := dedup.Open(v, l)
	m, err3 := mediation.Open(v)
	s, err4 := disclosure.Open(v, l)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		t.Fatal(err)
	}
	return &core{v, []projections.Projection{r, d, m, s}}
}

func (c *core) close(t *testing.T) {
	t.Helper()
	if err := c.view.Close(); err != nil {
		t.Error(err)
	}
}

func (c *core) dump(t *testing.T) string {
	t.Helper()
	all := ""
	for _, p := range c.projections {
		text, err := projectiontest.Dump(p.(projectiontest.Rebuildable).Rows())
		if err != nil {
			t.Fatal(err)
		}
		all += p.Name() + "\n" + text
	}
	return all
}

// follow runs the read models over the ledger until all is applied.
func (c *core) follow(t *testing.T, l *projectiontest.Ledger, batch int) *running {
	t.Helper()
	r := run(t, l, func(f *projections.Config) { f.Streams, f.BatchSize = projectiontest.Streams, batch }, c.projections...)
	for _, p := range c.projections {
		for _, s := range projectiontest.Streams {
			if all := l.Events(s); p.Wants(s) && len(all) > 0 {
				waitFor(t, r, p.Name(), s, all[len(all)-1].Revision+1)
			}
		}
	}
	return r
}

// TestReadModelsOnTheRealView: one history through the runner, at once, in pieces over restarts, and rebuilt: the rows
// are the same and hold no secret.
func TestReadModelsOnTheRealView(t *testing.T) {
	l, err := projectiontest.New()
	if err != nil {
		t.Fatal(err)
	}
	h := &projectiontest.History{Choose: rand.New(rand.NewPCG(7, 7)).IntN}
	pieces, whole := t.TempDir(), t.TempDir()
	for range 5 {
		if err := h.Fill(l, 300); err != nil {
			t.Fatal(err)
		}
		c := openCore(t, pieces, l)
		c.follow(t, l, 7).stop()
		c.close(t)
	}
	once := openCore(t, whole, l)
	defer once.close(t)
	once.follow(t, l, 0).stop()
	expected := once.dump(t)

	again := openCore(t, pieces, l)
	defer again.close(t)
	if got := again.dump(t); got != expected {
		t.Error("in pieces, the rows differ")
	}
	r := again.follow(t, l, 0)
	for _, p := range again.projections {
		if err := r.Rebuild(t.Context(), p.Name(), nil); err != nil {
			t.Fatal(err)
		}
	}
	r.stop()
	if got := again.dump(t); got != expected {
		t.Error("rebuilt, the rows differ")
	}
	for _, c := range []*core{once, again} {
		found, err := projectiontest.Find(c.view, projectiontest.Forms(h.Secrets...)...)
		if err != nil || len(found) > 0 {
			t.Errorf("%d rows hold a secret, %v", len(found), err)
		}
	}
}

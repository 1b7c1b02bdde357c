package projectiontest_test

import (
	"math/rand/v2"
	"testing"

	"kiroku/projections"
	"kiroku/projections/projectiontest"
)

// TestFindSeesWhatLeaks plants each secret of a history in a view, as a key and as a value:
// the search of the properties must see it.
func TestFindSeesWhatLeaks(t *testing.T) {
	l, err := projectiontest.New()
	if err != nil {
		t.Fatal(err)
	}
	h := &projectiontest.History{Choose: rand.New(rand.NewPCG(1, 2)).IntN}
	if err := h.Fill(l, 60); err != nil {
		t.Fatal(err)
	}
	if len(h.Secrets) < 10 {
		t.Fatalf("only %d secrets in the history", len(h.Secrets))
	}
	for i, form := range projectiontest.Forms(h.Secrets...) {
		for name, plant := range map[string]func(*projections.Changes){
			"key":   func(c *projections.Changes) { c.Set(append([]byte("dedup/"), form...), nil) },
			"value": func(c *projections.Changes) { c.Set([]byte("dedup/x"), append([]byte("id "), form...)) },
		} {
			view := &projectiontest.Memory{}
			var c projections.Changes
			plant(&c)
			if err := view.Commit(&c); err != nil {
				t.Fatal(err)
			}
			found, err := projectiontest.Find(view, projectiontest.Forms(h.Secrets...)...)
			if err != nil || len(found) != 1 {
				t.Errorf("secret form %d planted in a %s: found %d, %v", i, name, len(found), err)
			}
		}
	}
}

// TestHistoriesHaveEveryKind keeps the properties from passing on histories in which nothing happens.
func TestHistoriesHaveEveryKind(t *testing.T) {
	kinds := map[string]int{}
	for seed := range uint64(20) {
		h := &projectiontest.History{Choose: rand.New(rand.NewPCG(seed, 0)).IntN}
		for range 100 {
			_, f := h.Next()
			kinds[f.Type]++
		}
	}
	if len(kinds) != 8 {
		t.Errorf("%d kinds of event: %v", len(kinds), kinds)
	}
	for kind, n := range kinds {
		if n < 20 {
			t.Errorf("%s: %d of 2000", kind, n)
		}
	}
}

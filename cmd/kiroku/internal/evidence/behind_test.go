package evidence_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"kiroku/adapters/eventstore"
	"kiroku/adapters/eventstore/embedded/embeddedtest"
	"kiroku/adapters/hsm/hsmtest"
	"kiroku/cmd/kiroku/internal/node"
	"kiroku/domain/ledger"
)

// coreOnLess starts a core on stores that lack something that its newest known anchor names.
func (h *history) coreOnLess(t *testing.T) {
	for i, c := range h.chapters {
		f := embeddedtest.New(t)
		f.Config.Dir = c.store
		err := h.start(t, f, nil)
		if last := i == len(h.chapters)-1; last != (err == nil) || !last && !errors.Is(err, node.ErrStoreBehind) {
			t.Errorf("on the store as it was after chapter %d of %d: %v", i+1, len(h.chapters), err)
		}
	}
	known := map[string]ledger.AnchoredHead{}
	for _, e := range h.streams[ledger.RegistryStream] {
		if e.Type == ledger.TypeAnchor {
			a, err := ledger.DecodeAnchor(e.Data)
			if err != nil {
				t.Fatal(err)
			}
			for _, head := range a.Heads {
				known[head.Stream] = head
			}
		}
	}
	if err := h.start(t, embeddedtest.New(t), h.events); err != nil {
		t.Fatalf("on a copy of all events: %v", err)
	}
	for stream, head := range known {
		for _, left := range []uint64{head.Count - 1, 0} {
			if stream == ledger.RegistryStream && left == 0 {
				continue // a store without a ledger begins one
			}
			err := h.start(t, embeddedtest.New(t), h.with(stream, h.streams[stream][:left]))
			if !errors.Is(err, node.ErrStoreBehind) || !strings.Contains(err.Error(), "stream "+stream+" had") {
				t.Errorf("%s cut to %d of %d events: %v", stream, left, head.Count, err)
			}
		}
	}
}

// start opens a core on a store with the events given added to it.
func (h *history) start(t *testing.T, f *embeddedtest.Fixture, events []ledger.Event) error {
	t.Helper()
	server := f.Open(t)
	defer server.Close(t.Context()) //nolint:errcheck // the fixture closes it again
	store, err := eventstore.Open(eventstore.Config{ConnectionString: f.ConnectionString(server)})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	for stream, all := range split(events) {
		if err := store.Append(t.Context(), stream, 0, all); err != nil {
			t.Fatal(err)
		}
	}
	c := h.config
	c.Store, c.HSM, c.Views = store, hsmtest.Reopen(t, h.Token), filepath.Join(t.TempDir(), "views")
	n, err := node.Open(t.Context(), c)
	if err != nil {
		return err
	}
	// Without becoming the writer: the anchor must stay as it is for the next.
	if err := n.Close(t.Context()); err != nil {
		t.Error(err)
	}
	return nil
}

package demo_test

import (
	"errors"
	"io"
	"testing"
	"time"

	"kiroku/cmd/kiroku/internal/demo"
	"kiroku/cmd/kiroku/internal/node/nodetest"
)

// TestItGivesUp: a core that takes commands and never answers them does not keep the demonstration for ever.
func TestItGivesUp(t *testing.T) {
	w := nodetest.New(t)
	c := w.Lead("a")
	if err := c.CaughtUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.Proxy.HoldRequests()
	options := demo.Options{People: demo.MinPeople, Agencies: demo.MinAgencies, Inquiries: demo.MinInquiries, Patience: time.Second}
	_, err := demo.Run(t.Context(), c.Node, c.HSM, options, io.Discard)
	w.Proxy.Release()
	if !errors.Is(err, demo.ErrStuck) {
		t.Errorf("got %v, want ErrStuck", err)
	}
}

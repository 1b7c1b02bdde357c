package projections_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"kiroku/projections"
	"kiroku/projections/projectiontest"
)

// tallying counts what the metrics are told.
type tallying struct{ applied, unreadable, halted atomic.Int64 }

func (m *tallying) Applied(_, _ string, events, unreadable int) {
	m.applied.Add(int64(events))
	m.unreadable.Add(int64(unreadable))
}
func (m *tallying) Retried(string) {}
func (m *tallying) Halted(string)  { m.halted.Add(1) }

// TestLag: behind, a projection says by how much and by how long; caught up, it says so.
func TestLag(t *testing.T) {
	l := newLedger(t, map[string]int{stream: 100})
	now := start.Add(time.Hour)
	m := &tallying{}
	view := &projectiontest.Memory{}
	r := run(t, l, func(c *projections.Config) {
		c.Clock, c.Metrics = func() time.Time { return now }, m
		c.Streams = []string{stream}
	}, newTally(t, view))
	waitFor(t, r, "tally", stream, 101)
	eventually(t, func() bool { return statusOf(t, r, stream).CaughtUp })
	if s := statusOf(t, r, stream); s.State != projections.StateFollowing || s.Next != 101 || s.Behind != 0 || s.Lag != 0 || s.Err != nil {
		t.Errorf("caught up: %+v", s)
	}
	l.FailOpen(errors.New("token gone"))
	appendTo(t, l, stream, disclosures(100, 140)...)
	eventually(t, func() bool { return statusOf(t, r, stream).State == projections.StateRetrying })
	if s := statusOf(t, r, stream); s.Behind != 40 || s.Lag != time.Hour-99*time.Second || s.Err == nil || s.CaughtUp || !s.Since.Equal(now) {
		t.Errorf("behind: %+v", s)
	}
	l.FailOpen(nil)
	waitFor(t, r, "tally", stream, 141)
	if got := m.applied.Load(); got != 141 {
		t.Errorf("the metrics were told of %d events", got)
	}
	l.Destroy("day")
	appendTo(t, l, stream, disclosed(140))
	waitFor(t, r, "tally", stream, 142)
	r.stop()
	if m.unreadable.Load() != 1 || m.halted.Load() != 0 {
		t.Errorf("%d unreadable, %d halts", m.unreadable.Load(), m.halted.Load())
	}
}

// TestLagBeforeTheFirstEvent: the length of the stream is known before anything could be applied.
func TestLagBeforeTheFirstEvent(t *testing.T) {
	l := newLedger(t, map[string]int{stream: 50})
	l.FailRead(errors.New("store gone"))
	r := run(t, l, nil, newTally(t, &projectiontest.Memory{}))
	eventually(t, func() bool { return statusOf(t, r, stream).Behind == 51 })
	if s := statusOf(t, r, stream); s.Lag != -1 || s.CaughtUp {
		t.Errorf("status %+v", s)
	}
	all := r.Statuses()
	if len(all) != 1 || all[0].Name != "tally" || len(all[0].Streams) != 2 {
		t.Errorf("statuses %+v", all)
	}
}

// eventually waits for something that another goroutine brings about.
func eventually(t *testing.T, so func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for !so() {
		select {
		case <-ctx.Done():
			t.Fatal("it did not happen")
		case <-time.After(time.Millisecond):
		}
	}
}

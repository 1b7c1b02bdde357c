package projections_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"

	"kiroku/domain/event"
	"kiroku/projections"
	"kiroku/projections/projectiontest"
)

// applied opens the facts of one stream and applies them in batches of n.
func applied(t *testing.T, p *tally, n int, facts ...projectiontest.Fact) *projectiontest.Ledger {
	t.Helper()
	l := newLedger(t, nil)
	appendTo(t, l, stream, facts...)
	c, err := projectiontest.Read(t.Context(), l, stream)
	for i := 0; err == nil && i < len(c[stream]); i += n {
		err = c.Apply(p, stream, i, n)
	}
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func commandAt(i int, at time.Duration) projectiontest.Fact {
	return projectiontest.Fact{Type: event.TypeRecordsDisclosed, Time: start.Add(at), Key: "day", ID: uuid.UUID{7, byte(i)},
		Payload: event.RecordsDisclosed{Command: event.Command{ID: uuid.UUID{byte(i)}, Digest: make([]byte, 16)}, Receipt: fmt.Sprint(i)}}
}

// TestCommandsAreForgotten: a command is known for seven days at the least, and not for much longer than eight.
func TestCommandsAreForgotten(t *testing.T) {
	const day = 24 * time.Hour
	for _, n := range []int{1, 2, 100} {
		p := newTally(t, &projectiontest.Memory{})
		applied(t, p, n, commandAt(0, 0), commandAt(1, day), commandAt(2, 9*day), commandAt(3, 9*day-projections.ReferencesKept), commandAt(4, 0))
		for i, want := range []bool{false, true, true, true, false} {
			_, found, err := p.rows.Command(uuid.UUID{7, byte(i)})
			if err != nil || found != want {
				t.Errorf("in batches of %d: command %d is known: %v, %v; want %v", n, i, found, err, want)
			}
		}
	}
}

func TestGapIsRefused(t *testing.T) {
	p := newTally(t, &projectiontest.Memory{})
	l := newLedger(t, map[string]int{stream: 20})
	c, err := projectiontest.Read(t.Context(), l, stream)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Apply(p, stream, 0, 5); err != nil {
		t.Fatal(err)
	}
	if err := c.Apply(p, stream, 7, 5); !errors.Is(err, projections.ErrGap) {
		t.Errorf("a batch that begins too late: %v", err)
	}
}

// TestProjectionsShareAView: each keeps to its own rows, also where one name begins another.
func TestProjectionsShareAView(t *testing.T) {
	view := &projectiontest.Memory{}
	short, err := projections.OpenRows(view, "a")
	if err != nil {
		t.Fatal(err)
	}
	long, err := projections.OpenRows(view, "ab")
	if err != nil {
		t.Fatal(err)
	}
	p, q := &tally{rows: short}, &tally{rows: long}
	applied(t, p, 100, disclosures(0, 5)...)
	applied(t, q, 100, disclosures(0, 7)...)
	if err := short.Reset(); err != nil {
		t.Fatal(err)
	}
	expect(t, p.receipts(t), nil)
	expect(t, q.receipts(t), want(0, 7))
	at, err := short.Checkpoint(stream)
	if err != nil || at != (projections.Checkpoint{}) {
		t.Errorf("checkpoint after a reset: %+v, %v", at, err)
	}
}

// TestUnfinishedRebuildIsDropped: what a rebuild had written when the process died is gone at the next start.
func TestUnfinishedRebuildIsDropped(t *testing.T) {
	view := &projectiontest.Memory{}
	p := newTally(t, view)
	applied(t, p, 100, disclosures(0, 5)...)
	before, err := projectiontest.Find(view, []byte("receipt"))
	if err != nil {
		t.Fatal(err)
	}
	shadow, err := p.rows.Shadow()
	if err != nil {
		t.Fatal(err)
	}
	applied(t, &tally{rows: shadow}, 100, disclosures(0, 3)...)
	again := newTally(t, view)
	expect(t, again.receipts(t), want(0, 5))
	after, err := projectiontest.Find(view, []byte("receipt"))
	if err != nil || len(after) != len(before) {
		t.Errorf("%d rows are left of %d, %v", len(after), len(before), err)
	}
}

// TestCommitFailureChangesNothing: rows and position stay together.
func TestCommitFailureChangesNothing(t *testing.T) {
	view := &projectiontest.Memory{}
	p := newTally(t, view)
	l := applied(t, p, 100, disclosures(0, 5)...)
	appendTo(t, l, stream, disclosures(5, 9)...)
	c, err := projectiontest.Read(t.Context(), l, stream)
	if err != nil {
		t.Fatal(err)
	}
	broken := errors.New("disk full")
	view.Fail = func() error { return broken }
	if err := c.ApplyAll(p); !errors.Is(err, broken) {
		t.Fatalf("got %v", err)
	}
	view.Fail = nil
	at, err := p.rows.Checkpoint(stream)
	if err != nil || at.Next != 6 {
		t.Errorf("position %d, %v", at.Next, err)
	}
	expect(t, p.receipts(t), want(0, 5))
	if err := c.ApplyAll(p); err != nil {
		t.Fatal(err)
	}
	expect(t, p.receipts(t), want(0, 9))
}

func TestSealedRows(t *testing.T) {
	l := newLedger(t, map[string]int{stream: 1})
	c, err := projectiontest.Read(t.Context(), l, stream)
	if err != nil {
		t.Fatal(err)
	}
	s := c[stream][1].Sealed()
	value := projections.EncodeSealed(s)
	got, err := projections.DecodeSealed(value)
	if err != nil || string(got.Header) != string(s.Header) || string(got.Data) != string(s.Data) {
		t.Errorf("read back differently, %v", err)
	}
	for _, damaged := range [][]byte{nil, {0x80}, {5, 1}, value[:20]} {
		if _, err := projections.DecodeSealed(damaged); !errors.Is(err, projections.ErrDamaged) {
			t.Errorf("%d octets: %v", len(damaged), err)
		}
	}
}

package processes

import (
	"strings"
	"testing"
	"time"
)

// A core's clock goes back while it leads: it refuses, and leaves no event, until the clock is right.
func TestTheClockGoesBack(t *testing.T) {
	t.Parallel()
	w := withStore(t)
	c := w.start("a")
	c.leads()
	l := w.begin(4)
	l.proceeds(t)
	p, ok := l.newPerson()
	if !ok {
		t.FailNow()
	}
	turn := func(by time.Duration) {
		t.Helper()
		if a, err := c.ask(request{Kind: turns, Offset: by}, within); err != nil || a.Error != "" {
			t.Fatalf("turn the clock: %v %s", err, a.Error)
		}
	}
	for _, by := range []time.Duration{-90 * time.Second, -time.Hour} {
		turn(by)
		a, err := c.ask(request{Kind: inquires, ID: id(), Agency: "a", Provider: "b", Person: p.number, Issued: p.at["a"], Validity: time.Hour}, within)
		if err != nil || a.Outcome != "" || !a.Again || !strings.Contains(a.Error, "the clock ") {
			t.Errorf("%v back: %v %q %q", by, err, a.Outcome, a.Error)
		}
		turn(0)
		l.proceeds(t)
	}
	w.prove(l)
}

// A core with a clock that is behind cannot take over, says so, and leaves the lease to one that can.
func TestACoreWithAWrongClockStandsBack(t *testing.T) {
	t.Parallel()
	w := withStore(t)
	right := w.start("a")
	right.leads()
	l := w.begin(4)
	l.proceeds(t)
	wrong := w.start("b", func(s *settings) { s.Offset = -time.Hour })
	eventually(t, "it is there", func() bool { _, err := wrong.ask(request{Kind: asks}, within); return err == nil })
	right.kill()
	wrong.says("the clock went back")
	w.start("a").leads()
	l.proceeds(t)
	w.prove(l)
}

package node_test

import (
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"kiroku/cmd/kiroku/internal/node"
	"kiroku/cmd/kiroku/internal/node/nodetest"
	"kiroku/commands"
	ends "kiroku/commands/retention"
	"kiroku/commands/sequencer"
	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/domain/inquiry"
	"kiroku/domain/retention"
)

// near is a policy under which a day ends after a year, of which twenty days must be proven, with notice of three days.
var near = retention.Policy{Years: 1, Notice: 3, Lead: 1, LeastAnchorDays: 3, LongestGap: 7, Unproven: 345}

const eightYears = 8 * 365 * day

// begins is a core that begins with a clock that was turned since the one before it ended.
type begins struct {
	by      time.Duration // by which the clock was turned
	refused bool          // it must not lead, because the ledger is ahead of its clock
	standby bool          // the turned clock is its own: it stood by while the one before ran
}

// turned ends the core, turns the clock, and has the next begin: it must end no day, whatever it anchors.
func (k *keeping) turned(first calendar.Day, b begins) {
	k.t.Helper()
	var own atomic.Int64 // offset of the clock of a core that stands by
	other := slices.Concat(k.change, []func(*node.Config){func(c *node.Config) {
		c.Now = func() time.Time { return k.Now().Add(time.Duration(own.Load())) }
	}})
	before := strings.Count(k.Logs.String(), sequencer.ErrClockBack.Error())
	var next *nodetest.Core
	if b.standby {
		own.Store(int64(b.by))
		next = k.Open("b", other...)
		k.core.Stop()
	} else {
		k.core.Stop()
		k.Turn(b.by)
		next = k.Open("a", other...)
	}
	k.core = next
	if b.refused {
		wait(k.t, "it is refused", func() bool { return strings.Count(k.Logs.String(), sequencer.ErrClockBack.Error()) > before })
		if r, err := k.try(); !errors.Is(err, sequencer.ErrNotWriter) || next.Active() || len(r.Destroyed) > 0 || !k.hasKey(first) {
			k.t.Errorf("with a clock that is behind: %+v, %v", r, err)
		}
		if b.standby {
			k.core.Stop()
			k.open()
		}
		return
	}
	next.WaitLead()
	if b.standby {
		k.Turn(b.by)
		own.Store(0)
	}
	for range 2 {
		if err := k.unchanged(first); err != nil {
			k.t.Error(err)
		}
		k.anchor()
	}
	if !k.hasKey(first) {
		k.t.Fatalf("the key is gone after the clock was turned by %s", b.by)
	}
}

// TestAClockThatIsTurnedWhileNoCoreRuns ends no day early, in whatever steps, forward or back, and by whichever core that
// begins with it. When time has truly passed, the day ends.
func TestAClockThatIsTurnedWhileNoCoreRuns(t *testing.T) {
	for _, row := range []struct {
		name  string
		steps []begins
	}{
		{"eight years ahead", []begins{{by: eightYears}}},
		{"eight years ahead, and back until they have passed", []begins{{by: eightYears}, {by: -eightYears, refused: true}, {by: eightYears}}},
		{"a day behind", []begins{{by: -day, refused: true}, {by: day}}},
		{"six days ahead, each time", slices.Repeat([]begins{{by: 6 * day}}, 10)},
		{"a core eight years ahead takes over", []begins{{by: eightYears, standby: true}, {by: -eightYears, refused: true}, {by: eightYears}}},
		{"a core a day behind would take over", []begins{{by: -day, refused: true, standby: true}}},
	} {
		t.Run(row.name, func(t *testing.T) {
			k := newKeeping(t, near)
			first := k.today()
			k.live(1)
			k.goTo(near.AnnounceFrom(first))
			k.pass()
			k.anchor() // seven days of that are proven
			for _, b := range row.steps {
				k.turned(first, b)
			}
			proven := 7 * day
			for n := 0; ; n++ {
				r := k.pass()
				if len(r.Destroyed) > 0 {
					break
				}
				if n > 20 {
					t.Fatalf("it does not end: %+v", k.stands(first))
				}
				k.anchor()
				k.Turn(day)
				proven += day
			}
			if gained := 20*day - proven; gained > time.Duration(len(row.steps))*time.Hour+day {
				t.Errorf("it ended %s too early", gained)
			}
			k.finishes(first)
			k.core.Verify()
		})
	}
}

// TestAHoldDoesNotLapseByAClock that is turned, at a restart or while the core runs, when the last day of the order is near.
func TestAHoldDoesNotLapseByAClock(t *testing.T) {
	k := newKeeping(t, brief)
	first := k.ready(1)
	until := k.today().AddDays(2)
	k.hold(first, until)
	k.anchor()
	left := until.End().Sub(k.Now())
	held := func(when string) {
		t.Helper()
		if err := k.unchanged(first); err != nil {
			t.Errorf("%s: %v", when, err)
		}
		if s := k.stands(first); s.Stage != ends.Held || !k.hasKey(first) {
			t.Errorf("%s: %+v", when, s)
		}
	}
	const restarts = 4
	for range restarts {
		k.turned(first, begins{by: 6 * day})
		held("six days ahead")
	}
	k.core.Stop()
	k.change = append(k.change, func(c *node.Config) { c.MaxClockStep = time.Minute })
	k.open()
	k.anchor()
	k.Turn(20 * day)
	if r, err := k.try(); len(r.Destroyed) > 0 || k.stands(first).Stage != ends.Held {
		t.Errorf("turned while it runs: %+v, %v", r, err)
	}
	if err := k.core.Anchor(t.Context()); !errors.Is(err, commands.ErrClockMoved) {
		t.Errorf("a core whose clock was turned anchors: %v", err)
	}
	k.Turn(-20 * day)
	held("right again")
	k.core.Stop()
	k.change = k.change[:len(k.change)-1]
	k.open()
	for ; left > (restarts+2)*time.Hour; left -= time.Hour * 12 {
		held("before its last day is over")
		k.anchor()
		k.Turn(12 * time.Hour)
	}
	k.Turn((restarts + 2) * time.Hour)
	k.anchor()
	k.finishes(first)
}

// TestAClockThatIsTurnedWhileACoreStandsBy keeps it from taking over: what it would begin in a time to come would keep every
// core with a right clock away until then. With its clock right again, it takes over.
func TestAClockThatIsTurnedWhileACoreStandsBy(t *testing.T) {
	k := newKeeping(t, brief)
	var own atomic.Int64
	second := k.Open("b", append(slices.Clone(k.change), func(c *node.Config) {
		c.MaxClockStep = time.Minute
		c.Now = func() time.Time { return k.Now().Add(time.Duration(own.Load())) }
	})...)
	own.Store(int64(eightYears))
	k.core.Stop()
	wait(t, "it says why it does not take over", func() bool { return errors.Is(second.TakeoverFailed(), commands.ErrClockMoved) })
	for _, stream := range event.Streams(k.core.Shards) {
		for _, e := range eventsOf(second, stream) {
			if at := headerOf(t, e).Time; at.After(k.Now()) {
				t.Fatalf("%s@%d is of %s", stream, e.Revision, at)
			}
		}
	}
	own.Store(0)
	second.WaitLead()
	k.core = second
	k.exchange(inquiry.Provided)
	k.core.Verify()
}

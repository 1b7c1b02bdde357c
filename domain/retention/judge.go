package retention

import (
	"fmt"
	"time"

	"kiroku/domain/calendar"
)

// State says how far a day is from its destruction.
type State int

// The states. Only of a day that is Ready may the key be destroyed.
const (
	NotDue       State = iota // must be kept
	NotAnnounced              // due, but no anchor holds an announcement yet
	InNotice                  // due, but the notice is not over
	TimeUnproven              // due by the clock alone: the anchors do not show that the time has passed
	Held                      // due, but a legal hold covers it: overdue (期限超過)
	Ready
)

var stateNames = [...]string{"not due", "not announced", "in notice", "time unproven", "held", "ready"}

// String is the state in words.
func (s State) String() string {
	if s < 0 || int(s) >= len(stateNames) {
		return fmt.Sprintf("state %d", int(s))
	}
	return stateNames[s]
}

// MarshalText implements encoding.TextMarshaler.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Evidence is what is known of a day when it is judged.
type Evidence struct {
	Now time.Time // by the wall clock
	// Announced is the time of the first anchor that holds the announcement; zero if there is none.
	Announced time.Time
	// Anchors are the times of the anchors since then in the order of the ledger, one for each day.
	Anchors []time.Time
	// Lived is what Passed says of the anchors since the first that holds all facts of the day; 0 if there is none.
	Lived time.Duration
	Holds []Hold
}

// Verdict is the answer of Judge.
type Verdict struct {
	State    State
	Earliest calendar.Day // before which the day is not destroyed, as far as is known now; zero: never
	Hold     *Hold        // that covers the day, in any state; of several the one that holds longest
	Reason   string       // in words, for an official; names no person
}

// Judge says whether the key of a day may be destroyed.
func (p Policy) Judge(day calendar.Day, e Evidence) Verdict {
	today := calendar.DayOf(e.Now)
	due := p.Due(day)
	v := Verdict{Hold: covering(e.Holds, day, today)}
	s := p.stretch(e)
	lacking := p.lacking(day, e.Lived)
	v.Earliest = latest(due, today, p.noticed(s.begin), today.AddDays(wholeDays(lacking)))
	if v.Hold != nil {
		v.Earliest = latest(v.Earliest, v.Hold.Until.AddDays(1))
	}
	switch {
	case due.IsZero() || today.IsZero() || today.Before(due):
		v.State, v.Reason = NotDue, fmt.Sprintf("kept through %s", p.KeptThrough(day))
		v.Earliest = latest(due)
	case v.Hold != nil:
		v.State, v.Reason = Held, fmt.Sprintf("held until %s by order of %s", v.Hold.Until, v.Hold.Authority)
	case e.Announced.IsZero() || e.Announced.After(e.Now):
		v.State, v.Reason = NotAnnounced, "no anchor holds an announcement yet"
	case today.Before(p.noticed(e.Announced)):
		v.State, v.Reason = InNotice, fmt.Sprintf("announced and anchored on %s, %d full days of notice", calendar.DayOf(e.Announced), p.Notice)
	case s.flaw != "":
		v.State, v.Reason = TimeUnproven, s.flaw
	case lacking > 0:
		v.State, v.Reason = TimeUnproven, fmt.Sprintf("the anchors since the day show %d days, %d are missing: the clock was wrong, or nothing was anchored", wholeDays(e.Lived), wholeDays(lacking))
	default:
		v.State, v.Reason, v.Earliest = Ready, fmt.Sprintf("due since %s", due), due
	}
	return v
}

func latest(of ...calendar.Day) (last calendar.Day) {
	for _, d := range of {
		if d.After(last) {
			last = d
		}
	}
	return last
}

// wholeDays rounds up.
func wholeDays(d time.Duration) int { return int((d + days(1) - 1) / days(1)) }

// stretch is the end of the anchors since the announcement in which the clock went on as clocks do.
type stretch struct {
	begin time.Time // its first anchor; now, if it would begin now
	flaw  string    // why it does not prove the notice; empty: it does
}

func (p Policy) stretch(e Evidence) stretch {
	if e.Announced.IsZero() || e.Announced.After(e.Now) {
		return stretch{begin: e.Now, flaw: "not announced"}
	}
	s := stretch{begin: e.Announced}
	last, anchorDays := e.Announced, 1
	broken := ""
	for _, at := range e.Anchors {
		switch {
		case at.Equal(last): // the anchor of the announcement
		case at.Before(last):
			broken = fmt.Sprintf("the clock was set back from %s to %s", calendar.DayOf(last), calendar.DayOf(at))
			s.begin, anchorDays = at, 1
		case at.Sub(last) > p.longestGap():
			broken = fmt.Sprintf("no anchor between %s and %s", calendar.DayOf(last), calendar.DayOf(at))
			s.begin, anchorDays = at, 1
		case calendar.DayOf(at) != calendar.DayOf(last):
			anchorDays++
		}
		last = at
	}
	today := calendar.DayOf(e.Now)
	switch {
	case last.After(e.Now):
		s.begin, s.flaw = e.Now, fmt.Sprintf("the clock was set back: the last anchor is of %s", calendar.DayOf(last))
	case e.Now.Sub(last) > p.longestGap():
		s.begin, s.flaw = e.Now, fmt.Sprintf("no anchor since %s", calendar.DayOf(last))
	case today.Before(p.noticed(s.begin)):
		s.flaw = broken + "; the notice begins again there"
	case anchorDays < p.LeastAnchorDays:
		s.flaw = fmt.Sprintf("anchors on %d days since %s, %d are needed", anchorDays, calendar.DayOf(s.begin), p.LeastAnchorDays)
	}
	return s
}

// Passed returns the time that a row of anchors, in the order of the ledger, shows to have passed: the sum of the steps
// between them, each for no more than the longest gap, forward or back. What a clock set forward gains it loses when it
// is set right.
func (p Policy) Passed(anchors []time.Time) time.Duration {
	var sum time.Duration
	for i := 1; i < len(anchors); i++ {
		sum += min(max(anchors[i].Sub(anchors[i-1]), -p.longestGap()), p.longestGap())
	}
	return sum
}

// lacking is what the anchors since a day do not show of the time that must have passed, 0 if that is enough.
func (p Policy) lacking(day calendar.Day, lived time.Duration) time.Duration {
	needed := days(p.Due(day).DaysSince(day) - 1 - p.Unproven)
	return max(0, needed-max(0, lived))
}

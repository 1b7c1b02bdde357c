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

// Evidence is what is known of a day when it is judged. Proven time is the sum of what Step says of the anchors in the
// order of the ledger, and of the step from the last one to now.
type Evidence struct {
	Now time.Time // by the wall clock
	// Announced is the time of the first anchor that holds the announcement; zero if there is none.
	Announced time.Time
	// Anchors are the times of the anchors since then in the order of the ledger, one for each day.
	Anchors []time.Time
	// Proven is the proven time since the anchor of Announced.
	Proven time.Duration
	// Lived is the proven time since the end of the day, or since the anchor that first holds all its facts where nothing
	// proves that it was later; 0 if there is none.
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
	if due.IsZero() || today.IsZero() || today.Before(due) {
		v.State, v.Reason, v.Earliest = NotDue, fmt.Sprintf("kept through %s", p.KeptThrough(day)), p.expected(day, e, v.Hold, due)
		return v
	}
	v.Earliest = p.expected(day, e, v.Hold, due)
	switch flaw := p.flaw(day, e); {
	case v.Hold != nil:
		v.State, v.Reason = Held, v.Hold.words(today)
	case !e.announced():
		v.State, v.Reason = NotAnnounced, "no anchor holds an announcement yet"
	case today.Before(p.noticed(e.Announced)):
		v.State, v.Reason = InNotice, fmt.Sprintf("announced and anchored on %s, %d full days of notice", calendar.DayOf(e.Announced), p.Notice)
	case flaw != "":
		v.State, v.Reason = TimeUnproven, fmt.Sprintf("%s; expected from %s", flaw, v.Earliest)
	default:
		v.State, v.Reason, v.Earliest = Ready, fmt.Sprintf("due since %s", due), due
	}
	return v
}

// announced reports whether an anchor that is not of a time to come holds the announcement.
func (e *Evidence) announced() bool { return !e.Announced.IsZero() && !e.Announced.After(e.Now) }

// trusted is what is proven of now for the notice: the time of the anchor that holds the announcement, and what passed
// since. Without one it is now, from which a notice would count that is given at once.
func (e *Evidence) trusted() time.Time {
	if !e.announced() {
		return e.Now
	}
	return e.Announced.Add(e.Proven)
}

// lacks is the proven time that is missing before a day may end, 0 if none is: for its years, for its due day, and for
// the notice.
func (p Policy) lacks(day calendar.Day, e Evidence) (years, due, notice time.Duration) {
	now, since := e.trusted(), e.Now
	if e.announced() {
		since = e.Announced
	}
	years = days(p.Due(day).DaysSince(day)-1-p.Unproven) - max(0, e.Lived)
	due = p.Due(day).Start().Sub(now)
	notice = p.noticed(since).Start().Sub(now)
	return max(0, years), max(0, due), max(0, notice)
}

// expected returns the first day on which the day can end if from now on nothing goes wrong.
func (p Policy) expected(day calendar.Day, e Evidence, hold *Hold, due calendar.Day) calendar.Day {
	today := calendar.DayOf(e.Now)
	if due.IsZero() || today.IsZero() || today.Before(due) {
		if hold != nil && !due.IsZero() {
			return latest(due, hold.Until.AddDays(1))
		}
		return due
	}
	years, lead, notice := p.lacks(day, e)
	first := latest(due, calendar.DayOf(e.Now.Add(max(years, lead, notice))))
	if e.announced() {
		first = latest(first, today.AddDays(p.LeastAnchorDays-p.anchorDays(e)-1), p.noticed(e.Announced))
	}
	if hold != nil {
		first = latest(first, hold.Until.AddDays(1), calendar.DayOf(e.Now.Add(hold.lacks())))
	}
	return first
}

// flaw says why the anchors do not prove that the time has passed; empty: they do.
func (p Policy) flaw(day calendar.Day, e Evidence) string {
	last := e.Announced
	if n := len(e.Anchors); n > 0 {
		last = e.Anchors[n-1]
	}
	years, due, notice := p.lacks(day, e)
	switch {
	case last.After(e.Now):
		return fmt.Sprintf("the clock was set back: the last anchor is of %s", calendar.DayOf(last))
	case e.Now.Sub(last) > days(p.LongestGap):
		return fmt.Sprintf("no anchor since %s", calendar.DayOf(last))
	case max(years, due, notice) > 0 && years >= max(due, notice):
		return fmt.Sprintf("since the day %s are proven, %s are lacking: the core was off, or its clock was moved", inWords(e.Lived), inWords(years))
	case max(due, notice) > 0:
		return fmt.Sprintf("since the announcement was anchored on %s, %s are proven, %s are lacking: the core was off, or its clock was moved",
			calendar.DayOf(e.Announced), inWords(e.Proven), inWords(max(due, notice)))
	case p.anchorDays(e) < p.LeastAnchorDays:
		return fmt.Sprintf("anchors on %d days since %s, %d are needed", p.anchorDays(e), calendar.DayOf(e.Announced), p.LeastAnchorDays)
	}
	return ""
}

// anchorDays is how many different days have an anchor since the announcement, that of its own anchor included. It does not
// count further than the policy needs.
func (p Policy) anchorDays(e Evidence) int {
	seen := map[calendar.Day]bool{calendar.DayOf(e.Announced): true}
	for _, at := range e.Anchors {
		if len(seen) >= p.LeastAnchorDays {
			break
		}
		seen[calendar.DayOf(at)] = true
	}
	return len(seen)
}

func latest(of ...calendar.Day) (last calendar.Day) {
	for _, d := range of {
		if d.After(last) {
			last = d
		}
	}
	return last
}

// inWords is a stretch of time as an official reads it, rounded up to minutes.
func inWords(d time.Duration) string {
	minutes := int((max(0, d) + time.Minute - 1) / time.Minute)
	return fmt.Sprintf("%d days %02d:%02d h", minutes/(24*60), minutes/60%24, minutes%60)
}

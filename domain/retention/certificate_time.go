package retention

import (
	"fmt"
	"slices"
	"sort"
	"time"

	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/domain/ledger"
)

// tick is an anchor as a measure of the time.
type tick struct {
	revision uint64
	at       int64  // microseconds since 1970-01-01 UTC
	epoch    uint64 // in which it was written
	count    uint64 // events of the registry that it holds
	proven   time.Duration
	spent    time.Duration
	step     time.Duration // since the anchor before
}

func (t tick) moment() Moment { return Moment{At: time.UnixMicro(t.at).UTC(), Epoch: t.epoch} }

func (t tick) clock() Clock { return Clock{Moment: t.moment(), Proven: t.proven, Spent: t.spent} }

// morning is the first anchor of a Japanese calendar day, with what it holds of the streams that die with days.
type morning struct {
	tick
	counts map[string]uint64
}

// timeline is the time that the anchors prove, as Policy.Judge wants to have it: counted again from the events, by the rule
// that Clock is.
type timeline struct {
	ticks    []tick
	mornings []morning
}

// add takes the next anchor in the order of the ledger.
func (l *timeline) add(p proven, a ledger.Anchor) {
	t := tick{revision: p.revision(), at: a.Time.UnixMicro(), epoch: p.epoch}
	for _, h := range a.Heads {
		if h.Stream == event.StreamRegistry {
			t.count = h.Count
		}
	}
	if n := len(l.ticks); n > 0 {
		last := l.ticks[n-1]
		if last.revision >= t.revision {
			return // out of order, which the chain reports
		}
		now := last.clock().Pass(t.moment())
		t.step, t.count = last.clock().Step(t.moment()), max(t.count, last.count)
		t.proven, t.spent = now.Proven, now.Spent
	}
	l.ticks = append(l.ticks, t)
	if n := len(l.mornings); n > 0 && calendar.DayOf(l.mornings[n-1].moment().At) == calendar.DayOf(a.Time) {
		return
	}
	m := morning{t, map[string]uint64{}}
	for _, h := range a.Heads {
		if DiesWithDay(h.Stream) {
			m.counts[h.Stream] = h.Count
		}
	}
	l.mornings = append(l.mornings, m)
}

// holding returns the first anchor that holds an event of the registry, len(ticks) if none does.
func (l *timeline) holding(revision uint64) int {
	return sort.Search(len(l.ticks), func(i int) bool { return l.ticks[i].count > revision })
}

// last is the last anchor, zero if there is none.
func (l *timeline) last() tick {
	if n := len(l.ticks); n > 0 {
		return l.ticks[n-1]
	}
	return tick{}
}

// before returns how many anchors stand before a place in the registry.
func (l *timeline) before(revision uint64) int {
	return sort.Search(len(l.ticks), func(i int) bool { return l.ticks[i].revision >= revision })
}

// proven is the time that is proven to have passed, from the first anchor to an event.
func (l *timeline) proven(at proven) time.Duration {
	n := l.before(at.revision())
	if n == 0 {
		return 0
	}
	last := l.ticks[n-1]
	return last.proven + last.clock().Step(Moment{At: at.at, Epoch: at.epoch})
}

// order is a legal hold with where it stands.
type order struct {
	Hold
	revision uint64
	released uint64 // revision of the release that two officials approved; 0: none
}

// checkHolds reads the legal holds, and proves their releases: one that two officials did not approve before releases
// nothing.
func (c *Checker) checkHolds() {
	for _, f := range inOrder(c.holds) {
		h := Hold{ID: f.says.Hold, Reason: f.says.Reason, Authority: f.says.Authority}
		var errs [3]error
		h.From, errs[0] = calendar.Parse(f.says.From)
		h.To, errs[1] = calendar.Parse(f.says.To)
		h.Until, errs[2] = calendar.Parse(f.says.Until)
		h, err := NewHold(h)
		if err != nil || errs != [3]error{} {
			c.out.Flaws = append(c.out.Flaws, fmt.Sprintf("%s: not a hold that can be added", f.proven))
			continue
		}
		c.orders = append(c.orders, order{Hold: h, revision: f.revision()})
	}
	for _, f := range inOrder(c.releases) {
		i := slices.IndexFunc(c.orders, func(o order) bool { return o.ID == f.says.Hold && o.revision < f.revision() })
		s := c.standing(f.says.Proposal, f.revision())
		switch {
		case i < 0:
			c.out.Flaws = append(c.out.Flaws, fmt.Sprintf("%s: there is no hold %s before it", f.proven, f.says.Hold))
		case s == nil || s.Made.Kind != event.ProposalHoldRelease || string(s.Made.Hold) != string(f.says.Hold[:]) || !s.Approved():
			c.out.Flaws = append(c.out.Flaws, fmt.Sprintf("%s: two officials did not approve before that hold %s is released, so it holds on", f.proven, f.says.Hold))
		case c.orders[i].released == 0:
			c.orders[i].released = f.revision()
		}
	}
}

// holdsAt are the holds as they stood before an event.
func (c *Checker) holdsAt(at proven, passed time.Duration) (all []Hold) {
	for _, o := range c.orders {
		if o.revision >= at.revision() {
			continue
		}
		h := o.Hold
		h.Released = o.released > 0 && o.released < at.revision()
		if i := c.clock.holding(o.revision); i < c.clock.before(at.revision()) {
			anchor := c.clock.ticks[i]
			h.Shown = anchor.moment().At.Add(passed - anchor.proven)
		}
		all = append(all, h)
	}
	return all
}

// evidence is what was known of a day before an event: the anchors and holds before it. announced is the revision of the
// announcement, 0 for none.
func (c *Checker) evidence(day calendar.Day, streams []event.DayStream, announced uint64, at proven) Evidence {
	passed := c.clock.proven(at)
	e := Evidence{Now: at.at, Holds: c.holdsAt(at, passed)}
	mornings := c.clock.mornings[:sort.Search(len(c.clock.mornings), func(i int) bool { return c.clock.mornings[i].revision >= at.revision() })]
	if i := c.clock.holding(announced); announced > 0 && i < c.clock.before(at.revision()) {
		anchor := c.clock.ticks[i]
		e.Announced, e.Proven = anchor.moment().At, passed-anchor.proven
		for _, m := range mornings[sort.Search(len(mornings), func(i int) bool { return mornings[i].revision > anchor.revision }):] {
			e.Anchors = append(e.Anchors, m.moment().At)
		}
	}
	if i := holdingDay(mornings, day, streams); i < len(mornings) {
		first := mornings[i]
		e.Lived = passed - first.proven + min(first.moment().At.Sub(day.End()), max(0, first.step))
	}
	return e
}

// holdingDay returns the first anchor that holds all facts of a day; of a day of which none are known, the first after it.
func holdingDay(mornings []morning, day calendar.Day, streams []event.DayStream) int {
	return sort.Search(len(mornings), func(i int) bool {
		m := mornings[i]
		if len(streams) == 0 {
			return !m.moment().At.Before(day.End())
		}
		return !slices.ContainsFunc(streams, func(s event.DayStream) bool { return m.counts[s.Stream] < s.Next })
	})
}

// checkJudgement judges the day again by what stood in the registry before an event of its end, which what names: whether an
// order held it and, unless it was a loss, whether the anchors proved that the time had passed.
func (d *checkedDay) checkJudgement(what string, at proven, end fact[event.DayKeyDestroyed]) {
	v := d.c.policy.Judge(d.out.Day, d.c.evidence(d.out.Day, end.says.Streams, end.says.Announced, at))
	switch {
	case v.Hold != nil:
		d.flaw("%s on %s while hold %s was in force, %s", what, calendar.DayOf(at.at), v.Hold.ID, v.Hold.words(calendar.DayOf(at.at)))
	case !end.says.Lost && v.State == TimeUnproven: // what is wrong else is named by what compares the dates
		d.flaw("%s, and it was not proven that the time had passed: %s", what, v.Reason)
	}
}

// missing returns days that could have ended an hour before the last day that did, and of whose end nothing is said: their
// certificates were taken out, or they were passed over. Where events of the registry are missing, that cannot be judged,
// and every day is named that was announced, never held, and is older than the last that ended.
func (c *Checker) missing() (days []calendar.Day) {
	var last fact[event.DayKeyDestroyed]
	for _, ends := range c.destroyed {
		for _, end := range ends {
			if !end.says.Lost && end.revision() > last.revision() {
				last = end
			}
		}
	}
	announced := map[calendar.Day]uint64{}
	for at, a := range c.announced {
		for _, text := range a.says.Days {
			if day, err := calendar.Parse(text); err == nil && at < last.revision() {
				announced[day] = max(announced[day], at)
			}
		}
	}
	then := c.anHourBefore(last.proven)
	for day, at := range announced {
		if len(c.destroyed[day]) > 0 {
			continue
		}
		suspect := len(c.breaks) > 0 && day.String() < last.says.Day && !slices.ContainsFunc(c.orders, func(o order) bool { return !day.Before(o.From) && !day.After(o.To) })
		if suspect || c.policy.Judge(day, c.evidence(day, nil, at, then)).State == Ready {
			days = append(days, day)
		}
	}
	return days
}

// anHourBefore is the last anchor that is an hour older than an event, as the event it is.
func (c *Checker) anHourBefore(p proven) proven {
	ticks := c.clock.ticks[:c.clock.before(p.revision())]
	for _, t := range slices.Backward(ticks) {
		if at := t.moment().At; p.at.Sub(at) >= time.Hour {
			return proven{place: t.revision, epoch: t.epoch, at: at}
		}
	}
	return proven{}
}

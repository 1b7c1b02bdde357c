package retention_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"kiroku/domain/calendar"
	"kiroku/domain/retention"
)

// undisturbed is the evidence where nothing ever went wrong: an anchor a minute after every midnight, the announcement
// anchored in the morning of its first day.
func undisturbed(t testing.TB, d calendar.Day, now time.Time) retention.Evidence {
	t.Helper()
	p := retention.Statutory
	e := retention.Evidence{Now: now, Announced: p.AnnounceFrom(d).Start().Add(9 * time.Hour)}
	for at := d.End().Add(time.Minute); !at.After(now); at = at.Add(24 * time.Hour) {
		if at.After(e.Announced) {
			e.Anchors = append(e.Anchors, at)
		}
	}
	e.Proven, e.Lived = now.Sub(e.Announced), now.Sub(d.End())
	return e
}

// lost takes proven time away.
func lost(e *retention.Evidence, d time.Duration) { e.Proven, e.Lived = e.Proven-d, e.Lived-d }

const oneDay = 24 * time.Hour

func TestJudge(t *testing.T) {
	d := day(t, "2026-11-22")
	onDue := instant(t, "2033-11-23T00:05:00+09:00")
	hold := func(from, to, until string) retention.Hold {
		return retention.Hold{ID: uuid.UUID{1}, From: day(t, from), To: day(t, to), Until: day(t, until), Reason: "証拠保全", Authority: "東京地方裁判所"}
	}
	for _, row := range []struct {
		name     string
		change   func(*retention.Evidence)
		want     retention.State
		earliest string
		reason   string // is part of it
	}{
		{"all is well", func(*retention.Evidence) {}, retention.Ready, "2033-11-23", "due since 2033-11-23"},
		{"nobody announced it", func(e *retention.Evidence) { e.Announced, e.Anchors = time.Time{}, nil }, retention.NotAnnounced, "2033-12-24", "no anchor"},
		{"announced at a time to come", func(e *retention.Evidence) { e.Announced = e.Now.AddDate(8, 0, 0) }, retention.NotAnnounced, "2033-12-24", ""},
		{"announced a day too late", func(e *retention.Evidence) { announcedAt(t, e, "2033-10-24T00:00:00+09:00", 5) }, retention.InNotice, "2033-11-24", "2033-10-24"},
		{"announced at the last moment", func(e *retention.Evidence) { announcedAt(t, e, "2033-10-23T23:59:59+09:00", 4) }, retention.Ready, "2033-11-23", ""},
		{"no anchor since the announcement", func(e *retention.Evidence) { e.Anchors = nil }, retention.TimeUnproven, "2033-12-11", "no anchor since 2033-10-19"},
		{"anchors stopped a week and a minute ago", func(e *retention.Evidence) { e.Anchors = e.Anchors[:len(e.Anchors)-7] }, retention.TimeUnproven, "2033-11-23", "no anchor since 2033-11-16"},
		{"anchors stopped six days ago", func(e *retention.Evidence) { e.Anchors = e.Anchors[:len(e.Anchors)-6] }, retention.Ready, "2033-11-23", ""},
		{"anchors on too few days", func(e *retention.Evidence) {
			var few []time.Time
			for i := 1; i < len(e.Anchors); i += 2 {
				few = append(few, e.Anchors[i])
			}
			e.Anchors = few
		}, retention.TimeUnproven, "2033-11-24", "20 are needed"},
		{"the last anchor is of tomorrow", func(e *retention.Evidence) { e.Anchors = append(e.Anchors, e.Now.Add(oneDay)) }, retention.TimeUnproven, "2033-11-23", "set back"},
		{"off for an hour too long", func(e *retention.Evidence) { lost(e, time.Hour) }, retention.TimeUnproven, "2033-11-23", "00:55 h are lacking"},
		{"off for ten days within the notice", func(e *retention.Evidence) { lost(e, 10*oneDay) }, retention.TimeUnproven, "2033-12-03", "9 days 23:55 h are lacking"},
		{"off for ten days years before", func(e *retention.Evidence) { e.Lived -= 10 * oneDay }, retention.TimeUnproven, "2033-12-03", "expected from 2033-12-03"},
		{"off for ten days before it was recorded", func(*retention.Evidence) {}, retention.Ready, "2033-11-23", ""},
		{"the notice alone is not proven", func(e *retention.Evidence) { e.Proven -= 3 * oneDay }, retention.TimeUnproven, "2033-11-26", "since the announcement was anchored on 2033-10-19"},
		{"the anchors show six years", func(e *retention.Evidence) { lost(e, 365*oneDay) }, retention.TimeUnproven, "2034-11-23", "are lacking"},
		{"no anchor holds the day", func(e *retention.Evidence) { e.Lived = 0 }, retention.TimeUnproven, "2040-11-23", "are lacking"},
		{"held", func(e *retention.Evidence) {
			e.Holds = []retention.Hold{hold("2026-11-01", "2026-11-30", "2034-03-31")}
		}, retention.Held, "2034-04-01", "東京地方裁判所"},
		{"held to the end of today", func(e *retention.Evidence) {
			e.Holds = []retention.Hold{hold("2026-11-22", "2026-11-22", "2033-11-23")}
		}, retention.Held, "2033-11-24", ""},
		{"held until yesterday", func(e *retention.Evidence) {
			e.Holds = []retention.Hold{shown(hold("2026-11-22", "2026-11-22", "2033-11-22"), e.Now)}
		}, retention.Ready, "2033-11-23", ""},
		{"held until yesterday by a clock that went ahead", func(e *retention.Evidence) {
			e.Holds = []retention.Hold{shown(hold("2026-11-22", "2026-11-22", "2033-11-22"), e.Now.Add(-6*oneDay))}
		}, retention.Held, "2033-11-29", "not proven yet, 5 days 23:55 h are lacking"},
		{"held by an order of which the clock says that it has ended, and that no anchor holds", func(e *retention.Evidence) {
			e.Holds = []retention.Hold{hold("2026-11-22", "2026-11-22", "2033-11-22")}
		}, retention.Held, "2033-11-24", "not proven yet"},
		{"other days are held", func(e *retention.Evidence) {
			e.Holds = []retention.Hold{hold("2026-11-01", "2026-11-21", "2034-03-31"), hold("2026-11-23", "2026-12-31", "2034-03-31")}
		}, retention.Ready, "2033-11-23", ""},
		{"released", func(e *retention.Evidence) {
			h := hold("2026-11-01", "2026-11-30", "2034-03-31")
			h.Released = true
			e.Holds = []retention.Hold{h}
		}, retention.Ready, "2033-11-23", ""},
		{"of two holds the longer one", func(e *retention.Evidence) {
			e.Holds = []retention.Hold{hold("2026-11-01", "2026-11-30", "2033-12-31"), hold("2026-01-01", "2026-12-31", "2035-03-31"), hold("2026-11-01", "2026-11-30", "2034-12-31")}
		}, retention.Held, "2035-04-01", ""},
		{"held and never announced", func(e *retention.Evidence) {
			e.Announced, e.Anchors = time.Time{}, nil
			e.Holds = []retention.Hold{hold("2026-11-01", "2026-11-30", "2034-03-31")}
		}, retention.Held, "2034-04-01", ""},
		{"the day before", func(e *retention.Evidence) { e.Now = e.Now.Add(-24 * time.Hour) }, retention.NotDue, "2033-11-23", "kept through 2033-11-22"},
	} {
		t.Run(row.name, func(t *testing.T) {
			e := undisturbed(t, d, onDue)
			row.change(&e)
			v := retention.Statutory.Judge(d, e)
			if v.State != row.want || v.Earliest.String() != row.earliest || !strings.Contains(v.Reason, row.reason) {
				t.Errorf("%s from %s: %s", v.State, v.Earliest, v.Reason)
			}
			if (v.Hold != nil) != (row.want == retention.Held) {
				t.Errorf("hold %+v", v.Hold)
			}
		})
	}
}

// announcedAt has the announcement anchored later, after some of the anchors.
func announcedAt(t *testing.T, e *retention.Evidence, at string, after int) {
	e.Announced = instant(t, at)
	e.Anchors, e.Proven = e.Anchors[after:], e.Now.Sub(e.Announced)
}

func shown(h retention.Hold, at time.Time) retention.Hold {
	h.Shown = at
	return h
}

// TestEarliest: on the day that a verdict names as the earliest, and not before, the day is ready if all goes well.
func TestEarliest(t *testing.T) {
	d := day(t, "2026-11-22")
	for name, disturb := range map[string]func(*retention.Evidence){
		"none":              func(*retention.Evidence) {},
		"late notice":       func(e *retention.Evidence) { announcedAt(t, e, "2033-11-08T09:00:00+09:00", 20) },
		"off in the notice": func(e *retention.Evidence) { lost(e, 9*oneDay) },
		"off before":        func(e *retention.Evidence) { e.Lived -= 200 * oneDay },
		"no notice proven":  func(e *retention.Evidence) { e.Proven = 15 * time.Hour },
		"held": func(e *retention.Evidence) {
			e.Holds = []retention.Hold{{From: d, To: d, Until: d.AddYears(7).AddDays(5), Shown: e.Now.Add(-8 * oneDay)}}
		},
	} {
		e := undisturbed(t, d, instant(t, "2033-11-23T00:00:00+09:00"))
		disturb(&e)
		promised := retention.Statutory.Judge(d, e).Earliest
		for range 300 {
			v := retention.Statutory.Judge(d, e)
			today := calendar.DayOf(e.Now)
			if ready := v.State == retention.Ready; ready != !today.Before(promised) {
				t.Fatalf("%s: on %s %s (%s), promised for %s", name, today, v.State, v.Reason, promised)
			}
			if v.State == retention.Ready {
				break
			}
			e.Now = e.Now.Add(oneDay)
			e.Anchors = append(e.Anchors, e.Now.Add(-time.Minute))
			lost(&e, -oneDay)
			for i := range e.Holds {
				e.Holds[i].Shown = e.Holds[i].Shown.Add(oneDay)
			}
		}
	}
}

// TestAWrongClockDestroysNothing: a clock that was set forward across a restart brings an hour, and one that was set
// forward for years no more.
func TestAWrongClockDestroysNothing(t *testing.T) {
	p := retention.Statutory
	recorded, now := day(t, "2033-09-01"), instant(t, "2033-11-22T12:00:00+09:00")
	e := undisturbed(t, recorded, now)
	for name, e := range map[string]retention.Evidence{
		"eight years ahead, no announcement":  {Now: now.AddDate(8, 0, 0), Anchors: e.Anchors, Lived: e.Lived},
		"eight years ahead, announced before": {Now: now.AddDate(8, 0, 0), Announced: now.AddDate(0, -2, 0), Anchors: daily(now.AddDate(0, -2, 0), 60), Lived: e.Lived, Proven: 61 * oneDay},
		"eight years ahead, anchored once": {Now: now.AddDate(8, 0, 0), Announced: now.AddDate(0, -2, 0),
			Anchors: append(daily(now.AddDate(0, -2, 0), 60), now.AddDate(8, 0, 0)), Lived: e.Lived + time.Hour, Proven: 61*oneDay + time.Hour},
		"eight years ahead for the notice and more": {Now: now.AddDate(8, 0, 100), Announced: now.AddDate(8, 0, 0),
			Anchors: daily(now.AddDate(8, 0, 0), 100), Lived: e.Lived + 100*oneDay + time.Hour, Proven: 100 * oneDay},
		"a day back": {Now: now.AddDate(0, 0, -1), Announced: now.AddDate(0, 0, -60), Anchors: daily(now.AddDate(0, 0, -60), 60), Lived: e.Lived, Proven: 60 * oneDay},
	} {
		if v := p.Judge(recorded, e); v.State == retention.Ready {
			t.Errorf("%s: %+v", name, v)
		}
	}
	due := day(t, "2026-11-22")
	back := undisturbed(t, due, instant(t, "2033-11-23T00:05:00+09:00"))
	back.Now = back.Now.Add(-oneDay)
	if v := p.Judge(due, back); v.State != retention.NotDue {
		t.Errorf("due, and the clock set a day back: %+v", v)
	}
	overdue := undisturbed(t, due, instant(t, "2034-01-23T00:05:00+09:00"))
	overdue.Now = overdue.Now.Add(-oneDay)
	if v := p.Judge(due, overdue); v.State != retention.TimeUnproven {
		t.Errorf("overdue, and the clock set a day back: %+v", v)
	}
}

// TestFortyFiveStepsOfFiveDays: by restarts with the clock set forward by a little more each time, nothing is gained but an
// hour each.
func TestFortyFiveStepsOfFiveDays(t *testing.T) {
	p := retention.Statutory
	recorded := day(t, "2026-11-22")
	truth, ahead := recorded.End(), time.Duration(0)
	m := measure{retention.Clock{Moment: retention.Moment{At: truth, Epoch: 1}}}
	var announced, noticed time.Time
	var since []time.Time
	var atNotice time.Duration
	for n := 0; ; n++ {
		truth = truth.Add(oneDay)
		now := retention.Moment{At: truth.Add(ahead), Epoch: m.Moment.Epoch}
		if left := p.Due(recorded).Start().Sub(truth); left < 365*oneDay && n%7 == 0 && now.Epoch < 46 {
			now.Epoch++
			ahead += 5 * oneDay
			now.At = now.At.Add(5 * oneDay)
		}
		m.anchor(now)
		if p.MustAnnounce(recorded, announced, now.At) {
			announced, noticed, atNotice, since = now.At, truth, m.Proven, nil
		} else {
			since = append(since, now.At)
		}
		e := retention.Evidence{Now: now.At, Announced: announced, Anchors: since, Proven: m.Proven - atNotice, Lived: m.Proven}
		if p.Judge(recorded, e).State == retention.Ready {
			break
		}
	}
	if early := p.Due(recorded).Start().Sub(truth); early > 45*time.Hour || truth.Sub(noticed) < 28*oneDay {
		t.Errorf("ready %s early, %s after the notice", early, truth.Sub(noticed))
	}
}

// measure adds up what anchors prove.
type measure struct{ retention.Clock }

func (m *measure) anchor(at retention.Moment) { m.Clock = m.Pass(at) }

// at is what is proven if it is that moment now.
func (m measure) at(now retention.Moment) time.Duration { return m.Proven + m.Step(now) }

func daily(from time.Time, n int) (at []time.Time) {
	for i := range n {
		at = append(at, from.AddDate(0, 0, i))
	}
	return at
}

// TestAFactOfADayLongPast: recorded while the clock was seven years back, it is not destroyed for being old.
func TestAFactOfADayLongPast(t *testing.T) {
	now := instant(t, "2033-11-23T00:05:00+09:00")
	recorded := day(t, "2026-11-22")
	e := undisturbed(t, recorded, now)
	e.Lived = 40 * oneDay // the anchor that first holds it is forty days old
	v := retention.Statutory.Judge(recorded, e)
	if v.State != retention.TimeUnproven || v.Earliest.DaysSince(calendar.DayOf(now)) < 6*365 {
		t.Errorf("%+v", v)
	}
}

func TestStep(t *testing.T) {
	from := instant(t, "2026-11-22T00:00:00Z")
	for name, row := range map[string]struct {
		from, to uint64 // epochs
		moved    time.Duration
		want     time.Duration
	}{
		"a minute":                           {1, 1, time.Minute, time.Minute},
		"a week":                             {1, 1, 7 * oneDay, 7 * oneDay},
		"longer than any closing":            {1, 1, 8 * oneDay, 7 * oneDay},
		"back":                               {1, 1, -time.Hour, -time.Hour},
		"far back":                           {1, 1, -8 * oneDay, -7 * oneDay},
		"a restart within the hour":          {1, 2, 59 * time.Minute, 59 * time.Minute},
		"a restart after six days":           {1, 2, 6 * oneDay, time.Hour},
		"a restart with the clock set back":  {1, 2, -6 * oneDay, 0},
		"an older epoch":                     {2, 1, oneDay, time.Hour},
		"nobody knows who":                   {0, 0, oneDay, time.Hour},
		"somebody who does not write":        {1, 0, oneDay, time.Hour},
		"beyond what a duration can measure": {1, 1, 1<<63 - 1, 7 * oneDay},
	} {
		c := retention.Clock{Moment: retention.Moment{At: from, Epoch: row.from}}
		if got := c.Step(retention.Moment{At: from.Add(row.moved), Epoch: row.to}); got != row.want {
			t.Errorf("%s: %s", name, got)
		}
	}
	if got := (retention.Clock{}).Step(retention.Moment{At: from, Epoch: 1}); got != 0 {
		t.Errorf("before the first anchor: %s", got)
	}
}

// TestRestartsProveLittle: whoever has a core begin again and again with a clock that is set forward gains a day in all, and
// as much again when a month has passed.
func TestRestartsProveLittle(t *testing.T) {
	now := retention.Moment{At: instant(t, "2026-11-22T00:00:00Z"), Epoch: 1}
	c := retention.Clock{}.Pass(now)
	restarts := func() time.Duration {
		before := c.Proven
		for range 1000 {
			now.At, now.Epoch = now.At.Add(time.Hour), now.Epoch+1
			c = c.Pass(now)
		}
		return c.Proven - before
	}
	if got := restarts(); got != retention.AcrossAll {
		t.Errorf("a thousand restarts prove %s", got)
	}
	for range 300 { // to and fro, which is no time
		now.At = now.At.Add(time.Minute)
		c = c.Pass(now)
		now.At = now.At.Add(-time.Minute)
		c = c.Pass(now)
	}
	if got := restarts(); got != 0 {
		t.Errorf("the next thousand prove %s", got)
	}
	for range 30 {
		now.At = now.At.Add(oneDay)
		c = c.Pass(now)
	}
	if got := restarts(); got != oneDay {
		t.Errorf("a thousand after a month prove %s", got)
	}
}

func TestStatesSpeak(t *testing.T) {
	text, err := json.Marshal(map[string]retention.State{"state": retention.TimeUnproven})
	if err != nil || string(text) != `{"state":"time unproven"}` || retention.State(9).String() != "state 9" || retention.State(-1).String() != "state -1" {
		t.Errorf("%s, %v, %s", text, err, retention.State(9))
	}
}

// TestNothingIsReadyTooEarly lets time pass in a world where a core is started again with any clock, anchors are missing for
// a while, and announcements come when the clock has them come. Whatever happened, a day is ready only if it is due by the
// clock, if no hold covers it, and if the true time has passed since it was recorded, since the notice and since the
// order, less an hour for each restart, and a day and a thirtieth in all.
func TestNothingIsReadyTooEarly(t *testing.T) {
	p := retention.Policy{Years: 1, Notice: 10, Lead: 2, LeastAnchorDays: 6, LongestGap: 3}
	readies, disturbed := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		w := world{p: p, t: t, now: time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC), epoch: 1, notice: -1, held: -1}
		w.recorded = calendar.DayOf(w.now)
		w.begun = w.now
		w.anchor()
		w.holdOn = rapid.IntRange(0, 380).Draw(t, "held on day")
		w.holdFor = rapid.IntRange(-1, 60).Draw(t, "held for days")
		incidents := map[int]int{} // by day: its kind
		for range rapid.IntRange(0, 60).Draw(t, "incidents") {
			incidents[rapid.IntRange(0, 500).Draw(t, "on day")] = rapid.IntRange(0, 3).Draw(t, "kind")
		}
		for n := range 900 {
			if kind, happens := incidents[n]; happens {
				w.happens(kind)
			}
			if w.day(n) {
				readies++
				disturbed += min(1, w.restarts)
				break
			}
		}
	})
	if readies < 50 || disturbed < 20 {
		t.Errorf("only %d worlds had a day ready, %d of them with restarts: the property says little", readies, disturbed)
	}
}

type world struct {
	p        retention.Policy
	t        *rapid.T
	begun    time.Time // true time of the recording
	now      time.Time // true time
	wrong    time.Duration
	epoch    uint64
	restarts int
	closed   int // days without a core still to come
	recorded calendar.Day

	m          measure
	announced  time.Time // by the clock
	waiting    bool      // for an anchor that holds the announcement
	anchored   time.Time // by the clock
	noticed    time.Time // true time of anchored
	notice     time.Duration
	noticedIn  int // restarts before
	since      []time.Time
	holdOn     int
	holdFor    int
	hold       *retention.Hold
	held       time.Duration
	heldAt     time.Time // by the clock
	heldTruly  time.Time
	heldBefore int // restarts
}

func (w *world) clock() time.Time { return w.now.Add(w.wrong) }

func (w *world) happens(kind int) {
	w.restarts++
	w.epoch++
	switch kind {
	case 0:
		w.wrong = time.Duration(rapid.IntRange(-400, 800).Draw(w.t, "wrong by days")) * oneDay
	case 1:
		w.wrong += time.Duration(rapid.IntRange(0, 7*24).Draw(w.t, "wrong by hours more")) * time.Hour
	case 2:
		w.wrong = 0
	case 3:
		w.closed = rapid.IntRange(1, 40).Draw(w.t, "off for")
	}
}

// day lets a day pass and reports whether the day of the world is ready.
func (w *world) day(n int) bool {
	w.now = w.now.Add(oneDay)
	if w.closed > 0 {
		w.closed--
		return false
	}
	if n >= w.holdOn && w.hold == nil && w.holdFor >= 0 {
		w.hold = &retention.Hold{From: w.recorded, To: w.recorded, Until: calendar.DayOf(w.clock()).AddDays(w.holdFor)}
	}
	if w.p.MustAnnounce(w.recorded, w.announced, w.clock()) {
		w.announced, w.anchored, w.since, w.waiting = w.clock(), time.Time{}, nil, true
	}
	proven := w.m.at(w.moment())
	e := retention.Evidence{Now: w.clock(), Announced: w.anchored, Anchors: w.since, Proven: proven - w.notice, Lived: proven}
	if w.hold != nil {
		h := *w.hold
		if !w.heldAt.IsZero() {
			h.Shown = w.heldAt.Add(proven - w.held)
		}
		e.Holds = []retention.Hold{h}
	}
	if v := w.p.Judge(w.recorded, e); v.State == retention.Ready {
		w.check(v)
		return true
	}
	w.anchor()
	return false
}

func (w *world) moment() retention.Moment { return retention.Moment{At: w.clock(), Epoch: w.epoch} }

func (w *world) anchor() {
	w.m.anchor(w.moment())
	if w.waiting {
		w.anchored, w.noticed, w.notice, w.noticedIn, w.waiting = w.clock(), w.now, w.m.Proven, w.restarts, false
	} else if !w.anchored.IsZero() {
		w.since = append(w.since, w.clock())
	}
	if w.hold != nil && w.heldAt.IsZero() {
		w.heldAt, w.heldTruly, w.held, w.heldBefore = w.clock(), w.now, w.m.Proven, w.restarts
	}
}

func (w *world) check(v retention.Verdict) {
	if today := calendar.DayOf(w.clock()); today.Before(w.p.Due(w.recorded)) {
		w.t.Fatalf("ready on %s, recorded on %s", today, w.recorded)
	}
	gained := func(since time.Time, restarts int) time.Duration {
		return min(time.Duration(w.restarts-restarts)*time.Hour, retention.AcrossAll+w.now.Sub(since)/retention.EarnedBack)
	}
	if early := w.p.Due(w.recorded).Start().Sub(w.now); early > gained(w.begun, 0) {
		w.t.Fatalf("ready %s before it is due, after %d restarts: %+v", early, w.restarts, v)
	}
	lacks := func(since time.Time, passed time.Duration, restarts int) bool {
		return w.now.Sub(since) < passed-gained(since, restarts)
	}
	if lacks(w.noticed, time.Duration(w.p.Notice)*oneDay, w.noticedIn) || 1+len(w.since) < w.p.LeastAnchorDays {
		w.t.Fatalf("ready %s after the announcement was anchored, with %d anchors since", w.now.Sub(w.noticed), len(w.since))
	}
	if w.hold != nil && (w.heldAt.IsZero() || lacks(w.heldTruly, w.hold.Until.End().Sub(w.heldAt), w.heldBefore)) {
		w.t.Fatalf("ready %s after it was held for %d days", w.now.Sub(w.heldTruly), w.holdFor)
	}
}

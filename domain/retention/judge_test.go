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
	var all []time.Time
	for at := d.End().Add(time.Minute); !at.After(now); at = at.Add(24 * time.Hour) {
		all = append(all, at)
		if at.After(e.Announced) {
			e.Anchors = append(e.Anchors, at)
		}
	}
	e.Lived = p.Passed(all)
	return e
}

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
		{"announced a day too late", func(e *retention.Evidence) {
			e.Announced = instant(t, "2033-10-24T00:00:00+09:00")
			e.Anchors = e.Anchors[5:]
		}, retention.InNotice, "2033-11-24", "2033-10-24"},
		{"announced at the last moment", func(e *retention.Evidence) {
			e.Announced = instant(t, "2033-10-23T23:59:59+09:00")
			e.Anchors = e.Anchors[4:]
		}, retention.Ready, "2033-11-23", ""},
		{"no anchor since the announcement", func(e *retention.Evidence) { e.Anchors = nil }, retention.TimeUnproven, "2033-12-24", "no anchor since 2033-10-19"},
		{"anchors stopped a week and a minute ago", func(e *retention.Evidence) { e.Anchors = e.Anchors[:len(e.Anchors)-7] }, retention.TimeUnproven, "2033-12-24", "no anchor since 2033-11-16"},
		{"anchors stopped six days ago", func(e *retention.Evidence) { e.Anchors = e.Anchors[:len(e.Anchors)-6] }, retention.Ready, "2033-11-23", ""},
		{"closed for eight days in between", func(e *retention.Evidence) { e.Anchors = append(e.Anchors[:10:10], e.Anchors[17:]...) }, retention.TimeUnproven, "2033-12-07", "no anchor between 2033-10-29 and 2033-11-06"},
		{"closed for seven days in between", func(e *retention.Evidence) { e.Anchors = append(e.Anchors[:10:10], e.Anchors[16:]...) }, retention.Ready, "2033-11-23", ""},
		{"anchors on too few days", func(e *retention.Evidence) {
			var few []time.Time
			for i := 1; i < len(e.Anchors); i += 2 {
				few = append(few, e.Anchors[i])
			}
			e.Anchors = few
		}, retention.TimeUnproven, "2033-11-23", "20 are needed"},
		{"the last anchor is of tomorrow", func(e *retention.Evidence) { e.Anchors = append(e.Anchors, e.Now.Add(24*time.Hour)) }, retention.TimeUnproven, "2033-12-24", "set back"},
		{"the clock was set back in between", func(e *retention.Evidence) { e.Anchors[5], e.Anchors[6] = e.Anchors[6], e.Anchors[5] }, retention.TimeUnproven, "2033-11-25", "set back"},
		{"the anchors show six years", func(e *retention.Evidence) { e.Lived -= 365 * 24 * time.Hour }, retention.TimeUnproven, "2034-05-24", "are missing"},
		{"half a year without anchors", func(e *retention.Evidence) { e.Lived -= 182 * 24 * time.Hour }, retention.Ready, "2033-11-23", ""},
		{"no anchor holds the day", func(e *retention.Evidence) { e.Lived = 0 }, retention.TimeUnproven, "2040-05-24", "are missing"},
		{"held", func(e *retention.Evidence) {
			e.Holds = []retention.Hold{hold("2026-11-01", "2026-11-30", "2034-03-31")}
		}, retention.Held, "2034-04-01", "東京地方裁判所"},
		{"held to the end of today", func(e *retention.Evidence) {
			e.Holds = []retention.Hold{hold("2026-11-22", "2026-11-22", "2033-11-23")}
		}, retention.Held, "2033-11-24", ""},
		{"held until yesterday", func(e *retention.Evidence) {
			e.Holds = []retention.Hold{hold("2026-11-22", "2026-11-22", "2033-11-22")}
		}, retention.Ready, "2033-11-23", ""},
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

// TestEarliest: on the day that a verdict names as the earliest, and not before, the day is ready if all goes well.
func TestEarliest(t *testing.T) {
	d := day(t, "2026-11-22")
	for name, disturb := range map[string]func(*retention.Evidence){
		"none":           func(*retention.Evidence) {},
		"late notice":    func(e *retention.Evidence) { e.Announced = e.Announced.AddDate(0, 0, 20); e.Anchors = e.Anchors[20:] },
		"closed":         func(e *retention.Evidence) { e.Anchors = append(e.Anchors[:5:5], e.Anchors[15:]...) },
		"lost anchors":   func(e *retention.Evidence) { e.Lived -= 200 * 24 * time.Hour },
		"clock set back": func(e *retention.Evidence) { e.Anchors = append(e.Anchors, e.Anchors[len(e.Anchors)-9:]...) },
	} {
		e := undisturbed(t, d, instant(t, "2033-11-23T00:05:00+09:00"))
		disturb(&e)
		promised := retention.Statutory.Judge(d, e).Earliest
		for range 200 {
			v := retention.Statutory.Judge(d, e)
			today := calendar.DayOf(e.Now)
			if ready := v.State == retention.Ready; ready != !today.Before(promised) {
				t.Fatalf("%s: on %s %s (%s), promised for %s", name, today, v.State, v.Reason, promised)
			}
			if v.State == retention.Ready {
				break
			}
			e.Now = e.Now.Add(24 * time.Hour)
			e.Anchors = append(e.Anchors, e.Now.Add(-time.Minute))
			e.Lived += 24 * time.Hour
		}
	}
}

// TestAWrongClockDestroysNothing tries every day of the ledger at clocks that are wrong by years and by a day.
func TestAWrongClockDestroysNothing(t *testing.T) {
	p := retention.Statutory
	recorded, now := day(t, "2033-09-01"), instant(t, "2033-11-22T12:00:00+09:00")
	e := undisturbed(t, recorded, now)
	for name, e := range map[string]retention.Evidence{
		"eight years ahead, no announcement":        {Now: now.AddDate(8, 0, 0), Anchors: e.Anchors, Lived: e.Lived},
		"eight years ahead, announced before":       {Now: now.AddDate(8, 0, 0), Announced: now.AddDate(0, -2, 0), Anchors: daily(now.AddDate(0, -2, 0), 60), Lived: e.Lived},
		"eight years ahead, anchored once":          {Now: now.AddDate(8, 0, 0), Announced: now.AddDate(0, -2, 0), Anchors: append(daily(now.AddDate(0, -2, 0), 60), now.AddDate(8, 0, 0)), Lived: e.Lived + 7*24*time.Hour},
		"eight years ahead for the notice and more": {Now: now.AddDate(8, 0, 100), Announced: now.AddDate(8, 0, 0), Anchors: daily(now.AddDate(8, 0, 0), 100), Lived: e.Lived + 107*24*time.Hour},
		"a day back": {Now: now.AddDate(0, 0, -1), Announced: now.AddDate(0, 0, -60), Anchors: daily(now.AddDate(0, 0, -60), 60), Lived: e.Lived},
	} {
		if v := p.Judge(recorded, e); v.State == retention.Ready {
			t.Errorf("%s: %+v", name, v)
		}
	}
	due := day(t, "2026-11-22")
	back := undisturbed(t, due, instant(t, "2033-11-23T00:05:00+09:00"))
	back.Now = back.Now.Add(-24 * time.Hour)
	if v := p.Judge(due, back); v.State != retention.NotDue {
		t.Errorf("due, and the clock set a day back: %+v", v)
	}
	overdue := undisturbed(t, due, instant(t, "2034-01-23T00:05:00+09:00"))
	overdue.Now = overdue.Now.Add(-24 * time.Hour)
	if v := p.Judge(due, overdue); v.State != retention.TimeUnproven {
		t.Errorf("overdue, and the clock set a day back: %+v", v)
	}
}

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
	e.Lived = retention.Statutory.Passed(daily(now.AddDate(0, 0, -40), 40)) // the anchor that first holds it is forty days old
	v := retention.Statutory.Judge(recorded, e)
	if v.State != retention.TimeUnproven || v.Earliest.DaysSince(calendar.DayOf(now)) < 6*365 {
		t.Errorf("%+v", v)
	}
}

func TestPassed(t *testing.T) {
	from := instant(t, "2026-11-22T00:00:00Z")
	at := func(days ...int) (all []time.Time) {
		for _, n := range days {
			all = append(all, from.AddDate(0, 0, n))
		}
		return all
	}
	for name, row := range map[string]struct {
		anchors []time.Time
		days    int
	}{
		"none":                        {nil, 0},
		"one":                         {at(0), 0},
		"each day":                    {at(0, 1, 2, 3), 3},
		"a week's closing":            {at(0, 1, 8, 9), 9},
		"a month's closing":           {at(0, 1, 31, 32), 9},
		"forward and right again":     {at(0, 1, 3000, 3001, 3, 4), 3},
		"forward for a long time":     {at(0, 3000, 3010, 3020), 21},
		"back and right again":        {at(100, 101, 1, 2, 104, 105), 3},
		"to and fro":                  {at(0, 6, 0, 6, 0, 6, 1), 1},
		"at the beginning of the era": {[]time.Time{{}, from}, 7},
	} {
		if got := retention.Statutory.Passed(row.anchors); got != time.Duration(row.days)*24*time.Hour {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func TestStatesSpeak(t *testing.T) {
	text, err := json.Marshal(map[string]retention.State{"state": retention.TimeUnproven})
	if err != nil || string(text) != `{"state":"time unproven"}` || retention.State(9).String() != "state 9" || retention.State(-1).String() != "state -1" {
		t.Errorf("%s, %v, %s", text, err, retention.State(9))
	}
}

// TestNothingIsReadyTooEarly lets time pass in a world where the clock is moved at will, anchors are missing for a while and
// announcements come when the clock has them come. Whatever happened, a day is ready only if it is due by the clock, if the
// notice was anchored long enough, if no hold covers it, and if the true time has passed, less what is forgiven.
func TestNothingIsReadyTooEarly(t *testing.T) {
	p := retention.Policy{Years: 1, Notice: 10, Lead: 2, LeastAnchorDays: 6, LongestGap: 3, Unproven: 30}
	readies := 0
	rapid.Check(t, func(t *rapid.T) {
		w := world{p: p, t: t, now: time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)}
		w.recorded = calendar.DayOf(w.clock())
		if rapid.IntRange(0, 3).Draw(t, "recorded by a wrong clock") == 0 {
			w.recorded = w.recorded.AddDays(rapid.IntRange(-800, 800).Draw(t, "recorded"))
		}
		w.begun = w.now
		if rapid.IntRange(0, 3).Draw(t, "held") == 0 {
			from := w.recorded.AddDays(rapid.IntRange(-2, 1).Draw(t, "from"))
			w.holds = []retention.Hold{{From: from, To: from.AddDays(1), Until: p.Due(w.recorded).AddDays(rapid.IntRange(-5, 40).Draw(t, "until"))}}
		}
		incidents := map[int]int{} // by day: its kind
		for range rapid.IntRange(0, 4).Draw(t, "incidents") {
			incidents[rapid.IntRange(0, 600).Draw(t, "on day")] = rapid.IntRange(0, 2).Draw(t, "kind")
		}
		for n := range 600 {
			kind, happens := incidents[n]
			if happens {
				w.happens(kind)
			}
			if w.day() {
				readies++
				break
			}
		}
	})
	if readies < 20 {
		t.Errorf("only %d worlds had a day ready: the property says little", readies)
	}
}

type world struct {
	p         retention.Policy
	t         *rapid.T
	begun     time.Time // true time of the recording
	now       time.Time // true time
	wrong     time.Duration
	moved     int // how often the clock went forward by itself
	closed    int // days without anchors still to come
	recorded  calendar.Day
	announced time.Time // by the clock
	anchored  time.Time
	noticed   time.Time // true time of anchored
	since     []time.Time
	all       []time.Time
	holds     []retention.Hold
}

func (w *world) clock() time.Time { return w.now.Add(w.wrong) }

func (w *world) happens(kind int) {
	before := w.wrong
	switch kind {
	case 0:
		w.wrong = time.Duration(rapid.IntRange(-400, 800).Draw(w.t, "wrong by")) * 24 * time.Hour
	case 1:
		w.wrong = 0
	case 2:
		w.closed = rapid.IntRange(1, 40).Draw(w.t, "closed for")
	}
	if w.wrong > before {
		w.moved++
	}
}

// day lets a day pass and reports whether the day of the world is ready.
func (w *world) day() bool {
	w.now = w.now.Add(24 * time.Hour)
	if w.closed > 0 {
		w.closed--
		return false
	}
	if w.p.MustAnnounce(w.recorded, w.announced, w.clock()) {
		w.announced, w.anchored, w.since = w.clock(), time.Time{}, nil
	}
	e := retention.Evidence{Now: w.clock(), Announced: w.anchored, Anchors: w.since, Lived: w.p.Passed(w.all), Holds: w.holds}
	v := w.p.Judge(w.recorded, e)
	if v.State == retention.Ready {
		w.check(v)
		return true
	}
	w.anchor(w.clock())
	return false
}

func (w *world) anchor(at time.Time) {
	w.all = append(w.all, at)
	switch {
	case w.anchored.IsZero() && !w.announced.IsZero():
		w.anchored, w.noticed = at, w.now
	case !w.anchored.IsZero():
		w.since = append(w.since, at)
	}
}

func (w *world) check(v retention.Verdict) {
	day := 24 * time.Hour
	today := calendar.DayOf(w.clock())
	if today.Before(w.recorded.AddYears(1)) {
		w.t.Fatalf("ready on %s, recorded on %s", today, w.recorded)
	}
	if w.clock().Sub(w.anchored) < time.Duration(w.p.Notice)*day {
		w.t.Fatalf("ready at %s, anchored at %s", w.clock(), w.anchored)
	}
	for _, h := range w.holds {
		if h.Covers(w.recorded, today) {
			w.t.Fatalf("ready on %s although held: %+v", today, h)
		}
	}
	// A step forward that is no longer than the longest gap looks like a closing.
	if noticed := w.now.Sub(w.noticed); noticed < time.Duration(w.p.Notice-w.moved*w.p.LongestGap)*day || 1+len(w.since) < w.p.LeastAnchorDays {
		w.t.Fatalf("ready %s after the announcement was anchored, with %d anchors since, the clock having moved %d times", noticed, len(w.since), w.moved)
	}
	// What a clock gains by one step forward is at most the longest gap.
	forgiven := w.p.Unproven + w.p.LongestGap*(w.moved+1) + 2
	if passed := w.now.Sub(w.begun); passed < time.Duration(365-forgiven)*day {
		w.t.Fatalf("ready after %s, the clock having moved %d times: %+v", passed, w.moved, v)
	}
}

package retention_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"kiroku/domain/calendar"
	"kiroku/domain/retention"
)

func day(t testing.TB, text string) calendar.Day {
	t.Helper()
	d, err := calendar.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func instant(t testing.TB, text string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func TestWhatIsKeptHowLong(t *testing.T) {
	for _, row := range []struct{ recorded, through, due, announced string }{
		{"2026-11-22", "2033-11-22", "2033-11-23", "2033-10-19"},
		{"2026-12-31", "2033-12-31", "2034-01-01", "2033-11-27"},
		{"2027-01-31", "2034-01-31", "2034-02-01", "2033-12-28"},
		{"2027-02-28", "2034-02-28", "2034-03-01", "2034-01-25"},
		{"2027-03-01", "2034-03-01", "2034-03-02", "2034-01-26"},
		{"2027-03-31", "2034-03-31", "2034-04-01", "2034-02-25"},
		{"2027-04-30", "2034-04-30", "2034-05-01", "2034-03-27"},
		{"2024-02-27", "2031-02-27", "2031-02-28", "2031-01-24"},
		{"2024-02-28", "2031-02-28", "2031-03-01", "2031-01-25"}, // counts from 29 February, which 2031 has not
		{"2024-02-29", "2031-02-28", "2031-03-01", "2031-01-25"}, // counts from 1 March
		{"2024-03-01", "2031-03-01", "2031-03-02", "2031-01-26"},
		{"2025-02-28", "2032-02-29", "2032-03-01", "2032-01-26"}, // counts from 1 March: the leap day is within
		{"2025-03-01", "2032-03-01", "2032-03-02", "2032-01-27"},
		{"2093-02-28", "2100-02-28", "2100-03-01", "2100-01-25"}, // 2100 is no leap year
	} {
		d, p := day(t, row.recorded), retention.Statutory
		if got := p.KeptThrough(d).String(); got != row.through {
			t.Errorf("%s is kept through %s, want %s", d, got, row.through)
		}
		if got := p.Due(d).String(); got != row.due {
			t.Errorf("%s is due on %s, want %s", d, got, row.due)
		}
		if got := p.AnnounceFrom(d).String(); got != row.announced {
			t.Errorf("%s is announced from %s, want %s", d, got, row.announced)
		}
	}
}

func TestADayIsDueAtMidnightInJapan(t *testing.T) {
	p := retention.Statutory
	before, after := instant(t, "2026-11-22T14:59:59.999999Z"), instant(t, "2026-11-22T15:00:00Z")
	if a, b := p.Due(calendar.DayOf(before)), p.Due(calendar.DayOf(after)); a.String() != "2033-11-23" || b.String() != "2033-11-24" {
		t.Errorf("a microsecond around midnight in Japan: due %s and %s", a, b)
	}
	d := day(t, "2026-11-22")
	for _, row := range []struct {
		now  string
		want retention.State
	}{
		{"2033-11-22T14:59:59.999999Z", retention.NotDue},
		{"2033-11-22T15:00:00Z", retention.Ready},
		{"2033-11-22T23:59:59.999999+09:00", retention.NotDue},
		{"2033-11-23T00:00:00+09:00", retention.Ready},
	} {
		if v := p.Judge(d, undisturbed(t, d, instant(t, row.now))); v.State != row.want {
			t.Errorf("at %s: %s (%s), want %s", row.now, v.State, v.Reason, row.want)
		}
	}
}

func TestBeyondTheCalendarNothingIsDue(t *testing.T) {
	p := retention.Statutory
	for _, d := range []calendar.Day{{}, day(t, "9999-12-31"), day(t, "9993-01-01")} {
		if !p.Due(d).IsZero() || !p.AnnounceFrom(d).IsZero() {
			t.Errorf("%q is due on %s", d, p.Due(d))
		}
		e := undisturbed(t, day(t, "2026-11-22"), instant(t, "2034-01-01T00:00:00Z"))
		if v := p.Judge(d, e); v.State != retention.NotDue || !v.Earliest.IsZero() {
			t.Errorf("%q: %+v", d, v)
		}
		if p.MustAnnounce(d, time.Time{}, e.Now) {
			t.Errorf("%q is to be announced", d)
		}
	}
}

// TestTheYearsAreFull: a day is never due before seven times its date has come round, nor more than a day later.
func TestTheYearsAreFull(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := calendar.Of(2015, time.October, 5).AddDays(rapid.IntRange(0, 200_000).Draw(t, "day"))
		year, month, date := d.Date()
		naive := calendar.DayOf(time.Date(year+7, month, date, 0, 0, 0, 0, calendar.JST)) // 29 February: 1 March
		due := retention.Statutory.Due(d)
		if late := due.DaysSince(naive); late < 0 || late > 2 || late == 2 && naive.AddDays(1).String()[5:] != "02-29" {
			t.Fatalf("%s is due on %s", d, due)
		}
		if next := retention.Statutory.Due(d.AddDays(1)); next.Before(due) {
			t.Fatalf("%s is due on %s, the day after it on %s", d, due, next)
		}
	})
}

func TestWhenAnAnnouncementIsMade(t *testing.T) {
	d := day(t, "2026-11-22")
	for _, row := range []struct {
		name, announced, now string
		want                 bool
	}{
		{"a moment before the time", "", "2033-10-18T23:59:59.999999+09:00", false},
		{"at the time", "", "2033-10-19T00:00:00+09:00", true},
		{"overdue", "", "2040-01-01T00:00:00+09:00", true},
		{"announced", "2033-10-19T00:00:01+09:00", "2033-10-19T01:00:00+09:00", false},
		{"announced years ago and held", "2033-10-19T00:00:01+09:00", "2040-01-01T00:00:00+09:00", false},
		{"announced by a clock that was ahead", "2041-10-19T00:00:01+09:00", "2033-10-20T00:00:00+09:00", true},
		{"announced by a clock that was ahead, and not yet time", "2041-10-19T00:00:01+09:00", "2033-10-18T00:00:00+09:00", false},
	} {
		var announced time.Time
		if row.announced != "" {
			announced = instant(t, row.announced)
		}
		if got := retention.Statutory.MustAnnounce(d, announced, instant(t, row.now)); got != row.want {
			t.Errorf("%s: %v", row.name, got)
		}
	}
}

func TestWhatDiesWithADay(t *testing.T) {
	for stream, want := range map[string]bool{"record-00": true, "record-63": true, "audit": true, "registry": false, "vault": false, "issuance": false, "": false} {
		if retention.DiesWithDay(stream) != want {
			t.Errorf("%q dies with a day: %v", stream, !want)
		}
	}
}

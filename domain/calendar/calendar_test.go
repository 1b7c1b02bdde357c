package calendar

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"pgregory.net/rapid"
)

func day(t *testing.T, s string) Day {
	t.Helper()
	d, err := Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestTheDayChangesAtMidnightInJapan(t *testing.T) {
	for _, row := range []struct{ at, want string }{
		{"2026-11-22T14:59:59.999999999Z", "2026-11-22"},
		{"2026-11-22T15:00:00Z", "2026-11-23"},
		{"2026-11-23T00:00:00+09:00", "2026-11-23"},
		{"2026-11-22T23:59:59+09:00", "2026-11-22"},
		{"2026-11-22T09:00:00-08:00", "2026-11-23"},
		{"2024-02-28T15:00:00Z", "2024-02-29"},
		{"2024-12-31T15:00:00Z", "2025-01-01"},
		{"1969-12-31T14:59:59Z", "1969-12-31"},
		{"1969-12-31T15:00:00Z", "1970-01-01"},
		{"1951-07-01T14:59:59Z", "1951-07-01"}, // summer time of 1948–1951 is not followed
	} {
		at, err := time.Parse(time.RFC3339Nano, row.at)
		if err != nil {
			t.Fatal(err)
		}
		if got := DayOf(at).String(); got != row.want {
			t.Errorf("%s is in %s, want %s", row.at, got, row.want)
		}
	}
}

func TestPeriodsEndAsTheCivilCodeHasIt(t *testing.T) {
	for _, row := range []struct {
		from  string
		years int
		want  string
	}{
		{"2026-11-22", 7, "2033-11-22"},
		{"2026-12-31", 7, "2033-12-31"},
		{"2026-01-01", 7, "2033-01-01"},
		{"2024-02-27", 7, "2031-02-27"},
		{"2024-02-28", 7, "2031-02-28"}, // starts on 29 February, which 2031 does not have
		{"2024-02-29", 7, "2031-02-28"}, // starts on 1 March
		{"2024-02-28", 8, "2032-02-28"},
		{"2024-02-29", 8, "2032-02-29"},
		{"2025-02-28", 7, "2032-02-29"}, // starts on 1 March: the leap day is within
		{"2096-02-28", 4, "2100-02-28"}, // 2100 is no leap year
		{"2096-02-29", 4, "2100-02-28"},
	} {
		if got := day(t, row.from).PeriodEnd(row.years).String(); got != row.want {
			t.Errorf("%d years from %s end on %s, want %s", row.years, row.from, got, row.want)
		}
	}
}

func TestTheCorrespondingDayOfALeapDay(t *testing.T) {
	for _, row := range []struct {
		from  string
		years int
		want  string
	}{
		{"2024-02-29", 7, "2031-02-28"},
		{"2024-02-29", 4, "2028-02-29"},
		{"2024-02-29", -24, "2000-02-29"},
		{"2024-02-29", -1, "2023-02-28"},
		{"2024-03-31", 7, "2031-03-31"},
		{"2023-02-28", 1, "2024-02-28"},
	} {
		if got := day(t, row.from).AddYears(row.years).String(); got != row.want {
			t.Errorf("%s and %d years is %s, want %s", row.from, row.years, got, row.want)
		}
	}
}

func TestParseRefusesWhatIsNotADay(t *testing.T) {
	for _, s := range []string{
		"", "2026-2-3", "2026-02-30", "2025-02-29", "2026-13-01", "2026-00-10", "2026-01-00", "20260101", "2026/01/01",
		" 2026-01-01", "2026-01-01 ", "2026-01-01T00:00:00Z", "0000-01-01", "-001-01-01", "10000-01-01", "令和2年1月1日", "２０２６-01-01",
	} {
		if d, err := Parse(s); !errors.Is(err, ErrDay) || !d.IsZero() {
			t.Errorf("%q: %v, %v", s, d, err)
		}
	}
}

func TestTheZeroDayIsNoDay(t *testing.T) {
	var d Day
	if !d.IsZero() || d.String() != "" || !d.Start().IsZero() || !d.End().IsZero() || !d.AddDays(1).IsZero() || !d.AddYears(1).IsZero() || !d.PeriodEnd(7).IsZero() {
		t.Errorf("the zero day acts as a day: %q", d)
	}
	if !d.Before(day(t, "0001-01-01")) {
		t.Error("the zero day is not before all days")
	}
}

func TestTheCalendarEnds(t *testing.T) {
	first, last := day(t, "0001-01-01"), day(t, "9999-12-31")
	for name, d := range map[string]Day{
		"before the first":   first.AddDays(-1),
		"after the last":     last.AddDays(1),
		"years after":        last.AddYears(1),
		"years before":       first.AddYears(-1),
		"far days":           first.AddDays(1 << 40),
		"far back":           last.AddDays(-1 << 40),
		"far years":          first.AddYears(1 << 40),
		"an instant too far": DayOf(time.Date(10000, 1, 1, 0, 0, 0, 0, JST)),
		"zero time":          DayOf(time.Time{}.AddDate(-1, 0, 0)),
	} {
		if !d.IsZero() {
			t.Errorf("%s: %s", name, d)
		}
	}
}

func TestTextJSONAndCBOR(t *testing.T) {
	type document struct {
		From Day         `json:"from" cbor:"1,keyasint"`
		To   Day         `json:"to" cbor:"2,keyasint"`
		By   map[Day]int `json:"by" cbor:"-"`
	}
	in := document{From: day(t, "2026-11-22"), By: map[Day]int{day(t, "2024-02-29"): 1}}
	text, err := json.Marshal(in)
	if err != nil || string(text) != `{"from":"2026-11-22","to":"","by":{"2024-02-29":1}}` {
		t.Fatalf("%s, %v", text, err)
	}
	var out document
	if err := json.Unmarshal(text, &out); err != nil || out.From != in.From || !out.To.IsZero() || out.By[day(t, "2024-02-29")] != 1 {
		t.Errorf("%+v, %v", out, err)
	}
	data, err := cbor.Marshal(in)
	if err != nil || string(data) != "\xa2\x01\x6a2026-11-22\x02\x60" {
		t.Fatalf("%x, %v", data, err)
	}
	out = document{}
	if err := cbor.Unmarshal(data, &out); err != nil || out.From != in.From || !out.To.IsZero() {
		t.Errorf("%+v, %v", out, err)
	}
	for _, bad := range []string{`"2026-02-30"`, `20260101`, `"2026-1-1"`} {
		if err := json.Unmarshal([]byte(bad), &out.From); err == nil {
			t.Errorf("JSON %s is read as %s", bad, out.From)
		}
	}
	for _, bad := range []string{"\x6a2026-02-30", "\x78\x0a2026-01-01", "\x4a2026-01-01", "\x00", "\x7f\x6a2026-01-01\xff"} {
		if err := cbor.Unmarshal([]byte(bad), &out.From); err == nil {
			t.Errorf("CBOR %x is read as %s", bad, out.From)
		}
	}
}

func anyDay(t *rapid.T, name string) Day {
	return Day{rapid.Int32Range(1, last).Draw(t, name)}
}

func TestDayProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d, other := anyDay(t, "day"), anyDay(t, "other")
		if back, err := Parse(d.String()); err != nil || back != d {
			t.Fatalf("%s reads as %s, %v", d, back, err)
		}
		if DayOf(d.Start()) != d || DayOf(d.End().Add(-1)) != d || DayOf(d.Start().Add(-1)) == d || DayOf(d.End()) == d {
			t.Fatalf("%s does not reach from its start to its end", d)
		}
		if want := d.Start().Format(layout); d.String() != want {
			t.Fatalf("%s, want %s", d, want)
		}
		if d.Before(other) != (d.String() < other.String()) || d.After(other) != other.Before(d) || d.Compare(other) != -other.Compare(d) {
			t.Fatalf("%s and %s are not ordered as their texts are", d, other)
		}
		if other.AddDays(d.DaysSince(other)) != d {
			t.Fatalf("%s and %d days is not %s", other, d.DaysSince(other), d)
		}
	})
}

// A period never ends early: not before the same date of the last year, nor more than a day after it; and what was
// recorded later is never due earlier.
func TestPeriodProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		from := Of(1900, 1, 1).AddDays(rapid.IntRange(0, 400*365).Draw(t, "from"))
		years := rapid.IntRange(1, 30).Draw(t, "years")
		end, same := from.PeriodEnd(years), from.AddYears(years)
		if late := end.DaysSince(same); late < 0 || late > 1 {
			t.Fatalf("%d years from %s end on %s", years, from, end)
		}
		if from.AddDays(1).PeriodEnd(years).Before(end) {
			t.Fatalf("what was recorded a day after %s is due before it", from)
		}
	})
}

func TestDaysSort(t *testing.T) {
	days := []Day{day(t, "2026-11-22"), {}, day(t, "2024-02-29"), day(t, "2026-11-21")}
	slices.SortFunc(days, Day.Compare)
	if days[0] != (Day{}) || days[1].String() != "2024-02-29" || days[3].String() != "2026-11-22" {
		t.Errorf("sorted %v", days)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"2026-11-22", "2025-02-29", "9999-12-31", "0001-01-01", "x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if d, err := Parse(s); err == nil && d.String() != s {
			t.Errorf("%q is read as %s", s, d)
		}
	})
}

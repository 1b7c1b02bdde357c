package statistics_test

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"kiroku/adapters/clickhouse"
	"kiroku/adapters/clickhouse/clickhousetest"
	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/projections/projectiontest"
	"kiroku/projections/statistics"
)

// TestStatisticsEqualTheLedger counts every report from the events, by means of its own, and compares row by row.
func TestStatisticsEqualTheLedger(t *testing.T) {
	engine := clickhousetest.Start(t)
	course, _ := makeCourse(t, 7, 3000)
	follow(t.Context(), course, statistics.Open(t.Context(), engine.Open(), quick(800)), 900)
	analyst := engine.OpenAnalyst()
	whole := count(t, course, calendar.Of(2026, 1, 1), calendar.Of(2035, 12, 31))
	if len(whole.ended) < 500 || len(whole.issued) < 300 {
		t.Fatalf("the course has %d exchanges and %d issuances only", len(whole.ended), len(whole.issued))
	}
	middle := whole.ended[len(whole.ended)/2].day
	for _, period := range [][2]calendar.Day{
		{calendar.Of(2026, 1, 1), calendar.Of(2035, 12, 31)},
		{middle, middle},
		{calendar.Of(2026, 11, 23), middle},
		{calendar.Of(2026, 12, 1), calendar.Of(2026, 12, 31)}, // whole months, and with some days at either end or both
		{calendar.Of(2026, 11, 1), calendar.Of(2027, 1, 15)},
		{calendar.Of(2026, 11, 24), calendar.Of(2026, 12, 31)},
		{calendar.Of(2026, 11, 24), calendar.Of(2027, 1, 15)},
		{calendar.Of(1990, 1, 1), calendar.Of(1990, 12, 31)},
	} {
		expected := count(t, course, period[0], period[1])
		for report, rows := range map[string][]string{
			"by_month": expected.byMonth(), "by_agency": expected.byAgency(), "by_affair": expected.byAffair(), "by_outcome": expected.byOutcome(),
			"answer_times": expected.answerTimes(), "hourly_peaks": whole.hourlyPeaks(period[0], period[1]), "hours_of_day": whole.hoursOfDay(period[0], period[1]),
			"issuance_by_agency": expected.issuance(), "never_used": expected.neverUsed(),
		} {
			table, err := analyst.Report(t.Context(), report, period[0], period[1])
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, row := range table.Rows {
				got = append(got, line(row...))
			}
			if !slices.Equal(got, rows) {
				t.Errorf("%s from %v to %v is\n%s\nthe ledger says\n%s", report, period[0], period[1], strings.Join(got, "\n"), strings.Join(rows, "\n"))
			}
		}
	}
	statutory := 0
	for _, r := range clickhouse.Reports() {
		if !r.Public {
			statutory++
		}
	}
	if statutory != 9 {
		t.Errorf("there are %d reports that are not for publication, compared were 9", statutory)
	}
	secretsStayOut(t, engine)
}

// secretsStayOut shows that the facts have no column that could name a person.
func secretsStayOut(t *testing.T, engine *clickhousetest.Engine) {
	t.Helper()
	columns := rowsOf(t, engine.Open(), "SELECT name FROM system.columns WHERE database = 'statistics' AND table = 'exchanges' ORDER BY name")
	expected := []string{"affair", "answer_seconds", "day", "department", "hour", "information", "inquirer", "outcome", "procedure", "provider", "refusal_reason", "rule"}
	if !slices.Equal(columns, expected) {
		t.Errorf("exchanges have the columns %v", columns)
	}
	minutes := rowsOf(t, engine.Open(), "SELECT count() FROM statistics.exchanges WHERE toMinute(hour) + toSecond(hour) > 0")
	if minutes[0] != "0" {
		t.Errorf("%s exchanges have a time that is no hour", minutes[0])
	}
}

// counts is what the events of some days say.
type counts struct {
	ended  []ended
	issued []issued
}

type ended struct {
	day                                                         calendar.Day
	at                                                          time.Time // of the request, in Japan
	inquirer, provider, affair, information, outcome, why, rule string
	seconds                                                     int64 // -1: no answer
}

type issued struct {
	day    calendar.Day
	agency string
	again  bool
}

func count(t *testing.T, c projectiontest.Course, from, to calendar.Day) counts {
	t.Helper()
	var n counts
	for _, stream := range projectiontest.Streams {
		for _, o := range c[stream] {
			day := calendar.DayOf(o.Header.Time)
			if day.Before(from) || day.After(to) || o.Unreadable {
				continue
			}
			end := func(r event.Record, outcome, why string, at int64) {
				e := ended{day: day, at: time.UnixMicro(r.RequestedAt).In(calendar.JST), inquirer: r.Inquirer, provider: r.Provider, affair: r.Affair,
					information: r.Information, outcome: outcome, why: why, rule: r.Rule, seconds: -1}
				if at > 0 {
					e.seconds = (at - r.RequestedAt) / 1_000_000
				}
				n.ended = append(n.ended, e)
			}
			switch o.Event.Type {
			case event.TypeInquiryRefused:
				p := decode[event.InquiryRefused](t, o.Payload)
				end(p.Record, "refused", p.Reason, 0)
			case event.TypeProvisionReported:
				p := decode[event.ProvisionReported](t, o.Payload)
				end(p.Record, p.Answer, "", p.At)
			case event.TypeInquiryLapsed:
				p := decode[event.InquiryLapsed](t, o.Payload)
				end(p.Record, "lapsed", "", 0)
			case event.TypeSymbolIssued:
				n.issued = append(n.issued, issued{day, decode[event.SymbolIssued](t, o.Payload).Issuance.Agency, false})
			case event.TypeSymbolAlreadyAcquired:
				n.issued = append(n.issued, issued{day, decode[event.SymbolAlreadyAcquired](t, o.Payload).Issuance.Agency, true})
			}
		}
	}
	return n
}

func decode[T any](t *testing.T, payload []byte) T {
	t.Helper()
	v, err := event.Decode[T](payload)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

var outcomes = []string{"provided", "no-such-information", "cannot-provide", "lapsed", "refused"}

// tally counts under keys and gives the lines in the order of the keys, each followed by its counts.
type tally map[string][]int

func (y tally) add(key string, width int, at ...int) {
	if y[key] == nil {
		y[key] = make([]int, width)
	}
	for _, i := range at {
		y[key][i]++
	}
}

func (y tally) lines() (lines []string) {
	for _, key := range slices.Sorted(maps.Keys(y)) {
		lines = append(lines, key+"|"+strings.Trim(strings.ReplaceAll(fmt.Sprint(y[key]), " ", "|"), "[]"))
	}
	return lines
}

func month(d calendar.Day) string { return d.String()[:8] + "01" }

func (n counts) by(key func(ended) string) []string {
	y := tally{}
	for _, e := range n.ended {
		y.add(key(e), 6, 0, 1+slices.Index(outcomes, e.outcome))
	}
	return y.lines()
}

func (n counts) byMonth() []string { return n.by(func(e ended) string { return month(e.day) }) }

func (n counts) byAffair() []string {
	return n.by(func(e ended) string { return e.affair + "|" + e.information })
}

func (n counts) byOutcome() []string {
	y := tally{}
	for _, e := range n.ended {
		y.add(fmt.Sprint(slices.Index(outcomes, e.outcome))+"|"+e.why, 1, 0)
	}
	lines := y.lines()
	for i := range lines {
		lines[i] = outcomes[lines[i][0]-'0'] + lines[i][1:]
	}
	return lines
}

func nameOf(code string) string {
	switch code {
	case "A-000", "A-001", "A-002":
		return "見本 " + code
	}
	return ""
}

func (n counts) byAgency() []string {
	y := tally{}
	for _, e := range n.ended {
		asked := []int{0}
		switch e.outcome {
		case "provided":
			asked = append(asked, 1)
		case "refused":
			asked = append(asked, 2)
		}
		y.add(e.inquirer+"|"+nameOf(e.inquirer), 7, asked...)
		if e.outcome != "refused" {
			y.add(e.provider+"|"+nameOf(e.provider), 7, 3, map[string]int{"provided": 4, "no-such-information": 5, "cannot-provide": 5, "lapsed": 6}[e.outcome])
		}
	}
	return y.lines()
}

func (n counts) answerTimes() (lines []string) {
	times := map[string][]int64{}
	for _, e := range n.ended {
		if e.seconds >= 0 {
			times[e.affair+"|"+e.information] = append(times[e.affair+"|"+e.information], e.seconds)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(times)) {
		all := slices.Sorted(slices.Values(times[key]))
		parts := []any{key, len(all)}
		for _, q := range []float64{0.5, 0.9, 0.95, 0.99} {
			parts = append(parts, all[max(1, int(math.Ceil(q*float64(len(all)))))-1])
		}
		lines = append(lines, line(parts...))
	}
	return lines
}

func (n counts) hourlyPeaks(from, to calendar.Day) (lines []string) {
	days := map[string][]int{}
	for _, e := range n.ended {
		if day := calendar.DayOf(e.at); !day.Before(from) && !day.After(to) {
			if days[day.String()] == nil {
				days[day.String()] = make([]int, 24)
			}
			days[day.String()][e.at.Hour()]++
		}
	}
	for _, day := range slices.Sorted(maps.Keys(days)) {
		most, sum := slices.Max(days[day]), 0
		for _, c := range days[day] {
			sum += c
		}
		lines = append(lines, line(day, fmt.Sprintf("%s %02d:00:00", day, slices.Index(days[day], most)), most, sum))
	}
	return lines
}

func (n counts) hoursOfDay(from, to calendar.Day) (lines []string) {
	var hours [24]int
	for _, e := range n.ended {
		if day := calendar.DayOf(e.at); !day.Before(from) && !day.After(to) {
			hours[e.at.Hour()]++
		}
	}
	for h, c := range hours {
		if c > 0 {
			lines = append(lines, line(h, c))
		}
	}
	return lines
}

func (n counts) issuance() []string {
	y := tally{}
	for _, i := range n.issued {
		at := 0
		if i.again {
			at = 1
		}
		y.add(month(i.day)+"|"+i.agency+"|"+nameOf(i.agency), 2, at)
	}
	return y.lines()
}

// neverUsed knows the rules of registryFacts.
func (n counts) neverUsed() (lines []string) {
	if len(n.ended) == 0 && len(n.issued) == 0 {
		return nil // before the rules were valid
	}
	for _, r := range []struct {
		id, information string
		agencies        []string
	}{
		{"r-1", "住民票関係情報", []string{"A-000", "A-001"}}, {"r-2", "地方税関係情報", []string{"A-000", "A-001"}}, {"r-3", "住民票関係情報", []string{"A-002"}},
	} {
		for _, a := range r.agencies {
			used := slices.ContainsFunc(n.ended, func(e ended) bool { return e.rule == r.id && e.inquirer == a && e.outcome != "refused" })
			if !used {
				lines = append(lines, line(r.id, a, nameOf(a), "児童手当の支給", "市町村長", r.information, "番号法19条8号"))
			}
		}
	}
	return lines
}

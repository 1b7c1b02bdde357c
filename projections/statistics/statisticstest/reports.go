package statisticstest

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"kiroku/domain/calendar"
	"kiroku/domain/event"
)

// Question is which days a report is asked about, and what else its answer hangs on.
type Question struct {
	From, To  calendar.Day
	Now       time.Time // by which a month must be over to be published
	Threshold int       // counts below are not published
}

// Report counts a report. Each row is a line of its values with | between them.
func (l *Ledger) Report(name string, q Question) (rows []string, err error) {
	count, known := map[string]func(Question) []string{
		"by_month": l.byMonth, "by_agency": l.byAgency, "by_affair": l.byAffair, "by_outcome": l.byOutcome, "answer_times": l.answerTimes,
		"hourly_peaks": l.hourlyPeaks, "hours_of_day": l.hoursOfDay, "issuance_by_agency": l.issuanceByAgency, "never_used": l.neverUsed,
		"published_by_inquirer": l.publishedByInquirer, "published_by_affair": l.publishedByAffair, "published_by_outcome": l.publishedByOutcome,
		"published_issuance": l.publishedIssuance,
	}[name]
	if !known {
		return nil, fmt.Errorf("nobody counts the report %s from the events", name)
	}
	return count(q), nil
}

// Line is a row of values.
func Line(values ...any) string {
	parts := make([]string, len(values))
	for i, v := range values {
		parts[i] = fmt.Sprint(v)
	}
	return strings.Join(parts, "|")
}

var (
	outcomes = []string{"provided", "no-such-information", "cannot-provide", "lapsed", "refused"}
	results  = []string{"new", "already-acquired"}
)

func (q Question) covers(day calendar.Day) bool { return !day.Before(q.From) && !day.After(q.To) }

func (l *Ledger) in(q Question) (all []ended) {
	for _, e := range l.ended {
		if q.covers(e.day) {
			all = append(all, e)
		}
	}
	return all
}

// separator between the parts of a key sorts before everything.
const separator = "\x00"

func key(parts ...string) string { return strings.Join(parts, separator) }

// tally counts under keys and gives the rows in the order of the keys, each followed by its counts.
type tally map[string][]int

func (y tally) add(key string, width int, at ...int) {
	if y[key] == nil {
		y[key] = make([]int, width)
	}
	for _, i := range at {
		y[key][i]++
	}
}

func (y tally) rows() (rows []string) {
	for _, k := range slices.Sorted(maps.Keys(y)) {
		counts := strings.Trim(strings.ReplaceAll(fmt.Sprint(y[k]), " ", "|"), "[]")
		rows = append(rows, strings.ReplaceAll(k, separator, "|")+"|"+counts)
	}
	return rows
}

func month(d calendar.Day) string { return d.String()[:8] + "01" }

func (l *Ledger) by(q Question, of func(ended) string) []string {
	y := tally{}
	for _, e := range l.in(q) {
		y.add(of(e), 7, 0, 1+slices.Index(outcomes, e.outcome)) // the last: what a summary kept back, which is nothing here
	}
	return y.rows()
}

func (l *Ledger) byMonth(q Question) []string {
	return l.by(q, func(e ended) string { return month(e.day) })
}

func (l *Ledger) byAffair(q Question) []string {
	return l.by(q, func(e ended) string { return key(e.affair, e.information) })
}

// ordered is an enumerated value as it is sorted.
func ordered(all []string, value string) string {
	return fmt.Sprint(slices.Index(all, value), "=", value)
}

// plain takes the numbers of ordered out again.
func plain(rows []string) []string {
	for i, r := range rows {
		parts := strings.Split(r, "|")
		for p := range parts {
			if len(parts[p]) > 2 && parts[p][1] == '=' {
				parts[p] = parts[p][2:]
			}
		}
		rows[i] = strings.Join(parts, "|")
	}
	return rows
}

func (l *Ledger) byOutcome(q Question) []string {
	y := tally{}
	for _, e := range l.in(q) {
		y.add(key(ordered(outcomes, e.outcome), e.why), 1, 0)
	}
	return plain(y.rows())
}

func (l *Ledger) byAgency(q Question) []string {
	y := tally{}
	for _, e := range l.in(q) {
		asked := []int{0}
		switch e.outcome {
		case "provided":
			asked = append(asked, 1)
		case "refused":
			asked = append(asked, 2)
		}
		y.add(key(e.inquirer, l.nameOf(e.inquirer)), 7, asked...)
		if e.outcome != "refused" {
			y.add(key(e.provider, l.nameOf(e.provider)), 7, 3, map[string]int{"provided": 4, "no-such-information": 5, "cannot-provide": 5, "lapsed": 6}[e.outcome])
		}
	}
	return y.rows()
}

func (l *Ledger) answerTimes(q Question) (rows []string) {
	times := map[string][]int64{}
	for _, e := range l.in(q) {
		if e.seconds >= 0 {
			k := key(e.affair, e.information)
			times[k] = append(times[k], e.seconds)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(times)) {
		all := slices.Sorted(slices.Values(times[k]))
		values := []any{strings.ReplaceAll(k, separator, "|"), len(all)}
		for _, part := range []float64{0.5, 0.9, 0.95, 0.99} {
			values = append(values, all[max(1, int(math.Ceil(part*float64(len(all)))))-1])
		}
		rows = append(rows, Line(values...))
	}
	return rows
}

// received are the exchanges by the day of the request, whenever they ended.
func (l *Ledger) received(q Question) map[string]*[24]int {
	days := map[string]*[24]int{}
	for _, e := range l.ended {
		if day := calendar.DayOf(e.at); q.covers(day) {
			if days[day.String()] == nil {
				days[day.String()] = &[24]int{}
			}
			days[day.String()][e.at.Hour()]++
		}
	}
	return days
}

func (l *Ledger) hourlyPeaks(q Question) (rows []string) {
	days := l.received(q)
	for _, day := range slices.Sorted(maps.Keys(days)) {
		hours, sum := days[day][:], 0
		for _, n := range hours {
			sum += n
		}
		most := slices.Max(hours)
		rows = append(rows, Line(day, fmt.Sprintf("%s %02d:00:00", day, slices.Index(hours, most)), most, sum))
	}
	return rows
}

func (l *Ledger) hoursOfDay(q Question) (rows []string) {
	var hours [24]int
	for _, day := range l.received(q) {
		for h, n := range day {
			hours[h] += n
		}
	}
	for h, n := range hours {
		if n > 0 {
			rows = append(rows, Line(h, n))
		}
	}
	return rows
}

func (l *Ledger) issuanceByAgency(q Question) []string {
	y := tally{}
	for _, i := range l.issued {
		if q.covers(i.day) {
			y.add(key(month(i.day), i.agency, l.nameOf(i.agency)), 2, slices.Index(results, i.result()))
		}
	}
	return y.rows()
}

func (i issued) result() string {
	if i.again {
		return results[1]
	}
	return results[0]
}

func (l *Ledger) neverUsed(q Question) []string {
	used := map[string]bool{}
	for _, e := range l.in(q) {
		if e.outcome != "refused" {
			used[key(e.rule, e.inquirer)] = true
		}
	}
	unused := map[string]string{}
	for _, r := range l.rules {
		if r.ValidFrom > q.To.String() || r.ValidTo != "" && r.ValidTo < q.From.String() {
			continue
		}
		for code, a := range l.agencies {
			if !a.suspended && slices.Contains(a.classes, r.InquirerClass) && !used[key(r.ID, code)] {
				unused[key(r.ID, code)] = neverUsedRow(r, code, a.name)
			}
		}
	}
	return inOrder(unused)
}

func neverUsedRow(r event.RuleRow, code, name string) string {
	return Line(r.ID, code, name, r.Affair, r.ProviderClass, r.Information, r.LegalBasis)
}

func inOrder(rows map[string]string) (all []string) {
	for _, k := range slices.Sorted(maps.Keys(rows)) {
		all = append(all, rows[k])
	}
	return all
}

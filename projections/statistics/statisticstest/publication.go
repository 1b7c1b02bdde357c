package statisticstest

import (
	"time"

	"kiroku/domain/calendar"
)

// publishes reports whether a day lies in a month that is over and wholly asked about.
func (q Question) publishes(day calendar.Day) bool {
	year, m, _ := day.Date()
	first, last := calendar.Of(year, m, 1), calendar.DayOf(time.Date(year, m+1, 0, 12, 0, 0, 0, calendar.JST))
	return q.covers(first) && q.covers(last) && last.Before(calendar.DayOf(q.Now))
}

type cell struct{ month, inquirer, affair, information, outcome string }

// cells are those with enough exchanges to be published.
func (l *Ledger) cells(q Question) map[cell]int {
	cells := map[cell]int{}
	for _, e := range l.ended {
		if q.publishes(e.day) {
			cells[cell{month(e.day), e.inquirer, e.affair, e.information, e.outcome}]++
		}
	}
	for c, n := range cells {
		if n < q.Threshold {
			delete(cells, c)
		}
	}
	return cells
}

func (l *Ledger) published(q Question, of func(cell) string) []string {
	y := tally{}
	for c, n := range l.cells(q) {
		y.add(of(c), 1)
		y[of(c)][0] += n
	}
	return plain(y.rows())
}

func (l *Ledger) publishedByInquirer(q Question) []string {
	return l.published(q, func(c cell) string { return key(c.month, c.inquirer, l.nameOf(c.inquirer)) })
}

func (l *Ledger) publishedByAffair(q Question) []string {
	return l.published(q, func(c cell) string { return key(c.month, c.affair, c.information) })
}

func (l *Ledger) publishedByOutcome(q Question) []string {
	return l.published(q, func(c cell) string { return key(c.month, ordered(outcomes, c.outcome)) })
}

func (l *Ledger) publishedIssuance(q Question) []string {
	y := tally{}
	for _, i := range l.issued {
		if q.publishes(i.day) {
			y.add(key(month(i.day), i.agency, l.nameOf(i.agency), ordered(results, i.result())), 1, 0)
		}
	}
	for k, n := range y {
		if n[0] < q.Threshold {
			delete(y, k)
		}
	}
	return plain(y.rows())
}

package statistics_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"kiroku/adapters/clickhouse"
	"kiroku/adapters/clickhouse/clickhousetest"
	"kiroku/domain/calendar"
	"kiroku/projections/projectiontest"
	"kiroku/projections/statistics"
	"kiroku/projections/statistics/statisticstest"
)

// TestStatisticsEqualTheLedger has every report counted from the events and compares row by row. The events are two
// years back, so that all their months are over and are published.
func TestStatisticsEqualTheLedger(t *testing.T) {
	engine := clickhousetest.Start(t)
	begin := projectiontest.Begin
	t.Cleanup(func() { projectiontest.Begin = begin })
	projectiontest.Begin = begin.AddDate(-2, 0, 0)
	course, _ := makeCourse(t, 7, 3000)
	const threshold = 3
	store := engine.Open(func(c *clickhouse.Config) { c.Threshold = threshold })
	follow(t.Context(), course, statistics.Open(t.Context(), store, quick(800)), 900)
	l := counted(t, course)
	if exchanges, issuances := l.Size(); exchanges < 500 || issuances < 300 {
		t.Fatalf("the course has %d exchanges and %d issuances only", exchanges, issuances)
	}
	analyst := engine.OpenAnalyst()
	middle := l.Middle()
	nonempty := map[string]bool{}
	for _, period := range [][2]calendar.Day{
		{calendar.Of(2024, 1, 1), calendar.Of(2033, 12, 31)},
		{middle, middle},
		{calendar.Of(2024, 11, 23), middle},
		{calendar.Of(2024, 12, 1), calendar.Of(2024, 12, 31)}, // a whole month, and some with days at either end or both
		{calendar.Of(2024, 11, 1), calendar.Of(2025, 1, 15)},
		{calendar.Of(2024, 11, 24), calendar.Of(2024, 12, 31)},
		{calendar.Of(2024, 11, 24), calendar.Of(2025, 1, 15)},
		{calendar.Of(1990, 1, 1), calendar.Of(1990, 12, 31)},
	} {
		q := statisticstest.Question{From: period[0], To: period[1], Now: time.Now(), Threshold: threshold}
		for _, r := range clickhouse.Reports() {
			rows, err := l.Report(r.Name, q)
			if err != nil {
				t.Fatal(err)
			}
			table, err := analyst.Report(t.Context(), r.Name, q.From, q.To)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, row := range table.Rows {
				got = append(got, line(row...))
			}
			nonempty[r.Name] = nonempty[r.Name] || len(rows) > 0
			if !slices.Equal(got, rows) {
				t.Errorf("%s from %v to %v is\n%s\nthe ledger says\n%s", r.Name, q.From, q.To, strings.Join(got, "\n"), strings.Join(rows, "\n"))
			}
		}
	}
	for _, r := range clickhouse.Reports() {
		if !nonempty[r.Name] {
			t.Errorf("%s had no row in any period", r.Name)
		}
	}
	secretsStayOut(t, engine)
}

// counted reads a course.
func counted(t *testing.T, c projectiontest.Course) *statisticstest.Ledger {
	t.Helper()
	var events []statisticstest.Event
	for _, stream := range projectiontest.Streams {
		for _, o := range c[stream] {
			if !o.Unreadable {
				events = append(events, statisticstest.Event{Type: o.Event.Type, Revision: o.Event.Revision, Time: o.Header.Time, Payload: o.Payload})
			}
		}
	}
	l, err := statisticstest.Read(events)
	if err != nil {
		t.Fatal(err)
	}
	return l
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

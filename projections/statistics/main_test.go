package statistics_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"kiroku/adapters/clickhouse"
	"kiroku/domain/event"
	"kiroku/projections"
	"kiroku/projections/projectiontest"
	"kiroku/projections/statistics"
)

// makeCourse makes a ledger of about n events that begins with a registry, and opens it.
func makeCourse(t *testing.T, seed uint64, n int) (projectiontest.Course, *projectiontest.Ledger) {
	t.Helper()
	l, err := projectiontest.New()
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Append(event.StreamRegistry, registryFacts()...); err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(seed, 0))
	h := &projectiontest.History{Choose: func(n int) int {
		choice := random.IntN(n)
		if n == 6 && choice > 3 && random.IntN(60) > 0 {
			return choice - 4 // a few weeks in all, not years: each day is a part of its own of every table
		}
		return choice
	}}
	if err := h.Fill(l, n); err != nil {
		t.Fatal(err)
	}
	return open(t, l), l
}

func open(t *testing.T, l *projectiontest.Ledger) projectiontest.Course {
	t.Helper()
	c, err := projectiontest.Read(t.Context(), l, projectiontest.Streams...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// registryFacts register agencies, of which one is suspended and one is never heard of, and publish rules twice, the
// second set in two parts.
func registryFacts() (facts []projectiontest.Fact) {
	add := func(eventType string, payload any) {
		facts = append(facts, projectiontest.Fact{Type: eventType, Time: projectiontest.Begin.Add(-time.Hour), Payload: payload})
	}
	for code, class := range map[string]string{"A-000": "市町村長", "A-001": "市町村長", "A-002": "都道府県知事", "Z-999": "市町村長"} {
		add(event.TypeAgencyRegistered, event.AgencyRegistered{Code: code, Name: "見本 " + code, Classes: []string{class}, Parameter: make([]byte, 16)})
	}
	add(event.TypeAgencyStatusChanged, event.AgencyStatusChanged{Code: "Z-999", Suspended: true, Reason: "休止"})
	row := func(id, class, information string) event.RuleRow {
		return event.RuleRow{ID: id, InquirerClass: class, Affair: "児童手当の支給", ProviderClass: "市町村長", Information: information, LegalBasis: "番号法19条8号", ValidFrom: "2024-05-27"}
	}
	add(event.TypeScopeRulesPublished, event.ScopeRulesPublished{SetHash: make([]byte, 32), Part: 0, Parts: 1, Rules: []event.RuleRow{row("old", "市町村長", "住民票関係情報")}})
	add(event.TypeScopeRulesPublished, event.ScopeRulesPublished{SetHash: make([]byte, 32), Part: 0, Parts: 2, Rules: []event.RuleRow{row("r-1", "市町村長", "住民票関係情報")}})
	add(event.TypeScopeRulesPublished, event.ScopeRulesPublished{SetHash: make([]byte, 32), Part: 1, Parts: 2,
		Rules: []event.RuleRow{row("r-2", "市町村長", "地方税関係情報"), row("r-3", "都道府県知事", "住民票関係情報")}})
	return facts
}

// quick are options of a projection that does not wait between chunks.
func quick(chunk int) statistics.Options { return statistics.Options{Pace: -1, Chunk: chunk} }

// follow gives a projection every event of a course, the streams at the same time, and what failed again, as a runner does.
func follow(ctx context.Context, c projectiontest.Course, p projections.Projection, batch int) {
	var wg sync.WaitGroup
	for _, stream := range projectiontest.Streams {
		if p.Wants(stream) {
			wg.Go(func() { followStream(ctx, c, p, stream, batch) })
		}
	}
	wg.Wait()
}

func followStream(ctx context.Context, c projectiontest.Course, p projections.Projection, stream string, batch int) {
	for again := false; ctx.Err() == nil; again = true {
		if again {
			time.Sleep(20 * time.Millisecond)
		}
		at, err := p.Checkpoint(stream)
		if err != nil {
			continue
		}
		if at.Next >= uint64(len(c[stream])) {
			return
		}
		for from := int(at.Next); from < len(c[stream]) && err == nil; from += batch {
			for range 3 { // the runner tries the same batch again before it starts over
				if err = c.Apply(p, stream, from, batch); err == nil || ctx.Err() != nil {
					break
				}
			}
		}
	}
}

// summed say how the rows of each table that is summed up are read.
var summed = map[string]string{
	"exchanges": "*", "issuances": "*",
	"exchanges_hourly": "day, hour, inquirer, outcome, sum(exchanges)",
	"exchanges_daily":  "day, inquirer, provider, affair, information, outcome, refusal_reason, rule, sum(exchanges)",
	"answers_daily":    "day, affair, information, sum(answers), quantilesExactWeightedMerge(0.5, 0.9, 0.95, 0.99)(seconds)",
	"issuances_hourly": "day, hour, agency, result, sum(issuances)",
	"issuances_daily":  "day, agency, scheme, result, sum(issuances)",
	"agencies":         "*", "rules": "*",
	"inquiries_monthly":  "month, inquirer, affair, information, outcome, refusal_reason, rule, sum(exchanges)",
	"provisions_monthly": "month, provider, outcome, sum(exchanges)",
	"answers_monthly":    "month, affair, information, sum(answers), quantilesExactWeightedMerge(0.5, 0.9, 0.95, 0.99)(seconds)",
}

// dump is every table as text, in an order that follows from the rows.
func dump(t *testing.T, d *clickhouse.DB, database string) string {
	t.Helper()
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(summed)) {
		lines := rowsOf(t, d, reading(database, name))
		fmt.Fprintf(&b, "%s: %d rows\n%s\n", name, len(lines), strings.Join(lines, "\n"))
	}
	return b.String()
}

// reading is how a table is read.
func reading(database, table string) string {
	columns, group := summed[table], ""
	if i := strings.Index(columns, ", sum"); i > 0 {
		group = " GROUP BY " + columns[:i]
	}
	return fmt.Sprintf("SELECT %s FROM %s.%s%s ORDER BY ALL", columns, database, table, group)
}

func rowsOf(t *testing.T, d *clickhouse.DB, statement string) (lines []string) {
	t.Helper()
	table, err := d.Query(t.Context(), statement)
	if err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
	for _, row := range table.Rows {
		lines = append(lines, line(row...))
	}
	return lines
}

func line(values ...any) string {
	parts := make([]string, len(values))
	for i, v := range values {
		parts[i] = fmt.Sprint(v)
	}
	return strings.Join(parts, "|")
}

// inDatabase keeps tables apart from those of another test.
func inDatabase(name string) func(*clickhouse.Config) {
	return func(c *clickhouse.Config) { c.Database = name }
}

// differences shows the first lines that stand in one text and not in the other.
func differences(expected, got string) string {
	var b strings.Builder
	shown := 0
	for sign, pair := range map[string][2]string{"missing": {expected, got}, "surplus": {got, expected}} {
		known := map[string]int{}
		for l := range strings.SplitSeq(pair[1], "\n") {
			known[l]++
		}
		for l := range strings.SplitSeq(pair[0], "\n") {
			if known[l]--; known[l] < 0 && shown < 40 {
				fmt.Fprintf(&b, "%s: %s\n", sign, l)
				shown++
			}
		}
	}
	return b.String()
}

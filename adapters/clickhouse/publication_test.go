package clickhouse_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"kiroku/adapters/clickhouse"
	"kiroku/adapters/clickhouse/clickhousetest"
	"kiroku/domain/calendar"
	"kiroku/domain/inquiry"
	"kiroku/projections"
	"kiroku/projections/statistics"
)

const k = 5

// world is how often each cell of the publication occurs.
type world map[cell]int

type cell struct {
	month                         time.Month
	inquirer, affair, information string
	outcome                       inquiry.State
}

// TestKeptBackCountsCannotBeRecovered attacks the publication with everything it says: two worlds that differ only in
// cells below k, by as much as such cells can, are published alike. So no combination of published figures, whatever
// the attacker subtracts, says anything of a cell that was kept back but that it is below k.
func TestKeptBackCountsCannotBeRecovered(t *testing.T) {
	engine := clickhousetest.Start(t)
	random := rand.New(rand.NewPCG(5, 0))
	first := world{}
	for range 60 {
		c := cell{time.Month(1 + random.IntN(2)), fmt.Sprint("A-", random.IntN(4)), fmt.Sprint("事務", random.IntN(3)), "住民票関係情報",
			[]inquiry.State{inquiry.Provided, inquiry.Lapsed, inquiry.Refused}[random.IntN(3)]}
		first[c] = 1 + random.IntN(2*k)
	}
	one := cell{time.March, "A-0", "事務0", "住民票関係情報", inquiry.Provided}
	alone := cell{time.March, "A-1", "事務0", "住民票関係情報", inquiry.Provided}
	first[one], first[alone] = 100, k-1 // the only cell kept back of its month: what a total would give away
	small := 0
	worlds := []world{first, {}, {}, {}}
	for c, n := range first {
		if n >= k {
			for _, w := range worlds[1:] {
				w[c] = n
			}
			continue
		}
		small++
		worlds[2][c] = k - 1
		worlds[3][c] = random.IntN(k)
	}
	if small < 10 {
		t.Fatalf("only %d cells are kept back", small)
	}
	published := make([]string, len(worlds))
	for i, w := range worlds {
		published[i] = publish(t, engine, fmt.Sprint("world_", i), w)
	}
	if !strings.Contains(published[0], "2026-03-01 A-0  100") || strings.Contains(published[0], "104") {
		t.Errorf("the publication is not what it should be:\n%s", published[0])
	}
	for i, p := range published[1:] {
		if p != published[0] {
			t.Errorf("the publication tells world %d from another that differs below %d only:\n%s\nand\n%s", i+1, k, p, published[0])
		}
	}
}

func publish(t *testing.T, engine *clickhousetest.Engine, database string, w world) string {
	t.Helper()
	d := engine.Open(func(c *clickhouse.Config) { c.Database, c.Threshold = database, k })
	if err := d.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	var chunk statistics.Chunk
	for c, n := range w {
		for i := range n {
			day := calendar.Of(2026, c.month, 1+i%28)
			e := statistics.Exchange{Day: day, Hour: day.Start(), Inquirer: c.inquirer, Provider: fmt.Sprint("P-", i%2), Affair: c.affair, Information: c.information,
				Outcome: c.outcome, AnswerSeconds: statistics.NoAnswer}
			if c.outcome == inquiry.Refused {
				e.Refusal = inquiry.OutOfScope
			}
			chunk.Exchanges = append(chunk.Exchanges, e)
			chunk.Issuances = append(chunk.Issuances, statistics.Issuance{Day: day, Hour: day.Start(), Agency: c.inquirer + c.affair + c.outcome.String(), Scheme: 1, Already: c.outcome == inquiry.Lapsed})
		}
	}
	chunk.Stream, chunk.To = "record-00", projections.Checkpoint{Next: 1}
	if err := d.Insert(t.Context(), chunk); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, r := range clickhouse.Reports() {
		if r.Public {
			table, err := d.Report(t.Context(), r.Name, calendar.Of(2026, 1, 1), calendar.Of(2026, 3, 31))
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintln(&b, r.Name)
			for _, row := range table.Rows {
				fmt.Fprintln(&b, row...)
			}
		}
	}
	return b.String()
}

// TestAMonthIsPublishedWhenItIsOver: of a month that goes on, two publications would differ by what came between them.
func TestAMonthIsPublishedWhenItIsOver(t *testing.T) {
	engine := clickhousetest.Start(t)
	d := engine.Open(func(c *clickhouse.Config) { c.Threshold = 1 })
	if err := d.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	today := calendar.DayOf(time.Now())
	chunk := statistics.Chunk{Stream: "record-00", To: projections.Checkpoint{Next: 1}}
	for range 100 {
		chunk.Exchanges = append(chunk.Exchanges, statistics.Exchange{Day: today, Hour: today.Start(), Inquirer: "A", Outcome: inquiry.Provided})
	}
	if err := d.Insert(t.Context(), chunk); err != nil {
		t.Fatal(err)
	}
	for _, cells := range []string{"publication_cells", "publication_issuance_cells"} {
		if rows := query(t, d, "SELECT * FROM statistics."+cells); len(rows) > 0 {
			t.Errorf("%s shows %v of a month that is not over", cells, rows)
		}
	}
}

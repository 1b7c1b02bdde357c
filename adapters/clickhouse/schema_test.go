package clickhouse_test

import (
	"errors"
	"sync"
	"testing"

	"kiroku/adapters/clickhouse"
	"kiroku/adapters/clickhouse/clickhousetest"
	"kiroku/domain/calendar"
	"kiroku/domain/inquiry"
	"kiroku/projections"
	"kiroku/projections/statistics"
)

func query(t testing.TB, d *clickhouse.DB, statement string) [][]any {
	t.Helper()
	table, err := d.Query(t.Context(), statement)
	if err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
	return table.Rows
}

func TestTablesComeUpToDate(t *testing.T) {
	engine := clickhousetest.Start(t)
	t.Run("from several processes at once", func(t *testing.T) {
		var wg sync.WaitGroup
		for range 4 {
			d := engine.Open()
			wg.Go(func() {
				if err := d.Migrate(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		versions := query(t, engine.Open(), "SELECT version, count() FROM statistics_state.versions GROUP BY version ORDER BY version")
		if len(versions) == 0 {
			t.Fatal("no version is recorded")
		}
		for i, v := range versions {
			if v[0] != uint32(i+1) || v[1] != uint64(1) {
				t.Errorf("version %v is recorded %v times", v[0], v[1])
			}
		}
	})
	t.Run("everything is described", func(t *testing.T) {
		d := engine.OpenAnalyst()
		for _, row := range query(t, d, "SELECT name FROM system.tables WHERE database = 'statistics' AND comment = '' AND engine != 'MaterializedView'") {
			t.Errorf("%v has no comment", row[0])
		}
		for _, row := range query(t, d, "SELECT c.table, c.name FROM system.columns AS c INNER JOIN system.tables AS t ON c.table = t.name "+
			"WHERE c.database = 'statistics' AND t.database = 'statistics' AND c.comment = '' AND t.engine != 'MaterializedView'") {
			t.Errorf("column %v of %v has no comment", row[1], row[0])
		}
	})
	t.Run("every report answers of nothing", func(t *testing.T) {
		d := engine.OpenAnalyst()
		day := calendar.Of(2026, 11, 22)
		for _, r := range clickhouse.Reports() {
			table, err := d.Report(t.Context(), r.Name, day, day)
			if err != nil {
				t.Errorf("%s: %v", r.Name, err)
				continue
			}
			if len(table.Rows) != 0 {
				t.Errorf("%s found %d rows in empty tables", r.Name, len(table.Rows))
			}
			for _, c := range table.Columns {
				if c.About == "" {
					t.Errorf("%s does not say what %s is", r.Name, c.Name)
				}
			}
		}
		if _, err := d.Report(t.Context(), "nothing", day, day); !errors.Is(err, clickhouse.ErrNoReport) {
			t.Errorf("a report that is not there: %v", err)
		}
	})
	t.Run("never back", func(t *testing.T) {
		writer := engine.Open()
		query(t, writer, "SELECT 1")
		if err := writer.Exec(t.Context(), "INSERT INTO statistics_state.versions (version, name) VALUES (1000, 'of the future')"); err != nil {
			t.Fatal(err)
		}
		if err := writer.Migrate(t.Context()); !errors.Is(err, clickhouse.ErrNewerSchema) {
			t.Errorf("tables of the future: %v", err)
		}
	})
}

// TestWhatWasCountedWithoutMonthsIsCountedAnew takes away what the version with rollups by month brought.
func TestWhatWasCountedWithoutMonthsIsCountedAnew(t *testing.T) {
	engine := clickhousetest.Start(t)
	before := engine.Open()
	if err := before.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	day := calendar.Of(2026, 11, 22)
	chunk := statistics.Chunk{Stream: "record-00", To: projections.Checkpoint{Next: 7}, Rows: statistics.Rows{
		Exchanges: []statistics.Exchange{{Day: day, Hour: day.Start(), Inquirer: "A", Provider: "B", Outcome: inquiry.Provided, AnswerSeconds: 1}},
	}}
	if err := errors.Join(before.Insert(t.Context(), chunk), before.Finish(t.Context(), chunk)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"inquiries_monthly", "provisions_monthly", "answers_monthly"} {
		for _, statement := range []string{"DROP VIEW statistics." + name + "_feed SYNC", "DROP TABLE statistics." + name + " SYNC"} {
			if err := before.Exec(t.Context(), statement); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := before.Exec(t.Context(), "TRUNCATE TABLE statistics_state.versions"); err != nil {
		t.Fatal(err)
	}
	if err := before.Exec(t.Context(), "INSERT INTO statistics_state.versions (version, name) VALUES (3, 'publication')"); err != nil {
		t.Fatal(err)
	}
	after := engine.Open()
	at, err := after.Position(t.Context(), chunk.Stream)
	if err != nil || at.Checkpoint.Next != 0 {
		t.Fatalf("the stream goes on at %d, %v", at.Checkpoint.Next, err)
	}
	chunk.Beginning = at.Beginning
	if err := errors.Join(after.Insert(t.Context(), chunk), after.Finish(t.Context(), chunk)); err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{"exchanges_daily", "inquiries_monthly", "provisions_monthly"} {
		if n := query(t, after, "SELECT sum(exchanges) FROM statistics."+table)[0][0]; n != uint64(1) {
			t.Errorf("%s has %v exchanges", table, n)
		}
	}
}

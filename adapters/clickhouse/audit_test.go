package clickhouse_test

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"kiroku/adapters/clickhouse"
	"kiroku/adapters/clickhouse/clickhousetest"
	"kiroku/domain/calendar"
	"kiroku/domain/inquiry"
	"kiroku/projections"
	"kiroku/projections/statistics"
)

// TestAnAuditThatIsDueIsMade: a chunk is under way when it becomes due, and after its end nothing else happens.
func TestAnAuditThatIsDueIsMade(t *testing.T) {
	engine := clickhousetest.Start(t)
	quiet := func(c *clickhouse.Config) { c.Log = slog.New(slog.DiscardHandler) }
	first, second := engine.Open(quiet), engine.Open(quiet)
	day := calendar.Of(2026, 11, 22)
	chunk := statistics.Chunk{Stream: "record-00", To: projections.Checkpoint{Next: 1}, Facts: statistics.Facts{Exchanges: map[calendar.Day]uint64{day: 1}}, Rows: statistics.Rows{
		Exchanges: []statistics.Exchange{{Day: day, Hour: day.Start(), Inquirer: "A", Provider: "B", Outcome: inquiry.Provided, AnswerSeconds: 1}},
	}}
	at, err := second.Position(t.Context(), chunk.Stream)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := second.Agree(t.Context(), chunk.Stream, at, 1); err != nil {
		t.Fatal(err)
	}
	if _, err := first.Position(t.Context(), chunk.Stream); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(second.Insert(t.Context(), chunk), first.Exec(t.Context(), "ALTER TABLE statistics.exchanges_daily DROP PARTITION 20261122"), second.Finish(t.Context(), chunk)); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); query(t, first, "SELECT sum(exchanges) FROM statistics.exchanges_daily")[0][0] != uint64(1); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nobody sums up the day anew")
		}
	}
}

// TestALossAfterARebuildIsToldOfToo: facts are lost, counted anew, and lost again.
func TestALossAfterARebuildIsToldOfToo(t *testing.T) {
	engine := clickhousetest.Start(t)
	db := engine.Open(func(c *clickhouse.Config) { c.Log = slog.New(slog.DiscardHandler) })
	day := calendar.Of(2026, 11, 22)
	count := func() {
		t.Helper()
		at, err := db.Position(t.Context(), "record-00")
		if err != nil {
			t.Fatal(err)
		}
		chunk := statistics.Chunk{Stream: "record-00", Beginning: at.Beginning, To: projections.Checkpoint{Next: 1}, Facts: statistics.Facts{Exchanges: map[calendar.Day]uint64{day: 1}}, Rows: statistics.Rows{
			Exchanges: []statistics.Exchange{{Day: day, Hour: day.Start(), Inquirer: "A", Provider: "B", Outcome: inquiry.Provided, AnswerSeconds: 1}},
		}}
		if _, err := db.Agree(t.Context(), chunk.Stream, at, 1); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(db.Insert(t.Context(), chunk), db.Finish(t.Context(), chunk)); err != nil {
			t.Fatal(err)
		}
	}
	count()
	for range 2 {
		if err := db.Exec(t.Context(), "TRUNCATE TABLE statistics.exchanges"); err != nil {
			t.Fatal(err)
		}
		db.AuditNow(t.Context())
		select {
		case <-db.Lost():
		default:
			t.Fatal("nobody is told that the exchange is missing")
		}
		if err := db.Empty(t.Context()); err != nil {
			t.Fatal(err)
		}
		count()
		db.Rebuilt()
		db.AuditNow(t.Context())
	}
}

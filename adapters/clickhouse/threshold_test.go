package clickhouse_test

import (
	"log/slog"
	"testing"

	"kiroku/adapters/clickhouse"
	"kiroku/adapters/clickhouse/clickhousetest"
)

// TestCoresConfiguredOtherwiseDoNotTakeTurns: the greatest count stands, whoever starts last.
func TestCoresConfiguredOtherwiseDoNotTakeTurns(t *testing.T) {
	engine := clickhousetest.Start(t)
	for _, step := range []struct {
		configured int
		stands     uint32
	}{{5, 5}, {7, 7}, {5, 7}, {7, 7}} {
		db := engine.Open(func(c *clickhouse.Config) {
			c.Threshold, c.Log = step.configured, slog.New(slog.DiscardHandler)
		})
		if err := db.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := query(t, db, "SELECT max(threshold) FROM statistics.publication_threshold WHERE since = (SELECT max(since) FROM statistics.publication_threshold)")[0][0]; got != step.stands {
			t.Errorf("after one configured with %d, %v stands", step.configured, got)
		}
	}
}

package embedded_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// sendOnce inserts rows under the token of a batch, as a writer that wants them once does.
func sendOnce(ctx context.Context, connection clickhouse.Conn, batch uint32) error {
	ctx = clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{
		"insert_deduplication_token": fmt.Sprint(batch), "deduplicate_blocks_in_dependent_materialized_views": 1, "max_partitions_per_insert_block": 0,
	}))
	b, err := connection.PrepareBatch(ctx, "INSERT INTO once.facts (batch, n)")
	if err != nil {
		return err
	}
	for n := range uint64(100) {
		if err := b.Append(batch, n); err != nil {
			return err
		}
	}
	return b.Send()
}

// folderOf is where a table of one engine lies.
func folderOf(t *testing.T, dir string, connection clickhouse.Conn, table string) string {
	t.Helper()
	path := one[[]string](t, connection, "SELECT data_paths FROM system.tables WHERE database = 'once' AND name = ?", table)[0]
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, "data", path)
	}
	return path
}

// newestPart is the folder of the part of a partition that was made last.
func newestPart(t *testing.T, table, partition string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(table, partition+"_*"))
	if err != nil || len(found) == 0 {
		t.Fatalf("%s has no part of partition %s: %v", table, partition, err)
	}
	return slices.Max(found)
}

// TestWhatWasNotedIsKept makes of an engine's files what it leaves when it is killed at the worst moments, and sends
// everything again.
func TestWhatWasNotedIsKept(t *testing.T) {
	for _, c := range []struct {
		name  string
		wreck func(t *testing.T, facts, sums string)
	}{
		{"killed before it kept the rows", func(t *testing.T, facts, _ string) { remove(t, newestPart(t, facts, "2")) }},
		{"killed before it kept what it summed up", func(t *testing.T, _, sums string) { remove(t, newestPart(t, sums, "2")) }},
		{"killed while it noted the token", func(t *testing.T, facts, _ string) {
			remove(t, newestPart(t, facts, "2"))
			cutLog(t, facts, "1\t2_")
		}},
		{"killed between two tokens of one part", func(t *testing.T, facts, _ string) {
			remove(t, newestPart(t, facts, "2"))
			dropLine(t, facts)
		}},
		{"killed when all was well", func(*testing.T, string, string) {}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			p := launch(t, dir)
			const settings = " SETTINGS non_replicated_deduplication_window = 100"
			do(t, p.connect(t), "CREATE DATABASE once",
				"CREATE TABLE once.facts (batch UInt32, n UInt64) ENGINE = MergeTree PARTITION BY batch ORDER BY n"+settings,
				"CREATE TABLE once.sums (batch UInt32, n UInt64) ENGINE = SummingMergeTree PARTITION BY batch ORDER BY batch"+settings,
				"CREATE MATERIALIZED VIEW once.feed TO once.sums AS SELECT batch, count() AS n FROM once.facts GROUP BY batch")
			facts, sums := folderOf(t, dir, p.connect(t), "facts"), folderOf(t, dir, p.connect(t), "sums")
			for batch := range uint32(3) {
				if err := sendOnce(t.Context(), p.connect(t), batch); err != nil {
					t.Fatal(err)
				}
			}
			for range 2 { // the second time after what was mended
				if err := p.command.Process.Kill(); err != nil {
					t.Fatal(err)
				}
				_ = p.command.Wait() // it was killed
				c.wreck(t, facts, sums)
				p = launch(t, dir)
				connection := p.connect(t)
				for batch := range uint32(3) {
					for range 2 {
						if err := sendOnce(t.Context(), connection, batch); err != nil {
							t.Fatal(err)
						}
					}
					rows := one[uint64](t, connection, "SELECT count() FROM once.facts WHERE batch = ?", batch)
					sum := one[uint64](t, connection, "SELECT sum(n) FROM once.sums WHERE batch = ?", batch)
					if rows != 100 || sum != 100 {
						t.Errorf("batch %d has %d rows, summed up are %d", batch, rows, sum)
					}
				}
			}
		})
	}
}

// TestADroppedPartitionForgetsItsTokens leaves the empty part that stands for a dropped partition, and the tokens of what
// was in it.
func TestADroppedPartitionForgetsItsTokens(t *testing.T) {
	dir := t.TempDir()
	p := launch(t, dir)
	do(t, p.connect(t), "CREATE DATABASE once",
		"CREATE TABLE once.facts (batch UInt32, n UInt64) ENGINE = MergeTree PARTITION BY batch ORDER BY n SETTINGS non_replicated_deduplication_window = 100, old_parts_lifetime = 3600")
	if err := sendOnce(t.Context(), p.connect(t), 1); err != nil {
		t.Fatal(err)
	}
	facts := folderOf(t, dir, p.connect(t), "facts")
	log := logOf(t, facts)
	before, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	do(t, p.connect(t), "ALTER TABLE once.facts DROP PARTITION 1")
	if err := p.command.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = p.command.Wait() // it was killed
	if err := os.WriteFile(log, before, 0o600); err != nil {
		t.Fatal(err)
	}
	p = launch(t, dir)
	if err := sendOnce(t.Context(), p.connect(t), 1); err != nil {
		t.Fatal(err)
	}
	if n := one[uint64](t, p.connect(t), "SELECT count() FROM once.facts"); n != 100 {
		t.Errorf("after the partition was dropped and sent again there are %d rows", n)
	}
}

func remove(t *testing.T, folder string) {
	t.Helper()
	if err := os.RemoveAll(folder); err != nil {
		t.Fatal(err)
	}
}

func logOf(t *testing.T, table string) string {
	t.Helper()
	logs, err := filepath.Glob(filepath.Join(table, "deduplication_logs", "*"))
	if err != nil || len(logs) != 1 {
		t.Fatalf("the logs of a table are %v: %v", logs, err)
	}
	return logs[0]
}

// cutLog puts the beginning of a line at the end of a table's log.
func cutLog(t *testing.T, table, beginning string) {
	t.Helper()
	file, err := os.OpenFile(logOf(t, table), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteString(beginning); err != nil {
		t.Fatal(err)
	}
}

// dropLine takes the last line from a table's log.
func dropLine(t *testing.T, table string) {
	t.Helper()
	path := logOf(t, table)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(strings.TrimSuffix(string(text), "\n"), "\n")
	if err := os.WriteFile(path, []byte(strings.Join(lines[:len(lines)-1], "")), 0o600); err != nil {
		t.Fatal(err)
	}
}

package embedded_test

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// A batch is one block of the engine, so that it is there whole or not at all,
// and deduplicated whole.
func TestInsertOf100000Rows(t *testing.T) {
	connection := asWriter(t)
	database(t, connection, "bulk")
	do(t, connection, "CREATE TABLE bulk.t (hour DateTime('Asia/Tokyo'), agency LowCardinality(String), affair LowCardinality(String), seconds UInt32) ENGINE = MergeTree ORDER BY hour SETTINGS non_replicated_deduplication_window = 100")
	const rows = 100_000
	hour := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	insert := func(token string) {
		ctx := clickhouse.Context(t.Context(), clickhouse.WithSettings(clickhouse.Settings{"insert_deduplication_token": token}))
		batch, err := connection.PrepareBatch(ctx, "INSERT INTO bulk.t (hour, agency, affair, seconds)")
		if err != nil {
			t.Fatal(err)
		}
		for n := range rows {
			if err := batch.Append(hour.Add(time.Duration(n%24)*time.Hour), fmt.Sprintf("市%d", n%300), "児童手当", uint32(n)); err != nil {
				t.Fatal(err)
			}
		}
		if err := batch.Send(); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	insert("a")
	t.Logf("%d rows in %v", rows, time.Since(began))
	if n := one[uint64](t, connection, "SELECT count() FROM system.parts WHERE database = 'bulk' AND active"); n != 1 {
		t.Errorf("the batch became %d parts", n)
	}
	insert("a")
	insert("b")
	if n := one[uint64](t, connection, "SELECT count() FROM bulk.t"); n != 2*rows {
		t.Errorf("%d rows after a batch, the same again, and another; want %d", n, 2*rows)
	}
	if sum := one[uint64](t, connection, "SELECT sum(seconds) FROM bulk.t"); sum != rows*(rows-1) {
		t.Errorf("the seconds add up to %d", sum)
	}
}

// Bytes are bytes, in every way that data can be given.
func TestInsertIsBinarySafe(t *testing.T) {
	connection := asWriter(t)
	database(t, connection, "raw")
	do(t, connection, "CREATE TABLE raw.t (n UInt32, v String) ENGINE = MergeTree ORDER BY n")
	noise := make([]byte, 1<<20)
	_, _ = rand.Read(noise)
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	values := []string{string(noise), string(every), "FORMAT Native\n\nINSERT INTO t VALUES ('", "\r\n\x00\r\n__exception__\r\n", "𠮷野家で🍜", ""}
	batch, err := connection.PrepareBatch(t.Context(), "INSERT INTO raw.t SETTINGS max_insert_threads = 1")
	if err != nil {
		t.Fatal(err)
	}
	for n, v := range values {
		if err := batch.Append(uint32(n), v); err != nil {
			t.Fatal(err)
		}
	}
	if err := batch.Send(); err != nil {
		t.Fatal(err)
	}
	for n, want := range values {
		if got := one[string](t, connection, "SELECT v FROM raw.t WHERE n = ?", n); got != want {
			t.Errorf("value %d of %d bytes comes back with %d bytes, or others", n, len(want), len(got))
		}
	}
	if err := connection.Exec(t.Context(), "INSERT INTO raw.t VALUES (100, 'two\nlines'), (?, ?)", 101, "it's\nthree\nlines\\"); err != nil {
		t.Fatal(err)
	}
	if got := one[string](t, connection, "SELECT v FROM raw.t WHERE n = 101"); got != "it's\nthree\nlines\\" {
		t.Errorf("a value in the statement comes back as %q", got)
	}
	if err := connection.InsertFormat(t.Context(), "TabSeparated", "INSERT INTO raw.t (n, v)", strings.NewReader("102\ta\\tb\\n日本\n")); err != nil {
		t.Fatal(err)
	}
	if got := one[string](t, connection, "SELECT v FROM raw.t WHERE n = 102"); got != "a\tb\n日本" {
		t.Errorf("a value from a tab separated body comes back as %q", got)
	}
}

func TestInsertRefused(t *testing.T) {
	connection := asWriter(t)
	database(t, connection, "few")
	do(t, connection, "CREATE TABLE few.t (v String) ENGINE = MergeTree ORDER BY v")
	large := bytes.NewReader(make([]byte, 17<<20))
	if err := connection.InsertFormat(t.Context(), "LineAsString", "INSERT INTO few.t", large); codeOf(err) != 266 {
		t.Errorf("an insert above the limit is answered with %v", err)
	}
	if err := connection.InsertFormat(t.Context(), "Native", "INSERT INTO few.t", strings.NewReader("no such thing")); codeOf(err) == 0 {
		t.Errorf("an insert of rubbish is answered with %v", err)
	}
	if n := one[uint64](t, connection, "SELECT count() FROM few.t"); n != 0 {
		t.Errorf("%d rows of refused inserts are there", n)
	}
}

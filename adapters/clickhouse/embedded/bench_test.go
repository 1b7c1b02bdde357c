package embedded_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"kiroku/adapters/clickhouse/embedded"
)

// BenchmarkInsert is rows per second through the client into a table of the
// shape that exchange facts have, in batches of 50,000.
func BenchmarkInsert(b *testing.B) {
	connection, err := clickhouse.Open(options(address, embedded.WriterName, writerPassword))
	if err != nil {
		b.Fatal(err)
	}
	defer connection.Close()
	for _, statement := range []string{"DROP DATABASE IF EXISTS bench SYNC", "CREATE DATABASE bench",
		"CREATE TABLE bench.t (hour DateTime('Asia/Tokyo'), inquirer LowCardinality(String), provider LowCardinality(String), affair LowCardinality(String), outcome LowCardinality(String), seconds Nullable(UInt32)) ENGINE = MergeTree PARTITION BY toYYYYMMDD(hour) ORDER BY (hour, inquirer)"} {
		if err := connection.Exec(b.Context(), statement); err != nil {
			b.Fatal(err)
		}
	}
	const rows = 50_000
	hour := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	names := make([]string, 300)
	for i := range names {
		names[i] = fmt.Sprintf("第%d市", i)
	}
	for b.Loop() {
		batch, err := connection.PrepareBatch(b.Context(), "INSERT INTO bench.t")
		if err != nil {
			b.Fatal(err)
		}
		for n := range rows {
			seconds := uint32(n % 3600)
			if err := batch.Append(hour.Add(time.Duration(n%10)*time.Hour), names[n%300], names[n%47], "児童手当", "provided", &seconds); err != nil {
				b.Fatal(err)
			}
		}
		if err := batch.Send(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(rows)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

// BenchmarkQuery is one small query after the other, with the connection of
// its own that each gets.
func BenchmarkQuery(b *testing.B) {
	for user, password := range map[string]embedded.Password{embedded.WriterName: writerPassword, embedded.AnalystName: analystPassword} {
		b.Run(user, func(b *testing.B) {
			connection, err := clickhouse.Open(options(address, user, password))
			if err != nil {
				b.Fatal(err)
			}
			defer connection.Close()
			for b.Loop() {
				var n uint64
				if err := connection.QueryRow(b.Context(), "SELECT sum(number) FROM numbers(1000)").Scan(&n); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

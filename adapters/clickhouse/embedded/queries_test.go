package embedded_test

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/shopspring/decimal"

	"kiroku/adapters/clickhouse/embedded"
)

func TestPingAndServerVersion(t *testing.T) {
	connection := asWriter(t)
	if err := connection.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	version, err := connection.ServerVersion()
	if err != nil {
		t.Fatal(err)
	}
	if version.Version.Major != 26 {
		t.Errorf("the engine says it is %s", version)
	}
}

// Every type that the statistics use, and those beside them, arrive as they
// were sent.
func TestTypesGoThereAndBack(t *testing.T) {
	connection := asWriter(t)
	database(t, connection, "types")
	tokyo := time.FixedZone("JST", 9*60*60)
	hour := time.Date(2026, 11, 22, 9, 0, 0, 0, tokyo)
	day := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		of     string
		values []any
	}{
		{"UInt8", []any{uint8(0), uint8(255)}},
		{"UInt64", []any{uint64(0), uint64(18446744073709551615)}},
		{"Int32", []any{int32(-5)}},
		{"Float64", []any{0.25, -1e300}},
		{"Bool", []any{true, false}},
		{"String", []any{"", "日本語 with\nnewline, \x00 and 'quotes\\'", "\xff\xfe not UTF-8", strings.Repeat("長い", 50_000)}},
		{"FixedString(4)", []any{"\x00\n\xff "}},
		{"LowCardinality(String)", []any{"市町村長", "", "市町村長", "a\x00b"}},
		{"Nullable(UInt32)", []any{ptr(uint32(7)), (*uint32)(nil)}},
		{"LowCardinality(Nullable(String))", []any{ptr("x"), (*string)(nil), ptr("")}},
		{"DateTime('Asia/Tokyo')", []any{hour}},
		{"DateTime64(6, 'UTC')", []any{time.Date(2026, 11, 22, 1, 2, 3, 456789000, time.UTC)}},
		{"Date", []any{day}},
		{"Date32", []any{time.Date(1912, 7, 30, 0, 0, 0, 0, time.UTC)}},
		{"Decimal(18, 4)", []any{decimal.RequireFromString("-12345.6789")}},
		{"UUID", []any{"61f0c404-5cb3-11e7-907b-a6006ad3dba0"}},
		{"Enum8('provided' = 1, 'refused' = 2)", []any{"refused", "provided"}},
		{"Array(UInt64)", []any{[]uint64{}, []uint64{1, 2, 3}}},
		{"Array(LowCardinality(String))", []any{[]string{"a", "b", "a"}, []string{}}},
		{"Map(String, UInt64)", []any{map[string]uint64{"鍵": 1}, map[string]uint64{}}},
		{"Map(LowCardinality(String), Array(Nullable(Int8)))", []any{map[string][]*int8{"k": {ptr(int8(1)), nil}}}},
		{"Tuple(UInt8, String)", []any{[]any{uint8(1), "x\ny"}}},
		{"SimpleAggregateFunction(sum, UInt64)", []any{uint64(5)}},
	} {
		t.Run(c.of, func(t *testing.T) {
			do(t, connection, "DROP TABLE IF EXISTS types.t SYNC", "CREATE TABLE types.t (n UInt32, v "+c.of+") ENGINE = MergeTree ORDER BY n")
			batch, err := connection.PrepareBatch(t.Context(), "INSERT INTO types.t (n, v)")
			if err != nil {
				t.Fatal(err)
			}
			for n, v := range c.values {
				if err := batch.Append(uint32(n), v); err != nil {
					t.Fatal(err)
				}
			}
			if err := batch.Send(); err != nil {
				t.Fatal(err)
			}
			rows, err := connection.Query(t.Context(), "SELECT v FROM types.t ORDER BY n")
			if err != nil {
				t.Fatal(err)
			}
			defer rows.Close()
			for _, want := range c.values {
				if !rows.Next() {
					t.Fatalf("fewer rows than were sent: %v", rows.Err())
				}
				got := reflect.New(reflect.TypeOf(want))
				if err := rows.Scan(got.Interface()); err != nil {
					t.Fatal(err)
				}
				if !same(got.Elem().Interface(), want) {
					t.Errorf("it comes back as %v, and was %v", got.Elem(), want)
				}
			}
			if rows.Next() || rows.Err() != nil {
				t.Errorf("more rows than were sent, or %v", rows.Err())
			}
		})
	}
}

func ptr[T any](v T) *T { return &v }

func same(got, want any) bool {
	switch w := want.(type) {
	case time.Time:
		return w.Equal(got.(time.Time))
	case decimal.Decimal:
		return w.Equal(got.(decimal.Decimal))
	}
	return reflect.DeepEqual(got, want)
}

// A result without rows still says which columns it has.
func TestEmptyResultHasColumns(t *testing.T) {
	rows, err := asWriter(t).Query(t.Context(), "SELECT number AS n, toLowCardinality('a') AS s, toNullable(1) AS m FROM numbers(5) WHERE number > 9")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	if got := rows.Columns(); !reflect.DeepEqual(got, []string{"n", "s", "m"}) {
		t.Errorf("the columns are %q", got)
	}
	if rows.Next() || rows.Err() != nil {
		t.Errorf("there are rows, or %v", rows.Err())
	}
}

// States of aggregates, as rollups have them, are for the engine; their
// results reach the client, and a state itself fails with words.
func TestAggregateStates(t *testing.T) {
	connection := asWriter(t)
	database(t, connection, "states")
	do(t, connection,
		"CREATE TABLE states.base (d Date, s UInt32) ENGINE = MergeTree ORDER BY d",
		"CREATE TABLE states.daily (d Date, q AggregateFunction(quantilesTDigest(0.5, 0.99), UInt32), n SimpleAggregateFunction(sum, UInt64)) ENGINE = AggregatingMergeTree ORDER BY d",
		"CREATE MATERIALIZED VIEW states.roll TO states.daily AS SELECT d, quantilesTDigestState(0.5, 0.99)(s) AS q, toUInt64(count()) AS n FROM states.base GROUP BY d",
		"INSERT INTO states.base SELECT '2026-11-22', number FROM numbers(1000)")
	if n := one[uint64](t, connection, "SELECT sum(n) FROM states.daily"); n != 1000 {
		t.Errorf("the rollup counts %d of 1000", n)
	}
	q := one[[]float32](t, connection, "SELECT quantilesTDigestMerge(0.5, 0.99)(q) FROM states.daily")
	if len(q) != 2 || q[0] < 450 || q[0] > 550 || q[1] < 980 {
		t.Errorf("the quantiles are %v", q)
	}
	_, err := connection.Query(t.Context(), "SELECT q FROM states.daily")
	if codeOf(err) != 48 || !strings.Contains(err.Error(), "AggregateFunction") {
		t.Errorf("a state is answered with %v", err)
	}
}

func TestParametersAndSettings(t *testing.T) {
	connection := asWriter(t)
	ctx := clickhouse.Context(t.Context(), clickhouse.WithParameters(clickhouse.Parameters{"n": "41", "s": "it's; DROP TABLE x -- 日本"}))
	var n uint64
	var s string
	if err := connection.QueryRow(ctx, "SELECT {n:UInt64} + 1, {s:String}").Scan(&n, &s); err != nil {
		t.Fatal(err)
	}
	if n != 42 || s != "it's; DROP TABLE x -- 日本" {
		t.Errorf("the parameters came as %d and %q", n, s)
	}
	ctx = clickhouse.Context(t.Context(), clickhouse.WithSettings(clickhouse.Settings{"max_block_size": 1234, "session_timezone": "Asia/Tokyo"}))
	var size uint64
	var zone string
	if err := connection.QueryRow(ctx, "SELECT toUInt64(getSetting('max_block_size')), timezone()").Scan(&size, &zone); err != nil {
		t.Fatal(err)
	}
	if size != 1234 || zone != "Asia/Tokyo" {
		t.Errorf("the settings came as %d and %q", size, zone)
	}
	if after := one[uint64](t, connection, "SELECT toUInt64(getSetting('max_block_size'))"); after == 1234 {
		t.Error("a setting of one request holds in the next")
	}
	for _, statement := range []string{"SET max_threads = 1", "/* so */ USE system"} {
		if err := connection.Exec(t.Context(), statement); codeOf(err) != 48 {
			t.Errorf("%s: %v", statement, err)
		}
	}
}

// Exceptions carry the engine's codes.
func TestExceptions(t *testing.T) {
	connection := asWriter(t)
	for statement, code := range map[string]int{
		"SELEC 1":                       62,
		"SELECT * FROM nowhere":         60,
		"SELECT x":                      47,
		"SELECT nosuchthing(1)":         46,
		"SELECT * FROM nodb.t":          81,
		"SELECT throwIf(1, '日本\nline')": 395,
		"SELECT toUInt8('x')":           6,
		"":                              62,
	} {
		if err := connection.Exec(t.Context(), statement); codeOf(err) != code {
			t.Errorf("%q fails with %v, want code %d", statement, err, code)
		}
	}
	ctx := clickhouse.Context(t.Context(), clickhouse.WithSettings(clickhouse.Settings{"no_such_setting": 1}))
	if err := connection.Exec(ctx, "SELECT 1"); codeOf(err) != 115 {
		t.Errorf("an unknown setting is answered with %v", err)
	}
}

// All that the client can pack with is understood, both ways, errors too.
func TestCompression(t *testing.T) {
	do(t, asWriter(t), "DROP DATABASE IF EXISTS packed SYNC", "CREATE DATABASE packed")
	for _, method := range []clickhouse.CompressionMethod{
		clickhouse.CompressionNone, clickhouse.CompressionLZ4, clickhouse.CompressionZSTD,
		clickhouse.CompressionGZIP, clickhouse.CompressionDeflate, clickhouse.CompressionBrotli,
	} {
		t.Run(method.String(), func(t *testing.T) {
			o := options(address, embedded.WriterName, writerPassword)
			o.Compression = &clickhouse.Compression{Method: method, Level: 3}
			connection := connect(t, o)
			do(t, connection, "DROP TABLE IF EXISTS packed.t SYNC", "CREATE TABLE packed.t (v String) ENGINE = MergeTree ORDER BY v")
			batch, err := connection.PrepareBatch(t.Context(), "INSERT INTO packed.t")
			if err != nil {
				t.Fatal(err)
			}
			for n := range 20_000 {
				if err := batch.Append(fmt.Sprintf("row %d\n\x00", n)); err != nil {
					t.Fatal(err)
				}
			}
			if err := batch.Send(); err != nil {
				t.Fatal(err)
			}
			var got []string
			rows, err := connection.Query(t.Context(), "SELECT v FROM packed.t")
			if err != nil {
				t.Fatal(err)
			}
			for rows.Next() {
				var v string
				if err := rows.Scan(&v); err != nil {
					t.Fatal(err)
				}
				got = append(got, v)
			}
			if rows.Close(); rows.Err() != nil || len(got) != 20_000 || !strings.HasSuffix(got[77], "\n\x00") {
				t.Errorf("%d rows come back, %v", len(got), rows.Err())
			}
			if _, err := connection.Query(t.Context(), "SELECT * FROM packed.nothing"); codeOf(err) != 60 {
				t.Errorf("an error comes as %v", err)
			}
		})
	}
}

// Queries that run at once get each its own answer.
func TestManyAtOnce(t *testing.T) {
	var all sync.WaitGroup
	for worker := range uint64(8) {
		connection := asWriter(t)
		all.Go(func() {
			for round := range uint64(25) {
				salt := worker*1000 + round
				var sum, same uint64
				err := connection.QueryRow(t.Context(), "SELECT sum(number) + ?, toUInt64(?) FROM numbers(?)", salt, salt, 10_000+salt).Scan(&sum, &same)
				n := 10_000 + salt
				if err != nil || same != salt || sum != n*(n-1)/2+salt {
					t.Errorf("worker %d, round %d: %d, %d, %v", worker, round, sum, same, err)
				}
			}
		})
	}
	all.Wait()
}

// A client that goes away takes its query with it.
func TestQueryEndsWithItsClient(t *testing.T) {
	connection := asWriter(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- connection.Exec(ctx, "SELECT 'left alone', count() FROM numbers(1000000000000) WHERE sipHash64(number) = 7")
	}()
	const running = "SELECT count() FROM system.processes WHERE query LIKE '%left alone%' AND query NOT LIKE '%system.processes%'"
	eventually(t, "the query runs", func() bool { return one[uint64](t, connection, running) == 1 })
	cancel()
	if err := <-ended; err == nil {
		t.Error("the query ends without an error")
	}
	eventually(t, "the query is gone", func() bool { return one[uint64](t, connection, running) == 0 })
}

// eventually waits for a condition; it fails only if it never comes about.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it never comes about that %s", what)
		}
	}
}

// A result that clickhouse-go could not read whole is refused: read as if it could, it is empty or something else.
func TestWhatTheClientCannotReadIsSaid(t *testing.T) {
	connection := asAnalyst(t)
	for _, statement := range []string{"SELECT NULL", "SELECT 1, NULL", "SELECT [NULL]", "SELECT tuple(NULL, 1), 7", "SELECT toIntervalDay(3), 5"} {
		if err := connection.Exec(t.Context(), statement); codeOf(err) != 48 {
			t.Errorf("%s: %v", statement, err)
		}
	}
	for _, statement := range []string{"SELECT []", "SELECT map()", "SELECT NULL::Nullable(String)", "SELECT toString(toIntervalDay(3))"} {
		if err := connection.Exec(t.Context(), statement); err != nil {
			t.Errorf("%s: %v", statement, err)
		}
	}
}

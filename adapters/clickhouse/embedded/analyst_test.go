package embedded_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"kiroku/adapters/clickhouse/embedded"
)

// statistics makes what the analyst may read, and what not.
func statistics(t *testing.T) {
	t.Helper()
	connection := asWriter(t)
	database(t, connection, "statistics")
	database(t, connection, "other")
	do(t, connection,
		"CREATE TABLE statistics.t (n UInt64, s LowCardinality(String) COMMENT '機関') ENGINE = MergeTree ORDER BY n",
		"INSERT INTO statistics.t SELECT number, toString(number % 3) FROM numbers(1000)",
		"CREATE VIEW statistics.by_s AS SELECT s, count() AS n FROM statistics.t GROUP BY s",
		"CREATE TABLE other.hidden (n UInt64) ENGINE = MergeTree ORDER BY n",
		"INSERT INTO other.hidden VALUES (1)")
}

func TestAnalystReads(t *testing.T) {
	statistics(t)
	connection := asAnalyst(t)
	for _, statement := range []string{
		"SELECT count() FROM statistics.t WHERE s = '1' -- a comment; INTO OUTFILE 'x'",
		"with x as (select * from statistics.t) select s, quantile(0.9)(n) from x group by s having count() > 1 order by 1",
		"SELECT * FROM statistics.by_s",
		"(SELECT 1) UNION ALL (SELECT 2)",
		"SELECT number, format('{} 件', toString(number)) FROM numbers(3)",
		"SELECT t.n AS file FROM statistics.t AS t LIMIT 1", "SELECT s AS region, count() FROM statistics.t GROUP BY region",
		"SELECT 'file(1) INTO OUTFILE system.processes' AS `a ``b`",
		"EXPLAIN SELECT 1", "DESCRIBE TABLE statistics.t", "EXISTS TABLE statistics.t",
		"SHOW TABLES FROM statistics", "SHOW DATABASES", "SHOW CREATE TABLE statistics.t", "SHOW COLUMNS FROM t FROM statistics",
		"SELECT name, comment FROM system.columns WHERE database = 'statistics'",
	} {
		rows, err := connection.Query(t.Context(), statement)
		if err != nil {
			t.Errorf("%s: %v", statement, err)
			continue
		}
		rows.Close()
	}
	if n := one[uint64](t, connection, "SELECT count() FROM statistics.t"); n != 1000 {
		t.Errorf("the analyst counts %d", n)
	}
	if names := one[string](t, connection, "SELECT arrayStringConcat(groupUniqArray(database)) FROM system.tables"); names != "statistics" {
		t.Errorf("the analyst sees tables of %s", names)
	}
	ctx := clickhouse.Context(t.Context(), clickhouse.WithParameters(clickhouse.Parameters{"s": "2"}))
	var n uint64
	if err := connection.QueryRow(ctx, "SELECT count() FROM statistics.t WHERE s = {s:String}").Scan(&n); err != nil || n != 333 {
		t.Errorf("with a parameter the analyst counts %d, %v", n, err)
	}
}

// Each of these is refused, with the code of a missing right or of reading
// only, or as something that does not exist for the analyst.
func TestAnalystIsRefused(t *testing.T) {
	statistics(t)
	connection := asAnalyst(t)
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("a secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	target := filepath.Join(dir, "written")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var reached sync.Map
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			reached.Store(c.RemoteAddr().String(), true)
			c.Close()
		}
	}()
	defer listener.Close()
	there := listener.Addr().String()
	for _, statement := range []string{
		// to change something
		"INSERT INTO statistics.t VALUES (1, 'a')", "INSERT INTO statistics.t SELECT 1, 'a'", "DROP TABLE statistics.t", "TRUNCATE TABLE statistics.t",
		"ALTER TABLE statistics.t DELETE WHERE 1", "DELETE FROM statistics.t WHERE 1", "OPTIMIZE TABLE statistics.t", "RENAME TABLE statistics.t TO statistics.u",
		"CREATE TABLE statistics.u (n UInt8) ENGINE = Memory", "CREATE TEMPORARY TABLE u (n UInt8)", "CREATE VIEW statistics.v AS SELECT 1",
		"CREATE FUNCTION f AS x -> x", "CREATE DATABASE mine", "DROP DATABASE statistics", "DETACH TABLE statistics.t", "BACKUP TABLE statistics.t TO File('" + target + "')",
		"KILL QUERY WHERE 1", "SYSTEM SHUTDOWN", "SYSTEM STOP MERGES", "GRANT writer TO default", "CREATE USER u", "SET ROLE writer", "SET DEFAULT ROLE writer TO default", "EXECUTE AS default SELECT 1",
		// settings
		"SET readonly = 0", "SET max_execution_time = 0", "SELECT 1 SETTINGS max_memory_usage = 0", "SELECT 1 SETTINGS readonly = 0", "SELECT * FROM (SELECT 1 SETTINGS max_threads = 64)", "SELECT 1 IN (SELECT 1 settings/**/`max_memory_usage`=0)", "SELECT * FROM (SELECT 1 SETTINGS max_threads = DEFAULT)", "WITH a AS (SELECT 1 SETTINGS x = 1, max_execution_time = 0) SELECT * FROM a",
		// other databases
		"SELECT * FROM other.hidden", "SELECT count() FROM merge('other', '.*')", "SELECT count() FROM merge('system', 'processes')", "USE other",
		"EXPLAIN QUERY TREE SELECT * FROM other.hidden", "EXPLAIN SYNTAX run_query_tree_passes = 1 SELECT * FROM other.hidden",
		"SHOW CREATE TABLE other.hidden", "DESCRIBE TABLE other.hidden", "SELECT * FROM mergeTreeIndex('other', 'hidden')", "SELECT n FROM statistics.t WHERE n IN other.hidden",
		"SELECT * FROM system.processes", "SELECT * FROM `system`.`processes`", "SELECT * FROM \"system\" . settings", "SELECT * FROM system.query_log", "SELECT * FROM system.parts",
		"SELECT * FROM system.users", "SELECT * FROM system.errors", "SELECT * FROM system.server_settings", "SHOW PROCESSLIST", "SHOW GRANTS", "SHOW SETTINGS LIKE 'a'",
		"SELECT 1 IN (SELECT query FROM system . /* a comment */ processes)", "EXPLAIN SELECT * FROM system.processes", "DESCRIBE (SELECT * FROM system.processes)",
		// files
		"SELECT * FROM file('" + secret + "', 'LineAsString')", "SELECT file('" + secret + "')", "SELECT `file`('" + secret + "')", "SELECT FILE ('" + secret + "')",
		"SELECT * APPLY(file) FROM (SELECT '" + secret + "')", "SELECT * APPLY `file` FROM (SELECT '" + secret + "')", "SELECT arrayMap(x -> file(x), ['" + secret + "'])",
		"SELECT arrayMap(file, ['" + secret + "'])", "SELECT arrayMap(`FILE`, ['" + secret + "'])", "SELECT arrayMap(\"\\x66ile\", ['" + secret + "'])", "SELECT arrayMap(g -> file, [1])",
		"WITH file AS g SELECT arrayMap(g, ['" + secret + "'])", "SELECT arrayMap(dictGet, ['d'], ['a'], [1])",
		"SELECT /* FORMAT */ file\n(\n'" + secret + "')", "SELECT $a$x$a$, file('" + secret + "')", "WITH (x -> file(x)) AS g SELECT g('" + secret + "')",
		"SELECT * FROM `" + secret + "`", "SELECT * FROM default.`" + secret + "`", "DESCRIBE TABLE file('" + secret + "')", "SELECT * FROM filesystem('" + dir + "')",
		"SELECT * FROM sqlite('" + secret + "', 't')", "SELECT * FROM icebergLocal('" + dir + "')", "SELECT * FROM deltaLakeLocal('" + dir + "')", "SELECT * FROM executable('x', 'TSV', 'a String')",
		"SELECT * FROM fileCluster('default', '" + secret + "')", "SELECT catboostEvaluate('" + secret + "', 1)",
		"SELECT 1 INTO OUTFILE '" + target + "'", "SELECT 1 into /**/ outfile '" + target + "' TRUNCATE", "DESCRIBE TABLE statistics.t INTO OUTFILE '" + target + "'",
		"SELECT 1; SELECT 2 INTO OUTFILE '" + target + "'", "SELECT 1 PARALLEL WITH SELECT 2", "INSERT INTO FUNCTION file('" + target + "', 'TSV', 'a UInt8') SELECT 1",
		"INSERT INTO statistics.t FROM INFILE '" + secret + "' FORMAT TSV",
		// other machines
		"SELECT * FROM url('http://" + there + "/', 'TSV', 'a String')", "DESCRIBE TABLE url('http://" + there + "/x.csv')", "SELECT * FROM remote('" + there + "', 'system.one')",
		"SELECT * FROM remoteSecure('" + there + "', 'system.one')", "SELECT * FROM s3('http://" + there + "/bucket/key', 'TSV', 'a String')", "SELECT * FROM mysql('" + there + "', 'a', 'b', 'c', 'd')",
		"SELECT * FROM postgresql('" + there + "', 'a', 'b', 'c', 'd')", "SELECT * FROM mongodb('" + there + "', 'a', 'b', 'c', 'd', 'e String')", "SELECT * FROM redis('" + there + "', 'k', 'k String')",
		"SELECT * FROM cluster('default', 'system.one')", "SELECT hasColumnInTable('" + there + "', 'u', 'p', 'system', 'one', 'dummy')", "SELECT * FROM urlCluster('default', 'http://" + there + "/')",
		"EXPLAIN TABLE OVERRIDE mysql('" + there + "', 'a', 'b', 'c', 'd') COLUMNS (a UInt8)", "SELECT aiGenerate('x')", "SELECT * FROM prometheusQuery('a', 'b', 'c')",
		// this machine
		"SELECT filesystemAvailable()", "SELECT getMacro('x')", "SELECT logTrace('x')", "SELECT showCertificate()", "SELECT addressToLine(1::UInt64)", "SELECT dictGet('d', 'a', 1)",
		"SELECT 1\x00 INTO OUTFILE '" + target + "'", "", ";",
	} {
		rows, err := connection.Query(t.Context(), statement)
		if err == nil {
			rows.Close()
		}
		switch codeOf(err) {
		case 164, 497, 62: // reading only, no right, no statement (as the engine writes it anew)
		case 48: // sessions are not offered
			if !strings.HasPrefix(statement, "SET") && !strings.HasPrefix(statement, "USE") {
				t.Errorf("%s: %v", statement, err)
			}
		default:
			t.Errorf("%s: %v", statement, err)
		}
		if err != nil && strings.Contains(err.Error(), "a secret") {
			t.Errorf("%s tells the secret", statement)
		}
	}
	if n := entries(t, dir); n != 1 {
		t.Errorf("%d files were written", n-1)
	}
	reached.Range(func(from, _ any) bool {
		t.Errorf("another server was called, from %v", from)
		return true
	})
	if n := one[uint64](t, connection, "SELECT count() FROM statistics.t"); n != 1000 {
		t.Errorf("the table has %d rows now", n)
	}
}

// The name of a table must not come as a parameter: it would not be seen.
func TestAnalystNamesNoTableByParameter(t *testing.T) {
	connection := asAnalyst(t)
	ctx := clickhouse.Context(t.Context(), clickhouse.WithParameters(clickhouse.Parameters{"d": "system", "t": "processes"}))
	for _, statement := range []string{"SELECT * FROM {d:Identifier}.{t:Identifier}", "SELECT * FROM system.{t:Identifier}", "SELECT * FROM { d : `Identifier` }.processes"} {
		if err := connection.Exec(ctx, statement); codeOf(err) != 497 && codeOf(err) != 62 {
			t.Errorf("%s: %v", statement, err)
		}
	}
}

// Settings in the address change how a result looks, and tighten limits.
func TestAnalystSettings(t *testing.T) {
	connection := asAnalyst(t)
	for name, code := range map[string]int{
		"max_memory_usage": 164, "readonly": 0, "max_threads": 164, "allow_ddl": 164, "log_comment": 164,
		"max_execution_time": 0, "output_format_json_quote_64bit_integers": 0, "session_timezone": 0,
	} {
		value := "1"
		if name == "session_timezone" {
			value = "Asia/Tokyo"
		}
		ctx := clickhouse.Context(t.Context(), clickhouse.WithSettings(clickhouse.Settings{name: value}))
		if err := connection.Exec(ctx, "SELECT 1"); codeOf(err) != code {
			t.Errorf("%s: %v, want code %d", name, err, code)
		}
	}
	ctx := clickhouse.Context(t.Context(), clickhouse.WithSettings(clickhouse.Settings{"readonly": 0, "max_execution_time": 3600}))
	var readonly, seconds string
	if err := connection.QueryRow(ctx, "SELECT toString(getSetting('readonly')), toString(getSetting('max_execution_time'))").Scan(&readonly, &seconds); err != nil {
		t.Fatal(err)
	}
	if readonly != "1" || seconds != "2" {
		t.Errorf("readonly is %s and the time %s s", readonly, seconds)
	}
}

func TestAnalystLimits(t *testing.T) {
	connection := asAnalyst(t)
	for statement, code := range map[string]int{
		"SELECT count() FROM numbers(1000000000000) WHERE sipHash64(number) = 7":             159,
		"SELECT number, count() FROM numbers(1000000000) GROUP BY number ORDER BY 2 LIMIT 1": 241,
		"SELECT number, repeat('x', 100) FROM numbers(1000000)":                              396,
		"SELECT arrayJoin(range(1000000000)) AS n ORDER BY n LIMIT 1":                        0,
		"SELECT sleepEachRow(1) FROM numbers(1000)":                                          0,
		"SELECT 1 /* " + strings.Repeat("長", 100_000) + " */":                                266,
	} {
		err := connection.Exec(t.Context(), statement)
		if got := codeOf(err); got == 0 || code != 0 && got != code {
			t.Errorf("%.70s: %v, want code %d", statement, err, code)
		}
	}
	if n, all := one[uint64](t, connection, "SELECT toUInt64(getSetting('max_memory_usage'))"), one[uint64](t, asWriter(t), "SELECT toUInt64(getServerSetting('max_server_memory_usage'))"); n != all/2/3 {
		t.Errorf("a query of the analyst may take %d bytes of %d", n, all)
	}
	if n := one[uint8](t, connection, "SELECT 1"); n != 1 {
		t.Error("the engine does not answer afterwards")
	}
}

// Beyond those that run, so many wait, and further ones are refused at once.
func TestQueueIsBounded(t *testing.T) {
	var all sync.WaitGroup
	codes := make(chan int, 12)
	for n := range cap(codes) {
		connection := asAnalyst(t)
		all.Go(func() {
			codes <- codeOf(connection.Exec(t.Context(), fmt.Sprintf("SELECT %d, sleepEachRow(0.2) FROM numbers(3)", n)))
		})
	}
	all.Wait()
	close(codes)
	told := map[int]int{}
	for code := range codes {
		told[code]++
	}
	if told[202] == 0 || told[0] < 4 || told[0]+told[202]+told[159] != cap(codes) {
		t.Errorf("of %d queries at once, the codes were %v", cap(codes), told)
	}
}

// Long queries, as many as may be, take neither the memory of the writer's inserts nor the place of a report.
func TestAnalystsLeaveTheirShareToOthers(t *testing.T) {
	writing := asWriter(t)
	database(t, writing, "share")
	do(t, writing, "CREATE TABLE share.t (n UInt64, v String) ENGINE = MergeTree ORDER BY v")
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	for n := range 6 { // as many as run or wait
		connection := asAnalyst(t)
		all.Go(func() {
			for ; ctx.Err() == nil; time.Sleep(100 * time.Millisecond) {
				_ = connection.Exec(ctx, fmt.Sprintf("SELECT %d, number, count() FROM numbers(100000000) GROUP BY number ORDER BY 2 LIMIT 1", n))
			}
		})
	}
	report := asAnalyst(t)
	for range 15 {
		batch, err := writing.PrepareBatch(t.Context(), "INSERT INTO share.t (n, v)")
		if err != nil {
			t.Fatal(err)
		}
		for n := range uint64(50_000) {
			if err := batch.Append(n, fmt.Sprintf("%d %0200d", n%977, n)); err != nil {
				t.Fatal(err)
			}
		}
		if err := batch.Send(); err != nil {
			t.Fatalf("an insert while analysts ask: %v", err)
		}
		var one uint8
		if err := report.QueryRow(clickhouse.Context(t.Context(), clickhouse.WithQuotaKey(embedded.ReportKey)), "SELECT 1").Scan(&one); err != nil {
			t.Fatalf("a report while analysts ask: %v", err)
		}
	}
}

func TestWrongPassword(t *testing.T) {
	for _, c := range []struct {
		user     string
		password embedded.Password
	}{
		{embedded.WriterName, analystPassword}, {embedded.AnalystName, writerPassword}, {embedded.WriterName, ""},
		{"default", ""}, {"", ""}, {"default", writerPassword},
	} {
		_, err := clickhouse.Open(options(address, c.user, c.password))
		if err == nil {
			err = connect(t, options(address, c.user, c.password)).Ping(t.Context())
		}
		if codeOf(err) != 516 {
			t.Errorf("%q with %q: %v", c.user, string(c.password), err)
		}
		if err != nil && strings.Contains(err.Error(), "secret of tests") {
			t.Errorf("the error tells a password: %v", err)
		}
	}
}

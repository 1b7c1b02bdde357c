package embedded_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"kiroku/adapters/clickhouse/embedded"
)

// process is a server in a process of its own.
type process struct {
	command *exec.Cmd
	stdin   io.Closer
	address string
}

func launch(t *testing.T, dir string) *process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{command: exec.Command(self)}
	p.command.Env = append(os.Environ(), childFolder+"="+dir)
	p.command.Stderr = os.Stderr
	if p.stdin, err = p.command.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stdout, err := p.command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := p.command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if p.command.ProcessState == nil {
			_ = p.command.Process.Kill()
			_ = p.command.Wait()
		}
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("the server does not start: %v", err)
	}
	t.Logf("ready after %v", time.Since(began))
	p.address = strings.TrimSpace(line)
	return p
}

func (p *process) connect(t *testing.T) clickhouse.Conn {
	return connect(t, options(p.address, embedded.WriterName, writerPassword))
}

// resident is the process's memory as the system counts it.
func (p *process) resident(t *testing.T) string {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.command.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(status), "VmRSS:")
	line, _, _ := strings.Cut(after, "\n")
	return strings.TrimSpace(line)
}

func TestRestartKeepsData(t *testing.T) {
	dir := t.TempDir()
	p := launch(t, dir)
	do(t, p.connect(t), "CREATE DATABASE kept", "CREATE TABLE kept.t (n UInt64) ENGINE = MergeTree ORDER BY n", "INSERT INTO kept.t SELECT number FROM numbers(1000)")
	t.Logf("resident: %s", p.resident(t))
	p.stdin.Close()
	if err := p.command.Wait(); err != nil {
		t.Fatalf("the server ends with %v", err)
	}
	p = launch(t, dir)
	if n := one[uint64](t, p.connect(t), "SELECT sum(n) FROM kept.t"); n != 999*1000/2 {
		t.Errorf("after the restart the sum is %d", n)
	}
}

// A server that is killed while it inserts keeps what it answered, and of the
// rest whole batches.
func TestKilledDuringInsert(t *testing.T) {
	dir := t.TempDir()
	p := launch(t, dir)
	const batchRows = 20_000
	table := "CREATE TABLE cut.t (batch UInt32, n UInt64, s String) ENGINE = MergeTree ORDER BY (batch, n) SETTINGS non_replicated_deduplication_window = 1000"
	do(t, p.connect(t), "CREATE DATABASE cut", table)
	answered := uint32(0)
	for round := range 3 {
		connection := p.connect(t)
		acks := make(chan uint32, 1000)
		go func() {
			defer close(acks)
			for batch := answered; insertBatch(t.Context(), connection, batch, batchRows) == nil; batch++ {
				acks <- batch + 1
			}
		}()
		for range 2 + round {
			answered = <-acks
		}
		if err := p.command.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = p.command.Wait() // it was killed
		for ack := range acks {
			answered = ack
		}
		p = launch(t, dir)
		connection = p.connect(t)
		batches := one[uint64](t, connection, "SELECT uniqExact(batch) FROM cut.t")
		partial := one[uint64](t, connection, "SELECT count() FROM (SELECT batch FROM cut.t GROUP BY batch HAVING count() != ?)", batchRows)
		if partial != 0 || batches != uint64(answered) && batches != uint64(answered)+1 {
			t.Errorf("round %d: %d batches were answered, %d are there, %d of them in part", round, answered, batches, partial)
		}
		if n := entries(t, dir, "inserts"); n != 0 {
			t.Errorf("%d files of inserts were left", n)
		}
	}
	// What was cut short is sent again, under the same token.
	if err := insertBatch(t.Context(), p.connect(t), answered, batchRows); err != nil {
		t.Fatal(err)
	}
	if n := one[uint64](t, p.connect(t), "SELECT count() FROM cut.t"); n != uint64(answered+1)*batchRows {
		t.Errorf("%d rows of %d batches", n, answered+1)
	}
}

func insertBatch(ctx context.Context, connection clickhouse.Conn, batch uint32, rows uint64) error {
	ctx = clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{"insert_deduplication_token": fmt.Sprint(batch)}))
	b, err := connection.PrepareBatch(ctx, "INSERT INTO cut.t (batch, n, s)")
	if err != nil {
		return err
	}
	for n := range rows {
		if err := b.Append(batch, n, fmt.Sprintf("row %d", n)); err != nil {
			return err
		}
	}
	return b.Send()
}

// A query that runs on does not keep the server from ending.
func TestStopsWhileQueriesRun(t *testing.T) {
	p := launch(t, t.TempDir())
	connection := p.connect(t)
	ended := make(chan error, 1)
	go func() {
		ended <- connection.Exec(t.Context(), "SELECT 'runs on', count() FROM numbers(1000000000000) WHERE sipHash64(number) = 7")
	}()
	eventually(t, "the query runs", func() bool {
		return one[uint64](t, connection, "SELECT count() FROM system.processes WHERE query LIKE '%runs on%' AND query NOT LIKE '%system.processes%'") == 1
	})
	p.stdin.Close()
	if err := <-ended; err == nil {
		t.Error("the query ends as if it had been answered")
	}
	if err := p.command.Wait(); err != nil {
		t.Errorf("the server ends with %v", err)
	}
}

// The engine reads standard input now and then: there has to be an end at once, and not what tells of the parent's.
func TestTheEngineFindsNoStandardInput(t *testing.T) {
	p := launch(t, t.TempDir())
	if found, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/0", p.command.Process.Pid)); err != nil || found != os.DevNull {
		t.Errorf("standard input is %s, %v", found, err)
	}
	p.stdin.Close()
	if err := p.command.Wait(); err != nil {
		t.Errorf("the server ends with %v", err)
	}
}

// A query that cannot be killed, here because it waits for a file that nobody writes, ends the server: whoever
// supervises it starts it again.
func TestAQueryThatHangsEndsTheServer(t *testing.T) {
	p := launch(t, t.TempDir())
	do(t, p.connect(t), "CREATE DATABASE d", "CREATE TABLE d.t (n UInt64) ENGINE = MergeTree ORDER BY n")
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.connect(t).Exec(ctx, "INSERT INTO d.t FROM INFILE '"+pipe+"' FORMAT Native") }()
	time.Sleep(100 * time.Millisecond) // it may as well not have begun
	cancel()
	if err := <-ended; err == nil {
		t.Error("the query ends as if it had been answered")
	}
	if err := p.command.Wait(); err == nil || p.command.ProcessState.ExitCode() != 1 {
		t.Errorf("the server ends with %v", err)
	}
}

func TestOneEngineInAProcess(t *testing.T) {
	if _, err := embedded.Open(config(t.TempDir())); err == nil || !strings.Contains(err.Error(), "already") {
		t.Errorf("a second server in the process: %v", err)
	}
}

func TestConfigurationRefused(t *testing.T) {
	for name, change := range map[string]func(*embedded.Config){
		"another machine's address": func(c *embedded.Config) { c.Listen = "0.0.0.0:0" },
		"no password":               func(c *embedded.Config) { c.Analyst = "" },
		"one password for both":     func(c *embedded.Config) { c.Analyst = c.Writer },
		"too little memory":         func(c *embedded.Config) { c.MaxMemoryBytes = 1 << 20 },
		"no such library":           func(c *embedded.Config) { c.Library = "/nowhere/libchdb.so" },
	} {
		c := config(t.TempDir())
		change(&c)
		if server, err := embedded.Open(c); err == nil {
			_ = server.Close(t.Context())
			t.Errorf("%s: it opens", name)
		}
	}
}

func TestFindSaysWhatToDo(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("KIROKU_CHDB", "")
	_, err := embedded.Find()
	if !errors.Is(err, embedded.ErrNoLibrary) || !strings.Contains(err.Error(), "statistics are off") || !strings.Contains(err.Error(), "ops/setup") {
		t.Errorf("without the library it says: %v", err)
	}
	t.Setenv("KIROKU_CHDB", filepath.Join(t.TempDir(), "libchdb.so"))
	if _, err := embedded.Find(); !errors.Is(err, embedded.ErrNoLibrary) {
		t.Errorf("with a wrong path it says: %v", err)
	}
}

func TestFilesAreTheOwnersOnly(t *testing.T) {
	dir := t.TempDir()
	p := launch(t, dir)
	do(t, p.connect(t), "CREATE DATABASE d", "CREATE TABLE d.t (n UInt8) ENGINE = MergeTree ORDER BY n", "INSERT INTO d.t VALUES (1)")
	for _, folder := range []string{"data", "inserts"} {
		info, err := os.Stat(filepath.Join(dir, folder))
		if err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v, %v", folder, info.Mode(), err)
		}
	}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		if text, err := os.ReadFile(path); err == nil && strings.Contains(string(text), "secret of tests") {
			t.Errorf("%s holds a password", path)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// The interface as others use it: plain HTTP.
func TestPlainHTTP(t *testing.T) {
	get := func(method, path, body string, header ...string) (*http.Response, string) {
		request, err := http.NewRequestWithContext(t.Context(), method, "http://"+address+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		request.SetBasicAuth(embedded.WriterName, string(writerPassword))
		for i := 0; i < len(header); i += 2 {
			request.Header.Set(header[i], header[i+1])
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response, string(text)
	}
	for _, c := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "/ping", "", 200, "Ok.\n"},
		{"POST", "/", "SELECT 1", 200, "1\n"},
		{"GET", "/?query=SELECT+'a'+AS+x+FORMAT+JSONEachRow", "", 200, "{\"x\":\"a\"}\n"},
		{"POST", "/?default_format=CSV&query=SELECT", "number FROM numbers(2)", 200, "0\n1\n"},
		{"POST", "/?query=SELECT+x", "", 400, "Code: 47. DB::Exception: "},
		{"POST", "/?session_id=a&query=SELECT+1", "", 501, "Code: 48. DB::Exception: "},
		{"POST", "/?password=a&query=SELECT+1", "", 501, "Code: 48. DB::Exception: "},
		{"POST", "/?a-b=1&query=SELECT+1", "", 400, "Code: 36. DB::Exception: "},
		{"POST", "/?default_format=No%20such", "SELECT 1", 400, "Code: 36. DB::Exception: "},
		{"PUT", "/", "SELECT 1", 404, ""},
		{"GET", "/play", "", 404, ""},
	} {
		response, text := get(c.method, c.path, c.body)
		if response.StatusCode != c.status || !strings.HasPrefix(text, c.want) {
			t.Errorf("%s %s: %d, %q", c.method, c.path, response.StatusCode, text)
		}
	}
	response, _ := get("POST", "/?query_id=mine", "SELECT throwIf(1)")
	if response.Header.Get("X-ClickHouse-Query-Id") != "mine" || response.Header.Get("X-ClickHouse-Exception-Code") != "395" {
		t.Errorf("the headers are %v", response.Header)
	}
	if _, text := get("POST", "/", "SELECT 1", "X-ClickHouse-User", "analyst", "Authorization", "Basic !"); !strings.HasPrefix(text, "Code: 516.") {
		t.Errorf("without a password: %q", text)
	}
}

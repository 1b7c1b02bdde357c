package embedded_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"kiroku/adapters/clickhouse/embedded"
)

const (
	writerPassword  = embedded.Password("writer's secret of tests")
	analystPassword = embedded.Password("analyst's secret of tests")
)

// childFolder names the variable by which the test program is told to serve a
// folder as a process of its own.
const childFolder = "KIROKU_TEST_CLICKHOUSE"

// address is that of the server which the tests of one process share: an
// engine runs once in a process, and takes its time to start.
var address string

func TestMain(m *testing.M) {
	if dir := os.Getenv(childFolder); dir != "" {
		os.Exit(child(dir))
	}
	os.Exit(shared(m))
}

// config is small: the machine that tests has other things to do.
func config(dir string) embedded.Config {
	return embedded.Config{
		Dir: dir, Writer: writerPassword, Analyst: analystPassword, MaxMemoryBytes: 768 << 20, MaxThreads: 2,
		AnalystLimits:  embedded.Limits{Time: 2 * time.Second, ResultBytes: 1 << 20, AtOnce: 3, Waiting: 3},
		WriterLimits:   embedded.Limits{Time: 30 * time.Second, ResultBytes: 64 << 20, AtOnce: 4, Waiting: 16},
		MaxInsertBytes: 16 << 20, KillWithin: 2 * time.Second, Log: slog.New(slog.DiscardHandler),
	}
}

func shared(m *testing.M) int {
	if _, err := embedded.Find(); err != nil {
		fmt.Fprintf(os.Stderr, "these tests run on the real engine: run ops/setup first: %v\n", err)
		return 1
	}
	dir, err := os.MkdirTemp("", "clickhouse-*")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	server, err := embedded.Open(config(dir))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	address = server.Addr()
	code := m.Run()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := server.Close(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// child serves until its standard input ends, and prints where.
func child(dir string) int {
	input, err := embedded.MoveStandardInput()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, input)
		cancel()
	}()
	err = embedded.Serve(ctx, config(dir), time.Second, func(address string) error {
		fmt.Println(address)
		return nil
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// options connect as the user, over HTTP.
func options(address, user string, password embedded.Password) *clickhouse.Options {
	return &clickhouse.Options{
		Protocol: clickhouse.HTTP, Addr: []string{address}, MaxOpenConns: 8, MaxIdleConns: 8,
		Auth: clickhouse.Auth{Username: user, Password: string(password)},
	}
}

func connect(t *testing.T, o *clickhouse.Options) clickhouse.Conn {
	t.Helper()
	connection, err := clickhouse.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { connection.Close() })
	return connection
}

func asWriter(t *testing.T) clickhouse.Conn {
	return connect(t, options(address, embedded.WriterName, writerPassword))
}

func asAnalyst(t *testing.T) clickhouse.Conn {
	return connect(t, options(address, embedded.AnalystName, analystPassword))
}

// do runs statements of the writer.
func do(t *testing.T, connection clickhouse.Conn, statements ...string) {
	t.Helper()
	for _, statement := range statements {
		if err := connection.Exec(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

// codeOf is the code of the exception that an error is, 0 if it is none.
func codeOf(err error) int {
	if exception, ok := errors.AsType[*clickhouse.Exception](err); ok {
		return int(exception.Code)
	}
	return 0
}

// one reads the one value that a query gives.
func one[T any](t *testing.T, connection clickhouse.Conn, query string, arguments ...any) T {
	t.Helper()
	var value T
	if err := connection.QueryRow(t.Context(), query, arguments...).Scan(&value); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return value
}

// database makes an empty database for one test.
func database(t *testing.T, connection clickhouse.Conn, name string) {
	t.Helper()
	do(t, connection, "DROP DATABASE IF EXISTS "+name+" SYNC", "CREATE DATABASE "+name)
}

// entries counts what lies in a folder.
func entries(t *testing.T, path ...string) int {
	t.Helper()
	found, err := os.ReadDir(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return len(found)
}

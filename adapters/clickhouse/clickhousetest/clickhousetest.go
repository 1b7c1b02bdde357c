// Package clickhousetest gives tests the real engine as a child process, which can be killed and comes back with its
// files. The child is the test program itself: its TestMain has to call Main.
package clickhousetest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"kiroku/adapters/clickhouse"
	"kiroku/adapters/clickhouse/embedded"
)

const (
	folderVariable = "KIROKU_TEST_STATISTICS_ENGINE"
	listenVariable = "KIROKU_TEST_STATISTICS_LISTEN"
	writerPassword = "writer in tests"
	readerPassword = "analyst in tests"
	startWithin    = time.Minute
)

// Main runs the tests, or, in the child, the engine.
func Main(m *testing.M) {
	if dir := os.Getenv(folderVariable); dir != "" {
		os.Exit(serve(dir, os.Getenv(listenVariable)))
	}
	os.Exit(m.Run())
}

// serve runs the engine until standard input ends.
func serve(dir, listen string) int {
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
	config := embedded.Config{Dir: dir, Listen: listen, Writer: writerPassword, Analyst: readerPassword, MaxMemoryBytes: 1 << 30, MaxThreads: 2,
		Log: slog.New(slog.NewTextHandler(os.Stderr, nil))}
	err = embedded.Serve(ctx, config, 5*time.Second, func(address string) error {
		_, err := fmt.Println(address)
		return err
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// Engine is the child with its folder.
type Engine struct {
	tb  testing.TB
	dir string

	mu      sync.Mutex // guards the rest
	address string
	child   *exec.Cmd
	input   io.Closer
}

// Start starts an engine on an empty folder; it ends with the test.
func Start(tb testing.TB) *Engine {
	tb.Helper()
	if _, err := embedded.Find(); err != nil {
		tb.Fatalf("the test runs on the real engine: %v", err)
	}
	e := &Engine{tb: tb, dir: tb.TempDir(), address: "127.0.0.1:0"}
	tb.Cleanup(e.Kill)
	e.Resume()
	return e
}

// Resume starts the engine again on its files, where it listened before.
func (e *Engine) Resume() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.child != nil {
		return
	}
	// An engine that comes back to its port may find there a connection that somebody made meanwhile.
	for end := time.Now().Add(startWithin); e.child == nil && time.Now().Before(end); {
		e.launch()
	}
	if e.child == nil {
		e.tb.Fatal("the engine did not start")
	}
}

// launch starts the child; there is none afterwards if that failed.
func (e *Engine) launch() {
	program, err := os.Executable()
	if err != nil {
		e.tb.Fatal(err)
	}
	child := exec.Command(program)
	child.Env = append(os.Environ(), folderVariable+"="+e.dir, listenVariable+"="+e.address)
	child.Stderr = os.Stderr
	input, err := child.StdinPipe()
	if err != nil {
		e.tb.Fatal(err)
	}
	output, err := child.StdoutPipe()
	if err != nil {
		e.tb.Fatal(err)
	}
	if err := child.Start(); err != nil {
		e.tb.Fatal(err)
	}
	line := make(chan string, 1)
	go func() {
		text, _ := bufio.NewReader(output).ReadString('\n')
		line <- strings.TrimSpace(text)
	}()
	address := ""
	select {
	case address = <-line:
	case <-time.After(startWithin):
	}
	if address == "" {
		_ = child.Process.Kill()
		_ = child.Wait()
		_ = input.Close()
		return
	}
	e.address, e.child, e.input = address, child, input
}

// Kill ends the engine without a warning. It may be called when there is none.
func (e *Engine) Kill() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.child == nil {
		return
	}
	_ = e.child.Process.Kill()
	_ = e.child.Wait()
	_ = e.input.Close()
	e.child = nil
}

// Stop ends the engine as its core does: what is asked may end, what has not ended after five seconds is killed.
func (e *Engine) Stop() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.child == nil {
		return
	}
	_ = e.input.Close()
	_ = e.child.Wait()
	e.child = nil
}

// At tells another process where the writer finds an engine.
func At(address string) func() (clickhouse.Location, error) {
	return func() (clickhouse.Location, error) {
		return clickhouse.Location{Addresses: []string{address}, HTTP: true, User: embedded.WriterName, Password: writerPassword}, nil
	}
}

// Writer is where the writer finds the engine.
func (e *Engine) Writer() (clickhouse.Location, error) {
	return e.location(embedded.WriterName, writerPassword)
}

// Analyst is where the analyst finds the engine.
func (e *Engine) Analyst() (clickhouse.Location, error) {
	return e.location(embedded.AnalystName, readerPassword)
}

func (e *Engine) location(user string, password clickhouse.Password) (clickhouse.Location, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return clickhouse.Location{Addresses: []string{e.address}, HTTP: true, User: user, Password: password}, nil
}

// Open opens a database of the engine as the writer; it is closed with the test.
func (e *Engine) Open(change ...func(*clickhouse.Config)) *clickhouse.DB {
	e.tb.Helper()
	return e.open(clickhouse.Config{Locate: e.Writer}, change)
}

// OpenAnalyst opens a database of the engine as the analyst.
func (e *Engine) OpenAnalyst(change ...func(*clickhouse.Config)) *clickhouse.DB {
	e.tb.Helper()
	return e.open(clickhouse.Config{Locate: e.Analyst}, change)
}

func (e *Engine) open(c clickhouse.Config, change []func(*clickhouse.Config)) *clickhouse.DB {
	e.tb.Helper()
	for _, f := range change {
		f(&c)
	}
	d, err := clickhouse.Open(c)
	if err != nil {
		e.tb.Fatal(err)
	}
	e.tb.Cleanup(func() { _ = d.Close() })
	return d
}

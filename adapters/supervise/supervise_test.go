package supervise_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"kiroku/adapters/supervise"
)

// role names the variable by which the test program is told to be a child.
const role = "KIROKU_TEST_CHILD"

func TestMain(m *testing.M) {
	if r := os.Getenv(role); r != "" {
		os.Exit(child(r))
	}
	os.Exit(m.Run())
}

// child is what the supervised process does, by role.
func child(role string) int {
	logger := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGTERM)
	ctx, _ := supervise.AwaitParent(context.Background(), os.Stdin)
	switch role {
	case "steady":
		fmt.Println("ready")
		logger.Info("serving", "word", "hello")
		select {
		case <-told:
			logger.Info("leaving", "because", "SIGTERM")
		case <-ctx.Done():
			logger.Info("leaving", "because", "stdin")
		}
		return 0
	case "hopeless":
		fmt.Fprintln(os.Stderr, "there is no such folder")
		return 2
	case "silent":
		<-told
		return 0
	case "stubborn":
		signal.Ignore(syscall.SIGTERM)
		fmt.Println("ready")
		select {}
	case "talkative":
		fmt.Fprintln(os.Stderr, "goroutine 1 [running]:")
		fmt.Fprint(os.Stderr, strings.Repeat("x", 200<<10), "\n")
		fmt.Println("ready")
		<-ctx.Done()
		return 0
	case "parent":
		return parent()
	}
	return 3
}

// parent supervises a steady child, tells its process id and then waits to be
// killed.
func parent() int {
	c, err := supervise.Start(context.Background(), config("steady", io.Discard))
	if err != nil {
		return 4
	}
	fmt.Println(c.Status().PID)
	select {}
}

func config(role string, logs io.Writer) supervise.Config {
	self, err := supervise.Self()
	if err != nil {
		panic(err)
	}
	return supervise.Config{
		Name: "child", Path: self, Env: append(os.Environ(), "KIROKU_TEST_CHILD="+role),
		Log: slog.New(slog.NewJSONHandler(logs, nil)), Logs: logs,
		ReadyWithin: 20 * time.Second, StopWithin: 20 * time.Second, FirstPause: time.Millisecond,
	}
}

// buffer is a log that is written to and read at once.
type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// eventually waits for a condition; it fails only if it never comes about.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

func gone(pid int) bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }

func TestStopLetsTheChildLeave(t *testing.T) {
	var logs buffer
	c, err := supervise.Start(t.Context(), config("steady", &logs))
	if err != nil {
		t.Fatal(err)
	}
	s := c.Status()
	if !s.Ready || s.PID == 0 || c.Check(t.Context()) != nil {
		t.Errorf("%+v", s)
	}
	c.Stop()
	if !gone(s.PID) {
		t.Error("the process is still there")
	}
	for _, line := range []string{`"word":"hello"`, `"msg":"leaving"`, `"msg":"child stopped"`} {
		if !strings.Contains(logs.String(), line) {
			t.Errorf("%s is missing in\n%s", line, logs.String())
		}
	}
	if c.Check(t.Context()) == nil {
		t.Error("ready although stopped")
	}
}

func TestCrashedChildIsStartedAgain(t *testing.T) {
	var readies int
	var logs buffer
	config := config("steady", &logs)
	config.OnReady = func() { readies++ }
	c, err := supervise.Start(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	const crashes = 3
	for n := range crashes {
		pid := c.Status().PID
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		eventually(t, "another process is ready", func() bool {
			s := c.Status()
			return s.Ready && s.PID != pid && s.Restarts == n+1
		})
	}
	if s := c.Status(); !strings.Contains(s.LastExit, "killed") {
		t.Errorf("%+v", s)
	}
	c.Stop()
	if readies != crashes+1 {
		t.Errorf("ready %d times", readies)
	}
}

func TestChildThatCannotStartSaysWhy(t *testing.T) {
	for role, want := range map[string]string{"hopeless": "there is no such folder", "unknown": "exit status 3"} {
		_, err := supervise.Start(t.Context(), config(role, io.Discard))
		if !errors.Is(err, supervise.ErrNotReady) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", role, err)
		}
	}
	missing := config("steady", io.Discard)
	missing.Path = "/nonexistent/kiroku"
	if _, err := supervise.Start(t.Context(), missing); !errors.Is(err, os.ErrNotExist) || !errors.Is(err, supervise.ErrNotReady) {
		t.Error(err)
	}
}

func TestChildThatIsNeverReadyIsEnded(t *testing.T) {
	silent := config("silent", io.Discard)
	silent.ReadyWithin = 50 * time.Millisecond
	if _, err := supervise.Start(t.Context(), silent); !errors.Is(err, supervise.ErrNotReady) {
		t.Error(err)
	}
}

func TestStubbornChildIsKilled(t *testing.T) {
	stubborn := config("stubborn", io.Discard)
	stubborn.StopWithin = 50 * time.Millisecond
	c, err := supervise.Start(t.Context(), stubborn)
	if err != nil {
		t.Fatal(err)
	}
	pid := c.Status().PID
	c.Stop()
	if !gone(pid) {
		t.Error("the process is still there")
	}
}

// TestLogStaysJSON feeds it what is no log line, and one that is longer than
// any.
func TestLogStaysJSON(t *testing.T) {
	var logs buffer
	c, err := supervise.Start(t.Context(), config("talkative", &logs))
	if err != nil {
		t.Fatal(err)
	}
	c.Stop()
	for line := range strings.Lines(logs.String()) {
		if !strings.HasPrefix(line, "{") {
			t.Errorf("not JSON: %.80s", line)
		}
	}
	if n := strings.Count(logs.String(), "x"); n < 200<<10 {
		t.Errorf("only %d of %d octets were passed on", n, 200<<10)
	}
}

// TestChildDoesNotOutliveItsParent kills a parent that has no chance to stop
// its child.
func TestChildDoesNotOutliveItsParent(t *testing.T) {
	middle := exec.Command(os.Args[0])
	middle.Env = append(os.Environ(), role+"=parent")
	out, err := middle.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	in, err := middle.StdinPipe() // held open, so that it does not leave by itself
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if err := middle.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	if err := middle.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = middle.Wait()
	eventually(t, "the child is gone", func() bool { return gone(pid) || zombie(pid) })
}

// zombie reports whether a process has ended and nobody has asked for it yet,
// as happens to orphans where process 1 does not care.
func zombie(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && strings.Contains(string(stat), ") Z ")
}

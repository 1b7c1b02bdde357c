package processes

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"kiroku/cmd/kiroku/internal/freed"
)

// program is the built kiroku.
var program string

// asCore in the environment makes the test binary a core.
const asCore = "PROCESSES_AS_CORE"

func TestMain(m *testing.M) {
	if os.Getenv(asCore) != "" {
		if err := freed.Overwrite(); err != nil { // as kiroku does
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(runCore(os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) int {
	folder, err := os.MkdirTemp("", "kiroku-processes-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(folder)
	program = filepath.Join(folder, "kiroku")
	if out, err := exec.Command("go", "build", "-o", program, "kiroku/cmd/kiroku").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building kiroku: %v\n%s", err, out)
		return 1
	}
	flag.Parse()
	// What is tested mostly waits for its processes: for leases, pauses and lapses.
	if err := flag.Set("test.parallel", strconv.Itoa(2*runtime.GOMAXPROCS(0))); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// patience is how long anything may take that has to come about in the end.
const patience = 90 * time.Second

// eventually waits for a condition; it fails only if it never comes about.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

// environment is this process's without what would configure kiroku or SoftHSM.
func environment() []string {
	var kept []string
	for _, entry := range os.Environ() {
		if !strings.HasPrefix(entry, "KIROKU_") && !strings.HasPrefix(entry, "XDG_") && !strings.HasPrefix(entry, "SOFTHSM2_CONF=") {
			kept = append(kept, entry)
		}
	}
	return kept
}

// result is how a command ended.
type result struct {
	code     int
	out, err string
}

// kiroku runs a command to its end.
func kiroku(t *testing.T, arguments ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	command := exec.CommandContext(ctx, program, arguments...)
	command.Env = environment()
	var out, errs bytes.Buffer
	command.Stdout, command.Stderr = &out, &errs
	err := command.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("running kiroku %v: %v", arguments, err)
	}
	return result{command.ProcessState.ExitCode(), out.String(), errs.String()}
}

// must fails the test unless the command was done.
func (r result) must(t *testing.T) result {
	t.Helper()
	if r.code != 0 {
		t.Fatalf("exit status %d\n%s%s", r.code, r.out, r.err)
	}
	return r
}

// process is a program that stays.
type process struct {
	*exec.Cmd
	t      *testing.T
	name   string
	said   recorder
	exited chan struct{}
}

// recorder keeps what a process said.
type recorder struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (r *recorder) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.buf.Write(b)
}

func (r *recorder) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.buf.String()
}

// run starts a command that must end with the test.
func run(t *testing.T, name string, command *exec.Cmd) *process {
	t.Helper()
	p := &process{Cmd: command, t: t, name: name, exited: make(chan struct{})}
	command.Stderr = &p.said
	if command.Stdout == nil {
		command.Stdout = &p.said
	}
	if command.Env == nil {
		command.Env = environment()
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = command.Wait() // the tests look at ProcessState
		close(p.exited)
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("%s (%d) said:\n%s", name, p.Process.Pid, lastLines(p.said.String(), 60))
		}
	})
	return p
}

func lastLines(text string, n int) string {
	lines := strings.SplitAfter(text, "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "")
}

// start runs a command of kiroku on a data directory.
func start(t *testing.T, data string, arguments ...string) *process {
	t.Helper()
	return run(t, "kiroku "+strings.Join(arguments, " "), exec.Command(program, append(arguments, "--data", data)...))
}

func (p *process) signal(s os.Signal) {
	p.t.Helper()
	if err := p.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Fatalf("signal %v to %s: %v", s, p.name, err)
	}
}

// kill is kill -9.
func (p *process) kill() {
	_ = p.Process.Kill()
	<-p.exited
}

// stop asks the process to end and returns its exit status.
func (p *process) stop() int {
	p.t.Helper()
	p.signal(syscall.SIGTERM)
	return p.ended()
}

// ended waits for the end and returns the exit status.
func (p *process) ended() int {
	p.t.Helper()
	select {
	case <-p.exited:
	case <-time.After(patience):
		p.t.Fatalf("%s does not end", p.name)
	}
	return p.ProcessState.ExitCode()
}

func (p *process) gone() bool {
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

// says waits until the process has said something.
func (p *process) says(what string) {
	p.t.Helper()
	eventually(p.t, p.name+" says "+what, func() bool {
		if p.gone() && !strings.Contains(p.said.String(), what) {
			p.t.Fatalf("%s ended with %d and never said %q", p.name, p.ProcessState.ExitCode(), what)
		}
		return strings.Contains(p.said.String(), what)
	})
}

package main_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// program is the built kiroku.
var program string

func TestMain(m *testing.M) { os.Exit(build(m)) }

func build(m *testing.M) int {
	folder, err := os.MkdirTemp("", "kiroku-cmd-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(folder)
	program = filepath.Join(folder, "kiroku")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building kiroku: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// result is how a command ended.
type result struct {
	code     int
	out, err string
}

// kiroku runs a command to its end, in an environment with nothing of kiroku.
func kiroku(t *testing.T, arguments ...string) result {
	t.Helper()
	return kirokuIn(t, clean(), arguments...)
}

// kirokuIn runs a command to its end in an environment.
func kirokuIn(t *testing.T, environment []string, arguments ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, program, arguments...)
	command.Env = environment
	var out, errs bytes.Buffer
	command.Stdout, command.Stderr = &out, &errs
	err := command.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("running kiroku %v: %v", arguments, err)
	}
	return result{command.ProcessState.ExitCode(), out.String(), errs.String()}
}

func clean() []string {
	var environment []string
	for _, entry := range os.Environ() {
		if !strings.HasPrefix(entry, "KIROKU_") && !strings.HasPrefix(entry, "XDG_") {
			environment = append(environment, entry)
		}
	}
	return environment
}

// must fails the test unless the command was done.
func (r result) must(t *testing.T) result {
	t.Helper()
	if r.code != 0 {
		t.Fatalf("exit status %d\n%s%s", r.code, r.out, r.err)
	}
	return r
}

// process is a kiroku that stays.
type process struct {
	*exec.Cmd
	data   string
	mu     sync.Mutex // guards log
	log    bytes.Buffer
	exited chan struct{}
}

func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.Write(b)
}

func (p *process) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

// start runs a command on a data directory until the test ends.
func start(t *testing.T, data string, arguments ...string) *process {
	t.Helper()
	return startIn(t, clean(), data, arguments...)
}

// startIn runs a command that stays in an environment.
func startIn(t *testing.T, environment []string, data string, arguments ...string) *process {
	t.Helper()
	p := &process{Cmd: exec.Command(program, append(arguments, "--data", data)...), data: data, exited: make(chan struct{})}
	p.Env = environment
	p.Stdout, p.Stderr = p, p
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.Wait() // the tests look at ProcessState
		close(p.exited)
	}()
	t.Cleanup(func() {
		_ = p.Process.Kill()
		<-p.exited
		if t.Failed() {
			t.Logf("kiroku %v said:\n%s", arguments, p)
		}
	})
	return p
}

// stop asks the process to end and returns its exit status.
func (p *process) stop(t *testing.T) int {
	t.Helper()
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-p.exited
	return p.ProcessState.ExitCode()
}

// eventually waits for a condition; it fails only if it never comes about.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

// announced is an endpoint file.
type announced struct {
	Address, Token string
	PID            int
	Passwords      map[string]string
}

func endpoint(t *testing.T, data, name string) (a announced, ok bool) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(data, "run", name+".json"))
	if errors.Is(err, os.ErrNotExist) {
		return a, false
	}
	if err == nil {
		err = json.Unmarshal(text, &a)
	}
	if err != nil {
		t.Fatal(err)
	}
	return a, true
}

// ready asks the admin endpoint whether the core can work.
func ready(t *testing.T, data string) (bool, string) {
	t.Helper()
	a, ok := endpoint(t, data, "admin")
	if !ok {
		return false, "no endpoint"
	}
	answer, err := http.Get("http://" + a.Address + "/health/ready")
	if err != nil {
		return false, err.Error()
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	return err == nil && answer.StatusCode == http.StatusOK, string(body)
}

func gone(pid int) bool {
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return true
	}
	// An orphan that nobody waits for is gone too.
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && strings.Contains(string(stat), ") Z ")
}

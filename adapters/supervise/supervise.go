// Package supervise runs one process of the same program beside this one and
// keeps it running. It promises the core that the child is ready when it says
// so, is started again with growing pauses when it ends by itself, gets the
// time it needs when asked to stop, and never outlives its parent.
//
// The child's side of the contract: it prints one line on standard output when
// it is ready to serve; it ends, as on SIGTERM, when its standard input ends
// (AwaitParent). Its standard error is log lines in JSON, which are passed on
// as they are.
package supervise

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Config describes the child. All of Name, Path, Log and Logs are needed.
type Config struct {
	Name string   // for logs and errors
	Path string   // of the program
	Args []string // without the program's name
	Env  []string // name=value; nil: this process's own
	Log  *slog.Logger
	Logs io.Writer // where the child's own log lines go; safe for concurrent use

	ReadyWithin  time.Duration // a child not ready by then is ended and counts as crashed; 0: DefaultReadyWithin
	StopWithin   time.Duration // a child that has not stopped by then is killed; 0: DefaultStopWithin
	FirstPause   time.Duration // before the first restart, doubled each time; 0: DefaultFirstPause
	LongestPause time.Duration // 0: DefaultLongestPause

	// OnReady, if set, is called each time the child has become ready, before
	// anybody else learns of it. It must not block for long.
	OnReady func()
}

// Defaults of Config.
const (
	DefaultReadyWithin  = 60 * time.Second
	DefaultStopWithin   = 20 * time.Second
	DefaultFirstPause   = 200 * time.Millisecond
	DefaultLongestPause = 10 * time.Second

	// steady is how long a child must have run for its next crash to count as
	// the first again.
	steady = time.Minute

	// lastWords is how much of what the child printed outside its log is kept
	// to explain why it ended, in bytes.
	lastWords = 2048
)

// ErrNotReady is returned by Start for a child that ended, or took too long,
// before it was ready for the first time.
var ErrNotReady = errors.New("did not become ready")

// errParent is the cause of an end that the parent wanted, or its own.
var errParent = errors.New("the parent process ended, or told its child to")

// Status is the child as it is now.
type Status struct {
	Name     string    `json:"name"`
	Ready    bool      `json:"ready"`
	PID      int       `json:"pid,omitempty"` // 0 between two runs
	Since    time.Time `json:"since"`         // of the last change
	Restarts int       `json:"restarts"`
	LastExit string    `json:"last_exit,omitempty"` // how the previous run ended
}

// Child is a supervised process.
type Child struct {
	config Config
	cancel context.CancelFunc
	done   chan struct{} // closed when no process is left and none will start

	mu     sync.Mutex // guards status
	status Status
}

// Start starts the child and waits until it is ready. If its first run fails,
// Start fails, with what the child said: a child that cannot start at all is
// misconfigured, and starting it again will not help. The child is stopped
// when ctx ends or Stop is called.
func Start(ctx context.Context, config Config) (*Child, error) {
	running, cancel := context.WithCancel(ctx)
	c := &Child{config: withDefaults(config), cancel: cancel, done: make(chan struct{})}
	c.status = Status{Name: config.Name, Since: time.Now()}
	first := make(chan error, 1)
	go c.keep(running, first)
	if err := <-first; err != nil {
		cancel()
		<-c.done
		return nil, err
	}
	return c, nil
}

func withDefaults(config Config) Config {
	orDefault := func(d *time.Duration, value time.Duration) {
		if *d == 0 {
			*d = value
		}
	}
	orDefault(&config.ReadyWithin, DefaultReadyWithin)
	orDefault(&config.StopWithin, DefaultStopWithin)
	orDefault(&config.FirstPause, DefaultFirstPause)
	orDefault(&config.LongestPause, DefaultLongestPause)
	return config
}

// Status returns the child as it is now.
func (c *Child) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.status
}

// Check returns nil while the child is ready, and otherwise why it is not. It
// fits a readiness check.
func (c *Child) Check(context.Context) error {
	s := c.Status()
	switch {
	case s.Ready:
		return nil
	case s.LastExit != "":
		return fmt.Errorf("%s is being started again after %d restarts; last it ended with: %s", s.Name, s.Restarts, s.LastExit)
	default:
		return fmt.Errorf("%s is starting", s.Name)
	}
}

// Stop asks the child to end, waits for it as long as configured, then kills
// it. When Stop returns no process is left.
func (c *Child) Stop() {
	c.cancel()
	<-c.done
}

// Done is closed when no process is left and none will be started.
func (c *Child) Done() <-chan struct{} { return c.done }

// keep runs the child again and again until ctx ends.
func (c *Child) keep(ctx context.Context, first chan<- error) {
	defer close(c.done)
	pause := c.config.FirstPause
	for started := false; ; {
		began := time.Now()
		err := c.once(ctx, func() {
			if !started {
				started = true
				first <- nil
			}
		})
		if !started {
			first <- err
			return
		}
		if ctx.Err() != nil {
			c.config.Log.Info("child stopped", "child", c.config.Name, "how", text(err))
			return
		}
		if time.Since(began) >= steady {
			pause = c.config.FirstPause
		}
		c.config.Log.Error("child ended by itself; starting it again", "child", c.config.Name, "how", text(err), "pause", pause.String())
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		pause = min(2*pause, c.config.LongestPause)
		c.change(func(s *Status) { s.Restarts++ })
	}
}

func text(err error) string {
	if err == nil {
		return "exit status 0"
	}
	return err.Error()
}

// once runs the child to its end. It calls ready when the child is ready; the
// error says how the run ended, and is ErrNotReady if ready was not called.
func (c *Child) once(ctx context.Context, ready func()) error {
	r, err := c.begin()
	if err != nil {
		return fmt.Errorf("starting %s: %w: %w", c.config.Name, ErrNotReady, err)
	}
	c.change(func(s *Status) { s.PID, s.Ready = r.command.Process.Pid, false })
	wasReady := false
	overdue := time.NewTimer(c.config.ReadyWithin)
	defer overdue.Stop()
	for becameReady, told := r.ready, ctx.Done(); ; {
		select {
		case <-becameReady:
			becameReady, wasReady = nil, true
			overdue.Stop()
			if c.config.OnReady != nil {
				c.config.OnReady()
			}
			c.change(func(s *Status) { s.Ready = true })
			c.config.Log.Info("child ready", "child", c.config.Name, "pid", r.command.Process.Pid)
			ready()
		case <-overdue.C:
			c.config.Log.Error("child not ready in time; ending it", "child", c.config.Name, "waited", c.config.ReadyWithin.String())
			r.end(c.config.StopWithin)
		case <-told:
			told = nil
			r.end(c.config.StopWithin)
		case <-r.exited:
			err := r.how()
			c.change(func(s *Status) { s.PID, s.Ready, s.LastExit = 0, false, text(err) })
			if !wasReady {
				return fmt.Errorf("starting %s: %w: %s", c.config.Name, ErrNotReady, text(err))
			}
			return err
		}
	}
}

func (c *Child) change(how func(*Status)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	how(&c.status)
	c.status.Since = time.Now()
}

// run is one process.
type run struct {
	command *exec.Cmd
	stdin   io.Closer     // its end tells the child that its parent is gone
	ready   chan struct{} // closed by the child's first line on standard output
	exited  chan struct{} // closed when the process is gone and reaped
	err     error         // how it exited; read after exited
	words   *tail
}

func (c *Child) begin() (*run, error) {
	r := &run{ready: make(chan struct{}), exited: make(chan struct{}), words: &tail{}}
	r.command = exec.Command(c.config.Path, c.config.Args...)
	r.command.Env = c.config.Env
	r.command.SysProcAttr = attributes()
	r.command.Stdout = &firstLine{then: sync.OnceFunc(func() { close(r.ready) })}
	r.command.Stderr = &lines{logs: c.config.Logs, log: c.config.Log, child: c.config.Name, words: r.words}
	r.command.WaitDelay = time.Second // a grandchild holding the pipes is not waited for
	stdin, err := r.command.StdinPipe()
	if err != nil {
		return nil, err
	}
	r.stdin = stdin
	started := make(chan error, 1)
	go func() {
		// The kernel sends the parent-death signal when the thread that
		// started the child ends, so that thread stays here until the child
		// is gone.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := r.command.Start()
		started <- err
		if err == nil {
			r.err = r.command.Wait()
			close(r.exited)
		}
	}()
	return r, <-started
}

// end asks the process to end and kills it if it has not within the time.
func (r *run) end(within time.Duration) {
	// The process may be gone already; then there is nobody to tell.
	_ = r.command.Process.Signal(syscall.SIGTERM)
	_ = r.stdin.Close()
	go func() {
		select {
		case <-r.exited:
		case <-time.After(within):
			_ = r.command.Process.Kill()
		}
	}()
}

// how tells how the process ended, with its last words if it failed.
func (r *run) how() error {
	words := r.words.String()
	if r.err == nil || words == "" {
		return r.err
	}
	return fmt.Errorf("%w: %s", r.err, words)
}

// AwaitParent is the child's side: it returns a context that ends when the
// standard input does, which is when the parent has ended or wants the child
// to. It is for processes that were started by Start.
func AwaitParent(ctx context.Context, stdin io.Reader) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		_, _ = io.Copy(io.Discard, stdin) // its end is the message, however it ends
		cancel(errParent)
	}()
	return ctx, func() { cancel(nil) }
}

// Self is the path of the program that runs, for starting it a second time.
func Self() (string, error) {
	path, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("finding this program: %w", err)
	}
	return strings.TrimSuffix(path, " (deleted)"), nil
}

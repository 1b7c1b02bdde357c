package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"kiroku/adapters/admin"
	"kiroku/adapters/datadir"
	"kiroku/cmd/kiroku/internal/freed"
)

// How long serving waits for what it does not control.
const (
	adminDrain   = 5 * time.Second  // for admin calls under way, when told to stop
	nodeDrain    = 20 * time.Second // for commands under way, when told to stop
	storeWithin  = 60 * time.Second // for a store that is not there at the start
	tokenEvery   = 30 * time.Second // between examinations of the token
	tokenWithin  = 20 * time.Second // for one examination
	storePollGap = 500 * time.Millisecond
	standByPoll  = 200 * time.Millisecond
)

// serveCmd is kiroku serve.
type serveCmd struct {
	StandBy bool `help:"Wait while another core holds this data directory, and begin when it ends. A core with a data directory of its own stands by anyway."`
}

// Help teaches.
func (serveCmd) Help() string {
	return `Runs the core. With the defaults it starts the embedded event store as a child process and uses a SoftHSM token in the data directory, which it makes if the data directory is new.

Log lines are JSON on standard error. Health, metrics and operation are on a loopback address of which DIR/run/admin.json tells, with the token for calls:

    /health/live    the process runs
    /health/ready   it can work; if not, why not (a core that stands by is not ready)
    /metrics        for Prometheus

SIGTERM or SIGINT stops it: running work is finished and anchored first, for less than a minute. A second signal ends it at once.

Examples:

    kiroku serve
    kiroku serve --data /var/lib/kiroku --config /etc/kiroku.yaml
    kiroku serve --stand-by
    kiroku serve --set store.connection=esdb://node1:2113,node2:2113,node3:2113 --set store.user=kiroku --set store.password_file=/run/secrets/store`
}

// Run serves until told to stop.
func (cmd serveCmd) Run(c *call) error {
	settings, err := c.configuration()
	if err != nil {
		return err
	}
	log := c.logger(settings)
	if !freed.Overwritten() {
		log.Warn("memory is not overwritten when it is freed: a core dump may show records that were done with, also of days that ended", "remedy", "start with GODEBUG=clobberfree=1")
	}
	d := dir(settings)
	if err := d.Make(d.Run()); err != nil {
		return err
	}
	lock, err := cmd.hold(c.ctx, d.Run(), log)
	if err != nil {
		return fmt.Errorf("starting the core: %w", err)
	}
	defer lock.Release() //nolint:errcheck // the process ends
	if err := notRestoring(d); err != nil {
		return fmt.Errorf("starting the core: %w", err)
	}
	if err := firstToken(c.ctx, settings, log); err != nil {
		return fmt.Errorf("starting the core: %w", err)
	}
	core, err := openCore(c.ctx, settings, log, c.err)
	if err != nil {
		return fmt.Errorf("starting the core: %w", err)
	}
	return errors.Join(serve(c.ctx, core), core.Close())
}

// hold takes the data directory, waiting for it where that was asked for.
func (cmd serveCmd) hold(ctx context.Context, folder string, log *slog.Logger) (*datadir.Lock, error) {
	for told := false; ; told = true {
		lock, err := datadir.Hold(folder)
		var held *datadir.HeldError
		if !cmd.StandBy || !errors.As(err, &held) {
			return lock, err
		}
		if !told {
			log.Info("standing by until the core of this data directory ends", "pid", held.PID)
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(standByPoll):
		}
	}
}

// serve opens what remains, announces the core and waits for its end.
func serve(ctx context.Context, core *Core) (err error) {
	token := datadir.NewCredential()
	endpoint, err := admin.Open(admin.Config{Listen: core.Settings.Admin.Listen, Token: token, Log: core.Log})
	if err != nil {
		return err
	}
	defer func() {
		drain, cancel := context.WithTimeout(context.Background(), adminDrain)
		defer cancel()
		err = errors.Join(err, endpoint.Close(drain))
	}()
	begun := announceStart(endpoint)
	announced := datadir.Endpoint{Address: endpoint.Address(), PID: os.Getpid(), Started: time.Now().UTC(), Token: token}
	if err := core.Dir.Announce(admin.Name, announced); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, core.Dir.Retract(admin.Name)) }()
	endpoint.Ready("store-process", core.keeper.check)
	endpoint.Ready("store", core.Store.Ping)
	endpoint.Ready("store-disk", core.Store.Full)
	if err := waitForStore(ctx, core); err != nil {
		return err
	}
	begun.step("opening the token")
	if err := core.openHSM(ctx); err != nil {
		return err
	}
	begun.step("opening the ledger and its views")
	metrics := newMetrics(core)
	if err := core.openNode(ctx, metrics); err != nil {
		return err
	}
	if err := core.openStatistics(ctx, metrics); err != nil {
		core.Log.Warn("statistics are off", "why", err.Error())
	}
	watch := watchToken(ctx, core)
	register(endpoint, core, metrics, watch)
	begun.step("")
	core.Log.Info("core ready", "admin", endpoint.Address(), "data", string(core.Dir), "ledger", core.Node.Ledger)
	var failed error
	select {
	case <-ctx.Done():
		core.Log.Info("core stopping", "why", context.Cause(ctx).Error())
	case <-core.Node.ViewsFailed():
		failed = core.Node.ViewsError()
		core.Log.Error("core stopping: its views cannot be written any more", "error", failed.Error())
	}
	watch.stop()
	return errors.Join(failed, core.Statistics.close(), core.closeNode())
}

// register puts everything that can be asked of a running core on its admin
// endpoint.
func register(endpoint *admin.Server, core *Core, metrics *metrics, watch *tokenWatch) {
	endpoint.Ready("hsm", watch.Check)
	endpoint.Ready("writer", func(context.Context) error {
		if core.Node.Active() {
			return nil
		}
		if why := core.Node.TakeoverFailed(); why != nil {
			return fmt.Errorf("standing by: this core tried to become active and could not: %w", why)
		}
		return errors.New("standing by: this core does not write to the ledger now")
	})
	endpoint.Ready("projections", func(context.Context) error { return behind(core.Node.Runner.Statuses()) })
	endpoint.Metrics().MustRegister(metrics)
	registerProjections(endpoint, core)
	registerBackups(endpoint, core)
	registerApprovals(endpoint, core)
	registerDeletions(endpoint, core)
	registerRetention(endpoint, core)
	endpoint.Ready("vault", func(context.Context) error { return core.Node.RotationFailed() })
	registerRotation(endpoint, core)
}

// start is what a core that is announced and not complete yet is doing.
type start struct{ doing atomic.Pointer[string] }

// announceStart has the endpoint say of a core that begins that it does, and what it waits for.
func announceStart(endpoint *admin.Server) *start {
	s := &start{}
	s.step("waiting for the event store")
	endpoint.Ready("start", func(context.Context) error { return s.err() })
	endpoint.Handle("/", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := s.err(); err != nil {
			admin.Fail(w, http.StatusServiceUnavailable, err)
			return
		}
		http.NotFound(w, r)
	}))
	return s
}

// step says what is done next; nothing is left to do after "".
func (s *start) step(doing string) { s.doing.Store(&doing) }

func (s *start) err() error {
	if doing := *s.doing.Load(); doing != "" {
		return errors.New("the core is starting: " + doing)
	}
	return nil
}

// waitForStore gives a store that comes up at the same time as the core the
// time to do so.
func waitForStore(ctx context.Context, core *Core) error {
	ctx, cancel := context.WithTimeoutCause(ctx, storeWithin, fmt.Errorf("no answer within %s", storeWithin))
	defer cancel()
	for {
		err := core.Store.Ping(ctx)
		if err == nil {
			return nil
		}
		core.Log.Info("waiting for the event store", "error", err.Error())
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for the event store: %w: %w", context.Cause(ctx), err)
		case <-time.After(storePollGap):
		}
	}
}

// tokenWatch examines the token at intervals: one that nobody calls on may be
// gone without anybody noticing.
type tokenWatch struct {
	end  context.CancelFunc
	done sync.WaitGroup
	mu   sync.Mutex // guards last
	last error
}

func watchToken(ctx context.Context, core *Core) *tokenWatch {
	ctx, end := context.WithCancel(ctx)
	w := &tokenWatch{end: end}
	w.done.Go(func() {
		for ctx.Err() == nil {
			w.examine(ctx, core)
			select {
			case <-ctx.Done():
			case <-time.After(tokenEvery):
			}
		}
	})
	return w
}

// stop ends the examinations and waits for the one under way.
func (w *tokenWatch) stop() {
	w.end()
	w.done.Wait()
}

func (w *tokenWatch) examine(ctx context.Context, core *Core) {
	ctx, cancel := context.WithTimeout(ctx, tokenWithin)
	defer cancel()
	err := core.HSM.Check(ctx)
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil && ctx.Err() == nil {
		core.Log.Error("the token failed its examination", "error", err.Error())
	}
	w.last = err
}

// Check is the outcome of the last examination.
func (w *tokenWatch) Check(context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"kiroku/adapters/datadir"
	"kiroku/adapters/supervise"
	"kiroku/cmd/kiroku/internal/config"
)

// keeperGap is the time between two looks at whether somebody runs a process.
const keeperGap = 250 * time.Millisecond

// keeper sees to it that somebody runs an embedded process of the data directory, the store or ClickHouse: another
// process, as long as it holds the folder, or else a child of this one. The other may end at any time; most of all it
// may be the child of a core that was killed, on its way out while this one starts.
type keeper struct {
	settings  config.Config
	name      string   // among what the data directory announces
	folder    string   // that its process holds
	arguments []string // of the child
	unless    string   // a folder; as long as it is held its holder sees to the process, and this one does not. Empty: none
	log       *slog.Logger
	logs      io.Writer
	child     atomic.Pointer[supervise.Child] // nil while another process runs it
	failed    atomic.Pointer[error]           // why it could not be started when that was tried last
	cancel    context.CancelFunc
	done      sync.WaitGroup
}

// keepStore begins to keep the store and returns where it is.
func keepStore(ctx context.Context, settings config.Config, log *slog.Logger, logs io.Writer) (*keeper, datadir.Endpoint, error) {
	d := dir(settings)
	k := &keeper{settings: settings, name: storeName, folder: d.Store(), log: log, logs: logs,
		arguments: []string{"store", "--set", "store.listen=" + settings.Store.Listen}}
	if err := d.Make(k.folder); err != nil {
		return nil, datadir.Endpoint{}, err
	}
	kept, cancel := context.WithCancel(context.WithoutCancel(ctx))
	k.cancel = cancel
	endpoint, err := k.first(ctx, kept)
	if err != nil {
		return nil, datadir.Endpoint{}, errors.Join(err, k.stop())
	}
	if k.running() == nil {
		k.done.Go(func() { k.standBy(kept) })
	}
	return k, endpoint, nil
}

// keepClickHouse begins to keep the embedded ClickHouse, unless somebody holds the folder named. Nobody waits for it.
func keepClickHouse(ctx context.Context, settings config.Config, log *slog.Logger, logs io.Writer, unless string) (*keeper, error) {
	d := dir(settings)
	k := &keeper{settings: settings, name: clickhouseName, folder: clickhouseFolder(d), log: log, logs: logs, unless: unless,
		arguments: []string{"clickhouse-embedded", "--listen", settings.Statistics.Listen, "--memory-mib", strconv.Itoa(settings.Statistics.MemoryMiB)}}
	if err := d.Make(k.folder); err != nil {
		return nil, err
	}
	kept, cancel := context.WithCancel(context.WithoutCancel(ctx))
	k.cancel = cancel
	k.done.Go(func() { k.standBy(kept) })
	return k, nil
}

// first starts the process unless somebody holds its folder. A holder that has only
// begun to start is given time to say where it is.
func (k *keeper) first(ctx, kept context.Context) (datadir.Endpoint, error) {
	for deadline := time.Now().Add(storeWithin); ; {
		if err := k.startIfFree(kept); err != nil {
			return datadir.Endpoint{}, err
		}
		endpoint, err := dir(k.settings).Find(k.name)
		if err == nil || !errors.Is(err, datadir.ErrNotRunning) || time.Now().After(deadline) {
			return endpoint, err
		}
		select {
		case <-ctx.Done():
			return datadir.Endpoint{}, fmt.Errorf("waiting for %s: %w", k.name, context.Cause(ctx))
		case <-time.After(keeperGap):
		}
	}
}

// standBy waits until nobody holds the folder, then starts the process. It keeps its
// port and passwords, so the connection to it stays good.
func (k *keeper) standBy(kept context.Context) {
	for gap := time.Duration(0); k.running() == nil; {
		select {
		case <-kept.Done():
			return
		case <-time.After(gap):
		}
		gap = max(keeperGap, gap)
		if err := k.startIfFree(kept); err != nil && kept.Err() == nil {
			k.failed.Store(&err)
			k.log.Error(k.name+" is not running and cannot be started", "error", err.Error())
			gap = min(2*gap, supervise.DefaultLongestPause)
		}
	}
}

// startIfFree runs the process as a child if nobody holds its folder.
func (k *keeper) startIfFree(kept context.Context) error {
	if held, err := k.held(); err != nil || held {
		return err
	}
	program, err := supervise.Self()
	if err != nil {
		return err
	}
	// What concerns the child is handed on, gathered already: it must not read the file or the variables anew and find
	// something else.
	common := []string{"--supervised", "--data", string(dir(k.settings)), "--log-level", k.settings.Log.Level}
	child, err := supervise.Start(kept, supervise.Config{
		Name: k.name, Path: program, Args: slices.Concat(k.arguments, common), Log: k.log, Logs: k.logs,
		Env: slices.DeleteFunc(os.Environ(), isSetting),
	})
	if err != nil {
		if held, _ := k.held(); held { // somebody was quicker
			return nil
		}
		return err
	}
	k.child.Store(child)
	return nil
}

// held reports whether somebody else runs the process, or will.
func (k *keeper) held() (bool, error) {
	if k.unless != "" {
		if held, err := datadir.Held(k.unless); err != nil || held {
			return held, err
		}
	}
	return datadir.Held(k.folder)
}

// running is the child, nil if another process runs it or it is not
// embedded.
func (k *keeper) running() *supervise.Child {
	if k == nil {
		return nil
	}
	return k.child.Load()
}

// check is nil unless a child is not ready.
func (k *keeper) check(ctx context.Context) error {
	if child := k.running(); child != nil {
		return child.Check(ctx)
	}
	return nil
}

// failure is why the process does not run, nil if nothing is known to be in its way.
func (k *keeper) failure(ctx context.Context) error {
	if k == nil {
		return nil
	}
	if failed := k.failed.Load(); k.running() == nil && failed != nil {
		return *failed
	}
	return k.check(ctx)
}

// stop stops the child, if there is one.
func (k *keeper) stop() error {
	k.cancel()
	k.done.Wait()
	if child := k.running(); child != nil {
		child.Stop()
	}
	return nil
}

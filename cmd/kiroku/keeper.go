package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"kiroku/adapters/datadir"
	"kiroku/adapters/supervise"
	"kiroku/cmd/kiroku/internal/config"
)

// keeperGap is the time between two looks at whether somebody runs the store.
const keeperGap = 250 * time.Millisecond

// storeKeeper sees to it that somebody runs the embedded store: another
// process, as long as it holds the store's folder, or else a child of this
// one. The other may end at any time; most of all it may be the child of a
// core that was killed, on its way out while this one starts.
type storeKeeper struct {
	settings config.Config
	log      *slog.Logger
	logs     io.Writer
	child    atomic.Pointer[supervise.Child] // nil while another process runs the store
	cancel   context.CancelFunc
	done     sync.WaitGroup
}

// keepStore begins to keep the store and returns where it is.
func keepStore(ctx context.Context, settings config.Config, log *slog.Logger, logs io.Writer) (*storeKeeper, datadir.Endpoint, error) {
	d := dir(settings)
	if err := d.Make(d.Store()); err != nil {
		return nil, datadir.Endpoint{}, err
	}
	kept, cancel := context.WithCancel(context.WithoutCancel(ctx))
	k := &storeKeeper{settings: settings, log: log, logs: logs, cancel: cancel}
	endpoint, err := k.first(ctx, kept)
	if err != nil {
		return nil, datadir.Endpoint{}, errors.Join(err, k.stop())
	}
	if k.running() == nil {
		k.done.Go(func() { k.standBy(kept) })
	}
	return k, endpoint, nil
}

// first starts the store unless somebody holds it. A holder that has only
// begun to start is given time to say where it is.
func (k *storeKeeper) first(ctx, kept context.Context) (datadir.Endpoint, error) {
	for deadline := time.Now().Add(storeWithin); ; {
		if err := k.startIfFree(kept); err != nil {
			return datadir.Endpoint{}, err
		}
		endpoint, err := dir(k.settings).Find(storeName)
		if err == nil || !errors.Is(err, datadir.ErrNotRunning) || time.Now().After(deadline) {
			return endpoint, err
		}
		select {
		case <-ctx.Done():
			return datadir.Endpoint{}, fmt.Errorf("waiting for the event store: %w", context.Cause(ctx))
		case <-time.After(keeperGap):
		}
	}
}

// standBy waits until nobody holds the store, then starts it. It keeps its
// port and passwords, so the connection to it stays good.
func (k *storeKeeper) standBy(kept context.Context) {
	for k.running() == nil {
		select {
		case <-kept.Done():
			return
		case <-time.After(keeperGap):
		}
		if err := k.startIfFree(kept); err != nil && kept.Err() == nil {
			k.log.Error("the event store is not running and cannot be started", "error", err.Error())
		}
	}
}

// startIfFree runs kiroku store as a child if nobody holds the store's folder.
func (k *storeKeeper) startIfFree(kept context.Context) error {
	if held, err := datadir.Held(dir(k.settings).Store()); err != nil || held {
		return err
	}
	program, err := supervise.Self()
	if err != nil {
		return err
	}
	child, err := supervise.Start(kept, supervise.Config{
		Name: storeName, Path: program, Args: k.arguments(), Log: k.log, Logs: k.logs,
		Env: slices.DeleteFunc(os.Environ(), isSetting),
	})
	if err != nil {
		return err
	}
	k.child.Store(child)
	return nil
}

// arguments hand the child what concerns it, gathered already: it must not
// read the file or the variables anew and find something else.
func (k *storeKeeper) arguments() []string {
	return []string{
		"store", "--supervised", "--data", string(dir(k.settings)),
		"--set", "store.listen=" + k.settings.Store.Listen, "--log-level", k.settings.Log.Level,
	}
}

// running is the child, nil if another process runs the store or it is not
// embedded.
func (k *storeKeeper) running() *supervise.Child {
	if k == nil {
		return nil
	}
	return k.child.Load()
}

// check is nil unless a child is not ready.
func (k *storeKeeper) check(ctx context.Context) error {
	if child := k.running(); child != nil {
		return child.Check(ctx)
	}
	return nil
}

// stop stops the child, if there is one.
func (k *storeKeeper) stop() error {
	k.cancel()
	k.done.Wait()
	if child := k.running(); child != nil {
		child.Stop()
	}
	return nil
}

package views

import (
	"errors"
	"fmt"
	"io/fs"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

const cure = "stop the core, delete that folder and start again; it is rebuilt from the ledger"

// explain wraps an error of Pebble's with what was done, to which folder, and what helps.
func (d *DB) explain(doing string, err error) error {
	switch {
	case errors.Is(err, ErrFailed), errors.Is(err, ErrClosed):
		return err
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, ErrDiskFull):
		return fmt.Errorf("%s the view in %s: %w: free at least %d MiB there: %w", doing, d.dir, ErrDiskFull, d.opts.MinFreeBytes>>20, err)
	case pebble.IsCorruptionError(err), errors.Is(err, errWrongFiles), errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s the view in %s: %w: %s: %w", doing, d.dir, ErrDamaged, cure, err)
	}
	return fmt.Errorf("%s the view in %s: %w", doing, d.dir, err)
}

// errWrongFiles marks what Pebble found at opening and does not call corruption, such as a file of another size.
var errWrongFiles = errors.New("files do not fit together")

// unlessOfSystem marks an error of pebble.Open as errWrongFiles unless it is the operating system's.
func unlessOfSystem(err error) error {
	if errno := syscall.Errno(0); errors.As(err, &errno) {
		return err
	}
	return fmt.Errorf("%w: %w", errWrongFiles, err)
}

// fail records the first failure after which nothing may go on.
func (d *DB) fail(cause error) {
	d.once.Do(func() {
		d.cause = cause
		close(d.broken)
		d.log.Error("view failed", "err", d.failure())
	})
}

// Failed is closed when the DB cannot go on: the process should end, saying Err.
func (d *DB) Failed() <-chan struct{} { return d.broken }

// Err is nil, or the failure (ErrFailed) that every call returns from now on.
func (d *DB) Err() error { return d.failure() }

func (d *DB) failure() error {
	select {
	case <-d.broken:
	default:
		return nil
	}
	advice := "restart the core; if it fails again, " + cure
	if errors.Is(d.cause, syscall.ENOSPC) {
		advice = "free space on that disk and restart the core"
	} else if pebble.IsCorruptionError(d.cause) {
		return fmt.Errorf("the view in %s: %w: %w: %s: %w", d.dir, ErrFailed, ErrDamaged, cure, d.cause)
	}
	return fmt.Errorf("the view in %s: %w: %s: %w", d.dir, ErrFailed, advice, d.cause)
}

// guarded runs a write of Pebble's. Where Pebble would end the process, or panics, the write is abandoned and the
// failure returned.
func (d *DB) guarded(write func() error) error {
	done := make(chan error, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				err, ok := p.(error)
				if !ok {
					err = fmt.Errorf("%v", p)
				}
				d.fail(err)
			}
		}()
		done <- write()
	}()
	select {
	case err := <-done:
		return err
	case <-d.broken:
		return d.failure()
	}
}

// roomOnDisk refuses a write before any of it is done: a full disk met in the middle of one is a failure for good.
func (d *DB) roomOnDisk() error {
	d.disk.Lock()
	defer d.disk.Unlock()
	if now := time.Now(); d.diskFull || now.After(d.diskCheck) {
		usage, err := d.opts.FS.GetDiskUsage(d.dir)
		d.diskFull = err == nil && usage.AvailBytes < d.opts.MinFreeBytes
		d.diskCheck = now.Add(diskCheckInterval)
	}
	if d.diskFull {
		return ErrDiskFull
	}
	return nil
}

// pebbleLog takes what Pebble logs.
type pebbleLog struct{ d *DB }

// Infof drops what Pebble says of its ordinary work.
func (l pebbleLog) Infof(string, ...any) {}

// Errorf logs what Pebble will try again.
func (l pebbleLog) Errorf(format string, args ...any) {
	l.d.log.Warn("view storage", "err", fmt.Sprintf(format, args...))
}

// Fatalf does not return: Pebble's state is undefined after it, and the goroutine that came here may hold its locks.
func (l pebbleLog) Fatalf(format string, args ...any) {
	cause := fmt.Errorf(format, args...)
	for _, arg := range args {
		if err, ok := arg.(error); ok {
			cause = err // Pebble formats it as text; errors.Is has to find ENOSPC
		}
	}
	l.d.fail(cause)
	select {}
}

// complainEvery bounds the log: Pebble tries its background work again without a pause.
const complainEvery = 10 * time.Second

func (d *DB) listener() *pebble.EventListener {
	var complained atomic.Int64 // when, in Unix nanoseconds
	return &pebble.EventListener{
		BackgroundError: func(err error) {
			last, now := complained.Load(), time.Now().UnixNano()
			if errors.Is(err, pebble.ErrCancelledCompaction) || now-last < int64(complainEvery) || !complained.CompareAndSwap(last, now) {
				return
			}
			// As text: formatted as a value it would bring a stack trace.
			d.log.Warn("background work of the view failed and is tried again until it succeeds", "err", err.Error())
		},
		DataCorruption: func(info pebble.DataCorruptionInfo) {
			d.log.Error("damaged file in the view; "+cure, "file", info.Path, "err", info.Details)
		},
	}
}

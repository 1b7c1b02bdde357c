package views

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"kiroku/projections"
)

func TestAFullDiskRefusesACommitAndIsForgottenWithRoom(t *testing.T) {
	fs := vfs.NewMem()
	fs.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: 1 << 40})
	d := open(t, "view", Options{FS: fs})
	defer closed(t, d)
	commit(t, d, func(c *projections.Changes) { c.Set([]byte("k"), []byte("before")) })

	fs.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: DefaultMinFreeBytes - 1})
	d.disk.Lock()
	d.diskCheck = time.Time{} // as if the interval were over
	d.disk.Unlock()
	var c projections.Changes
	c.Set([]byte("k"), []byte("full"))
	for name, err := range map[string]error{"commit": d.Commit(&c), "sync": d.Sync(t.Context()), "compact": d.Compact(t.Context(), projections.Range{})} {
		if !errors.Is(err, ErrDiskFull) || !strings.Contains(err.Error(), "free at least 256 MiB") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if rows := rowsOf(t, d); rows["k"] != "before" {
		t.Errorf("rows %v", rows)
	}
	if _, err := Open("another", Options{FS: fs, Ledger: "a", Logger: quiet()}); !errors.Is(err, ErrDiskFull) {
		t.Errorf("opening: %v", err)
	}

	fs.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: 1 << 40})
	commit(t, d, func(c *projections.Changes) { c.Set([]byte("k"), []byte("after")) })
}

// A write of the manifest that fails leaves Pebble undefined: all calls say so at once, none hangs, and the folder
// opens again after the restart.
func TestAFailedWriteStopsTheDBAndNotTheProcess(t *testing.T) {
	mem := vfs.NewCrashableMem()
	var full atomic.Bool
	fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		writes := op.Kind == errorfs.OpFileWrite || op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData
		if full.Load() && writes && strings.Contains(op.Path, "MANIFEST") {
			return syscall.ENOSPC
		}
		return nil
	}))
	d := open(t, "view", Options{FS: fs})
	commit(t, d, func(c *projections.Changes) { c.Set([]byte("k"), []byte("before")) })
	noError(t, d.Sync(t.Context()))

	full.Store(true)
	commit(t, d, func(c *projections.Changes) { c.Set([]byte("k"), []byte("after")) })
	if err := d.Sync(t.Context()); !errors.Is(err, ErrFailed) || !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "free space") {
		t.Fatalf("sync: %v", err)
	}
	<-d.Failed()
	_, _, get := d.Get([]byte("k"))
	for name, err := range map[string]error{"get": get, "commit": d.Commit(&projections.Changes{}), "err": d.Err(), "close": d.Close()} {
		if !errors.Is(err, ErrFailed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if d.Usage() != (Usage{}) {
		t.Error("a failed view has a usage")
	}

	d = open(t, "view", Options{FS: mem.CrashClone(vfs.CrashCloneCfg{})})
	defer closed(t, d)
	if rows := rowsOf(t, d); rows["k"] != "before" {
		t.Errorf("after the restart: %v", rows)
	}
}

// A table that cannot be written is tried again, so a Commit is not lost when the fault passes.
func TestAPassingFaultOfTheDiskIsTriedAgain(t *testing.T) {
	mem := vfs.NewCrashableMem()
	var faults atomic.Int32
	fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileWrite && strings.HasSuffix(op.Path, ".sst") && faults.Add(-1) >= 0 {
			return syscall.EIO
		}
		return nil
	}))
	d := open(t, "view", Options{FS: fs})
	defer closed(t, d)
	faults.Store(2)
	commit(t, d, func(c *projections.Changes) { c.Set([]byte("k"), []byte("v")) })
	noError(t, d.Sync(t.Context()))
	if faults.Load() >= 0 {
		t.Fatal("no fault was met")
	}
	again := open(t, "view", Options{FS: mem.CrashClone(vfs.CrashCloneCfg{})})
	defer closed(t, again)
	if rows := rowsOf(t, again); rows["k"] != "v" {
		t.Errorf("rows %v", rows)
	}
}

// Damage is told; or, where it cuts the list of tables short, the view is empty and its checkpoints with it, so that
// all is applied again. What no damage does is show some of the rows as if they were all.
func TestDamagedFilesAreToldAndTheCureNamed(t *testing.T) {
	for name, damage := range map[string]func(path string) error{
		"altered": alter,
		"gone":    os.Remove,
		"cut":     func(path string) error { return os.Truncate(path, 100) },
	} {
		for _, kind := range []string{".sst", "MANIFEST-"} {
			dir := t.TempDir()
			fillAndClose(t, dir)
			files, err := filepath.Glob(filepath.Join(dir, "*"+kind+"*"))
			noError(t, err)
			for _, path := range files {
				if !strings.HasPrefix(filepath.Base(path), "marker") {
					noError(t, damage(path))
				}
			}
			rows := 0
			d, err := Open(dir, Options{Ledger: "ledger a", Logger: quiet()})
			if err == nil {
				err = d.Ascend(nil, nil, func(_, _ []byte) bool { rows++; return true })
				closed(t, d)
			}
			if err == nil && rows == 0 && kind == "MANIFEST-" {
				continue
			}
			if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "delete that folder") {
				t.Errorf("%s %s: %d rows, %v", kind, name, rows, err)
			}
			noError(t, os.RemoveAll(dir))
			closed(t, open(t, dir, Options{})) // the cure
		}
	}
}

func fillAndClose(t *testing.T, dir string) {
	t.Helper()
	d := open(t, dir, Options{})
	rng := rand.NewChaCha8([32]byte{2})
	commit(t, d, func(c *projections.Changes) {
		for i := range 5000 {
			value := make([]byte, 64)
			_, _ = rng.Read(value)
			c.Set([]byte{'k', byte(i >> 8), byte(i)}, value)
		}
	})
	closed(t, d)
}

func alter(path string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	middle := content[len(content)/3 : len(content)/3+20]
	copy(middle, bytes.Repeat([]byte{0x5A}, len(middle)))
	return os.WriteFile(path, content, 0o600)
}

func TestSyncCanBeGivenUp(t *testing.T) {
	var stuck atomic.Bool
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if stuck.Load() && op.Kind == errorfs.OpFileWrite && strings.HasSuffix(op.Path, ".sst") {
			return syscall.EIO
		}
		return nil
	}))
	d := open(t, "view", Options{FS: fs})
	commit(t, d, func(c *projections.Changes) { c.Set([]byte("k"), []byte("v")) })
	stuck.Store(true)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := d.Sync(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	stuck.Store(false)
	noError(t, d.Sync(t.Context()))
	closed(t, d)
}

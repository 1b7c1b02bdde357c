package embedded_test

import (
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"kiroku/adapters/eventstore/embedded/embeddedtest"
)

// writers append to streams of their own until stop is closed or an append fails, and
// count what was acknowledged.
type writers struct {
	acknowledged [4]atomic.Uint64 // appends
	positions    [4]atomic.Uint64 // of the last acknowledged event
	failure      [4]error
	done         sync.WaitGroup
}

const appendSize = 7 // events

func (w *writers) start(t *testing.T, connectionString string, stop <-chan struct{}) {
	for i := range w.acknowledged {
		c := connect(t, connectionString)
		w.done.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				var expected esdb.ExpectedRevision = esdb.NoStream{}
				if n := w.acknowledged[i].Load(); n > 0 {
					expected = esdb.Revision(n*appendSize - 1)
				}
				r, err := c.AppendToStream(context.Background(), streamOf(i), esdb.AppendToStreamOptions{ExpectedRevision: expected}, events(appendSize)...)
				if err != nil {
					w.failure[i] = err
					return
				}
				w.positions[i].Store(r.CommitPosition)
				w.acknowledged[i].Add(1)
			}
		})
	}
}

func streamOf(i int) string { return fmt.Sprintf("written-%d", i) }

// expectDurable: everything acknowledged is there, nothing half.
func expectDurable(t *testing.T, connectionString string, acknowledged, positions [4]uint64) {
	t.Helper()
	c := connect(t, connectionString)
	for i := range acknowledged {
		got := readNumbers(t, c, streamOf(i))
		if uint64(len(got)) < acknowledged[i]*appendSize {
			t.Errorf("stream %d: %d events, %d appends were acknowledged", i, len(got), acknowledged[i])
		}
		if len(got)%appendSize != 0 {
			t.Errorf("stream %d: %d events: half an append", i, len(got))
		}
		for n, revision := range got {
			if revision != uint64(n) {
				t.Fatalf("stream %d: revision %d at %d", i, revision, n)
			}
		}
		if acknowledged[i] == 0 {
			continue
		}
		r, err := c.ReadAll(context.Background(), esdb.ReadAllOptions{From: esdb.Position{Commit: positions[i], Prepare: positions[i]}}, 1)
		if err != nil {
			t.Fatal(err)
		}
		e, err := r.Recv()
		r.Close()
		if err != nil || e.Event.StreamID != streamOf(i) {
			t.Errorf("stream %d: position %d moved: %v %v", i, positions[i], e, err)
		}
	}
}

// TestPowerLoss keeps only what was synced, and a random part of the rest.
func TestPowerLoss(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			f := embeddedtest.New(t)
			disk := vfs.NewCrashableMem()
			f.Config.FS = disk
			srv := f.Open(t)
			var w writers
			stop := make(chan struct{})
			w.start(t, f.ConnectionString(srv), stop)
			for w.acknowledged[0].Load() < 5+seed*10 {
			}
			var acknowledged, positions [4]uint64
			for i := range acknowledged {
				positions[i] = w.positions[i].Load()
				acknowledged[i] = w.acknowledged[i].Load()
			}
			crashed := disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: int(seed * 20), RNG: rand.New(rand.NewPCG(seed, 1))})
			close(stop)
			w.done.Wait()
			f.Config.FS = crashed
			expectDurable(t, f.ConnectionString(f.Open(t)), acknowledged, positions)
		})
	}
}

// TestFailingDisk: the write-ahead log cannot be written, or not be synced, any more.
func TestFailingDisk(t *testing.T) {
	for name, kinds := range map[string][]errorfs.OpKind{
		"write": {errorfs.OpFileWrite},
		"sync":  {errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo},
	} {
		t.Run(name, func(t *testing.T) {
			f := embeddedtest.New(t)
			disk := vfs.NewCrashableMem()
			var broken atomic.Bool
			f.Config.FS = errorfs.Wrap(disk, errorfs.InjectorFunc(func(op errorfs.Op) error {
				if broken.Load() && strings.HasSuffix(op.Path, ".log") && slices.Contains(kinds, op.Kind) {
					return errors.New("the disk is broken")
				}
				return nil
			}))
			srv := f.Open(t)
			var w writers
			stop := make(chan struct{})
			w.start(t, f.ConnectionString(srv), stop)
			for w.acknowledged[0].Load() < 5 {
			}
			broken.Store(true)
			w.done.Wait()
			<-srv.Failed()
			for i, err := range w.failure {
				var e *esdb.Error
				if !errors.As(err, &e) || e.Code() != esdb.ErrorUnavailable {
					t.Errorf("writer %d: %v, want unavailable", i, err)
				}
			}
			var acknowledged, positions [4]uint64
			for i := range acknowledged {
				acknowledged[i], positions[i] = w.acknowledged[i].Load(), w.positions[i].Load()
			}
			f.Config.FS = disk.CrashClone(vfs.CrashCloneCfg{})
			expectDurable(t, f.ConnectionString(f.Open(t)), acknowledged, positions)
		})
	}
}

func TestFullDisk(t *testing.T) {
	f := embeddedtest.New(t)
	disk := vfs.NewMem()
	f.Config.FS, f.Config.MinFreeBytes = disk, 1000
	disk.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: 999})
	c := connect(t, f.ConnectionString(f.Open(t)))
	_, err := c.AppendToStream(t.Context(), "s", esdb.AppendToStreamOptions{}, events(1)...)
	var e *esdb.Error
	if !errors.As(err, &e) || e.Code() != esdb.ErrorUnavailable || !strings.Contains(err.Error(), "disk space") {
		t.Fatalf("want unavailable for lack of disk space, got %v", err)
	}
	disk.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: 1000})
	if _, err := c.AppendToStream(t.Context(), "s", esdb.AppendToStreamOptions{ExpectedRevision: esdb.NoStream{}}, events(1)...); err != nil {
		t.Errorf("after space was freed: %v", err)
	}
}

// TestRestart: a clean stop and start changes nothing that a client has seen.
func TestRestart(t *testing.T) {
	f := embeddedtest.New(t)
	srv := f.Open(t)
	c := connect(t, f.ConnectionString(srv))
	first := events(3)
	w1, err := c.AppendToStream(t.Context(), "s", esdb.AppendToStreamOptions{ExpectedRevision: esdb.NoStream{}}, first...)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.AppendToStream(t.Context(), "gone", esdb.AppendToStreamOptions{}, events(1)...); err != nil {
		t.Fatal(err)
	}
	if _, err := c.DeleteStream(t.Context(), "gone", esdb.DeleteStreamOptions{ExpectedRevision: esdb.Any{}}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.TombstoneStream(t.Context(), "dead", esdb.TombstoneStreamOptions{ExpectedRevision: esdb.Any{}}); err != nil {
		t.Fatal(err)
	}
	if err := srv.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	c = connect(t, f.ConnectionString(f.Open(t)))
	again, err := c.AppendToStream(t.Context(), "s", esdb.AppendToStreamOptions{ExpectedRevision: esdb.NoStream{}}, first...)
	if err != nil || *again != *w1 {
		t.Errorf("a retry across the restart: %+v %v, first %+v", again, err, w1)
	}
	next, err := c.AppendToStream(t.Context(), "s", esdb.AppendToStreamOptions{ExpectedRevision: esdb.Revision(2)}, events(1)...)
	if err != nil || next.CommitPosition <= w1.CommitPosition {
		t.Errorf("%+v %v", next, err)
	}
	if r, err := c.AppendToStream(t.Context(), "gone", esdb.AppendToStreamOptions{ExpectedRevision: esdb.NoStream{}}, events(1)...); err != nil || r.NextExpectedVersion != 1 {
		t.Errorf("soft-deleted stream: %+v %v", r, err)
	}
	_, err = c.AppendToStream(t.Context(), "dead", esdb.AppendToStreamOptions{}, events(1)...)
	var e *esdb.Error
	if !errors.As(err, &e) || e.Code() != esdb.ErrorCodeStreamDeleted {
		t.Errorf("tombstoned stream: %v", err)
	}
}

// TestScavenge removes the bytes from the files, not only from view.
func TestScavenge(t *testing.T) {
	f := embeddedtest.New(t)
	disk := vfs.NewMem()
	f.Config.FS = disk
	srv := f.Open(t)
	c := connect(t, f.ConnectionString(srv))
	es := events(10)
	for i := range es {
		es[i].Data = []byte(crand.Text()) // random, so that no compression hides it
	}
	for _, batch := range [][]esdb.EventData{es[:4], es[4:]} {
		if _, err := c.AppendToStream(t.Context(), "s", esdb.AppendToStreamOptions{}, batch...); err != nil {
			t.Fatal(err)
		}
		if _, err := c.AppendToStream(t.Context(), "other", esdb.AppendToStreamOptions{}, events(2)...); err != nil {
			t.Fatal(err)
		}
	}
	m := esdb.StreamMetadata{}
	m.SetTruncateBefore(7)
	if _, err := c.SetStreamMetadata(t.Context(), "s", esdb.AppendToStreamOptions{}, m); err != nil {
		t.Fatal(err)
	}
	done, err := srv.Scavenge(t.Context())
	if err != nil || done.Events != 7 {
		t.Fatalf("%+v %v, want 7 events", done, err)
	}
	if again, err := srv.Scavenge(t.Context()); err != nil || again.Events != 0 {
		t.Errorf("a second one: %+v %v", again, err)
	}
	check := func(c *esdb.Client) {
		t.Helper()
		if got := fmt.Sprint(readNumbers(t, c, "s")); got != "[7 8 9]" {
			t.Errorf("left: %s", got)
		}
		if got := len(readNumbers(t, c, "other")); got != 4 {
			t.Errorf("another stream holds %d events", got)
		}
	}
	check(c)
	if err := srv.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	check(connect(t, f.ConnectionString(f.Open(t))))
	for i := range es {
		if found := onDisk(t, disk, f.Config.Dir, string(es[i].Data)); found != (i >= 7) {
			t.Errorf("event %d in a table file: %v", i, found)
		}
	}
}

// onDisk looks for bytes in the table files.
func onDisk(t *testing.T, fs vfs.FS, dir, text string) bool {
	t.Helper()
	names, err := fs.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if !strings.HasSuffix(name, ".sst") {
			continue
		}
		file, err := fs.Open(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		info, err := file.Stat()
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, info.Size())
		_, err = file.ReadAt(b, 0)
		file.Close()
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(b), text) {
			return true
		}
	}
	return false
}

package views

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"

	"kiroku/projections"
)

type fataler interface {
	Helper()
	Fatal(...any)
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func open(t fataler, dir string, opts Options) *DB {
	t.Helper()
	if opts.Ledger == "" {
		opts.Ledger = "ledger a"
	}
	if opts.Logger == nil {
		opts.Logger = quiet()
	}
	d, err := Open(dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func commit(t fataler, d *DB, change func(*projections.Changes)) {
	t.Helper()
	var c projections.Changes
	change(&c)
	if err := d.Commit(&c); err != nil {
		t.Fatal(err)
	}
}

func closed(t fataler, d *DB) {
	t.Helper()
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}

func rowsOf(t fataler, d *DB) map[string]string {
	t.Helper()
	rows := map[string]string{}
	if err := d.Ascend(nil, nil, func(k, v []byte) bool { rows[string(k)] = string(v); return true }); err != nil {
		t.Fatal(err)
	}
	return rows
}

// Whatever is committed, flushed, compacted, closed and opened again: the rows are those of a map.
func TestRowsAreThoseOfAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fs, want := vfs.NewMem(), map[string]string{}
		d := open(t, "view", Options{FS: fs})
		defer func() { closed(t, d) }()
		key := rapid.StringMatching(`[a-d]{1,3}`)
		t.Repeat(map[string]func(*rapid.T){
			"commit": func(t *rapid.T) {
				commit(t, d, func(c *projections.Changes) {
					for range rapid.IntRange(0, 2).Draw(t, "ranges") {
						from, to := key.Draw(t, "from"), key.Draw(t, "to")
						c.DeleteRange([]byte(from), []byte(to))
						maps.DeleteFunc(want, func(k, _ string) bool { return from <= k && k < to })
					}
					for i := range rapid.IntRange(0, 4).Draw(t, "writes") {
						k := key.Draw(t, "key")
						if rapid.Bool().Draw(t, "delete") {
							c.Delete([]byte(k))
							delete(want, k)
						} else {
							want[k] = fmt.Sprint(k, i, rapid.Int().Draw(t, "value"))
							c.Set([]byte(k), []byte(want[k]))
						}
					}
				})
			},
			"reopen": func(t *rapid.T) { closed(t, d); d = open(t, "view", Options{FS: fs}) },
			"sync":   func(t *rapid.T) { noError(t, d.Sync(context.Background())) },
			"compact": func(t *rapid.T) {
				noError(t, d.Compact(context.Background(), projections.Range{From: []byte("a"), To: nil}))
			},
			"": func(t *rapid.T) {
				if got := rowsOf(t, d); !maps.Equal(got, want) {
					t.Fatalf("rows %v, want %v", got, want)
				}
				from, to, limit := key.Draw(t, "from"), key.Draw(t, "to"), rapid.IntRange(1, 5).Draw(t, "limit")
				inRange := slices.DeleteFunc(slices.Sorted(maps.Keys(want)), func(k string) bool { return k < from || k >= to })
				up, down := visited(t, d.Ascend, from, to, limit), visited(t, d.Descend, from, to, limit)
				if !slices.Equal(up, inRange[:min(limit, len(inRange))]) {
					t.Fatalf("ascending from %s to %s: %v of %v", from, to, up, inRange)
				}
				twice := func(from, to []byte, visit func(k, v []byte) bool) error {
					return d.AscendEach([]projections.Range{{From: from, To: to}, {From: to, To: from}, {From: from, To: to}}, visit)
				}
				inEach := slices.Concat(inRange, slices.DeleteFunc(slices.Sorted(maps.Keys(want)), func(k string) bool { return k < to || k >= from }), inRange)
				if each := visited(t, twice, from, to, limit); !slices.Equal(each, inEach[:min(limit, len(inEach))]) {
					t.Fatalf("ascending from %s to %s, back and again: %v of %v", from, to, each, inEach)
				}
				slices.Reverse(inRange)
				if !slices.Equal(down, inRange[:min(limit, len(inRange))]) {
					t.Fatalf("descending from %s to %s: %v of %v", from, to, down, inRange)
				}
				value, found, err := d.Get([]byte(from))
				if wanted, there := want[from]; err != nil || found != there || string(value) != wanted {
					t.Fatalf("%s is %q, %v, %v, want %q", from, value, found, err, wanted)
				}
			},
		})
	})
}

func noError(t fataler, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func visited(t fataler, scan func(from, to []byte, visit func(k, v []byte) bool) error, from, to string, limit int) (keys []string) {
	noError(t, scan([]byte(from), []byte(to), func(k, _ []byte) bool {
		keys = append(keys, string(k))
		return len(keys) < limit
	}))
	return keys
}

// After a crash the rows are those after some commit, and not before the last Sync.
func TestACrashLosesOnlyTheLastCommits(t *testing.T) {
	for seed := range uint64(10) {
		rng := rand.New(rand.NewPCG(seed, 1))
		fs := vfs.NewCrashableMem()
		d := open(t, "view", Options{FS: fs})
		value := make([]byte, 1+rng.IntN(64<<10)) // sometimes several memtables
		last, synced, n := []byte("last"), 0, 20+rng.IntN(400)
		for i := 1; i <= n; i++ {
			commit(t, d, func(c *projections.Changes) {
				c.DeleteRange([]byte("gone"), []byte("gonf"))
				c.Set(fmt.Appendf(nil, "row %06d", i), value)
				c.Set(fmt.Appendf(nil, "gone %06d", i), nil)
				c.Set(last, binary.BigEndian.AppendUint64(nil, uint64(i)))
			})
			if rng.IntN(100) == 0 {
				noError(t, d.Sync(t.Context()))
				synced = i
			}
		}
		crashed := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng})
		closed(t, d)
		again := open(t, "view", Options{FS: crashed})
		rows, reached := rowsOf(t, again), 0
		if v, ok := rows[string(last)]; ok {
			reached = int(binary.BigEndian.Uint64([]byte(v)))
			if _, ok := rows[fmt.Sprintf("gone %06d", reached)]; !ok || len(rows) != reached+2 {
				t.Errorf("seed %d: %d rows after commit %d", seed, len(rows), reached)
			}
		} else if len(rows) != 0 {
			t.Errorf("seed %d: %d rows of no commit", seed, len(rows))
		}
		if reached < synced {
			t.Errorf("seed %d: commit %d is there, %d was synced", seed, reached, synced)
		}
		closed(t, again)
	}
}

func TestCloseKeepsWhatWasCommitted(t *testing.T) {
	fs := vfs.NewCrashableMem()
	d := open(t, "view", Options{FS: fs})
	commit(t, d, func(c *projections.Changes) { c.Set([]byte("k"), []byte("v")) })
	closed(t, d)
	d = open(t, "view", Options{FS: fs.CrashClone(vfs.CrashCloneCfg{})})
	defer closed(t, d)
	if rows := rowsOf(t, d); rows["k"] != "v" {
		t.Errorf("rows %v", rows)
	}
}

func TestTheRegularFlushBoundsALoss(t *testing.T) {
	fs := vfs.NewCrashableMem()
	d := open(t, "view", Options{FS: fs, FlushEvery: time.Millisecond})
	defer closed(t, d)
	commit(t, d, func(c *projections.Changes) { c.Set([]byte("k"), []byte("v")) })
	for {
		again := open(t, "view", Options{FS: fs.CrashClone(vfs.CrashCloneCfg{})})
		rows := rowsOf(t, again)
		closed(t, again)
		if rows["k"] == "v" {
			return
		}
		if err := t.Context().Err(); err != nil {
			t.Fatal(err)
		}
	}
}

// held counts how many of the needles stand in the files of the folder.
func held(t *testing.T, dir string, needles [][]byte) (n int) {
	t.Helper()
	names, err := os.ReadDir(dir)
	noError(t, err)
	var all []byte
	for _, name := range names {
		content, err := os.ReadFile(filepath.Join(dir, name.Name()))
		noError(t, err)
		all = append(all, content...)
	}
	for _, needle := range needles {
		if bytes.Contains(all, needle) {
			n++
		}
	}
	return n
}

func TestAfterCompactNoFileHoldsADeletedRow(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir, Options{})
	defer closed(t, d)
	rng := rand.NewChaCha8([32]byte{1})
	var going, staying [][]byte
	for i := range 2000 {
		value := make([]byte, 48) // random: the tables compress, and this does not
		_, _ = rng.Read(value)
		day, set := "2019-11-22", &going
		if i%4 == 0 {
			day, set = "2026-11-22", &staying
		}
		*set = append(*set, value)
		commit(t, d, func(c *projections.Changes) { c.Set(fmt.Appendf(nil, "%s %06d", day, i), value) })
		if i%700 == 699 {
			noError(t, d.Sync(t.Context()))
		}
	}
	noError(t, d.Sync(t.Context()))
	if n := held(t, dir, going); n != len(going) {
		t.Fatalf("the search finds %d of %d rows before they are deleted", n, len(going))
	}
	commit(t, d, func(c *projections.Changes) { c.DeleteRange([]byte("2019-11-22"), []byte("2019-11-23")) })

	noError(t, d.Compact(t.Context(), projections.Range{From: []byte("2019-11-22"), To: []byte("2019-11-23")}))
	if n := held(t, dir, going); n != 0 {
		t.Errorf("%d deleted rows are in the files", n)
	}
	if n := held(t, dir, staying); n != len(staying) {
		t.Errorf("%d of %d other rows are in the files", n, len(staying))
	}
}

// A deleted key that began or ended a table is named until the next start, and by no file after it.
func TestAfterTheNextStartNoFileNamesADeletedKey(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir, Options{})
	rng := rand.NewChaCha8([32]byte{2})
	var keys [][]byte
	for range 3 {
		commit(t, d, func(c *projections.Changes) {
			for range 100 {
				key := make([]byte, 25)
				_, _ = rng.Read(key[1:])
				keys = append(keys, key)
				c.Set(key, nil)
			}
		})
		noError(t, d.Sync(t.Context()))
	}
	commit(t, d, func(c *projections.Changes) {
		for _, k := range keys {
			c.Delete(k)
		}
	})
	noError(t, d.Compact(t.Context(), projections.Range{From: nil, To: nil}))
	if n := held(t, dir, keys); n == 0 || n > 8 { // the first and the last of each table
		t.Errorf("%d deleted keys are in the files", n)
	}
	closed(t, d)
	closed(t, open(t, dir, Options{}))
	if n := held(t, dir, keys); n != 0 {
		t.Errorf("%d deleted keys are in the files after a start", n)
	}
}

// The files that a reader still needs are waited for, and the wait can be given up and taken up again.
func TestCompactWaitsForReaders(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir, Options{})
	defer closed(t, d)
	secretRow := bytes.Repeat([]byte("personal"), 4)
	commit(t, d, func(c *projections.Changes) { c.Set([]byte("k"), secretRow) })
	noError(t, d.Sync(t.Context()))
	err := d.Ascend(nil, nil, func(_, _ []byte) bool {
		commit(t, d, func(c *projections.Changes) { c.Delete([]byte("k")) })
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		if err := d.Compact(ctx, projections.Range{From: []byte("k"), To: []byte("l")}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("while a reader needs the file: %v", err)
		}
		return false
	})
	noError(t, err)
	noError(t, d.Compact(t.Context(), projections.Range{From: []byte("k"), To: []byte("l")}))
	if held(t, dir, [][]byte{secretRow}) != 0 {
		t.Error("the deleted row is in the files")
	}
}

func TestAFolderOfAnotherIsRefused(t *testing.T) {
	fs := vfs.NewMem()
	closed(t, open(t, "view", Options{FS: fs}))
	closed(t, open(t, "view", Options{FS: fs}))
	_, err := Open("view", Options{FS: fs, Logger: quiet(), Ledger: "ledger b"})
	if !errors.Is(err, ErrOtherLedger) || !strings.Contains(err.Error(), `"ledger a"`) || !strings.Contains(err.Error(), "delete that folder") {
		t.Errorf("another ledger's: %v", err)
	}

	raw := func(dir string, key, value []byte) {
		db, err := pebble.Open(dir, &pebble.Options{FS: fs})
		noError(t, err)
		noError(t, db.Set(key, value, pebble.Sync))
		noError(t, db.Close())
	}
	raw("view", markerKey, []byte("kiroku view 0\nledger a"))
	if _, err := Open("view", Options{FS: fs, Logger: quiet(), Ledger: "ledger a"}); !errors.Is(err, ErrFormat) {
		t.Errorf("another format: %v", err)
	}
	raw("foreign", []byte("k"), []byte("v"))
	if _, err := Open("foreign", Options{FS: fs, Logger: quiet(), Ledger: "ledger a"}); !errors.Is(err, ErrOtherLedger) {
		t.Errorf("a foreign database: %v", err)
	}
	if _, err := Open("unnamed", Options{FS: fs}); !errors.Is(err, ErrOtherLedger) {
		t.Errorf("no ledger named: %v", err)
	}
}

func TestAFolderIsOpenedOnce(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir, Options{})
	defer closed(t, d)
	if _, err := Open(dir, Options{Ledger: "ledger a", Logger: quiet()}); !errors.Is(err, ErrInUse) {
		t.Errorf("opened again: %v", err)
	}
}

func TestReservedAndEmptyKeysAreRefused(t *testing.T) {
	d := open(t, "view", Options{FS: vfs.NewMem()})
	defer closed(t, d)
	for _, key := range [][]byte{nil, {}, {0xFF}, markerKey} {
		var c projections.Changes
		c.Set([]byte("k"), []byte("v"))
		c.Set(key, []byte("v"))
		if err := d.Commit(&c); !errors.Is(err, ErrKey) {
			t.Errorf("writing %x: %v", key, err)
		}
		if _, _, err := d.Get(key); !errors.Is(err, ErrKey) {
			t.Errorf("reading %x: %v", key, err)
		}
	}
	commit(t, d, func(c *projections.Changes) {
		c.DeleteRange(nil, []byte{0xFF, 0xFF})
		c.DeleteRange([]byte("b"), []byte("a"))
		c.DeleteRange([]byte{0xFF}, []byte{0xFF, 0xFF})
	})
	if rows := rowsOf(t, d); len(rows) != 0 {
		t.Errorf("a refused commit left %v", rows)
	}
	noError(t, d.Sync(t.Context()))
	if _, closer, err := d.db.Get(markerKey); err != nil {
		t.Errorf("the mark went with the rows: %v", err)
	} else {
		noError(t, closer.Close())
	}
}

func TestAfterCloseAllSayClosed(t *testing.T) {
	d := open(t, "view", Options{FS: vfs.NewMem()})
	closed(t, d)
	closed(t, d)
	_, _, get := d.Get([]byte("k"))
	for name, err := range map[string]error{
		"get": get, "ascend": d.Ascend(nil, nil, nil), "commit": d.Commit(&projections.Changes{}),
		"sync": d.Sync(t.Context()), "compact": d.Compact(t.Context(), projections.Range{From: nil, To: nil}),
	} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCloseWaitsForCallsAndRefusesNewOnes(t *testing.T) {
	d := open(t, "view", Options{FS: vfs.NewMem()})
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := 0; ; i++ {
				var c projections.Changes
				c.Set(fmt.Appendf(nil, "%d %d", g, i), []byte("v"))
				if err := d.Commit(&c); err != nil {
					if !errors.Is(err, ErrClosed) {
						t.Error(err)
					}
					return
				}
				if err := d.Ascend(nil, nil, func(_, _ []byte) bool { return true }); err != nil && !errors.Is(err, ErrClosed) {
					t.Error(err)
				}
				if i == 20 && g == 0 {
					wg.Go(func() { closed(t, d) })
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkCommit(b *testing.B) {
	d := open(b, b.TempDir(), Options{})
	value := make([]byte, 512)
	for i := 0; b.Loop(); i++ {
		var c projections.Changes
		for j := range 256 {
			c.Set(fmt.Appendf(nil, "%016x", uint64(i*256+j)*0x9E3779B97F4A7C15), value)
		}
		noError(b, d.Commit(&c))
	}
	b.ReportMetric(float64(b.N*256)/b.Elapsed().Seconds(), "rows/s")
	closed(b, d)
}

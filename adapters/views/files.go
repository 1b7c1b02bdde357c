package views

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"kiroku/projections"
)

// Sync waits until everything committed before it is on disk. Errors: ErrDiskFull, ErrFailed, ErrClosed, the
// context's.
func (d *DB) Sync(ctx context.Context) error {
	if err := d.enter(); err != nil {
		return err
	}
	defer d.leave()
	if err := d.flush(ctx); err != nil {
		return d.explain("writing to", err)
	}
	return nil
}

func (d *DB) flush(ctx context.Context) error {
	if err := d.roomOnDisk(); err != nil {
		return err
	}
	d.dirty.Store(false)
	var flushed <-chan struct{}
	err := d.guarded(func() (err error) {
		flushed, err = d.db.AsyncFlush()
		return err
	})
	if err != nil {
		return err
	}
	select {
	case <-flushed:
		return nil
	case <-d.broken:
		return d.failure()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// flushRegularly bounds what a crash loses when little is committed: a full memtable is flushed by Pebble itself.
func (d *DB) flushRegularly(ctx context.Context) {
	tick := time.NewTicker(d.opts.FlushEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.broken:
			return
		case <-tick.C:
		}
		if !d.dirty.Load() {
			continue
		}
		if err := d.flush(ctx); err != nil && ctx.Err() == nil {
			d.log.Warn("view not flushed; a crash now means more to apply again", "err", d.explain("writing to", err))
		}
	}
}

// Compact rewrites the rows of the ranges, and returns when the files that held what was deleted there are gone from the
// folder; a nil To is the end. Files that lie wholly outside the ranges stay as they are, so far as Pebble has not merged
// them with newer ones. A visit keeps the files of its moment, so it waits for visits begun before. Whether
// the disk itself still holds the blocks of a removed file is beyond it: that is what destroying the day's key is
// for. Errors: ErrDiskFull, ErrDamaged, ErrFailed, ErrClosed, the context's; call it again.
func (d *DB) Compact(ctx context.Context, ranges ...projections.Range) error {
	if err := d.enter(); err != nil {
		return err
	}
	defer d.leave()
	if err := d.compact(ctx, ranges); err != nil {
		return d.explain("compacting", err)
	}
	return nil
}

func (d *DB) compact(ctx context.Context, ranges []projections.Range) error {
	if err := d.flush(ctx); err != nil { // what is flushed now is among the tables before
		return err
	}
	before, err := d.tableFiles()
	if err != nil {
		return err
	}
	for _, r := range ranges {
		from, to := r.From, clampedEnd(r.To)
		if bytes.Compare(from, to) >= 0 {
			continue
		}
		if err := d.guarded(func() error { return d.db.Compact(ctx, from, to, true) }); err != nil {
			return err
		}
	}
	return d.oldRemoved(ctx, before)
}

// oldRemoved returns when of the files before only those are present that are still needed.
func (d *DB) oldRemoved(ctx context.Context, before map[string]bool) error {
	for {
		present, err := d.tableFiles()
		if err != nil {
			return err
		}
		live, err := d.liveTables() // anew each time: a table of another range may only now be finished
		if err != nil {
			return err
		}
		if !remains(before, live, present) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting until the old files are removed: %w", ctx.Err())
		case <-d.broken:
			return d.failure()
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// remains reports whether a file from before, which no live table needs, is still present.
func remains(before, live, present map[string]bool) bool {
	for name := range before {
		if present[name] && !live[name] {
			return true
		}
	}
	return false
}

const tableSuffix = ".sst"

func (d *DB) tableFiles() (map[string]bool, error) {
	names, err := d.opts.FS.List(d.dir)
	if err != nil {
		return nil, fmt.Errorf("listing the files: %w", err)
	}
	tables := map[string]bool{}
	for _, name := range names {
		if strings.HasSuffix(name, tableSuffix) {
			tables[name] = true
		}
	}
	return tables, nil
}

func (d *DB) liveTables() (map[string]bool, error) {
	levels, err := d.db.SSTables()
	if err != nil {
		return nil, fmt.Errorf("listing the tables: %w", err)
	}
	live := map[string]bool{}
	for _, tables := range levels {
		for _, t := range tables {
			live[fmt.Sprintf("%06d%s", uint64(t.BackingSSTNum), tableSuffix)] = true
		}
	}
	return live, nil
}

const manifestPrefix = "MANIFEST-"

// removeOldManifests removes all but the newest list of tables. Opening writes a new one; Pebble keeps the one before,
// which names first and last keys of tables that are no more.
func (d *DB) removeOldManifests() error {
	names, err := d.opts.FS.List(d.dir)
	if err != nil {
		return d.explain("listing the files of", err)
	}
	names = slices.DeleteFunc(names, func(name string) bool { return !strings.HasPrefix(name, manifestPrefix) })
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b)) }) // by number
	for len(names) > 1 {
		if err := d.opts.FS.Remove(d.opts.FS.PathJoin(d.dir, names[0])); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return d.explain("removing an old file of", err)
		}
		names = names[1:]
	}
	return nil
}

// Usage is what a DB takes, for metrics.
type Usage struct {
	DiskBytes     uint64
	CacheBytes    int64
	MemTableBytes uint64
	CacheHits     int64
	CacheMisses   int64
}

// Usage is zero after Close and after a failure.
func (d *DB) Usage() Usage {
	if d.enter() != nil {
		return Usage{}
	}
	defer d.leave()
	var m *pebble.Metrics
	if d.guarded(func() error { m = d.db.Metrics(); return nil }) != nil {
		return Usage{}
	}
	return Usage{
		DiskBytes:     m.DiskSpaceUsage(),
		CacheBytes:    m.BlockCache.Size,
		MemTableBytes: m.MemTable.Size,
		CacheHits:     m.BlockCache.Hits,
		CacheMisses:   m.BlockCache.Misses,
	}
}

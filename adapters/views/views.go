// Package views keeps the rows of the projections in Pebble. A DB is a projections.View.
//
// It promises the projections that a Commit is seen whole or not at all, that after a crash the rows are as some
// earlier Commit left them (never with a later one and without an earlier), and that rows of another ledger or of
// another format are refused instead of being taken for theirs. It promises the retention that after Compact no file
// of the folder holds a row that was deleted in the ranges given: there is no write-ahead log, whose recycled files would.
// Some few deleted keys, those that were the first or last of a table, stay named in the MANIFEST until the next start.
//
// A view is never backed up and never repaired: it is rebuilt from the ledger. So without a log a crash costs what
// was committed since the last flush (Options.FlushEvery), which is applied again; and every error that a rebuild
// cures says so.
package views

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Defaults of Options.
const (
	DefaultCacheBytes   = 64 << 20
	DefaultMinFreeBytes = 256 << 20
	DefaultFlushEvery   = 10 * time.Second
)

const (
	// A rebuild writes many times what it commits: less often so, the more a flush and a base level hold. Against a
	// quarter of these sizes (BenchmarkRecords of disclosure) half is compacted, in two thirds of the processor time.
	memTableBytes     = 64 << 20 // allocated as it fills
	memTables         = 3        // full ones among them; then Commit waits
	baseLevelBytes    = 512 << 20
	tableBytes        = 16 << 20
	deepTableBytes    = 32 << 20 // however much there is: a range is compacted with the tables at its ends
	maxOpenFiles      = 512
	bloomBitsPerKey   = 10 // about 1 of 100 absent keys is looked for on disk
	blockBytes        = 16 << 10
	maxCompactions    = 2
	diskCheckInterval = 250 * time.Millisecond
	flushPatience     = time.Minute // for opening and closing on a disk that does not write
)

var (
	// ErrOtherLedger tells that the folder holds rows of another ledger, or none of a view at all.
	ErrOtherLedger = errors.New("not a view of this ledger")
	// ErrFormat tells that the folder was written in another format.
	ErrFormat = errors.New("view of another format")
	// ErrDamaged tells that the files are not as they were written.
	ErrDamaged = errors.New("damaged view")
	// ErrDiskFull tells that the disk has less than Options.MinFreeBytes left. Nothing was written; once there is
	// room again, the next Commit works.
	ErrDiskFull = errors.New("disk full")
	// ErrFailed tells that a write failed in a way after which Pebble cannot go on. The process has to end.
	ErrFailed = errors.New("view failed")
	// ErrInUse tells that the folder is open already, here or in another process.
	ErrInUse = errors.New("view is in use")
	// ErrClosed tells that the DB was closed.
	ErrClosed = errors.New("view is closed")
	// ErrKey tells that a key is empty or begins with 0xFF, which is kept for the DB itself.
	ErrKey = errors.New("key is empty or begins with 0xFF")
)

// Options are how a DB is opened. Ledger is required.
type Options struct {
	Ledger       string        // identifier of the ledger whose rows these are
	Logger       *slog.Logger  // nil: slog.Default
	CacheBytes   int64         // of blocks in memory; 0: DefaultCacheBytes
	MinFreeBytes uint64        // below this much free disk a Commit is refused; 0: DefaultMinFreeBytes
	FlushEvery   time.Duration // bounds what a crash loses, and so what is applied again; 0: DefaultFlushEvery
	FS           vfs.FS        // nil: the disk
}

func (o Options) withDefaults() Options {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.CacheBytes <= 0 {
		o.CacheBytes = DefaultCacheBytes
	}
	if o.MinFreeBytes == 0 {
		o.MinFreeBytes = DefaultMinFreeBytes
	}
	if o.FlushEvery <= 0 {
		o.FlushEvery = DefaultFlushEvery
	}
	if o.FS == nil {
		o.FS = vfs.Default
	}
	return o
}

// DB is one folder of rows. It is safe for concurrent use.
type DB struct {
	dir  string
	opts Options
	db   *pebble.DB
	lock *pebble.Lock
	log  *slog.Logger

	broken  chan struct{} // closed by the first failure, after cause is set
	once    sync.Once
	cause   error
	uses    uses
	dirty   atomic.Bool // something was committed since the last flush began
	stop    context.CancelFunc
	flusher sync.WaitGroup

	disk      sync.Mutex // owns the two below
	diskCheck time.Time
	diskFull  bool
}

// Open opens the folder, or makes it. It takes about Options.CacheBytes of memory, and while much is committed up to
// 192 MiB more.
// Errors: ErrOtherLedger, ErrFormat and ErrDamaged, which a rebuild cures; ErrDiskFull, ErrInUse; the file system's
// own.
func Open(dir string, opts Options) (*DB, error) {
	if opts.Ledger == "" {
		return nil, fmt.Errorf("opening the view in %s: the ledger has to be named: %w", dir, ErrOtherLedger)
	}
	opts = opts.withDefaults()
	d := &DB{dir: dir, opts: opts, log: opts.Logger.With("view", dir), broken: make(chan struct{})}
	d.uses.drained = make(chan struct{})
	if err := opts.FS.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the folder of the view in %s: %w", dir, err)
	}
	if err := d.roomOnDisk(); err != nil {
		return nil, fmt.Errorf("opening the view in %s: %w", dir, err)
	}
	lock, err := pebble.LockDirectory(dir, opts.FS)
	if err != nil {
		return nil, fmt.Errorf("opening the view in %s: %w: %w", dir, ErrInUse, err)
	}
	d.lock = lock
	if d.db, err = pebble.Open(dir, d.pebbleOptions()); err != nil {
		return nil, errors.Join(d.explain("opening", unlessOfSystem(err)), lock.Close())
	}
	if err := d.checkMarker(); err != nil {
		return nil, errors.Join(err, d.db.Close(), lock.Close())
	}
	if err := d.removeOldManifests(); err != nil {
		return nil, errors.Join(err, d.db.Close(), lock.Close())
	}
	ctx, cancel := context.WithCancel(context.Background())
	d.stop = cancel
	d.flusher.Go(func() { d.flushRegularly(ctx) })
	return d, nil
}

func (d *DB) pebbleOptions() *pebble.Options {
	o := &pebble.Options{
		FS:                          d.opts.FS,
		CacheSize:                   d.opts.CacheBytes,
		DisableWAL:                  true,
		MemTableSize:                memTableBytes,
		MemTableStopWritesThreshold: memTables,
		LBaseMaxBytes:               baseLevelBytes,
		MaxOpenFiles:                maxOpenFiles,
		FormatMajorVersion:          pebble.FormatNewest,
		CompactionConcurrencyRange:  func() (int, int) { return 1, maxCompactions },
		Lock:                        d.lock,
		Logger:                      pebbleLog{d},
		EventListener:               d.listener(),
	}
	for i := range o.TargetFileSizes {
		o.TargetFileSizes[i] = deepTableBytes
	}
	o.TargetFileSizes[0] = tableBytes
	for i := range o.Levels {
		o.Levels[i].Compression = uncompressed
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(bloomBitsPerKey)
		o.Levels[i].BlockSize = blockBytes
	}
	return o
}

// uncompressed: nearly all of a view is ciphertext and keyed indexes, of which a compressor finds nothing to spare.
func uncompressed() *sstable.CompressionProfile { return sstable.NoCompression }

// Close flushes what was committed and closes the files. Calls begun before it are waited for, so a visit must not
// call it; calls after it get ErrClosed. Where the flush is not possible the DB is closed none the less, and the
// error tells what is lost: the next start applies it again.
func (d *DB) Close() error {
	if !d.uses.end() {
		return nil
	}
	d.stop()
	d.flusher.Wait()
	select {
	case <-d.uses.drained:
	case <-d.broken: // a call may hang in Pebble for ever
	}
	if err := d.failure(); err != nil {
		return err // Pebble's own Close might not return
	}
	ctx, cancel := context.WithTimeout(context.Background(), flushPatience)
	defer cancel()
	flushed := d.flush(ctx)
	if err := errors.Join(flushed, d.db.Close(), d.lock.Close()); err != nil {
		return d.explain("closing", err)
	}
	return nil
}

// uses counts the calls that are inside Pebble, which does not bear to be closed under them.
type uses struct {
	mu      sync.Mutex
	n       int
	ended   bool
	drained chan struct{}
}

func (u *uses) begin() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ended {
		return false
	}
	u.n++
	return true
}

func (u *uses) done() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.n--; u.n == 0 && u.ended {
		close(u.drained)
	}
}

// end is true for the first caller only.
func (u *uses) end() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ended {
		return false
	}
	u.ended = true
	if u.n == 0 {
		close(u.drained)
	}
	return true
}

// enter begins a call; leave ends it.
func (d *DB) enter() error {
	if !d.uses.begin() {
		return fmt.Errorf("the view in %s: %w", d.dir, ErrClosed)
	}
	if err := d.failure(); err != nil {
		d.uses.done()
		return err
	}
	return nil
}

func (d *DB) leave() { d.uses.done() }

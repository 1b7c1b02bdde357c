// Package journal stores events in Pebble under the rules of EventStoreDB: numbered
// streams, one totally ordered log over all of them, expected revisions, idempotent
// event ids, stream metadata, soft deletion and tombstones.
//
// What it promises to the server above it:
//
//   - an append is atomic: all of its events, next to each other in the log, or none;
//   - an append is answered, and visible to any reader, only after the write-ahead log
//     that holds it was synced to the disk;
//   - positions rise strictly, start above zero, are never used again and do not change
//     across restarts; revisions of a stream are contiguous and never used again.
//
// Every stream's head (about 300 bytes) is held in memory.
package journal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/uuid"
)

// The special expected revisions; any other value is the exact revision of the last event.
const (
	NoStream     int64 = -1
	Any          int64 = -2
	StreamExists int64 = -4
)

// TombstoneRevision is the revision of the event that ends a stream for good.
const TombstoneRevision = int64(^uint64(0) >> 1)

// MaxAppendBytes is the largest sum of Proposed.Size over one append.
const MaxAppendBytes = 1 << 20

// Types of the events that the store itself writes.
const (
	TypeMetadata  = "$metadata"
	TypeTombstone = "$streamDeleted"
	TypeLink      = "$>"
)

// MetadataPrefix before a stream's name gives the stream that holds its metadata.
const MetadataPrefix = "$$"

// Event is one stored event.
type Event struct {
	Stream   string
	Revision int64
	Position uint64 // in the log over all streams
	ID       uuid.UUID
	Type     string
	JSON     bool
	Created  int64 // 100 ns ticks since 1970, by the server's clock, not monotonic
	Metadata []byte
	Data     []byte
}

// Proposed is an event to be appended.
type Proposed struct {
	ID       uuid.UUID
	Type     string
	JSON     bool
	Metadata []byte
	Data     []byte
}

// Written is the outcome of an append.
type Written struct {
	Revision    int64 // of the request's last event; NoStream if the stream is empty
	Position    uint64
	HasPosition bool // false when the event, written before, is no longer readable
}

// WrongRevisionError says that the stream was not where the writer expected it.
type WrongRevisionError struct {
	Stream            string
	Expected, Current int64
}

func (e *WrongRevisionError) Error() string {
	return fmt.Sprintf("append to stream %q: expected revision %d, it is at %d", e.Stream, e.Expected, e.Current)
}

// DeletedError says that the stream is tombstoned (or soft-deleted, where the writer
// demanded that it exist).
type DeletedError struct{ Stream string }

func (e *DeletedError) Error() string { return fmt.Sprintf("stream %q is deleted", e.Stream) }

// NotFoundError says that a stream has no events, or is soft-deleted.
type NotFoundError struct{ Stream string }

func (e *NotFoundError) Error() string { return fmt.Sprintf("stream %q not found", e.Stream) }

var (
	// ErrClosed: the journal is closed or closing; nothing was written.
	ErrClosed = errors.New("event journal is closed")
	// ErrDiskFull: too little free space is left; nothing was written. Free some.
	ErrDiskFull = errors.New("event journal: too little free disk space; free some and retry")
	// ErrFailed: the disk refused a write or a sync. What was in flight may or may not
	// be on it; the process must be restarted.
	ErrFailed = errors.New("event journal failed; restart the store")
)

// DefaultMinFreeBytes is the default of Options.MinFreeBytes.
const DefaultMinFreeBytes = 64 << 20

// Options of Open. Dir and FS are required.
type Options struct {
	Dir          string
	FS           vfs.FS
	Clock        func() time.Time // nil: time.Now
	Logger       *slog.Logger     // nil: slog.Default
	CacheBytes   int64            // block cache; 0: 64 MiB
	MinFreeBytes uint64           // refuse appends below this much free space; 0: DefaultMinFreeBytes
}

// Journal is safe for concurrent use.
type Journal struct {
	opts Options
	db   *pebble.DB

	requests chan *request // to the writer
	commits  chan commit   // from the writer to the publisher

	// open is held for reading by everything that uses db, for writing by Close.
	open   sync.RWMutex
	closed bool // guarded by open

	failOnce sync.Once
	failed   chan struct{} // closed once failure is set
	failure  error

	published published
	writer    writer // owned by the writer goroutine
	workers   sync.WaitGroup
	scavenges sync.Mutex    // one scavenge at a time
	scavenged atomic.Uint64 // highest position ever scavenged

	appends, events, bytes, syncs atomic.Uint64
}

// Open opens or creates the journal in opts.Dir.
func Open(opts Options) (*Journal, error) {
	if opts.Clock == nil {
		opts.Clock = time.Now
	}
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	if opts.CacheBytes == 0 {
		opts.CacheBytes = 64 << 20
	}
	if opts.MinFreeBytes == 0 {
		opts.MinFreeBytes = DefaultMinFreeBytes
	}
	j := &Journal{
		opts:     opts,
		requests: make(chan *request, 64),
		commits:  make(chan commit, 64),
		failed:   make(chan struct{}),
	}
	cache := pebble.NewCache(opts.CacheBytes)
	defer cache.Unref()
	db, err := pebble.Open(opts.Dir, &pebble.Options{
		FS:                          opts.FS,
		Cache:                       cache,
		Logger:                      failureLogger{j},
		EventListener:               j.listener(),
		FormatMajorVersion:          pebble.FormatNewest,
		MemTableSize:                64 << 20,
		MemTableStopWritesThreshold: 4,
		L0CompactionThreshold:       4,
		L0StopWritesThreshold:       32,
	})
	if err != nil {
		return nil, fmt.Errorf("open event journal in %s: %w", opts.Dir, err)
	}
	j.db = db
	if err := j.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("load event journal in %s: %w", opts.Dir, err), db.Close())
	}
	j.workers.Add(2)
	go j.write()
	go j.publish()
	return j, nil
}

// Close waits for the appends in flight, then closes the files. A journal that failed
// keeps its files open until the process ends.
func (j *Journal) Close() error {
	j.open.Lock()
	defer j.open.Unlock()
	if j.closed {
		return nil
	}
	j.closed = true
	close(j.requests)
	if j.hasFailed() {
		return j.failure
	}
	j.workers.Wait()
	if j.hasFailed() {
		return j.failure
	}
	return j.db.Close()
}

// Failed is closed when the journal can no longer write; Err then says why.
func (j *Journal) Failed() <-chan struct{} { return j.failed }

// Err is nil until Failed is closed.
func (j *Journal) Err() error {
	if j.hasFailed() {
		return j.failure
	}
	return nil
}

// Counters since Open: successful appends, their events and bytes, and batches that
// waited for a sync of the write-ahead log.
type Counters struct{ Appends, Events, Bytes, Syncs uint64 }

// Counters returns the present counts.
func (j *Journal) Counters() Counters {
	c := Counters{Appends: j.appends.Load(), Events: j.events.Load(), Bytes: j.bytes.Load()}
	j.open.RLock()
	defer j.open.RUnlock()
	if !j.closed {
		c.Syncs = j.walSyncs()
	} else {
		c.Syncs = j.syncs.Load()
	}
	return c
}

// use runs f while the database is open.
func (j *Journal) use(f func() error) error {
	j.open.RLock()
	defer j.open.RUnlock()
	if j.closed {
		return ErrClosed
	}
	return f()
}

// Append stores the events at the end of the stream if it is at the expected revision.
// Errors: *WrongRevisionError, *DeletedError, ErrDiskFull and ErrClosed (nothing was
// written), ErrFailed, and ctx.Err() (the outcome is open: it may still be written).
func (j *Journal) Append(ctx context.Context, stream string, expected int64, events []Proposed) (Written, error) {
	return j.submit(&request{ctx: ctx, kind: appendEvents, stream: stream, expected: expected, events: events})
}

// Delete soft-deletes the stream: its events are hidden, its numbering continues.
// The position is that of the metadata event written for it.
func (j *Journal) Delete(ctx context.Context, stream string, expected int64) (Written, error) {
	return j.submit(&request{ctx: ctx, kind: softDelete, stream: stream, expected: expected})
}

// Tombstone ends the stream for good.
func (j *Journal) Tombstone(ctx context.Context, stream string, expected int64) (Written, error) {
	return j.submit(&request{ctx: ctx, kind: tombstone, stream: stream, expected: expected})
}

func (j *Journal) submit(r *request) (Written, error) {
	r.done = make(chan outcome, 1)
	err := j.use(func() error {
		select {
		case j.requests <- r:
			return nil
		case <-j.failed:
			return j.failure
		case <-r.ctx.Done():
			return r.ctx.Err()
		}
	})
	if err != nil {
		return Written{}, err
	}
	select {
	case o := <-r.done:
		return o.written, o.err
	case <-j.failed:
		return Written{}, j.failure
	case <-r.ctx.Done():
		return Written{}, r.ctx.Err()
	}
}

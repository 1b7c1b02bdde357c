package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"

	"kiroku/adapters/eventstore"
	"kiroku/domain/ledger"
)

// Target is the event store that is filled.
type Target interface {
	ReadLast(ctx context.Context, stream string) (ledger.Event, bool, error)
	ReadForward(ctx context.Context, stream string, from uint64, limit int) ([]ledger.Event, error)
	Append(ctx context.Context, stream string, next uint64, events []ledger.Event) error
	Stored(ctx context.Context, events []ledger.Event) (bool, error)
	SetTruncateBefore(ctx context.Context, stream string, revision uint64) error
}

// Limits of one append of a restore.
const (
	appendEvents     = 1024
	placeholderBatch = 4096
	appendPatience   = 2 * time.Minute // without a success
	appendPause      = 200 * time.Millisecond
	restoreStreams   = 4 // at a time
)

// placeholder is the type of the events that stand where a truncated stream's
// beginning was. They are hidden as that was, and freed by the next scavenge.
const placeholder = "p"

// Empty refuses a target in which any of the backup's streams exists.
func (b *Backup) Empty(ctx context.Context, target Target) error {
	for _, r := range b.Plan.Streams {
		_, found, err := target.ReadLast(ctx, r.Stream)
		if err != nil && !errors.Is(err, eventstore.ErrTruncated) {
			return fmt.Errorf("looking whether the event store is empty: %w", err)
		}
		if found || err != nil {
			return fmt.Errorf("the stream %s exists: %w", r.Stream, ErrNotEmpty)
		}
	}
	return nil
}

// Restore writes into the target what it lacks of the backup: each event as it
// was, at its revision. It begins where an earlier call was interrupted, after
// comparing the last event there. done (may be nil) is told of events written.
// The caller has made sure that the target was empty before the first call, and
// that nobody else writes to it.
func (b *Backup) Restore(ctx context.Context, id Identity, target Target, done func(events int)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var told sync.Mutex
	say := func(events int) {
		told.Lock()
		defer told.Unlock()
		tell(done, events)
	}
	turns := make(chan struct{}, restoreStreams)
	errs := make([]error, len(b.Plan.Streams))
	var running sync.WaitGroup
	for i, r := range b.Plan.Streams {
		running.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			if ctx.Err() != nil {
				return
			}
			if err := b.restoreStream(ctx, id, target, r, say); err != nil {
				errs[i] = fmt.Errorf("restoring %s: %w", r.Stream, err)
				cancel(errs[i])
			}
		})
	}
	running.Wait()
	if ctx.Err() != nil { // the first failure, or the caller's reason
		return context.Cause(ctx)
	}
	return errors.Join(errs...)
}

func (b *Backup) restoreStream(ctx context.Context, id Identity, target Target, r Range, done func(int)) error {
	last, found, err := target.ReadLast(ctx, r.Stream)
	if err != nil {
		return err
	}
	var next uint64
	if found {
		next = last.Revision + 1
	}
	if next > r.Next {
		return fmt.Errorf("the store has %d events and the backup %d: %w", next, r.Next, ErrOtherLedger)
	}
	if next < r.First {
		if next, err = b.fill(ctx, target, r, next); err != nil {
			return err
		}
		found = false
	}
	tell(done, int(next-r.First))
	a := newAppender(ctx, target, r.Stream, done)
	for _, s := range b.Segments {
		if s.Stream != r.Stream || s.Next < next {
			continue
		}
		err = s.read(ctx, b.folder, id, func(e ledger.Event) error {
			switch {
			case e.Revision >= next:
				return a.add(e)
			case found && e.Revision+1 == next && !same(e, last):
				return fmt.Errorf("event %d in the store is another than in the backup: %w", e.Revision, ErrOtherLedger)
			}
			return nil
		})
		if err != nil {
			break
		}
	}
	if err := errors.Join(err, a.close()); err != nil {
		return err
	}
	if r.First == 0 {
		return nil
	}
	return target.SetTruncateBefore(ctx, r.Stream, r.First)
}

func same(a, b ledger.Event) bool {
	return a.Stream == b.Stream && a.Revision == b.Revision && a.ID == b.ID && a.Type == b.Type && bytes.Equal(a.Data, b.Data) && bytes.Equal(a.Metadata, b.Metadata)
}

// fill puts placeholders where the stream was truncated, so that what follows
// gets the revisions it had.
func (b *Backup) fill(ctx context.Context, target Target, r Range, next uint64) (uint64, error) {
	batch := make([]ledger.Event, 0, placeholderBatch)
	for next < r.First {
		batch = batch[:0]
		for at := next; at < r.First && len(batch) < placeholderBatch; at++ {
			id := uuid.NewSHA1(b.Plan.ID, fmt.Appendf(nil, "%s %d", r.Stream, at)) // the same again is the same event
			batch = append(batch, ledger.Event{Stream: r.Stream, Revision: at, ID: id, Type: placeholder})
		}
		if err := appendSurely(ctx, target, batch); err != nil {
			return next, err
		}
		next += uint64(len(batch))
	}
	return next, nil
}

// landed is how many of a batch's first events, but not all, are in the store: what an earlier call, that ended without an
// answer, sent arrived after this one had looked.
func landed(ctx context.Context, target Target, batch []ledger.Event) int {
	last, found, err := target.ReadLast(ctx, batch[0].Stream)
	if err != nil || !found || last.Revision < batch[0].Revision {
		return 0
	}
	n := last.Revision + 1 - batch[0].Revision
	if n >= uint64(len(batch)) {
		return 0
	}
	if stored, err := target.Stored(ctx, batch[:n]); err != nil || !stored {
		return 0
	}
	return int(n)
}

// appender writes the events of a stream in batches, while the next are being
// read.
type appender struct {
	open    []ledger.Event
	size    int
	batches chan []ledger.Event
	done    chan struct{}
	err     error // of the writing; read after done
}

func newAppender(ctx context.Context, target Target, stream string, told func(int)) *appender {
	a := &appender{batches: make(chan []ledger.Event, 1), done: make(chan struct{})}
	go func() {
		defer close(a.done)
		for batch := range a.batches {
			if a.err = appendSurely(ctx, target, batch); a.err != nil {
				return
			}
			told(len(batch))
		}
	}()
	return a
}

// errAppend says that the appender failed; close tells why.
var errAppend = errors.New("writing stopped")

func (a *appender) add(e ledger.Event) error {
	size := eventstore.EventSize(e)
	if len(a.open) > 0 && (len(a.open) == appendEvents || a.size+size > eventstore.MaxAppendSize) {
		if !a.send() {
			return errAppend
		}
	}
	a.open, a.size = append(a.open, e), a.size+size
	return nil
}

func (a *appender) send() bool {
	select {
	case a.batches <- a.open:
		a.open, a.size = nil, 0
		return true
	case <-a.done:
		return false
	}
}

// close writes what is left and returns why not all was written.
func (a *appender) close() error {
	if len(a.open) > 0 {
		a.send()
	}
	close(a.batches)
	<-a.done
	return a.err
}

// appendSurely writes a batch, through absences of the store. After any doubt the
// batch counts only if what is stored is read back equal.
func appendSurely(ctx context.Context, target Target, batch []ledger.Event) error {
	stream, next := batch[0].Stream, batch[0].Revision
	doubtful := false
	for since := time.Now(); ; {
		err := target.Append(ctx, stream, next, batch)
		if err == nil && !doubtful {
			return nil
		}
		if err == nil || errors.Is(err, eventstore.ErrWrongRevision) {
			stored, failed := target.Stored(ctx, batch)
			if failed == nil && stored {
				return nil
			}
			if n := landed(ctx, target, batch); failed == nil && n > 0 {
				batch, next = batch[n:], batch[n].Revision
				continue
			}
			return errors.Join(err, failed, fmt.Errorf("event %d in the store is another than in the backup: %w", next, ErrOtherLedger))
		}
		if !errors.Is(err, eventstore.ErrOutcomeUnknown) && !errors.Is(err, eventstore.ErrUnavailable) || time.Since(since) > appendPatience {
			return err
		}
		doubtful = true
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(appendPause):
		}
	}
}

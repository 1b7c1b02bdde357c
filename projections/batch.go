package projections

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"kiroku/domain/event"
)

// ErrDamaged is wrapped where a row is not as it was written: rebuild the projection.
var ErrDamaged = errors.New("damaged row")

// ErrLate is returned by the write of Apply, before it has written anything, of an event that was opened before its key
// was destroyed and comes after that: it leaves no row.
var ErrLate = errors.New("the key of the event was destroyed meanwhile")

// Batch is the rows of one Apply on their way into the view. It reads what it
// has written.
type Batch struct {
	rows   *Rows
	prefix []byte
	counts map[string]int64
	newest newest
	ages   blocks // ids of commands, by hour
	day    string // of DayNumber's last event
	number DayNumber
	*scratch
}

// scratch is the room that one batch of the rows after the other uses.
type scratch struct {
	changes Changes
	bytes   arena
}

// Get returns the value of a key of a table as this batch leaves it.
func (b *Batch) Get(t Table, key []byte) (value []byte, found bool, err error) {
	k := b.key(t, key)
	if value, found, known := b.changes.written(k); known {
		return value, found, nil
	}
	return b.rows.view.Get(k)
}

// Set gives a key of a table a value, which is kept until the batch is committed.
func (b *Batch) Set(t Table, key, value []byte) { b.changes.Set(b.key(t, key), value) }

// Delete removes a key of a table.
func (b *Batch) Delete(t Table, key []byte) { b.changes.Delete(b.key(t, key)) }

// Room returns an empty slice for a value of up to n octets, which lasts until the batch is committed.
func (b *Batch) Room(n int) []byte { return b.bytes.room(n) }

func (b *Batch) key(t Table, key []byte) []byte {
	return appendTableKey(b.Room(len(b.prefix)+1+len(key)), b.prefix, t, key)
}

// Count adds to a count.
func (b *Batch) Count(name string, by int64) { b.counts[name] += by }

// Fact is what a projection reads out of an event.
type Fact[T any] struct {
	Rows    T              // what it makes rows of
	Command *event.Command // the command to remember, if the event has one
	Skip    bool           // the event does not concern the projection

	reference []byte // row of the command
}

// Apply is Projection.Apply for a projection kept in rows. read takes an event
// apart; it is called from several goroutines at once, once for each readable
// event that the projection does not have yet. write makes the rows, event
// after event, in order. References, counts and the checkpoint are written
// along. Of an event that is unreadable, or whose day has ended since it was opened, nothing is kept, so that a view
// made anew equals one that lost the rows with the day.
func Apply[T any](r *Rows, stream string, batch []Opened, to Checkpoint,
	read func(*Opened) (Fact[T], error), write func(*Batch, *Opened, T) error) error {
	at, err := r.Checkpoint(stream)
	if err != nil {
		return err
	}
	fresh, err := since(at, stream, batch)
	if err != nil || to.Next <= at.Next {
		return err
	}
	facts, err := readAll(stream, fresh, read)
	if err != nil {
		return err
	}
	r.write.Lock()
	defer r.write.Unlock()
	b, err := r.begin(fresh)
	if err != nil {
		return err
	}
	for i := range fresh {
		o := &fresh[i]
		if b.endsWithDay(o) {
			continue
		}
		if !facts[i].Skip {
			err := write(b, o, facts[i].Rows)
			if errors.Is(err, ErrLate) {
				continue
			}
			if err != nil {
				return fmt.Errorf("project %s of %s@%d into %s: %w", o.Event.Type, stream, o.Event.Revision, r.name, err)
			}
		}
		if facts[i].reference != nil {
			if err := b.remember(o, facts[i].reference); err != nil {
				return err
			}
		}
	}
	return b.commit(stream, to)
}

// since returns what of the batch lies beyond the checkpoint. A stream that was
// truncated begins later than at 0, or than where the projection stood.
func since(at Checkpoint, stream string, batch []Opened) ([]Opened, error) {
	for len(batch) > 0 && batch[0].Event.Revision < at.Next {
		batch = batch[1:]
	}
	if len(batch) > 0 && at.Next > 0 && batch[0].Event.Revision > at.Next && !batch[0].Begins {
		return nil, fmt.Errorf("%s continues at %d, expected was %d: %w", stream, batch[0].Event.Revision, at.Next, ErrGap)
	}
	return batch, nil
}

// readGrain is the number of events for which another goroutine is worth it.
const readGrain = 128

func readAll[T any](stream string, batch []Opened, read func(*Opened) (Fact[T], error)) ([]Fact[T], error) {
	facts := make([]Fact[T], len(batch))
	workers := min(runtime.GOMAXPROCS(0), (len(batch)+readGrain-1)/readGrain)
	errs := make([]error, workers)
	var wg sync.WaitGroup
	for w := range workers {
		from, to := w*len(batch)/workers, (w+1)*len(batch)/workers
		part := func() { errs[w] = readPart(stream, batch[from:to], facts[from:to], read) }
		if w == workers-1 {
			part()
			continue
		}
		wg.Go(part)
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err // of the earliest event: parts are in order
		}
	}
	return facts, nil
}

func readPart[T any](stream string, batch []Opened, facts []Fact[T], read func(*Opened) (Fact[T], error)) error {
	for i := range batch {
		o := &batch[i]
		if o.Unreadable {
			continue
		}
		var err error
		facts[i], err = read(o)
		if c := facts[i].Command; c != nil && err == nil {
			facts[i].reference = referenceTo(o, c)
		}
		if err != nil {
			return fmt.Errorf("read %s of %s@%d: %w", o.Event.Type, stream, o.Event.Revision, err)
		}
	}
	return nil
}

func (r *Rows) begin(batch []Opened) (*Batch, error) {
	_, prefix := r.current()
	b := &Batch{rows: r, prefix: prefix, counts: map[string]int64{}, scratch: &r.scratch}
	b.changes.reset()
	b.bytes.reset()
	err := b.newest.load(b, batch)
	return b, err
}

// commit commits the rows and the checkpoint after them.
func (b *Batch) commit(stream string, to Checkpoint) error {
	checkpoint, err := to.encode()
	if err != nil {
		return err
	}
	b.Set(tableCheckpoint, []byte(stream), checkpoint)
	if err := b.commitRows(); err != nil {
		return fmt.Errorf("commit %s up to %s@%d: %w", b.rows.name, stream, to.Next, err)
	}
	return nil
}

func (b *Batch) commitRows() error {
	b.ages.store(b)
	if err := b.newest.store(b); err != nil {
		return err
	}
	for name, by := range b.counts {
		n, err := count(b.Get(tableCount, []byte(name)))
		if err != nil {
			return fmt.Errorf("count of %s in %s: %w", name, b.rows.name, err)
		}
		if n+by == 0 { // as if it had never been counted
			b.Delete(tableCount, []byte(name))
			continue
		}
		b.Set(tableCount, []byte(name), binary.BigEndian.AppendUint64(nil, uint64(n+by)))
	}
	return b.rows.view.Commit(&b.changes)
}

// Count returns a count, 0 if nothing was ever counted under the name.
func (r *Rows) Count(name string) (int64, error) {
	n, err := count(r.Get(tableCount, []byte(name)))
	if err != nil {
		return 0, fmt.Errorf("count of %s in %s: %w", name, r.name, err)
	}
	return n, nil
}

func count(value []byte, found bool, err error) (int64, error) {
	switch {
	case err != nil:
		return 0, err
	case !found:
		return 0, nil
	case len(value) != 8:
		return 0, ErrDamaged
	}
	return int64(binary.BigEndian.Uint64(value)), nil
}

// newest is the time up to which the projection has seen events, which decides
// what is old.
type newest struct{ before, after time.Time }

func (n *newest) load(b *Batch, batch []Opened) error {
	micros, err := count(b.Get(tableNewest, nil))
	if err != nil {
		return fmt.Errorf("time of the newest event in %s: %w", b.rows.name, err)
	}
	n.before = time.UnixMicro(micros)
	n.after = n.before
	for i := range batch {
		if t := batch[i].Header.Time; t.After(n.after) {
			n.after = t
		}
	}
	return nil
}

func (n *newest) store(b *Batch) error {
	if n.after.Equal(n.before) {
		return nil
	}
	b.Set(tableNewest, nil, binary.BigEndian.AppendUint64(nil, uint64(n.after.UnixMicro())))
	return b.forget(oldest(n.before), oldest(n.after))
}

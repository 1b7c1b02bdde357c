package views

import (
	"bytes"
	"errors"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"kiroku/projections"
)

var _ projections.View = (*DB)(nil)

// Get returns a copy of the value. Errors: ErrDamaged, ErrFailed, ErrClosed.
func (d *DB) Get(key []byte) (value []byte, found bool, err error) {
	if err := d.enter(); err != nil {
		return nil, false, err
	}
	defer d.leave()
	if !isRow(key) {
		return nil, false, d.explain("reading", ErrKey)
	}
	value, closer, err := d.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, d.explain("reading", err)
	}
	value = bytes.Clone(value)
	if err := closer.Close(); err != nil {
		return nil, false, d.explain("reading", err)
	}
	return value, true, nil
}

// Ascend visits the rows from ≤ key < to in rising order until visit returns false; a nil to is the end. It sees the
// rows of one moment. The slices are valid during the visit; while it lasts, deleted rows stay in the files. Errors
// as Get's.
func (d *DB) Ascend(from, to []byte, visit func(key, value []byte) bool) error {
	return d.AscendEach([]projections.Range{{From: from, To: to}}, visit)
}

// AscendEach is Ascend of one range after the other, of the same moment. Many ranges take much less than as many calls.
func (d *DB) AscendEach(ranges []projections.Range, visit func(key, value []byte) bool) error {
	return d.scan(ranges, (*pebble.Iterator).First, (*pebble.Iterator).Next, visit)
}

// Descend is Ascend in falling order.
func (d *DB) Descend(from, to []byte, visit func(key, value []byte) bool) error {
	return d.scan([]projections.Range{{From: from, To: to}}, (*pebble.Iterator).Last, (*pebble.Iterator).Prev, visit)
}

func (d *DB) scan(ranges []projections.Range, first, next func(*pebble.Iterator) bool, visit func(key, value []byte) bool) (err error) {
	if err := d.enter(); err != nil {
		return err
	}
	defer d.leave()
	if len(ranges) == 0 {
		return nil
	}
	from, to := ranges[0].From, clampedEnd(ranges[0].To)
	it, err := d.db.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: to})
	if err != nil {
		return d.explain("reading", err)
	}
	defer func() { // a damaged block ends the iteration and tells here; a visit may panic
		if closing := it.Close(); closing != nil && err == nil {
			err = d.explain("reading", closing)
		}
	}()
	for i, r := range ranges {
		if i > 0 {
			from, to = r.From, clampedEnd(r.To)
			it.SetBounds(from, to)
		}
		if bytes.Compare(from, to) >= 0 {
			continue // an empty range
		}
		for ok := first(it); ok; ok = next(it) {
			value, err := it.ValueAndErr()
			if err != nil {
				return d.explain("reading", err)
			}
			if !visit(it.Key(), value) {
				return nil
			}
		}
		if it.Error() != nil {
			return nil // Close tells
		}
	}
	return nil
}

// Commit makes all changes at once: the ranges go first, then the keys are written. It is visible when Commit
// returns, and on disk after the next flush. Errors: ErrKey and ErrDiskFull, nothing is changed; ErrFailed, ErrClosed.
func (d *DB) Commit(c *projections.Changes) error {
	if err := d.enter(); err != nil {
		return err
	}
	defer d.leave()
	if err := d.roomOnDisk(); err != nil {
		return d.explain("writing to", err)
	}
	batch := d.db.NewBatch(pebble.WithInitialSizeBytes(sizeOf(c)), pebble.WithMaxRetainedSizeBytes(batchKept))
	if err := fill(batch, c); err != nil {
		return errors.Join(d.explain("writing to", err), batch.Close())
	}
	if batch.Empty() {
		return batch.Close()
	}
	if err := d.guarded(func() error { return d.db.Apply(batch, pebble.NoSync) }); err != nil {
		return d.explain("writing to", err) // the batch may still be Pebble's
	}
	d.dirty.Store(true)
	return batch.Close()
}

func fill(batch *pebble.Batch, c *projections.Changes) error {
	for _, r := range c.Ranges() {
		from, to := r.From, clampedEnd(r.To)
		if bytes.Compare(from, to) >= 0 {
			continue // an empty range
		}
		if err := batch.DeleteRange(from, to, nil); err != nil {
			return err
		}
	}
	for _, w := range c.Writes() {
		if !isRow(w.Key) {
			return ErrKey
		}
		var err error
		if w.Delete {
			err = batch.Delete(w.Key, nil)
		} else {
			err = batch.Set(w.Key, w.Value, nil)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

const (
	entryOverhead = 12      // kind and two lengths, at most
	batchKept     = 4 << 20 // room of a batch that is kept for the next: enough for a full one of a rebuild
)

func sizeOf(c *projections.Changes) int {
	n := entryOverhead
	for _, r := range c.Ranges() {
		n += len(r.From) + len(r.To) + entryOverhead
	}
	for _, w := range c.Writes() {
		n += len(w.Key) + len(w.Value) + entryOverhead
	}
	return n
}

func isRow(key []byte) bool { return len(key) > 0 && key[0] < reserved[0] }

// clampedEnd keeps a range off the DB's own keys; nil is the end of the rows.
func clampedEnd(to []byte) []byte {
	if to == nil || bytes.Compare(to, reserved) > 0 {
		return slices.Clone(reserved)
	}
	return to
}

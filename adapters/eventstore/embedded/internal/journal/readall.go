package journal

import (
	"encoding/binary"

	"github.com/cockroachdb/pebble/v2"
)

// AllForward returns events of the log from a position on, up to End, at most n. Stream
// metadata does not hide anything here; only a scavenge removes.
func (j *Journal) AllForward(from uint64, n int) (events []Event, err error) {
	end := j.End()
	if from > end {
		return nil, nil
	}
	room := newRoom(n)
	err = j.use(func() error {
		it, err := j.db.NewIter(&pebble.IterOptions{LowerBound: eventKey(from), UpperBound: eventKey(end + 1)})
		if err != nil {
			return err
		}
		defer it.Close()
		for ok := it.First(); ok; ok = it.Next() {
			e, err := eventOf(it)
			if err != nil {
				return err
			}
			events = append(events, e)
			if !room.take(&e) {
				return nil
			}
		}
		return it.Error()
	})
	return events, err
}

// AllBackward returns events before a position, downwards, at most n.
func (j *Journal) AllBackward(before uint64, n int) (events []Event, err error) {
	if end := j.End(); before > end {
		before = end + 1
	}
	room := newRoom(n)
	err = j.use(func() error {
		it, err := j.db.NewIter(&pebble.IterOptions{LowerBound: []byte{spaceEvent}, UpperBound: eventKey(before)})
		if err != nil {
			return err
		}
		defer it.Close()
		for ok := it.Last(); ok; ok = it.Prev() {
			e, err := eventOf(it)
			if err != nil {
				return err
			}
			events = append(events, e)
			if !room.take(&e) {
				return nil
			}
		}
		return it.Error()
	})
	return events, err
}

func eventOf(it *pebble.Iterator) (Event, error) {
	value, err := it.ValueAndErr()
	if err != nil {
		return Event{}, err
	}
	return decodeRecord(binary.BigEndian.Uint64(it.Key()[1:]), value)
}

// Boundary reports whether a position is one that a client may have been given: that of
// an event, one past the end, or one in the part that was scavenged, which nobody can
// tell any more.
func (j *Journal) Boundary(position uint64) (ok bool, err error) {
	if position > j.End() || position <= j.scavenged.Load() {
		return true, nil
	}
	err = j.use(func() error {
		_, closer, err := j.db.Get(eventKey(position))
		if err == pebble.ErrNotFound {
			return nil
		}
		if err != nil {
			return err
		}
		ok = true
		return closer.Close()
	})
	return ok, err
}

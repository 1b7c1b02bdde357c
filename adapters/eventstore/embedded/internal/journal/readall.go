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
	return j.all(eventKey(from), eventKey(end+1), n, (*pebble.Iterator).First, (*pebble.Iterator).Next)
}

// AllBackward returns events before a position, downwards, at most n.
func (j *Journal) AllBackward(before uint64, n int) (events []Event, err error) {
	if end := j.End(); before > end {
		before = end + 1
	}
	return j.all([]byte{spaceEvent}, eventKey(before), n, (*pebble.Iterator).Last, (*pebble.Iterator).Prev)
}

// all returns the events between two keys in the order of first and next, at most n.
func (j *Journal) all(lower, upper []byte, n int, first, next func(*pebble.Iterator) bool) (events []Event, err error) {
	room := newRoom(n)
	err = j.use(func() error {
		it, err := j.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
		if err != nil {
			return err
		}
		defer it.Close()
		for ok := first(it); ok; ok = next(it) {
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

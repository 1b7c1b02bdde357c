package journal

import (
	"bytes"
	"encoding/binary"

	"github.com/cockroachdb/pebble/v2"
)

// A page ends at this many events or bytes, so that no reader holds an iterator (and
// with it old files) while it waits for its network.
const (
	PageEvents = 512
	pageBytes  = 4 << 20
)

// Tail is the durable state of a stream at one moment.
type Tail struct {
	First      int64 // lowest revision the metadata leaves visible, age apart
	Last       int64 // -1: none
	Tombstoned bool
	// Missing: no event was ever written, or the stream is soft-deleted.
	Missing bool
	// ACL of the stream, nil for the default; for a metadata stream its subject's.
	ACL *ACL
}

// Tail of a stream.
func (j *Journal) Tail(stream string) Tail {
	p := &j.published
	p.mu.RLock()
	defer p.mu.RUnlock()
	return tailOf(p.heads.of(stream))
}

func tailOf(h head) Tail {
	return Tail{First: h.first(), Last: h.last, Tombstoned: h.tombstoned, Missing: h.last < 0 || h.softDeleted(), ACL: h.meta.ACL}
}

// End is the position of the last durable event of the log, 0 if there is none.
func (j *Journal) End() uint64 {
	p := &j.published
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.end
}

// Changed is closed at the next change of anything. Take it before looking.
func (j *Journal) Changed() <-chan struct{} {
	p := &j.published
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.changed
}

func (j *Journal) durableHead(stream string) head {
	p := &j.published
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.heads.of(stream)
}

func (j *Journal) aged(h head, created int64) bool {
	return h.meta.MaxAge > 0 && created < j.opts.Clock().UnixNano()/100-h.meta.MaxAge*10_000_000
}

// StreamCursor walks a stream forwards, page by page.
type StreamCursor struct {
	Stream string
	Next   int64 // revision to go on from
	// Raw ignores what stream metadata hides: a live subscriber gets what was hidden only
	// after it was appended.
	Raw bool

	hint uint64 // position after the last event returned
}

// Forward returns the next events of a stream, at most n, and advances the cursor. None
// and c.Next > Last: the end. A soft-deleted stream shows none.
func (j *Journal) Forward(c *StreamCursor, n int) (events []Event, err error) {
	h := j.durableHead(c.Stream)
	if !c.Raw {
		if h.softDeleted() {
			c.Next = max(c.Next, h.last+1)
			return nil, nil
		}
		c.Next = max(c.Next, min(h.first(), h.last+1))
	}
	if c.Next > h.last {
		return nil, nil
	}
	room := newRoom(n)
	err = j.use(func() error {
		return j.walkStream(c.Stream, c.Next, h.last, c.hint, func(e Event) bool {
			c.Next, c.hint = e.Revision+1, e.Position+1
			if !c.Raw && j.aged(h, e.Created) {
				return room.skip()
			}
			events = append(events, e)
			return room.take(&e)
		})
	})
	if err == nil && !room.full() {
		c.Next = h.last + 1 // what lay between is scavenged
	}
	return events, err
}

// Backward returns visible events from a revision down, at most n, and the revision to
// go on from; -1 when the beginning was reached.
func (j *Journal) Backward(stream string, from int64, n int) (events []Event, next int64, err error) {
	h := j.durableHead(stream)
	from = min(from, h.last)
	if h.tombstoned || h.softDeleted() || from < h.first() {
		return nil, -1, nil
	}
	room, low := newRoom(n), h.first()
	next = -1
	err = j.use(func() error {
		return j.walkStreamBack(stream, from, low, func(e Event) bool {
			if j.aged(h, e.Created) {
				if room.skip() {
					return true
				}
			} else {
				events = append(events, e)
				if room.take(&e) {
					return true
				}
			}
			next = e.Revision - 1
			return false
		})
	})
	if next < low {
		next = -1
	}
	return events, next, err
}

// room counts what still fits a page.
type room struct{ events, looked, bytes int }

func newRoom(n int) *room {
	return &room{events: min(n, PageEvents), looked: 8 * PageEvents, bytes: pageBytes}
}

func (r *room) take(e *Event) bool {
	r.events--
	r.bytes -= len(e.Data) + len(e.Metadata) + len(e.Type)
	return r.skip()
}

func (r *room) skip() bool {
	r.looked--
	return !r.full()
}

func (r *room) full() bool { return r.events <= 0 || r.bytes <= 0 || r.looked <= 0 }

// Event returns one visible event of a stream, for resolving links.
func (j *Journal) Event(stream string, revision int64) (e Event, ok bool, err error) {
	h := j.durableHead(stream)
	if h.tombstoned || h.softDeleted() || revision < h.first() || revision > h.last {
		return Event{}, false, nil
	}
	err = j.use(func() error {
		e, ok, err = j.eventAt(stream, revision)
		return err
	})
	return e, ok && !j.aged(h, e.Created), err
}

// TombstoneEvent returns the event that ended the stream.
func (j *Journal) TombstoneEvent(stream string) (e Event, ok bool, err error) {
	err = j.use(func() error {
		e, ok, err = j.eventAt(stream, TombstoneRevision)
		return err
	})
	return e, ok, err
}

// eventAt reads one event wherever it is, durable or not.
func (j *Journal) eventAt(stream string, revision int64) (Event, bool, error) {
	var found Event
	ok := false
	err := j.walkStream(stream, revision, revision, 0, func(e Event) bool {
		found, ok = e, true
		return false
	})
	return found, ok, err
}

func (j *Journal) runs(stream string) (*pebble.Iterator, error) {
	lower := streamPrefix(stream)
	upper := append(bytes.Clone(lower), 0xff) // revisions are below 1<<63
	return j.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
}

func (j *Journal) records() (*pebble.Iterator, error) {
	return j.db.NewIter(&pebble.IterOptions{LowerBound: []byte{spaceEvent}, UpperBound: []byte{spaceEvent + 1}})
}

// walkStream calls f for the stored events from..last in order until f returns false.
// hint is a position known to lie at or before the first of them, in their run; or 0.
func (j *Journal) walkStream(stream string, from, last int64, hint uint64, f func(Event) bool) error {
	if from > last {
		return nil
	}
	index, err := j.runs(stream)
	if err != nil {
		return err
	}
	defer index.Close()
	records, err := j.records()
	if err != nil {
		return err
	}
	defer records.Close()
	ok := index.SeekLT(afterKey(stream, from))
	if !ok {
		ok = index.First()
	}
	for ; ok; ok = index.Next() {
		r, err := decodeRun(index.Key(), index.Value())
		if err != nil {
			return err
		}
		if r.first > last {
			return nil
		}
		if r.last() < from {
			continue
		}
		if more, err := walkRun(records, r, from, last, hint, f); err != nil || !more {
			return err
		}
	}
	return index.Error()
}

// afterKey sorts directly after the run that begins at a revision.
func afterKey(stream string, revision int64) []byte {
	return append(runKey(stream, revision), 0)
}

func walkRun(records *pebble.Iterator, r run, from, last int64, hint uint64, f func(Event) bool) (more bool, err error) {
	start := r.from
	if hint > r.from && hint <= r.to {
		start = hint
	}
	for ok := records.SeekGE(eventKey(start)); ok; ok = records.Next() {
		position := binary.BigEndian.Uint64(records.Key()[1:])
		if position > r.to {
			return true, nil
		}
		value, err := records.ValueAndErr()
		if err != nil {
			return false, err
		}
		revision, err := recordRevision(value)
		if err != nil {
			return false, err
		}
		if revision < from {
			continue
		}
		if revision > last {
			return false, nil
		}
		e, err := decodeRecord(position, value)
		if err != nil {
			return false, err
		}
		if !f(e) {
			return false, nil
		}
	}
	return true, records.Error()
}

// walkStreamBack calls f for the stored events from..low, downwards.
func (j *Journal) walkStreamBack(stream string, from, low int64, f func(Event) bool) error {
	index, err := j.runs(stream)
	if err != nil {
		return err
	}
	defer index.Close()
	records, err := j.records()
	if err != nil {
		return err
	}
	defer records.Close()
	for ok := index.SeekLT(afterKey(stream, from)); ok; ok = index.Prev() {
		r, err := decodeRun(index.Key(), index.Value())
		if err != nil {
			return err
		}
		if r.last() < low {
			return nil
		}
		for ok := records.SeekLT(eventKey(r.to + 1)); ok; ok = records.Prev() {
			position := binary.BigEndian.Uint64(records.Key()[1:])
			if position < r.from {
				break
			}
			value, err := records.ValueAndErr()
			if err != nil {
				return err
			}
			revision, err := recordRevision(value)
			if err != nil {
				return err
			}
			if revision > from {
				continue
			}
			if revision < low {
				return nil
			}
			e, err := decodeRecord(position, value)
			if err != nil {
				return err
			}
			if !f(e) {
				return nil
			}
		}
		if err := records.Error(); err != nil {
			return err
		}
	}
	return index.Error()
}

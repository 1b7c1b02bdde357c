package journal

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/google/uuid"
)

type requestKind int

const (
	appendEvents requestKind = iota
	softDelete
	tombstone
)

type request struct {
	ctx      context.Context
	kind     requestKind
	stream   string
	expected int64
	events   []Proposed
	done     chan outcome // buffered: whoever answers never waits
}

type outcome struct {
	written Written
	err     error
}

// commit is what the writer hands to the publisher: a batch under way to the disk (or
// none, for an answer that only has to wait for those before it) and what it changes.
type commit struct {
	request *request
	batch   *pebble.Batch // nil: nothing was written
	end     uint64
	changed []changedHead
	outcome outcome
	bytes   int
}

type changedHead struct {
	stream string
	head   head
}

// writer is the state of the one goroutine that decides and orders appends.
type writer struct {
	planned   heads // including what is not yet durable
	next      uint64
	recent    *recentIDs
	diskCheck time.Time // when free space is looked at next
	diskFull  bool
}

// draft is one request's batch being built.
type draft struct {
	batch   *pebble.Batch
	next    uint64
	changed []changedHead
	created int64
	bytes   int
}

// write decides each request in turn and starts its commit. It does not wait for the
// disk: the write-ahead log syncs whatever has gathered while the last sync ran.
func (j *Journal) write() {
	defer j.workers.Done()
	defer close(j.commits)
	for r := range j.requests {
		if r.ctx.Err() != nil {
			continue // its caller has gone and nothing was decided
		}
		c := j.decideAndCommit(r)
		select {
		case j.commits <- c:
		case <-j.failed:
			return
		}
	}
}

// publish waits for each batch's sync in order, makes it visible, and answers.
func (j *Journal) publish() {
	defer j.workers.Done()
	for c := range j.commits {
		if c.batch != nil {
			if err := c.batch.SyncWait(); err != nil {
				j.fail(fmt.Errorf("sync the write-ahead log: %w", err))
				return
			}
			c.batch.Close()
			j.reveal(c)
		}
		c.request.done <- c.outcome
	}
}

func (j *Journal) reveal(c commit) {
	p := &j.published
	p.mu.Lock()
	for _, ch := range c.changed {
		p.heads[ch.stream] = ch.head
	}
	p.end = c.end
	close(p.changed)
	p.changed = make(chan struct{})
	p.mu.Unlock()
	j.appends.Add(1)
	j.events.Add(uint64(len(c.request.events)))
	j.bytes.Add(uint64(c.bytes))
}

func (j *Journal) decideAndCommit(r *request) commit {
	w := &j.writer
	c := commit{request: r}
	h := w.planned.of(r.stream)
	if r.kind == softDelete && h.last < 0 && !h.hasMeta && !h.tombstoned {
		c.outcome.err = &WrongRevisionError{Stream: r.stream, Expected: r.expected, Current: NoStream}
		return c
	}
	v, revision, err := decide(r.stream, h, r.expected, r.ids(), (*writerMemory)(j))
	if err == nil && v == write {
		err = j.checkDisk()
	}
	switch {
	case err != nil:
		c.outcome.err = err
	case v == deleted:
		c.outcome.err = &DeletedError{Stream: r.stream}
	case v == wrong:
		c.outcome.err = &WrongRevisionError{Stream: r.stream, Expected: r.expected, Current: h.last}
	case v == idempotent:
		c.outcome = j.repeated(r.stream, h, revision)
	default:
		j.commit(r, h, &c)
	}
	return c
}

// ids of the request; a deletion is checked like an event nobody has sent before.
func (r *request) ids() []uuid.UUID {
	if r.kind != appendEvents {
		return []uuid.UUID{uuid.New()}
	}
	ids := make([]uuid.UUID, len(r.events))
	for i := range r.events {
		ids[i] = r.events[i].ID
	}
	return ids
}

// repeated answers a retry of what is stored already.
func (j *Journal) repeated(stream string, h head, revision int64) outcome {
	o := outcome{written: Written{Revision: revision}}
	if h.softDeleted() || revision < h.first() {
		return o
	}
	e, ok, err := j.eventAt(stream, revision)
	if err != nil {
		return outcome{err: err}
	}
	if ok && !j.aged(h, e.Created) {
		o.written.Position, o.written.HasPosition = e.Position, true
	}
	return o
}

func (j *Journal) commit(r *request, h head, c *commit) {
	w := &j.writer
	d := &draft{batch: j.db.NewBatch(), next: w.next, created: j.opts.Clock().UnixNano() / 100}
	var err error
	switch r.kind {
	case appendEvents:
		c.outcome.written, err = j.draftAppend(d, r, h)
	case softDelete:
		c.outcome.written, err = j.draftMetadata(d, r.stream, deletedDocument())
	case tombstone:
		c.outcome.written, err = j.draftTombstone(d, r.stream)
	}
	if err == nil && d.next != w.next {
		err = d.batch.Set(keyNextPosition, binary.BigEndian.AppendUint64(nil, d.next), nil)
	}
	if err == nil && d.batch.Count() > 0 {
		err = j.db.ApplyNoSyncWait(d.batch, pebble.Sync)
	}
	if err != nil {
		// Whether the failed batch reached the log is not known; later ones must not
		// build on either guess.
		j.fail(err)
		c.outcome = outcome{err: j.failure}
		return
	}
	if d.batch.Count() == 0 {
		d.batch.Close()
		return
	}
	w.next = d.next
	for _, ch := range d.changed {
		w.planned[ch.stream] = ch.head
	}
	for i := range r.events {
		w.recent.put(r.events[i].ID, r.stream, h.last+1+int64(i))
	}
	c.batch, c.end, c.changed, c.bytes = d.batch, d.next-1, d.changed, d.bytes
}

func (j *Journal) draftAppend(d *draft, r *request, h head) (Written, error) {
	written := Written{Revision: h.last, HasPosition: true, Position: d.next}
	if len(r.events) > 0 {
		to, err := j.draftRun(d, r.stream, h.last+1, r.events)
		if err != nil {
			return Written{}, err
		}
		written = Written{Revision: h.last + int64(len(r.events)), Position: to, HasPosition: true}
	}
	if subject, is := strings.CutPrefix(r.stream, MetadataPrefix); is && len(r.events) > 0 {
		return written, j.metadataWritten(d, subject, &r.events[len(r.events)-1], true)
	}
	if h.softDeleted() {
		return written, j.recreate(d, r.stream, h.last+1)
	}
	return written, nil
}

// draftRun adds consecutive events of one stream and returns the last one's position.
func (j *Journal) draftRun(d *draft, stream string, first int64, events []Proposed) (to uint64, err error) {
	entry := run{first: first, count: uint32(len(events)), from: d.next}
	for i := range events {
		n := recordLen(stream, &events[i])
		op := d.batch.SetDeferred(9, n)
		op.Key[0] = spaceEvent
		binary.BigEndian.PutUint64(op.Key[1:], d.next)
		putRecord(op.Value, stream, recordPlace(first, i), d.created, &events[i])
		if err := op.Finish(); err != nil {
			return 0, err
		}
		entry.to = d.next
		d.next += uint64(n)
		d.bytes += n
	}
	if err := d.batch.Set(runKey(stream, first), entry.encode(), nil); err != nil {
		return 0, err
	}
	h := j.plannedIn(d, stream)
	if first == TombstoneRevision {
		h.tombstoned = true
	} else {
		h.last = entry.last()
	}
	d.change(stream, h)
	return entry.to, d.batch.Set(headKey(stream), encodeHead(h), nil)
}

func recordPlace(first int64, i int) int64 { return first + int64(i) }

// plannedIn is a stream's head as the draft leaves it so far.
func (j *Journal) plannedIn(d *draft, stream string) head {
	for i := len(d.changed) - 1; i >= 0; i-- {
		if d.changed[i].stream == stream {
			return d.changed[i].head
		}
	}
	return j.writer.planned.bare(stream)
}

func (d *draft) change(stream string, h head) {
	d.changed = append(d.changed, changedHead{stream: stream, head: h})
}

// draftMetadata appends a metadata document for the stream.
func (j *Journal) draftMetadata(d *draft, stream string, doc []byte) (Written, error) {
	meta := MetadataPrefix + stream
	e := Proposed{ID: uuid.New(), Type: TypeMetadata, JSON: true, Data: doc}
	revision := j.plannedIn(d, meta).last + 1
	to, err := j.draftRun(d, meta, revision, []Proposed{e})
	if err != nil {
		return Written{}, err
	}
	return Written{Revision: revision, Position: to, HasPosition: true}, j.metadataWritten(d, stream, &e, false)
}

// metadataWritten puts a document in force. One that a client writes to a soft-deleted
// stream brings it back, which takes a further document that truncates the old events.
func (j *Journal) metadataWritten(d *draft, stream string, e *Proposed, byClient bool) error {
	h := j.plannedIn(d, stream)
	wasDeleted := h.softDeleted()
	h.hasMeta = true
	h.meta = Metadata{}
	if e.JSON {
		h.meta = ParseMetadata(e.Data)
	}
	d.change(stream, h)
	if !byClient || !wasDeleted {
		return nil
	}
	_, err := j.draftMetadata(d, stream, withTruncateBefore(e.Data, h.last+1))
	return err
}

// recreate brings a soft-deleted stream back with its old events truncated.
func (j *Journal) recreate(d *draft, stream string, first int64) error {
	meta := MetadataPrefix + stream
	var doc []byte
	e, ok, err := j.eventAt(meta, j.writer.planned.bare(meta).last)
	if err != nil {
		return err
	}
	if ok {
		doc = e.Data
	}
	_, err = j.draftMetadata(d, stream, withTruncateBefore(doc, first))
	return err
}

func (j *Journal) draftTombstone(d *draft, stream string) (Written, error) {
	e := Proposed{ID: uuid.New(), Type: TypeTombstone}
	to, err := j.draftRun(d, stream, TombstoneRevision, []Proposed{e})
	return Written{Revision: TombstoneRevision, Position: to, HasPosition: true}, err
}

// writerMemory is the commit check's view of the journal, for the writer goroutine.
type writerMemory Journal

func (m *writerMemory) recent(stream string, id uuid.UUID) (int64, bool) {
	return m.writer.recent.find(stream, id)
}

func (m *writerMemory) stored(stream string, from int64, n int) ([]uuid.UUID, error) {
	j := (*Journal)(m)
	last := j.writer.planned.bare(stream).last
	ids := make([]uuid.UUID, 0, n)
	err := j.walkStream(stream, from, last, 0, func(e Event) bool {
		if e.Revision != from+int64(len(ids)) {
			return false // a gap: what was there is scavenged
		}
		ids = append(ids, e.ID)
		return len(ids) < n
	})
	if err != nil {
		return nil, fmt.Errorf("compare stored ids of stream %q: %w", stream, err)
	}
	return ids, nil
}

// fail stops the journal: nothing is written, nothing answered, any more.
func (j *Journal) fail(cause error) {
	j.failOnce.Do(func() {
		if errors.Is(cause, ErrFailed) {
			j.failure = cause
		} else {
			j.failure = fmt.Errorf("%w: %w", ErrFailed, cause)
		}
		j.opts.Logger.Error("event journal failed", "error", cause)
		close(j.failed)
	})
}

func (j *Journal) hasFailed() bool {
	select {
	case <-j.failed:
		return true
	default:
		return false
	}
}

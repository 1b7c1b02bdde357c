package eventstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"

	"kiroku/domain/ledger"
)

// A batch of Iterate and Subscribe holds at most BatchEvents events, and
// BatchBytes bytes unless one event alone is larger.
const (
	BatchEvents = 512
	BatchBytes  = 4 << 20
)

// End as the start of ReadBackward is the last event of the stream.
const End uint64 = math.MaxUint64

// everything is the count for a read without bound.
const everything = math.MaxInt64

// ReadForward returns up to limit events of stream in order, beginning with
// revision from, or with the first visible one if that was hidden by truncation.
// Fewer than limit, none at all included, means that the stream's end was
// reached. ErrNoStream: there is no such stream.
func (s *Store) ReadForward(ctx context.Context, stream string, from uint64, limit int) ([]ledger.Event, error) {
	if limit <= 0 || from > math.MaxInt64 {
		return nil, fmt.Errorf("read %d events of stream %q from revision %d: %w: no such range", limit, stream, from, ErrInvalid)
	}
	var events []ledger.Event
	err := s.forward(ctx, stream, from, uint64(limit), s.config.ReadTimeout, func(_ context.Context, e ledger.Event) error {
		events = append(events, e)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return events, nil
}

// ReadBackward returns up to limit events of stream, last first, beginning with
// revision from or the last before it; End begins with the stream's last.
// ErrNoStream: there is no such stream.
func (s *Store) ReadBackward(ctx context.Context, stream string, from uint64, limit int) ([]ledger.Event, error) {
	if limit <= 0 || from > math.MaxInt64 && from != End {
		return nil, fmt.Errorf("read %d events of stream %q back from revision %d: %w: no such range", limit, stream, from, ErrInvalid)
	}
	op, end, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	return s.backward(op, stream, from, limit)
}

// ReadLast returns the last event of stream; ok is false if the stream does not
// exist. ErrTruncated: it exists, but none of its events is visible.
func (s *Store) ReadLast(ctx context.Context, stream string) (last ledger.Event, ok bool, err error) {
	events, err := s.ReadBackward(ctx, stream, End, 1)
	switch {
	case errors.Is(err, ErrNoStream):
		return ledger.Event{}, false, nil
	case err != nil:
		return ledger.Event{}, false, err
	case len(events) == 0:
		return ledger.Event{}, false, fmt.Errorf("read the last event of stream %q: %w", stream, ErrTruncated)
	}
	return events[0], true, nil
}

// Stored tells whether the store holds exactly these events: of one stream, with
// consecutive revisions, equal byte for byte. It is how an append that had to be
// repeated is confirmed, because the store itself compares ids only. false says
// that something else is there, or nothing yet; it never says that an append of
// unknown outcome did not land, for it may still land.
func (s *Store) Stored(ctx context.Context, events []ledger.Event) (bool, error) {
	if len(events) == 0 {
		return true, nil
	}
	stored, err := s.ReadForward(ctx, events[0].Stream, events[0].Revision, len(events))
	if errors.Is(err, ErrNoStream) {
		return false, nil
	}
	if err != nil || len(stored) != len(events) {
		return false, err
	}
	for i, e := range events {
		if !equal(e, stored[i]) {
			return false, nil
		}
	}
	return true, nil
}

func equal(a, b ledger.Event) bool {
	return a.Stream == b.Stream && a.Revision == b.Revision && a.ID == b.ID && a.Type == b.Type &&
		bytes.Equal(a.Data, b.Data) && bytes.Equal(a.Metadata, b.Metadata)
}

// Iterate hands every event of stream from revision from to the end, in order
// and in batches, to handle, while the next ones are already being received. A
// first revision above from means that what is below was truncated. handle owns
// its batch. Iterate ends at what was the stream's end when it got there, or
// with handle's error, ErrNoStream, or any error that does not pass within
// Config.Patience.
func (s *Store) Iterate(ctx context.Context, stream string, from uint64, handle func(batch []ledger.Event) error) error {
	if from > math.MaxInt64 {
		return fmt.Errorf("read stream %q from revision %d: %w: no such revision", stream, from, ErrInvalid)
	}
	ctx, cancel := context.WithCancel(ctx)
	f := newFeed(true)
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.close(s.forward(ctx, stream, from, everything, 0, f.put))
	}()
	defer func() { cancel(); <-done }()
	return f.drain(ctx, handle, nil)
}

// forward reads up to limit events in order, taking up again what a passing
// failure interrupts, and checks that their revisions are consecutive.
func (s *Store) forward(ctx context.Context, stream string, from, limit uint64, timeout time.Duration, visit func(context.Context, ledger.Event) error) error {
	op, end, err := s.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	seq := sequence{stream: stream, next: from}
	err = s.persist(op, stream, func() (bool, error) {
		before := seq.count
		start := esdb.ReadStreamOptions{Direction: esdb.Forwards, From: esdb.Revision(seq.next)}
		err := s.scan(op, stream, start, limit-seq.count, timeout, func(e ledger.Event) error {
			if err := seq.accept(e.Revision); err != nil {
				return err
			}
			return visit(op, e)
		})
		if seq.count == limit {
			err = nil
		}
		return seq.count > before, err
	})
	if err != nil {
		return fmt.Errorf("read stream %q from revision %d: %w", stream, seq.next, err)
	}
	return nil
}

func (s *Store) backward(op context.Context, stream string, from uint64, limit int) ([]ledger.Event, error) {
	var events []ledger.Event
	err := s.persist(op, stream, func() (bool, error) {
		events = events[:0]
		start := esdb.ReadStreamOptions{Direction: esdb.Backwards, From: esdb.End{}}
		if from != End {
			start.From = esdb.Revision(from)
		}
		return false, s.scan(op, stream, start, uint64(limit), s.config.ReadTimeout, func(e ledger.Event) error {
			if n := len(events); n > 0 && e.Revision+1 != events[n-1].Revision {
				return &SequenceError{Stream: stream, Want: events[n-1].Revision - 1, Got: e.Revision}
			}
			events = append(events, e)
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("read stream %q backwards: %w", stream, err)
	}
	return events, nil
}

// persist repeats try, which tells whether it received anything, until it
// succeeds, fails for good, or has received nothing for Config.Patience.
func (s *Store) persist(ctx context.Context, stream string, try func() (bool, error)) error {
	since := time.Now()
	for n := 1; ; n++ {
		progress, err := try()
		if err == nil {
			return nil
		}
		if end := terminal(ctx, err); end != nil {
			return end
		}
		if progress {
			since, n = time.Now(), 1
		}
		if time.Since(since) > s.config.Patience {
			return unavailable(err)
		}
		s.stats.resumed.Add(1)
		s.log.Debug("event store: read interrupted, trying again", "stream", stream, "error", failure{err}.Error())
		if err := s.pause(ctx, n); err != nil {
			return err
		}
	}
}

func unavailable(err error) error {
	if errors.Is(err, ErrUnavailable) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, failure{err})
}

// scan makes one read call and hands each event to visit. A timeout of 0 is
// none: then only a dead connection ends a silent server.
func (s *Store) scan(ctx context.Context, stream string, opts esdb.ReadStreamOptions, count uint64, timeout time.Duration, visit func(ledger.Event) error) (err error) {
	c, err := s.enter(ctx)
	if err != nil {
		return err
	}
	if timeout > 0 {
		opts.Deadline = &timeout
	}
	var answer error // what the client said, as opposed to visit
	defer func() {
		if fault := recover(); fault != nil { // the client panics on messages it does not know
			err = fmt.Errorf("%w: the client failed on it: %v", ErrUnexpectedAnswer, fault)
			answer = err
		}
		c.leave(answer, timeout)
	}()
	reader, answer := c.session.client.ReadStream(c, stream, opts, count)
	if answer != nil {
		return answer
	}
	defer reader.Close()
	for {
		resolved, failed := reader.Recv()
		if errors.Is(failed, io.EOF) {
			return nil
		}
		if failed != nil {
			answer = failed
			return failed
		}
		e, err := s.received(stream, resolved)
		if err != nil {
			return err
		}
		if err := visit(e); err != nil {
			return err
		}
	}
}

// received takes an event over from the client; data and metadata are not
// copied, the client keeps no hold of them.
func (s *Store) received(stream string, resolved *esdb.ResolvedEvent) (ledger.Event, error) {
	r := resolved.Event
	if r == nil || r.StreamID != stream {
		return ledger.Event{}, fmt.Errorf("%w: an event of another stream came for %q", ErrUnexpectedAnswer, stream)
	}
	e := ledger.Event{
		Stream:   stream,
		Revision: r.EventNumber,
		ID:       r.EventID,
		Type:     r.EventType,
		Data:     r.Data,
		Metadata: r.UserMetadata,
	}
	s.stats.readEvents.Add(1)
	s.stats.readBytes.Add(uint64(EventSize(e)))
	return e, nil
}

// sequence holds that revisions are consecutive, but for a first one that may
// lie above the start: what is below was truncated.
type sequence struct {
	stream string
	next   uint64
	count  uint64
}

func (q *sequence) accept(revision uint64) error {
	if revision != q.next && (q.count > 0 || revision < q.next) {
		return &SequenceError{Stream: q.stream, Want: q.next, Got: revision}
	}
	q.next = revision + 1
	q.count++
	return nil
}

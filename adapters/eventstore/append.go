package eventstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/google/uuid"
	"google.golang.org/grpc/codes"

	"kiroku/domain/ledger"
)

// MaxAppendSize is the most that one append may hold: the sum of EventSize over
// its events, in bytes. It is EventStoreDB's default limit.
const MaxAppendSize = 1 << 20

// EventSize is what an event counts towards MaxAppendSize, in bytes: data,
// metadata, and the type in UTF-16.
func EventSize(e ledger.Event) int {
	units := 0
	for _, r := range e.Type {
		units++
		if r > 0xFFFF {
			units++
		}
	}
	return len(e.Data) + len(e.Metadata) + 2*units
}

// Append writes events to stream, all or none, if and only if the next revision
// of stream is next; 0 means that the stream does not exist yet. The events must
// be as they will be read back: of this stream, with the revisions from next on,
// a type and an id that is not zero.
//
// nil: they are durable at these revisions, unless an earlier append already put
// other events with the same ids there. The store compares ids only and does
// not tell: after any retry, compare with Stored. Errors: ErrOutcomeUnknown;
// everything else means that this call wrote nothing: a *WrongRevisionError,
// ErrUnavailable, ErrFull, ErrTooLarge, ErrDenied, ErrTombstoned, ErrRefused, ErrInvalid,
// ErrClosed. ErrUnexpectedAnswer means neither: stop and compare. What an earlier
// call of unknown outcome did is not known by a later one's refusal, except by
// ErrWrongRevision together with Stored.
//
// It takes at most Config.AppendTimeout and repeats itself once only if the
// first try surely was not sent.
func (s *Store) Append(ctx context.Context, stream string, next uint64, events []ledger.Event) error {
	size, err := checkBatch(stream, next, events)
	if err != nil {
		return fmt.Errorf("append %d events at revision %d of stream %q: %w", len(events), next, stream, err)
	}
	op, end, err := s.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	op, cancel := context.WithTimeout(op, s.config.AppendTimeout)
	defer cancel()
	proposed := propose(events)
	err = s.appendOnce(op, stream, next, proposed)
	if errors.Is(err, ErrUnavailable) && op.Err() == nil {
		s.stats.appendRetries.Add(1)
		err = s.appendOnce(op, stream, next, proposed)
	}
	return s.count(err, stream, next, len(events), size)
}

// Full is why the store refused the last append, if that was for lack of room on
// its disk, and nil otherwise. It is nil until something is appended.
func (s *Store) Full(context.Context) error {
	if err := s.full.Load(); err != nil {
		return *err
	}
	return nil
}

// count keeps the statistics and says which append failed.
func (s *Store) count(err error, stream string, next uint64, events, size int) error {
	switch {
	case err == nil:
		s.full.Store(nil)
		s.stats.appends.Add(1)
		s.stats.appendedEvents.Add(uint64(events))
		s.stats.appendedBytes.Add(uint64(size))
		return nil
	case errors.Is(err, ErrWrongRevision):
		s.stats.wrongRevisions.Add(1)
		return err
	case errors.Is(err, ErrOutcomeUnknown):
		s.stats.outcomesUnknown.Add(1)
	case errors.Is(err, ErrFull):
		s.full.Store(&err)
	}
	return fmt.Errorf("append %d events at revision %d of stream %q: %w", events, next, stream, err)
}

func checkBatch(stream string, next uint64, events []ledger.Event) (size int, err error) {
	switch {
	case !utf8.ValidString(stream) || stream == "" || stream == "$$":
		return 0, fmt.Errorf("%w: the stream has no valid name", ErrInvalid)
	case len(events) == 0:
		return 0, fmt.Errorf("%w: no events", ErrInvalid)
	case next > math.MaxInt64-uint64(len(events)):
		return 0, fmt.Errorf("%w: the revision is beyond the last possible", ErrInvalid)
	}
	for i, e := range events {
		switch {
		case e.Stream != stream:
			return 0, fmt.Errorf("%w: event %d is of stream %q", ErrInvalid, i, e.Stream)
		case e.Revision != next+uint64(i):
			return 0, fmt.Errorf("%w: event %d has revision %d", ErrInvalid, i, e.Revision)
		case e.Type == "" || !utf8.ValidString(e.Type):
			return 0, fmt.Errorf("%w: event %d has no valid type", ErrInvalid, i)
		case e.ID == uuid.Nil: // the client would put a random one
			return 0, fmt.Errorf("%w: event %d has no id", ErrInvalid, i)
		}
		size += EventSize(e)
	}
	if size > MaxAppendSize {
		return 0, fmt.Errorf("%w (%d bytes of at most %d)", ErrTooLarge, size, MaxAppendSize)
	}
	return size, nil
}

func propose(events []ledger.Event) []esdb.EventData {
	proposed := make([]esdb.EventData, len(events))
	for i, e := range events {
		proposed[i] = esdb.EventData{
			EventID:     e.ID,
			EventType:   e.Type,
			ContentType: esdb.ContentTypeBinary,
			Data:        e.Data,
			Metadata:    e.Metadata,
		}
	}
	return proposed
}

// expected is the protocol's form of "the next revision is next".
func expected(next uint64) esdb.ExpectedRevision {
	if next == 0 {
		return esdb.NoStream{}
	}
	return esdb.Revision(next - 1)
}

// appendOnce sends the append once. ErrUnavailable means it was not sent.
func (s *Store) appendOnce(ctx context.Context, stream string, next uint64, events []esdb.EventData) error {
	result, connected, err := s.send(ctx, stream, expected(next), events)
	if err != nil {
		return s.judge(ctx, stream, next, connected, err)
	}
	last := next + uint64(len(events)) - 1
	if result.NextExpectedVersion != last { // the client's name for the last revision written
		return fmt.Errorf("%w: the last event was confirmed at revision %d instead of %d", ErrUnexpectedAnswer, result.NextExpectedVersion, last)
	}
	if result.CommitPosition == 0 {
		return fmt.Errorf("%w: confirmed without a position: events of these ids were there and can no longer be read", ErrUnexpectedAnswer)
	}
	return nil
}

// send makes one append call. connected tells whether the client had a
// connection for it; if not, nothing was sent.
func (s *Store) send(ctx context.Context, stream string, at esdb.ExpectedRevision, events []esdb.EventData) (result *esdb.WriteResult, connected bool, err error) {
	c, err := s.enter(ctx)
	if err != nil {
		return nil, false, err
	}
	deadline := remaining(ctx, s.config.AppendTimeout)
	defer func() {
		if fault := recover(); fault != nil {
			err = fmt.Errorf("%w: the client failed on it: %v", ErrOutcomeUnknown, fault)
		}
		c.leave(err, s.config.AppendTimeout)
		connected = c.connected.Load()
	}()
	result, err = c.session.client.AppendToStream(c, stream, esdb.AppendToStreamOptions{ExpectedRevision: at, Deadline: &deadline}, events...)
	return result, true, err // connected: set on the way out
}

// How the client begins the errors of the two phases before the answer. Their
// kinds cannot be told apart otherwise.
const (
	notBegun = "could not construct append operation."
	cutShort = "could not send append request"
)

// judge says what an error of the client means for the append that met it.
func (s *Store) judge(ctx context.Context, stream string, next uint64, connected bool, err error) error {
	switch {
	case errors.Is(err, ErrUnavailable), errors.Is(err, ErrOutcomeUnknown), errors.Is(err, ErrClosed):
		return err
	case !connected, strings.HasPrefix(err.Error(), notBegun):
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("%w: %w", ErrUnavailable, context.Cause(ctx))
		case kindOf(err) == kindDenied:
			return fmt.Errorf("%w: %w", ErrDenied, failure{err})
		}
		return fmt.Errorf("%w: %w", ErrUnavailable, failure{err})
	}
	if refused := refusal(stream, next, err); refused != nil {
		return refused
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %w", ErrOutcomeUnknown, context.Cause(ctx))
	}
	if errors.Is(err, io.EOF) && strings.HasPrefix(err.Error(), cutShort) {
		if refused := s.askWhy(ctx, stream, next); refused != nil {
			return refused
		}
	}
	return fmt.Errorf("%w: %w", ErrOutcomeUnknown, failure{err})
}

// refusal is the error for an answer by which the server surely wrote nothing,
// nil for any other.
func refusal(stream string, next uint64, err error) error {
	if full(err) {
		return fmt.Errorf("%w: %w", ErrFull, failure{err})
	}
	switch kindOf(err) {
	case kindWrong:
		return wrongRevision(stream, next, err)
	case kindDenied:
		return fmt.Errorf("%w: %w", ErrDenied, failure{err})
	case kindDeleted:
		return ErrTombstoned
	case kindInvalid:
		if statusOf(err) == codes.ResourceExhausted || strings.Contains(strings.ToLower(err.Error()), "append size") {
			return fmt.Errorf("%w: %w", ErrTooLarge, failure{err})
		}
		return fmt.Errorf("%w: %w", ErrRefused, failure{err})
	}
	return nil
}

// askWhy finds out why the server ended an append before it had all of it: the
// client loses the reason. The server never saw the end of that append, so it
// wrote nothing; but only a refusal that it repeats for an append of no events
// is worth telling, everything else is left unknown.
func (s *Store) askWhy(ctx context.Context, stream string, next uint64) error {
	_, connected, err := s.send(ctx, stream, expected(next), nil)
	if err == nil || !connected || kindOf(err) != kindDenied {
		return nil
	}
	return refusal(stream, next, err)
}

// wrongVersion finds the actual revision in the client's error, which tells it
// in words only.
var wrongVersion = regexp.MustCompile(`got '(no_stream|[0-9]+)'`)

func wrongRevision(stream string, next uint64, err error) error {
	wrong := &WrongRevisionError{Stream: stream, Next: next}
	if m := wrongVersion.FindStringSubmatch(err.Error()); m != nil {
		last, bad := strconv.ParseUint(m[1], 10, 63)
		switch {
		case m[1] == "no_stream":
			wrong.Known = true
		case bad == nil:
			wrong.Actual, wrong.Known = last+1, true
		}
	}
	return wrong
}

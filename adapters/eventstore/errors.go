package eventstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// What an operation can end in. All are wrapped: test with errors.Is.
var (
	// ErrUnavailable: the store could not be reached, and nothing was sent. Do it
	// again later; the connection is made anew by then.
	ErrUnavailable = errors.New("the event store cannot be reached, nothing was sent; try again later")
	// ErrOutcomeUnknown: the append may have landed, may yet land, or may not.
	// Send the same bytes again at the same revision until it is known.
	ErrOutcomeUnknown = errors.New("the outcome is unknown, the append may have landed or may yet; send the same bytes again at the same revision")
	// ErrFull: the disk of the embedded store has too little room left, and
	// nothing was written. Do it again once there is room.
	ErrFull = errors.New("the disk of the event store is nearly full, nothing was written; free space there")
	// ErrWrongRevision: the stream is not where the append expected it, and
	// nothing was written. The error is a *WrongRevisionError.
	ErrWrongRevision = errors.New("wrong expected revision")
	// ErrTooLarge: the append is above the store's limit, and nothing was
	// written. Send fewer events at once.
	ErrTooLarge = errors.New("the append is above the size the event store accepts; send fewer events at once")
	// ErrDenied: the credentials are refused, or lack the right. Nothing was
	// written.
	ErrDenied = errors.New("the event store refuses access; check user, password and the stream's access list")
	// ErrTombstoned: the stream was deleted for ever; it can be neither read nor
	// written. No command of kiroku does this.
	ErrTombstoned = errors.New("the stream was tombstoned; restore the store from its backup")
	// ErrNoStream: the stream does not exist, or was deleted.
	ErrNoStream = errors.New("no such stream")
	// ErrTruncated: the stream exists, but all its events are hidden.
	ErrTruncated = errors.New("every event of the stream is hidden by its truncation mark")
	// ErrBehind: the store holds fewer events of the stream than were already
	// delivered from it: it was restored from an older copy, or is another store.
	ErrBehind = errors.New("the event store holds less of the stream than was read before; is it an older copy?")
	// ErrSequence: the store delivered events out of sequence. The error is a
	// *SequenceError.
	ErrSequence = errors.New("events out of sequence")
	// ErrRefused: the store calls the request invalid. Nothing was written, and
	// the same request is refused again.
	ErrRefused = errors.New("the event store refuses the request as invalid")
	// ErrUnexpectedAnswer: the store answered what its protocol does not allow.
	// After an append, stop and compare what is stored.
	ErrUnexpectedAnswer = errors.New("unexpected answer from the event store; stop and compare what it holds")
	// ErrInvalid: the caller's arguments are not valid; nothing was sent.
	ErrInvalid = errors.New("invalid argument")
	// ErrClosed: the Store was closed.
	ErrClosed = errors.New("the event store client was closed")
)

// WrongRevisionError tells where a stream is that an append expected elsewhere.
type WrongRevisionError struct {
	Stream string
	// Next is the revision the append wanted for its first event.
	Next uint64
	// Actual is the revision the stream's next event gets (0: no event yet), if
	// Known.
	Actual uint64
	Known  bool
}

func (e *WrongRevisionError) Error() string {
	if !e.Known {
		return fmt.Sprintf("append at revision %d of stream %q: another writer was there first", e.Next, e.Stream)
	}
	return fmt.Sprintf("append at revision %d of stream %q: the next revision is %d", e.Next, e.Stream, e.Actual)
}

// Is makes a WrongRevisionError an ErrWrongRevision.
func (e *WrongRevisionError) Is(target error) bool { return target == ErrWrongRevision }

// SequenceError tells which event came instead of the one that had to come.
type SequenceError struct {
	Stream    string
	Want, Got uint64
}

func (e *SequenceError) Error() string {
	return fmt.Sprintf("stream %q: event %d arrived where event %d belongs; truncation passed the reader, or the store is damaged: run verify",
		e.Stream, e.Got, e.Want)
}

// Is makes a SequenceError an ErrSequence.
func (e *SequenceError) Is(target error) bool { return target == ErrSequence }

// kind is what an error of the client means for the operation that met it.
type kind int

const (
	kindPassing  kind = iota // may go away by itself: connection, time-out, busy server
	kindDenied               // bad credentials or no right
	kindDeleted              // tombstoned
	kindNotFound             // no such stream
	kindInvalid              // the request itself is refused
	kindWrong                // wrong expected revision
)

// kindOf looks through every wrapping: the client wraps some errors and not
// others, and its own FromError looks through none.
func kindOf(err error) kind {
	var e *esdb.Error
	if errors.As(err, &e) {
		switch e.Code() {
		case esdb.ErrorCodeAccessDenied, esdb.ErrorCodeUnauthenticated:
			return kindDenied
		case esdb.ErrorCodeStreamDeleted:
			return kindDeleted
		case esdb.ErrorCodeResourceNotFound:
			if statusOf(err) == codes.Unknown { // else it is the call that was not found
				return kindNotFound
			}
		case esdb.ErrorCodeWrongExpectedVersion:
			return kindWrong
		}
	}
	switch statusOf(err) {
	case codes.PermissionDenied, codes.Unauthenticated:
		return kindDenied
	case codes.InvalidArgument, codes.ResourceExhausted:
		return kindInvalid
	}
	return kindPassing
}

// broken tells whether the error says that this connection should not be used
// for another operation.
func broken(err error) bool {
	var e *esdb.Error
	if errors.As(err, &e) {
		switch e.Code() {
		case esdb.ErrorUnavailable, esdb.ErrorCodeConnectionClosed, esdb.ErrorCodeNotLeader:
			return true
		}
	}
	return statusOf(err) == codes.Unavailable
}

// statusOf is the gRPC status in err's chain, Unknown if there is none.
func statusOf(err error) codes.Code {
	var s interface{ GRPCStatus() *status.Status }
	if errors.As(err, &s) {
		return s.GRPCStatus().Code()
	}
	return codes.Unknown
}

// lacksRoom is how the embedded store says that it refused an append before it
// wrote any of it. The client shows no trailers, so its words have to do.
const lacksRoom = "too little free disk space"

// full tells whether err is that refusal.
func full(err error) bool {
	var s interface{ GRPCStatus() *status.Status }
	return errors.As(err, &s) && s.GRPCStatus().Code() == codes.Unavailable && strings.Contains(s.GRPCStatus().Message(), lacksRoom)
}

// failure shows an error of the client in one short line and keeps its chain.
type failure struct{ err error }

func (f failure) Unwrap() error { return f.err }

func (f failure) Error() string {
	var s interface{ GRPCStatus() *status.Status }
	switch {
	case errors.As(f.err, &s):
		st := s.GRPCStatus()
		return fmt.Sprintf("%s: %s", st.Code(), st.Message())
	case errors.Is(f.err, io.EOF):
		return "the server ended the call"
	}
	return strings.TrimSpace(f.err.Error())
}

// terminal is the error a read or subscription ends in at once, nil if it may
// be tried again.
func terminal(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	for _, own := range []error{ErrClosed, ErrSequence, ErrBehind, ErrUnexpectedAnswer, ErrTombstoned} {
		if errors.Is(err, own) {
			return err
		}
	}
	switch kindOf(err) {
	case kindDenied:
		return fmt.Errorf("%w: %w", ErrDenied, failure{err})
	case kindDeleted:
		return ErrTombstoned
	case kindNotFound:
		return ErrNoStream
	case kindInvalid:
		return fmt.Errorf("%w: %w", ErrRefused, failure{err})
	}
	return nil
}

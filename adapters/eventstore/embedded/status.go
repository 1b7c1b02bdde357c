package embedded

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"kiroku/adapters/eventstore/embedded/internal/journal"
)

var (
	errUnauthenticated = status.Error(codes.Unauthenticated, "invalid credentials")
	errShuttingDown    = status.Error(codes.Unavailable, "server is shutting down")
	// errHandler is what EventStoreDB answers where its handler throws.
	errHandler = status.Error(codes.Unknown, "Exception was thrown by handler.")
)

// fault is an error that carries trailers, by which EventStoreDB's clients know it.
type fault struct {
	code     codes.Code
	message  string
	trailers metadata.MD
}

func (f *fault) Error() string              { return f.message }
func (f *fault) GRPCStatus() *status.Status { return status.New(f.code, f.message) }

func accessDenied() error {
	return &fault{codes.PermissionDenied, "access denied", metadata.Pairs("exception", "access-denied")}
}

func streamDeleted(stream string) error {
	return &fault{codes.FailedPrecondition, fmt.Sprintf("stream %q is deleted", stream),
		metadata.Pairs("exception", "stream-deleted", "stream-name", stream)}
}

func wrongRevision(e *journal.WrongRevisionError) error {
	return &fault{codes.FailedPrecondition, e.Error(), metadata.Pairs(
		"exception", "wrong-expected-version", "stream-name", e.Stream,
		"expected-version", strconv.FormatInt(e.Expected, 10), "actual-version", strconv.FormatInt(e.Current, 10))}
}

func appendTooBig() error {
	return &fault{codes.InvalidArgument, fmt.Sprintf("the append exceeds %d bytes", journal.MaxAppendBytes), metadata.Pairs(
		"exception", "maximum-append-size-exceeded", "maximum-append-size", strconv.Itoa(journal.MaxAppendBytes))}
}

func missingMetadata(key string) error {
	return &fault{codes.InvalidArgument, fmt.Sprintf("event metadata %q is missing", key), metadata.Pairs(
		"exception", "missing-required-metadata-property", "required-metadata-properties", "type,content-type")}
}

func invalid(format string, args ...any) error {
	return status.Errorf(codes.InvalidArgument, format, args...)
}

// toStatus maps the journal's errors. One that it does not know becomes Unknown, with
// its text: the journal's errors hold stream names and revisions, never event data.
func toStatus(err error) error {
	var dead *journal.DeletedError
	var wrong *journal.WrongRevisionError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &dead):
		return streamDeleted(dead.Stream)
	case errors.As(err, &wrong):
		return wrongRevision(wrong)
	case errors.Is(err, journal.ErrDiskFull), errors.Is(err, journal.ErrFailed):
		return status.Error(codes.Unavailable, err.Error())
	case errors.Is(err, journal.ErrClosed):
		return errShuttingDown
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return status.FromContextError(err).Err()
	}
	if _, ok := status.FromError(err); ok {
		return err
	}
	return status.Error(codes.Unknown, err.Error())
}

// withTrailers sends a fault's trailers along.
func withTrailers(set func(metadata.MD), err error) error {
	err = toStatus(err)
	var f *fault
	if errors.As(err, &f) {
		set(f.trailers)
		return f.GRPCStatus().Err()
	}
	return err
}

func unaryTrailers(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	resp, err := next(ctx, req)
	return resp, withTrailers(func(md metadata.MD) { _ = grpc.SetTrailer(ctx, md) }, err)
}

func streamTrailers(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	return withTrailers(ss.SetTrailer, next(srv, ss))
}

package eventstore_test

import (
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"kiroku/adapters/eventstore"
	"kiroku/domain/ledger"
)

// scripted is a server that answers as a test tells it. It offers no features
// service, as old servers do not.
type scripted struct {
	streams.UnimplementedStreamsServer
	append func() (*streams.AppendResp, metadata.MD, error)
	hasty  bool // answers an append before it has read it all
	read   func(streams.Streams_ReadServer) error
}

func (s *scripted) Append(call streams.Streams_AppendServer) error {
	for !s.hasty {
		if _, err := call.Recv(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return err
		}
	}
	answer, trailers, err := s.append()
	call.SetTrailer(trailers)
	if err != nil {
		return err
	}
	return call.SendAndClose(answer)
}

func (s *scripted) Read(_ *streams.ReadReq, call streams.Streams_ReadServer) error {
	return s.read(call)
}

func (s *scripted) start(t *testing.T) (connectionString string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := grpc.NewServer()
	streams.RegisterStreamsServer(srv, s)
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = srv.Serve(listener)
	}()
	t.Cleanup(func() { srv.Stop(); <-served })
	return "esdb://" + listener.Addr().String() + "?tls=false"
}

func success(revision uint64, position *streams.AppendResp_Position) *streams.AppendResp {
	s := &streams.AppendResp_Success{CurrentRevisionOption: &streams.AppendResp_Success_CurrentRevision{CurrentRevision: revision}}
	if position != nil {
		s.PositionOption = &streams.AppendResp_Success_Position{Position: position}
	} else {
		s.PositionOption = &streams.AppendResp_Success_NoPosition{NoPosition: &shared.Empty{}}
	}
	return &streams.AppendResp{Result: &streams.AppendResp_Success_{Success: s}}
}

func TestWhatEachAnswerToAnAppendMeans(t *testing.T) {
	at := &streams.AppendResp_Position{CommitPosition: 9, PreparePosition: 9}
	tests := []struct {
		name     string
		answer   *streams.AppendResp
		trailers metadata.MD
		err      error
		want     error
	}{
		{name: "landed", answer: success(2, at)},
		{name: "confirmed elsewhere", answer: success(3, at), want: eventstore.ErrUnexpectedAnswer},
		{name: "confirmed, but cannot be read", answer: success(2, nil), want: eventstore.ErrUnexpectedAnswer},
		{name: "no answer inside", answer: &streams.AppendResp{}, want: eventstore.ErrUnexpectedAnswer},
		{name: "write timed out", err: status.Error(codes.Aborted, "write timeout"), want: eventstore.ErrOutcomeUnknown},
		{name: "not ready", err: status.Error(codes.Unavailable, "Server Is Not Ready"), want: eventstore.ErrOutcomeUnknown},
		{name: "deadline", err: status.Error(codes.DeadlineExceeded, "deadline"), want: eventstore.ErrOutcomeUnknown},
		{name: "cancelled by the server", err: status.Error(codes.Canceled, "cancelled"), want: eventstore.ErrOutcomeUnknown},
		{name: "handler failed", err: status.Error(codes.Unknown, "Exception was thrown by handler."), want: eventstore.ErrOutcomeUnknown},
		{name: "internal", err: status.Error(codes.Internal, "broken"), want: eventstore.ErrOutcomeUnknown},
		{name: "not the leader", err: status.Error(codes.NotFound, "leader info available"), want: eventstore.ErrOutcomeUnknown,
			trailers: metadata.Pairs("exception", "not-leader", "leader-endpoint-host", "127.0.0.1", "leader-endpoint-port", "1")},
		{name: "denied", err: status.Error(codes.PermissionDenied, "access denied"), want: eventstore.ErrDenied},
		{name: "bad credentials", err: status.Error(codes.Unauthenticated, "no"), want: eventstore.ErrDenied},
		{name: "tombstoned", err: status.Error(codes.FailedPrecondition, "deleted"), want: eventstore.ErrTombstoned,
			trailers: metadata.Pairs("exception", "stream-deleted", "stream-name", "s")},
		{name: "tombstoned, stream not named", err: status.Error(codes.FailedPrecondition, "deleted"), want: eventstore.ErrOutcomeUnknown,
			trailers: metadata.Pairs("exception", "stream-deleted")}, // the client panics on it
		{name: "too large", err: status.Error(codes.InvalidArgument, "Maximum Append Size of 1024 Exceeded."), want: eventstore.ErrTooLarge,
			trailers: metadata.Pairs("exception", "maximum-append-size-exceeded", "maximum-append-size", "1024")},
		{name: "message too large", err: status.Error(codes.ResourceExhausted, "received message larger than max"), want: eventstore.ErrTooLarge},
		{name: "invalid", err: status.Error(codes.InvalidArgument, "invalid transaction"), want: eventstore.ErrRefused},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			server := &scripted{append: func() (*streams.AppendResp, metadata.MD, error) { return test.answer, test.trailers, test.err }}
			store := open(t, server.start(t), nil)
			for range 2 { // the second meets whatever state the first left
				err := store.Append(t.Context(), "s", 2, events("s", 2, 1, "a"))
				if !errors.Is(err, test.want) {
					t.Fatalf("got %v, want %v", err, test.want)
				}
				if errors.Is(err, eventstore.ErrOutcomeUnknown) != (test.want == eventstore.ErrOutcomeUnknown) {
					t.Fatalf("got %v: unknown and known at once", err)
				}
			}
		})
	}
}

// A server may refuse an append before it has read it all; the client then loses
// the reason.
func TestARefusalBeforeTheEndOfTheAppendIsFoundOut(t *testing.T) {
	for want, answer := range map[error]error{
		eventstore.ErrDenied:         status.Error(codes.PermissionDenied, "access denied"),
		eventstore.ErrOutcomeUnknown: status.Error(codes.Aborted, "write timeout"),
	} {
		server := &scripted{hasty: true, append: func() (*streams.AppendResp, metadata.MD, error) { return nil, nil, answer }}
		store := open(t, server.start(t), nil)
		batch := events("s", 2, 500, "a")
		for i := range batch {
			batch[i].Data = make([]byte, 2000)
		}
		if err := store.Append(t.Context(), "s", 2, batch); !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
	}
}

func stored(stream string, revision uint64) *streams.ReadResp_ReadEvent_RecordedEvent {
	return &streams.ReadResp_ReadEvent_RecordedEvent{
		Id:               &shared.UUID{Value: &shared.UUID_Structured_{Structured: &shared.UUID_Structured{MostSignificantBits: 1, LeastSignificantBits: int64(revision)}}},
		StreamIdentifier: &shared.StreamIdentifier{StreamName: []byte(stream)},
		StreamRevision:   revision,
		Metadata:         map[string]string{"type": "written", "content-type": "application/octet-stream", "created": "0"},
		Data:             []byte(strconv.FormatUint(revision, 10)),
	}
}

func message(e *streams.ReadResp_ReadEvent_RecordedEvent) *streams.ReadResp {
	return &streams.ReadResp{Content: &streams.ReadResp_Event{Event: &streams.ReadResp_ReadEvent{Event: e}}}
}

var (
	confirmation = &streams.ReadResp{Content: &streams.ReadResp_Confirmation{Confirmation: &streams.ReadResp_SubscriptionConfirmation{SubscriptionId: "1"}}}
	checkpoint   = &streams.ReadResp{Content: &streams.ReadResp_Checkpoint_{Checkpoint: &streams.ReadResp_Checkpoint{}}}
	linkOnly     = &streams.ReadResp{Content: &streams.ReadResp_Event{Event: &streams.ReadResp_ReadEvent{Link: stored("s", 0)}}}
)

func sends(messages ...*streams.ReadResp) func(streams.Streams_ReadServer) error {
	return func(call streams.Streams_ReadServer) error {
		for _, m := range messages {
			if err := call.Send(m); err != nil {
				return err
			}
		}
		return nil
	}
}

func TestAServerThatDeliversWrongly(t *testing.T) {
	tests := []struct {
		name     string
		messages []*streams.ReadResp
		want     error
	}{
		{"a gap", []*streams.ReadResp{message(stored("s", 0)), message(stored("s", 2))}, eventstore.ErrSequence},
		{"a double", []*streams.ReadResp{message(stored("s", 0)), message(stored("s", 0))}, eventstore.ErrSequence},
		{"another stream", []*streams.ReadResp{message(stored("t", 0))}, eventstore.ErrUnexpectedAnswer},
		{"a link without target", []*streams.ReadResp{linkOnly}, eventstore.ErrUnexpectedAnswer},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			server := &scripted{read: sends(test.messages...)}
			connection := server.start(t)
			if _, err := open(t, connection, nil).ReadForward(t.Context(), "s", 0, 10); !errors.Is(err, test.want) {
				t.Errorf("ReadForward: got %v, want %v", err, test.want)
			}
			server.read = sends(append([]*streams.ReadResp{confirmation}, test.messages...)...)
			if err := subscribe(t, open(t, connection, nil), "s", 0).waitEnd(t); !errors.Is(err, test.want) {
				t.Errorf("Subscribe: got %v, want %v", err, test.want)
			}
		})
	}
	t.Run("a message that has no place in a read", func(t *testing.T) { // the client panics on it
		store := open(t, (&scripted{read: sends(checkpoint)}).start(t), nil)
		if _, err := store.ReadForward(t.Context(), "s", 0, 10); !errors.Is(err, eventstore.ErrUnexpectedAnswer) {
			t.Errorf("got %v, want ErrUnexpectedAnswer", err)
		}
	})
	t.Run("events in the wrong order backwards", func(t *testing.T) {
		store := open(t, (&scripted{read: sends(message(stored("s", 4)), message(stored("s", 2)))}).start(t), nil)
		if _, err := store.ReadBackward(t.Context(), "s", eventstore.End, 10); !errors.Is(err, eventstore.ErrSequence) {
			t.Errorf("got %v, want ErrSequence", err)
		}
	})
	t.Run("a tombstone while subscribed", func(t *testing.T) {
		tombstone := stored("s", 1<<63-1)
		tombstone.Metadata["type"] = "$streamDeleted"
		sub := subscribe(t, open(t, (&scripted{read: sends(confirmation, message(stored("s", 0)), message(tombstone))}).start(t), nil), "s", 0)
		if err := sub.waitEnd(t); !errors.Is(err, eventstore.ErrTombstoned) {
			t.Errorf("got %v, want ErrTombstoned", err)
		}
		if n := len(sub.events()); n != 1 {
			t.Errorf("%d events were delivered before it, want 1", n)
		}
	})
	t.Run("all hidden", func(t *testing.T) {
		store := open(t, (&scripted{read: sends()}).start(t), nil)
		if _, _, err := store.ReadLast(t.Context(), "s"); !errors.Is(err, eventstore.ErrTruncated) {
			t.Errorf("got %v, want ErrTruncated", err)
		}
	})
}

// A server that ends subscriptions over and over, with and without a reason,
// must neither be hammered nor lose an event.
func TestASubscriptionThatIsDroppedOverAndOver(t *testing.T) {
	var calls atomic.Uint64
	server := &scripted{}
	server.read = func(call streams.Streams_ReadServer) error {
		n := calls.Add(1) - 1
		if n%2 == 1 { // where does the stream end?
			return sends(message(stored("s", n/2)))(call)
		}
		if err := sends(confirmation, message(stored("s", n/2)))(call); err != nil {
			return err
		}
		return []error{nil, status.Error(codes.Aborted, "Consumer too slow"), status.Error(codes.Unavailable, "Server Is Not Ready")}[n%3]
	}
	sub := subscribe(t, open(t, server.start(t), nil), "s", 0)
	for i, e := range sub.waitFor(t, 20) {
		if e.Revision != uint64(i) {
			t.Fatalf("event %d came as number %d", e.Revision, i)
		}
	}
}

// While a server answers Unavailable at random, the client asks its connection
// goroutine for new ones all the time. No operation may be lost in that.
func TestNoOperationIsLostWhileClientsAreReplaced(t *testing.T) {
	var n atomic.Uint64
	server := &scripted{}
	server.append = func() (*streams.AppendResp, metadata.MD, error) {
		if n.Add(1)%3 == 0 {
			return nil, nil, status.Error(codes.Unavailable, "Server Is Not Ready")
		}
		return success(2, &streams.AppendResp_Position{CommitPosition: 9, PreparePosition: 9}), nil, nil
	}
	server.read = func(call streams.Streams_ReadServer) error {
		if n.Add(1)%3 == 0 {
			return status.Error(codes.Unavailable, "Server Is Not Ready")
		}
		return sends(message(stored("s", 0)))(call)
	}
	connection := server.start(t)
	baseline := runtime.NumGoroutine()
	store := open(t, connection, func(c *eventstore.Config) { c.Patience = time.Minute })
	var work sync.WaitGroup
	for range 8 {
		work.Go(func() {
			for range 100 {
				err := store.Append(t.Context(), "s", 2, events("s", 2, 1, "a"))
				if err != nil && !errors.Is(err, eventstore.ErrOutcomeUnknown) && !errors.Is(err, eventstore.ErrUnavailable) {
					t.Error(err)
				}
			}
		})
		work.Go(func() {
			for range 100 {
				err := store.Iterate(context.Background(), "s", 0, func([]ledger.Event) error { return nil })
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { work.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(2 * time.Minute):
		t.Fatal("operations hang")
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	if store.Stats().Connects < 10 {
		t.Error("clients were not replaced")
	}
	eventually(t, "all goroutines end", func() bool { return runtime.NumGoroutine() <= baseline })
}

package embedded

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	streams "github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/genproto/googleapis/rpc/code"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/emptypb"

	"kiroku/adapters/eventstore/embedded/internal/journal"
)

// batchDeadline is the longest that a batch may take.
const batchDeadline = 2 * time.Second

// openBatches bounds the batches of one call that are neither complete nor answered.
const openBatches = 256

// BatchAppend carries many appends on one call, told apart by their correlation ids.
// Each fails alone; the call goes on.
func (s *Server) BatchAppend(ss streams.Streams_BatchAppendServer) error {
	b := &batching{server: s, ss: ss, open: map[string]*batch{}, slots: make(chan struct{}, openBatches)}
	defer b.running.Wait()
	for {
		req, err := ss.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := b.receive(req); err != nil {
			return err
		}
	}
}

// batching is one BatchAppend call.
type batching struct {
	server  *Server
	ss      streams.Streams_BatchAppendServer
	open    map[string]*batch // owned by the receiving goroutine
	slots   chan struct{}
	running sync.WaitGroup
	sending sync.Mutex // Send may not run twice at once
}

// batch is one append being received.
type batch struct {
	id       *shared.UUID
	stream   *shared.StreamIdentifier
	expected int64
	deadline time.Time
	events   []journal.Proposed
	size     int
	failure  error // found while receiving; answered at the end
}

func (b *batching) receive(req *streams.BatchAppendReq) error {
	id, ok := parseID(req.GetCorrelationId())
	if !ok {
		return errHandler
	}
	one := b.open[id.String()]
	if one == nil {
		if len(b.open) >= openBatches {
			return status.Errorf(codes.ResourceExhausted, "more than %d batches are open", openBatches)
		}
		one = b.begin(req)
		b.open[id.String()] = one
	}
	for _, m := range req.GetProposedMessages() {
		one.add(m)
	}
	if !req.GetIsFinal() {
		return nil
	}
	delete(b.open, id.String())
	select {
	case b.slots <- struct{}{}:
	case <-b.ss.Context().Done():
		return b.ss.Context().Err()
	}
	b.running.Go(func() {
		defer func() { <-b.slots }()
		b.answer(b.commit(one))
	})
	return nil
}

func (b *batching) begin(req *streams.BatchAppendReq) *batch {
	o := req.GetOptions()
	one := &batch{id: req.GetCorrelationId(), stream: o.GetStreamIdentifier(), deadline: time.Now().Add(batchDeadline)}
	switch d := o.GetDeadlineOption().(type) {
	case *streams.BatchAppendReq_Options_Deadline:
		one.deadline = earlier(one.deadline, time.Now().Add(d.Deadline.AsDuration()))
	case *streams.BatchAppendReq_Options_Deadline_21_10_0:
		one.deadline = earlier(one.deadline, d.Deadline_21_10_0.AsTime())
	}
	switch v := o.GetExpectedStreamPosition().(type) {
	case *streams.BatchAppendReq_Options_StreamPosition:
		one.expected, one.failure = exactRevision(v.StreamPosition)
	case *streams.BatchAppendReq_Options_NoStream:
		one.expected = journal.NoStream
	case *streams.BatchAppendReq_Options_Any:
		one.expected = journal.Any
	case *streams.BatchAppendReq_Options_StreamExists:
		one.expected = journal.StreamExists
	default:
		one.failure = invalid("the first message of a batch must carry its options")
	}
	stream := string(one.stream.GetStreamName())
	if one.failure == nil && !appendable(stream) {
		one.failure = invalid("the stream has no name")
	}
	if one.failure == nil {
		one.failure = b.server.authorize(b.ss.Context(), mayWrite, stream)
	}
	return one
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func (one *batch) add(m *streams.BatchAppendReq_ProposedMessage) {
	if one.failure != nil {
		return
	}
	event, err := proposed(m.GetId(), m.GetMetadata(), m.GetCustomMetadata(), m.GetData())
	if err != nil {
		one.failure = invalid("an event of the batch: %v", err)
		return
	}
	if one.size += event.Size(); one.size > journal.MaxAppendBytes {
		one.failure, one.events = appendTooBig(), nil
		return
	}
	one.events = append(one.events, event)
}

func (b *batching) commit(one *batch) *streams.BatchAppendResp {
	resp := &streams.BatchAppendResp{CorrelationId: one.id, StreamIdentifier: one.stream}
	err := one.failure
	if err == nil {
		ctx, cancel := context.WithDeadline(b.ss.Context(), one.deadline)
		defer cancel()
		var w journal.Written
		if w, err = b.server.journal.Append(ctx, string(one.stream.GetStreamName()), one.expected, one.events); err == nil {
			resp.Result = &streams.BatchAppendResp_Success_{Success: batchSuccess(w)}
			return resp
		}
	}
	resp.Result = &streams.BatchAppendResp_Error{Error: batchError(err)}
	return resp
}

func (b *batching) answer(resp *streams.BatchAppendResp) {
	b.sending.Lock()
	defer b.sending.Unlock()
	_ = b.ss.Send(resp) // a broken call is noticed by Recv
}

func batchSuccess(w journal.Written) *streams.BatchAppendResp_Success {
	success := &streams.BatchAppendResp_Success{
		CurrentRevisionOption: &streams.BatchAppendResp_Success_NoStream{NoStream: &emptypb.Empty{}},
		PositionOption:        &streams.BatchAppendResp_Success_NoPosition{NoPosition: &emptypb.Empty{}},
	}
	if w.Revision >= 0 {
		success.CurrentRevisionOption = &streams.BatchAppendResp_Success_CurrentRevision{CurrentRevision: uint64(w.Revision)}
	}
	if w.HasPosition {
		success.PositionOption = &streams.BatchAppendResp_Success_Position{
			Position: &shared.AllStreamPosition{CommitPosition: w.Position, PreparePosition: w.Position}}
	}
	return success
}

// batchError is how one batch's failure travels inside a call that goes on.
func batchError(err error) *rpcstatus.Status {
	var wrong *journal.WrongRevisionError
	var dead *journal.DeletedError
	var f *fault
	kind, detail := code.Code_UNKNOWN, proto.Message(&shared.Unknown{})
	switch {
	case errors.As(err, &wrong):
		kind, detail = code.Code_ALREADY_EXISTS, wrongRevisionDetail(wrong)
	case errors.As(err, &dead):
		kind, detail = code.Code_NOT_FOUND, &shared.StreamDeleted{StreamIdentifier: identifier(dead.Stream)}
	case errors.Is(err, context.DeadlineExceeded):
		kind, detail = code.Code_DEADLINE_EXCEEDED, &shared.Timeout{}
	case errors.As(err, &f) && f.code == codes.PermissionDenied:
		kind, detail = code.Code_PERMISSION_DENIED, &shared.AccessDenied{}
	case errors.As(err, &f):
		kind, detail = code.Code_INVALID_ARGUMENT, &shared.MaximumAppendSizeExceeded{MaxAppendSize: journal.MaxAppendBytes}
	case status.Code(err) == codes.InvalidArgument:
		kind, detail = code.Code_INVALID_ARGUMENT, &shared.BadRequest{Message: status.Convert(err).Message()}
	}
	out := &rpcstatus.Status{Code: int32(kind), Message: err.Error()}
	if packed, err := anypb.New(detail); err == nil {
		out.Details = []*anypb.Any{packed}
	}
	return out
}

func wrongRevisionDetail(e *journal.WrongRevisionError) *shared.WrongExpectedVersion {
	d := &shared.WrongExpectedVersion{}
	if e.Current < 0 {
		d.CurrentStreamRevisionOption = &shared.WrongExpectedVersion_CurrentNoStream{CurrentNoStream: &emptypb.Empty{}}
	} else {
		d.CurrentStreamRevisionOption = &shared.WrongExpectedVersion_CurrentStreamRevision{CurrentStreamRevision: uint64(e.Current)}
	}
	switch e.Expected {
	case journal.Any:
		d.ExpectedStreamPositionOption = &shared.WrongExpectedVersion_ExpectedAny{ExpectedAny: &emptypb.Empty{}}
	case journal.StreamExists:
		d.ExpectedStreamPositionOption = &shared.WrongExpectedVersion_ExpectedStreamExists{ExpectedStreamExists: &emptypb.Empty{}}
	case journal.NoStream:
		d.ExpectedStreamPositionOption = &shared.WrongExpectedVersion_ExpectedNoStream{ExpectedNoStream: &emptypb.Empty{}}
	default:
		d.ExpectedStreamPositionOption = &shared.WrongExpectedVersion_ExpectedStreamPosition{ExpectedStreamPosition: uint64(e.Expected)}
	}
	return d
}

package embedded

import (
	"context"

	streams "github.com/EventStore/EventStore-Client-Go/v4/protos/streams"

	"kiroku/adapters/eventstore/embedded/internal/journal"
)

// Delete soft-deletes a stream.
func (s *Server) Delete(ctx context.Context, req *streams.DeleteReq) (*streams.DeleteResp, error) {
	o := req.GetOptions()
	stream := string(o.GetStreamIdentifier().GetStreamName())
	var expected int64
	var err error
	switch v := o.GetExpectedStreamRevision().(type) {
	case *streams.DeleteReq_Options_Revision:
		expected, err = exactRevision(v.Revision)
	case *streams.DeleteReq_Options_NoStream:
		expected = journal.NoStream
	case *streams.DeleteReq_Options_Any:
		expected = journal.Any
	case *streams.DeleteReq_Options_StreamExists:
		expected = journal.StreamExists
	default:
		err = invalid("the expected revision is not set")
	}
	if err != nil {
		return nil, err
	}
	if err := s.mayDelete(ctx, stream); err != nil {
		return nil, err
	}
	w, err := s.journal.Delete(ctx, stream, expected)
	if err != nil {
		return nil, err
	}
	return &streams.DeleteResp{PositionOption: &streams.DeleteResp_Position_{
		Position: &streams.DeleteResp_Position{CommitPosition: w.Position, PreparePosition: w.Position}}}, nil
}

// Tombstone ends a stream for good.
func (s *Server) Tombstone(ctx context.Context, req *streams.TombstoneReq) (*streams.TombstoneResp, error) {
	o := req.GetOptions()
	stream := string(o.GetStreamIdentifier().GetStreamName())
	var expected int64
	var err error
	switch v := o.GetExpectedStreamRevision().(type) {
	case *streams.TombstoneReq_Options_Revision:
		expected, err = exactRevision(v.Revision)
	case *streams.TombstoneReq_Options_NoStream:
		expected = journal.NoStream
	case *streams.TombstoneReq_Options_Any:
		expected = journal.Any
	case *streams.TombstoneReq_Options_StreamExists:
		expected = journal.StreamExists
	default:
		err = invalid("the expected revision is not set")
	}
	if err != nil {
		return nil, err
	}
	if err := s.mayDelete(ctx, stream); err != nil {
		return nil, err
	}
	w, err := s.journal.Tombstone(ctx, stream, expected)
	if err != nil {
		return nil, err
	}
	return &streams.TombstoneResp{PositionOption: &streams.TombstoneResp_Position_{
		Position: &streams.TombstoneResp_Position{CommitPosition: w.Position, PreparePosition: w.Position}}}, nil
}

func (s *Server) mayDelete(ctx context.Context, stream string) error {
	if !appendable(stream) {
		return errHandler
	}
	return s.authorize(ctx, mayDelete, stream)
}

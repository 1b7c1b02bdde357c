package embedded

import (
	"errors"
	"io"
	"math"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	streams "github.com/EventStore/EventStore-Client-Go/v4/protos/streams"

	"kiroku/adapters/eventstore/embedded/internal/journal"
)

// Append receives the options, then one message an event, and answers once.
func (s *Server) Append(ss streams.Streams_AppendServer) error {
	resp, err := s.receiveAndAppend(ss)
	if err != nil {
		drain(ss)
		return err
	}
	return ss.SendAndClose(resp)
}

// drain reads the rest of the requests before an error is answered: a client that is
// still sending would otherwise see a broken stream, without the reason.
func drain(ss streams.Streams_AppendServer) {
	for {
		if _, err := ss.Recv(); err != nil {
			return
		}
	}
}

func (s *Server) receiveAndAppend(ss streams.Streams_AppendServer) (*streams.AppendResp, error) {
	first, err := ss.Recv()
	if err != nil || first.GetOptions() == nil {
		return nil, errHandler
	}
	stream := string(first.GetOptions().GetStreamIdentifier().GetStreamName())
	expected, err := appendExpectation(first.GetOptions())
	if err != nil {
		return nil, err
	}
	if err := s.authorize(ss.Context(), mayWrite, stream); err != nil {
		return nil, err
	}
	events, err := receiveEvents(ss)
	if err != nil {
		return nil, err
	}
	if !appendable(stream) {
		return nil, errHandler
	}
	written, err := s.journal.Append(ss.Context(), stream, expected, events)
	var wrong *journal.WrongRevisionError
	if errors.As(err, &wrong) {
		return wrongRevisionResponse(wrong), nil
	}
	if err != nil {
		return nil, err
	}
	return successResponse(written), nil
}

// appendable: a stream needs a name, and so does the stream that metadata is about.
func appendable(stream string) bool { return stream != "" && stream != journal.MetadataPrefix }

func receiveEvents(ss streams.Streams_AppendServer) ([]journal.Proposed, error) {
	var events []journal.Proposed
	total := 0
	for {
		req, err := ss.Recv()
		if err == io.EOF {
			return events, nil
		}
		if err != nil {
			return nil, err
		}
		message := req.GetProposedMessage()
		if message == nil {
			return nil, errHandler
		}
		event, err := proposed(message.Id, message.Metadata, message.CustomMetadata, message.Data)
		if err != nil {
			return nil, err
		}
		if total += event.Size(); total > journal.MaxAppendBytes {
			return nil, appendTooBig()
		}
		events = append(events, event)
	}
}

// proposed checks one event as it came over the wire.
func proposed(wireID *shared.UUID, system map[string]string, custom, data []byte) (journal.Proposed, error) {
	kind, ok := system["type"]
	if !ok {
		return journal.Proposed{}, missingMetadata("type")
	}
	content, ok := system["content-type"]
	if !ok {
		return journal.Proposed{}, missingMetadata("content-type")
	}
	id, ok := parseID(wireID)
	if !ok || kind == "" {
		return journal.Proposed{}, errHandler
	}
	return journal.Proposed{ID: id, Type: kind, JSON: content == "application/json", Metadata: custom, Data: data}, nil
}

// appendExpectation reads the expected revision; 2^64−1 is the old way to say "no stream".
func appendExpectation(o *streams.AppendReq_Options) (int64, error) {
	switch v := o.GetExpectedStreamRevision().(type) {
	case *streams.AppendReq_Options_Revision:
		return exactRevision(v.Revision)
	case *streams.AppendReq_Options_NoStream:
		return journal.NoStream, nil
	case *streams.AppendReq_Options_Any:
		return journal.Any, nil
	case *streams.AppendReq_Options_StreamExists:
		return journal.StreamExists, nil
	}
	return 0, invalid("the expected revision is not set")
}

func exactRevision(revision uint64) (int64, error) {
	if revision == math.MaxUint64 {
		return journal.NoStream, nil
	}
	if revision > math.MaxInt64 {
		return 0, errHandler
	}
	return int64(revision), nil
}

func successResponse(w journal.Written) *streams.AppendResp {
	success := &streams.AppendResp_Success{
		CurrentRevisionOption: &streams.AppendResp_Success_NoStream{NoStream: &shared.Empty{}},
		PositionOption:        &streams.AppendResp_Success_NoPosition{NoPosition: &shared.Empty{}},
	}
	if w.Revision >= 0 {
		success.CurrentRevisionOption = &streams.AppendResp_Success_CurrentRevision{CurrentRevision: uint64(w.Revision)}
	}
	if w.HasPosition {
		success.PositionOption = &streams.AppendResp_Success_Position{
			Position: &streams.AppendResp_Position{CommitPosition: w.Position, PreparePosition: w.Position}}
	}
	return &streams.AppendResp{Result: &streams.AppendResp_Success_{Success: success}}
}

// wrongRevisionResponse is an ordinary answer; its fields exist twice, for older clients.
func wrongRevisionResponse(e *journal.WrongRevisionError) *streams.AppendResp {
	empty := &shared.Empty{}
	w := &streams.AppendResp_WrongExpectedVersion{}
	if e.Current < 0 {
		w.CurrentRevisionOption = &streams.AppendResp_WrongExpectedVersion_CurrentNoStream{CurrentNoStream: empty}
		w.CurrentRevisionOption_20_6_0 = &streams.AppendResp_WrongExpectedVersion_NoStream_20_6_0{NoStream_20_6_0: empty}
	} else {
		current := uint64(e.Current)
		w.CurrentRevisionOption = &streams.AppendResp_WrongExpectedVersion_CurrentRevision{CurrentRevision: current}
		w.CurrentRevisionOption_20_6_0 = &streams.AppendResp_WrongExpectedVersion_CurrentRevision_20_6_0{CurrentRevision_20_6_0: current}
	}
	switch e.Expected {
	case journal.Any:
		w.ExpectedRevisionOption = &streams.AppendResp_WrongExpectedVersion_ExpectedAny{ExpectedAny: empty}
		w.ExpectedRevisionOption_20_6_0 = &streams.AppendResp_WrongExpectedVersion_Any_20_6_0{Any_20_6_0: empty}
	case journal.StreamExists:
		w.ExpectedRevisionOption = &streams.AppendResp_WrongExpectedVersion_ExpectedStreamExists{ExpectedStreamExists: empty}
		w.ExpectedRevisionOption_20_6_0 = &streams.AppendResp_WrongExpectedVersion_StreamExists_20_6_0{StreamExists_20_6_0: empty}
	case journal.NoStream:
		w.ExpectedRevisionOption = &streams.AppendResp_WrongExpectedVersion_ExpectedNoStream{ExpectedNoStream: empty}
		w.ExpectedRevisionOption_20_6_0 = &streams.AppendResp_WrongExpectedVersion_ExpectedRevision_20_6_0{ExpectedRevision_20_6_0: math.MaxUint64}
	default:
		expected := uint64(e.Expected)
		w.ExpectedRevisionOption = &streams.AppendResp_WrongExpectedVersion_ExpectedRevision{ExpectedRevision: expected}
		w.ExpectedRevisionOption_20_6_0 = &streams.AppendResp_WrongExpectedVersion_ExpectedRevision_20_6_0{ExpectedRevision_20_6_0: expected}
	}
	return &streams.AppendResp{Result: &streams.AppendResp_WrongExpectedVersion_{WrongExpectedVersion: w}}
}

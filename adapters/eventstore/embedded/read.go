package embedded

import (
	"context"
	"math"
	"strconv"
	"strings"

	streams "github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"kiroku/adapters/eventstore/embedded/internal/journal"
)

// Read serves the reads and the subscriptions: one request, many responses.
func (s *Server) Read(req *streams.ReadReq, ss streams.Streams_ReadServer) error {
	r, err := s.newReading(req.GetOptions(), ss)
	if err != nil {
		return err
	}
	o := req.GetOptions()
	switch {
	case r.subscribe && o.GetStream() != nil:
		return r.subscribeStream(o.GetStream())
	case r.subscribe:
		return r.subscribeAll(o.GetAll())
	case o.GetStream() != nil:
		return r.readStream(o.GetStream())
	}
	return r.readAll(o.GetAll())
}

// reading is one Read call.
type reading struct {
	server    *Server
	ctx       context.Context
	send      func(*streams.ReadResp) error
	sendMsg   func(any) error // a *streams.ReadResp or encoded
	backwards bool
	subscribe bool
	links     bool
	stringIDs bool
	filter    *filter // nil: everything
	stream    string  // allStream for $all
	count     uint64
}

func (s *Server) newReading(o *streams.ReadReq_Options, ss streams.Streams_ReadServer) (*reading, error) {
	r := &reading{server: s, ctx: ss.Context(), send: ss.Send, sendMsg: ss.SendMsg, links: o.GetResolveLinks(), stream: allStream}
	if o.GetUuidOption().GetContent() == nil {
		return nil, invalid("uuid_option is not set")
	}
	_, r.stringIDs = o.GetUuidOption().GetContent().(*streams.ReadReq_Options_UUIDOption_String_)
	r.backwards = o.GetReadDirection() == streams.ReadReq_Options_Backwards
	switch v := o.GetCountOption().(type) {
	case *streams.ReadReq_Options_Count:
		r.count = v.Count
	case *streams.ReadReq_Options_Subscription:
		r.subscribe = true
	default:
		return nil, invalid("neither a count nor a subscription is asked for")
	}
	switch v := o.GetStreamOption().(type) {
	case *streams.ReadReq_Options_Stream:
		r.stream = string(v.Stream.GetStreamIdentifier().GetStreamName())
	case *streams.ReadReq_Options_All:
	default:
		return nil, invalid("neither a stream nor $all is asked for")
	}
	if r.subscribe && r.backwards {
		return nil, invalid("a subscription cannot run backwards")
	}
	if o.GetFilter() != nil {
		if o.GetStream() != nil {
			return nil, invalid("a filter applies to $all only")
		}
		f, err := parseFilter(o.GetFilter())
		if err != nil {
			return nil, err
		}
		r.filter = f
	}
	if o.GetStream() != nil && r.stream == "" {
		return nil, errHandler
	}
	return r, s.authorize(r.ctx, mayRead, r.stream)
}

func (r *reading) readStream(o *streams.ReadReq_Options_StreamOptions) error {
	tail := r.server.journal.Tail(r.stream)
	from := int64(0)
	switch v := o.GetRevisionOption().(type) {
	case *streams.ReadReq_Options_StreamOptions_Start:
	case *streams.ReadReq_Options_StreamOptions_End:
		if !r.backwards {
			return status.Error(codes.Unknown, "Unexpected ReadStreamResult: Error")
		}
		from = math.MaxInt64
	case *streams.ReadReq_Options_StreamOptions_Revision:
		if v.Revision > math.MaxInt64 {
			return errHandler
		}
		from = int64(v.Revision)
	default:
		return errHandler
	}
	switch {
	case r.count == 0:
		return status.Error(codes.Unknown, "Unexpected ReadStreamResult: Error")
	case tail.Tombstoned:
		return streamDeleted(r.stream)
	case tail.Missing:
		return r.send(streamNotFound(r.stream))
	case r.backwards:
		return r.readStreamBack(from)
	}
	return r.readStreamForward(from, tail.Last)
}

func (r *reading) readStreamForward(from, last int64) error {
	cursor := &journal.StreamCursor{Stream: r.stream, Next: from}
	for left := r.count; left > 0 && cursor.Next <= last; {
		events, err := r.server.journal.Forward(cursor, pageLimit(left))
		if err != nil {
			return err
		}
		if err := r.sendAll(events); err != nil {
			return err
		}
		left -= uint64(len(events))
	}
	return nil
}

func (r *reading) readStreamBack(from int64) error {
	for left := r.count; left > 0 && from >= 0; {
		events, next, err := r.server.journal.Backward(r.stream, from, pageLimit(left))
		if err != nil {
			return err
		}
		if err := r.sendAll(events); err != nil {
			return err
		}
		left -= uint64(len(events))
		from = next
	}
	return nil
}

func pageLimit(left uint64) int { return int(min(left, journal.PageEvents)) }

// position of $all as asked for. Prepare below commit: everything before commit is done.
type position struct{ commit, prepare uint64 }

var endOfAll = position{math.MaxUint64, math.MaxUint64}

func parsePosition(o *streams.ReadReq_Options_AllOptions) (position, error) {
	switch v := o.GetAllOption().(type) {
	case *streams.ReadReq_Options_AllOptions_Start:
		return position{}, nil
	case *streams.ReadReq_Options_AllOptions_End:
		return endOfAll, nil
	case *streams.ReadReq_Options_AllOptions_Position:
		p := position{v.Position.GetCommitPosition(), v.Position.GetPreparePosition()}
		if p.commit < p.prepare {
			return position{}, errHandler
		}
		return p, nil
	}
	return position{}, errHandler
}

// known reports whether the position is one that a server may have given out.
func (r *reading) known(p position) (bool, error) {
	if p == endOfAll || p.commit == 0 {
		return true, nil
	}
	return r.server.journal.Boundary(p.commit)
}

func (r *reading) readAll(o *streams.ReadReq_Options_AllOptions) error {
	p, err := parsePosition(o)
	if err != nil {
		return err
	}
	ok, err := r.known(p)
	if err != nil {
		return err
	}
	if !ok {
		return status.Error(codes.Unknown, "Unexpected ReadAllResult: InvalidPosition")
	}
	end := r.server.journal.End()
	read, next := r.server.journal.AllForward, p.commit
	if r.backwards {
		read = r.server.journal.AllBackward
	}
	for left := r.count; left > 0; {
		events, err := read(next, journal.PageEvents)
		if err != nil || len(events) == 0 {
			return err
		}
		last := events[len(events)-1].Position
		for i := range events {
			if left == 0 || !r.backwards && events[i].Position > end {
				return nil
			}
			if !r.wants(&events[i]) {
				continue
			}
			if err := r.sendEvent(&events[i]); err != nil {
				return err
			}
			left--
		}
		next = last
		if !r.backwards {
			next++
		}
	}
	return nil
}

func (r *reading) wants(e *journal.Event) bool {
	return inAll(e) && (r.filter == nil || r.filter.matches(e))
}

func (r *reading) sendAll(events []journal.Event) error {
	for i := range events {
		if err := r.sendEvent(&events[i]); err != nil {
			return err
		}
	}
	return nil
}

func (r *reading) sendEvent(e *journal.Event) error {
	target, isLink, found, err := r.resolve(e)
	switch {
	case err != nil:
		return err
	case !isLink:
		return r.sendMsg(readEvent(e, nil, e.Position, r.stringIDs))
	case !found:
		return r.sendMsg(readEvent(nil, e, e.Position, r.stringIDs))
	}
	return r.sendMsg(readEvent(&target, e, e.Position, r.stringIDs))
}

// resolve follows a link event, whose data is revision@stream.
func (r *reading) resolve(e *journal.Event) (target journal.Event, isLink, found bool, err error) {
	if !r.links || e.Type != journal.TypeLink {
		return target, false, false, nil
	}
	number, stream, ok := strings.Cut(string(e.Data), "@")
	revision, errNumber := strconv.ParseInt(number, 10, 64)
	if !ok || errNumber != nil || revision < 0 {
		return target, false, false, nil
	}
	if r.server.authorize(r.ctx, mayRead, stream) != nil {
		return target, true, false, nil
	}
	target, found, err = r.server.journal.Event(stream, revision)
	return target, true, found, err
}

package embedded

import (
	"math"

	streams "github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"kiroku/adapters/eventstore/embedded/internal/journal"
)

// A subscription reads from the store at its own pace, before and after it has caught up:
// there is no queue of live events that a slow consumer could overflow, and the join of
// past and present can neither lose nor repeat anything.

func (r *reading) subscribeStream(o *streams.ReadReq_Options_StreamOptions) error {
	tail := r.server.journal.Tail(r.stream)
	cursor := &journal.StreamCursor{Stream: r.stream}
	switch v := o.GetRevisionOption().(type) {
	case *streams.ReadReq_Options_StreamOptions_Start:
	case *streams.ReadReq_Options_StreamOptions_End:
		cursor.Next = tail.Last + 1
	case *streams.ReadReq_Options_StreamOptions_Revision:
		if v.Revision >= math.MaxInt64 {
			return errHandler
		}
		cursor.Next = int64(v.Revision) + 1
	default:
		return errHandler
	}
	if tail.Tombstoned {
		return streamDeleted(r.stream)
	}
	if err := r.send(confirmation()); err != nil {
		return err
	}
	return r.followStream(cursor)
}

func (r *reading) followStream(cursor *journal.StreamCursor) error {
	for {
		changed := r.server.journal.Changed()
		if err := r.server.authorize(r.ctx, mayRead, r.stream); err != nil {
			return err
		}
		tail := r.server.journal.Tail(r.stream)
		for cursor.Next <= tail.Last {
			if err := r.goingOn(); err != nil {
				return err
			}
			events, err := r.server.journal.Forward(cursor, journal.PageEvents)
			if err != nil {
				return err
			}
			if err := r.sendAll(events); err != nil {
				return err
			}
		}
		if tail.Tombstoned {
			return r.sendTombstone()
		}
		if !cursor.Raw {
			cursor.Raw = true
			if err := r.send(caughtUp()); err != nil {
				return err
			}
		}
		if err := r.wait(changed); err != nil {
			return err
		}
	}
}

// sendTombstone delivers the event that ended the stream, then the reason.
func (r *reading) sendTombstone() error {
	e, ok, err := r.server.journal.TombstoneEvent(r.stream)
	if err != nil {
		return err
	}
	if ok {
		if err := r.sendEvent(&e); err != nil {
			return err
		}
	}
	return streamDeleted(r.stream)
}

// goingOn is nil while neither the caller nor the server has ended the subscription.
func (r *reading) goingOn() error {
	select {
	case <-r.server.closing:
		return errShuttingDown
	default:
		return r.ctx.Err()
	}
}

func (r *reading) wait(changed <-chan struct{}) error {
	select {
	case <-changed:
		return nil
	case <-r.ctx.Done():
		return r.ctx.Err()
	case <-r.server.closing:
		return errShuttingDown
	case <-r.server.journal.Failed():
		return status.Error(codes.Unavailable, "the event store failed; it must be restarted")
	}
}

func (r *reading) subscribeAll(o *streams.ReadReq_Options_AllOptions) error {
	p, err := parsePosition(o)
	if err != nil {
		return err
	}
	end := r.server.journal.End()
	f := &following{reading: r, next: p.commit + 1}
	switch {
	case p == endOfAll:
		f.next = end + 1
	case p.prepare < p.commit:
		f.next = p.commit // a checkpoint: the event there is still to come
	}
	ok, err := r.known(p)
	if err != nil {
		return err
	}
	if err := r.send(confirmation()); err != nil {
		return err
	}
	if !ok {
		return invalid("invalid position")
	}
	return f.run()
}

// following is a subscription to $all under way.
type following struct {
	*reading
	next       uint64 // position to go on from
	live       bool
	considered uint64 // events since the last checkpoint was due
	sent       uint64 // position of the last event sent
	checked    uint64 // position of the last checkpoint sent
}

func (f *following) run() error {
	for {
		changed := f.server.journal.Changed()
		if err := f.server.authorize(f.ctx, mayRead, allStream); err != nil {
			return err
		}
		end := f.server.journal.End()
		for f.next <= end {
			if err := f.goingOn(); err != nil {
				return err
			}
			events, err := f.server.journal.AllForward(f.next, journal.PageEvents)
			if err != nil {
				return err
			}
			if len(events) == 0 {
				f.next = end + 1
				break
			}
			if err := f.consider(events); err != nil {
				return err
			}
			f.next = events[len(events)-1].Position + 1
		}
		if !f.live {
			if err := f.goLive(); err != nil {
				return err
			}
		}
		if err := f.wait(changed); err != nil {
			return err
		}
	}
}

func (f *following) consider(events []journal.Event) error {
	for i := range events {
		e := &events[i]
		f.considered++
		if f.wants(e) {
			if err := f.sendEvent(e); err != nil {
				return err
			}
			f.sent = e.Position
		}
		if f.filter != nil && f.considered >= f.filter.interval {
			f.considered = 0
			if err := f.checkpoint(e.Position); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkpoint tells a filtered subscriber how far it need not look again.
func (f *following) checkpoint(at uint64) error {
	if at <= f.checked {
		return nil
	}
	f.checked = at
	return f.send(checkpoint(at, at))
}

// goLive announces that the past is delivered. Where nothing matched and no checkpoint
// was due there is no position to give, so none is sent.
func (f *following) goLive() error {
	f.live, f.considered = true, 0
	if f.filter != nil && max(f.sent, f.checked) > 0 {
		if err := f.checkpoint(max(f.sent, f.checked)); err != nil {
			return err
		}
	}
	return f.send(caughtUp())
}

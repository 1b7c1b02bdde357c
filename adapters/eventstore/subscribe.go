package eventstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"

	"kiroku/domain/ledger"
)

// Subscribe hands every event of stream from revision from on to handle, in
// order, each once, those to come as they come; a stream that does not exist yet
// is waited for. A batch holds whatever is there, one event or BatchEvents; handle
// owns it, and while it works the next is being received. A first revision above
// from means that what is below was truncated. caughtUp (may be nil) is called
// whenever all that the stream then held was handled: at least once for each
// connection.
//
// It takes a lost connection up again after the last event received, however
// long that takes, and returns only when ctx ends (with its cause), handle fails
// (with its error), or going on is of no use: ErrDenied, ErrTombstoned,
// ErrRefused, ErrBehind, ErrSequence, ErrUnexpectedAnswer, ErrClosed. Nothing
// runs any more when it has returned.
func (s *Store) Subscribe(ctx context.Context, stream string, from uint64, handle func(ctx context.Context, batch []ledger.Event) error, caughtUp func()) error {
	if from > math.MaxInt64 {
		return fmt.Errorf("subscribe to stream %q from revision %d: %w: no such revision", stream, from, ErrInvalid)
	}
	op, end, err := s.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	op, cancel := context.WithCancel(op)
	f := newFeed(false)
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.close(s.follow(op, stream, from, f))
	}()
	defer func() { cancel(); <-done }()
	return f.drain(op, func(batch []ledger.Event) error { return handle(op, batch) }, caughtUp)
}

// follow subscribes again and again until that is of no use any more.
func (s *Store) follow(ctx context.Context, stream string, from uint64, f *feed) error {
	seq := sequence{stream: stream, next: from}
	for n := 1; ; n++ {
		before := seq.count
		err := s.followOnce(ctx, stream, &seq, f)
		if end := terminal(ctx, err); end != nil {
			return fmt.Errorf("follow stream %q from revision %d: %w", stream, seq.next, end)
		}
		if seq.count > before {
			n = 1
		}
		s.stats.resumed.Add(1)
		s.log.Debug("event store: subscription dropped, subscribing again",
			"stream", stream, "revision", seq.next, "error", failure{err}.Error())
		if err := s.pause(ctx, n); err != nil {
			return err
		}
	}
}

// followOnce runs one subscription to its end; it always returns an error.
func (s *Store) followOnce(ctx context.Context, stream string, seq *sequence, f *feed) (err error) {
	if err := s.checkNotBehind(ctx, stream, seq.next); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c, err := s.enter(ctx)
	if err != nil {
		return err
	}
	var answer error
	var limit time.Duration
	defer func() {
		if fault := recover(); fault != nil {
			err = fmt.Errorf("%w: the client failed on it: %v", ErrUnexpectedAnswer, fault)
			answer = err
		}
		c.leave(answer, limit)
	}()
	unconfirmed := time.AfterFunc(s.config.ReadTimeout, cancel)
	sub, answer := c.session.client.SubscribeToStream(c, stream, esdb.SubscribeToStreamOptions{From: after(seq.next)})
	if !unconfirmed.Stop() {
		answer, limit = context.DeadlineExceeded, s.config.ReadTimeout
	}
	if answer != nil {
		return answer
	}
	defer sub.Close()
	c.session.proven.Store(true)
	for {
		event := sub.Recv()
		switch {
		case event.EventAppeared != nil:
			if err := s.deliver(ctx, stream, event.EventAppeared, seq, f); err != nil {
				return err
			}
		case event.CaughtUp != nil:
			f.caughtUp()
		case event.SubscriptionDropped != nil:
			if answer = event.SubscriptionDropped.Error; answer == nil || errors.Is(answer, io.EOF) {
				answer = nil
				return errDropped
			}
			return answer
		}
	}
}

// errDropped is a subscription that the server ended without a reason.
var errDropped = errors.New("the server ended the subscription")

// deleted is the type of the event with which a tombstone ends a subscription.
const deleted = "$streamDeleted"

func (s *Store) deliver(ctx context.Context, stream string, resolved *esdb.ResolvedEvent, seq *sequence, f *feed) error {
	e, err := s.received(stream, resolved)
	if err != nil {
		return err
	}
	if e.Type == deleted && e.Revision == math.MaxInt64 {
		return ErrTombstoned
	}
	if err := seq.accept(e.Revision); err != nil {
		return err
	}
	return f.put(ctx, e)
}

// after is where a subscription starts that shall begin with revision next: the
// protocol names the one before.
func after(next uint64) esdb.StreamPosition {
	if next == 0 {
		return esdb.Start{}
	}
	return esdb.Revision(next - 1)
}

// checkNotBehind holds that the stream has all that was already delivered from
// it. The server would wait without a word until the stream has grown so far.
func (s *Store) checkNotBehind(ctx context.Context, stream string, next uint64) error {
	if next == 0 {
		return nil
	}
	exists := true
	last, visible := uint64(0), false
	err := s.scan(ctx, stream, esdb.ReadStreamOptions{Direction: esdb.Backwards, From: esdb.End{}}, 1, s.config.ReadTimeout, func(e ledger.Event) error {
		last, visible = e.Revision, true
		return nil
	})
	if err != nil && kindOf(err) == kindNotFound {
		exists, err = false, nil
	}
	switch {
	case err != nil:
		return err
	case !exists:
		return fmt.Errorf("%w: it does not exist, but revision %d was read", ErrBehind, next-1)
	case visible && last+1 < next:
		return fmt.Errorf("%w: it ends at revision %d, but revision %d was read", ErrBehind, last, next-1)
	}
	return nil
}

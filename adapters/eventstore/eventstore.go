// Package eventstore is the one client of the ledger: it appends, reads and
// follows streams of an EventStoreDB cluster (24.10.4 or later) and of the
// embedded server alike, through the official Go client.
//
// What it promises to the sequencer and the projections:
//
//   - The answer of an append is one of three kinds: it landed (nil), it did not
//     (every error but the next), or nobody can tell (ErrOutcomeUnknown). The
//     doubtful goes to the last kind, never to the second.
//   - Reads and subscriptions deliver the events of a stream in order, without a
//     gap and without a double, across lost connections and restarted servers;
//     what cannot be delivered that way ends in a *SequenceError.
//   - A store that was away for ten seconds or ten minutes needs no restart of
//     this process: the client is made anew, with a pause that grows.
//
// The client underneath (v4.2.0) dies for good when it cannot find a server
// while an operation asks it to, and can then block other operations for ever.
// session.go keeps every operation away from that state.
package eventstore

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Store is a connection to the ledger that outlives the server's absences. It
// is safe for concurrent use. The zero value is not usable: see Open.
type Store struct {
	config Config
	log    *slog.Logger
	stats  counters
	full   atomic.Pointer[error] // see Full

	ctx  context.Context // ends with Close; its cause is ErrClosed
	stop context.CancelCauseFunc

	locating sync.Mutex // held while the configuration is built anew

	mu       sync.Mutex     // owns all below
	closed   bool           // no operation starts any more
	running  sync.WaitGroup // operations under way; Add only under mu and while not closed
	current  *session       // what new operations use; nil: none, connect first
	attempt  *attempt       // the connection attempt under way; nil: none
	failures int            // attempts in a row that led to nothing
	last     time.Time      // end of the last fruitless attempt
}

// Open checks the configuration and returns a Store. It does not connect: the
// store may come up later than its users. Ping tells whether it is there.
func Open(config Config) (*Store, error) {
	config.setDefaults()
	if config.Locate == nil { // else the store may not be anywhere yet
		if _, _, err := config.client(nil); err != nil {
			return nil, fmt.Errorf("open event store: %w", err)
		}
	}
	ctx, stop := context.WithCancelCause(context.Background())
	return &Store{config: config, log: config.Logger, ctx: ctx, stop: stop}, nil
}

// Close ends every operation under way, waits for them, and closes the
// connection. An append that is cut short this way answers ErrOutcomeUnknown.
// Operations begun afterwards answer ErrClosed. A connection attempt under way
// cannot be interrupted; it ends by itself within the discovery time-out and
// then closes what it opened. Close may be called more than once.
func (s *Store) Close() error {
	s.mu.Lock()
	s.closed = true
	current := s.current
	s.mu.Unlock()
	s.stop(ErrClosed)
	s.running.Wait()
	if current != nil {
		s.retire(current)
	}
	return nil
}

// Format implements fmt.Formatter: no verb shows what the Store holds, for the
// password is part of it.
func (s *Store) Format(f fmt.State, _ rune) { fmt.Fprint(f, "event store client") }

// Stats returns the counters since Open.
func (s *Store) Stats() Stats { return s.stats.snapshot() }

// begin admits one operation: it returns a context that also ends with the
// Store, and the function to call at the operation's end.
func (s *Store) begin(ctx context.Context) (context.Context, func(), error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, nil, ErrClosed
	}
	s.running.Add(1)
	op, cancel := context.WithCancelCause(ctx)
	unlink := context.AfterFunc(s.ctx, func() { cancel(ErrClosed) })
	return op, func() {
		unlink()
		cancel(nil)
		s.running.Done()
	}, nil
}

// pause waits for the n-th back-off or until ctx ends.
func (s *Store) pause(ctx context.Context, n int) error {
	timer := time.NewTimer(s.config.Reconnect.delay(n))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

package eventstore

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"google.golang.org/grpc/codes"
)

// session is one esdb client from its discovery to its close.
//
// The client (v4.2.0) keeps its connection in one goroutine. An operation asks
// that goroutine for the connection; an operation that fails with Unavailable
// tells it to discover anew when the next one asks. A discovery that fails ends
// the goroutine, after which whoever still talks to it blocks for ever. So a
// client here discovers once, alone, before anybody else uses it, and no
// operation may ask it for its connection after another has told it to discover
// anew. The gate sees to that: an operation holds it for reading until it has
// its connection, and retire takes it for writing before the client is told
// (the client logs the failure first, and the log hook retires the session).
type session struct {
	client      *esdb.Client
	version     string
	credentials [sha256.Size]byte
	proven      atomic.Bool // some operation was answered by the server

	gate    sync.RWMutex
	retired atomic.Bool // no operation enters any more; set under gate

	mu      sync.Mutex // owns the two below; taken inside gate, never around it
	running int        // operations that may still use client
	closed  bool
}

// unexpectedException is the format with which the client logs an operation's
// failure, in the operation's goroutine, before it acts on it.
const unexpectedException = "unexpected exception: %v"

// call is one use of a session's client. It is the context given to the client,
// because the client derives its own from it as the first thing after it has its
// connection: that is the sign to open the gate again.
type call struct {
	context.Context
	store     *Store
	session   *session
	began     time.Time
	passed    sync.Once
	connected atomic.Bool // the client had a connection for this call
}

// Deadline implements context.Context and tells that the client has its
// connection.
func (c *call) Deadline() (time.Time, bool) {
	c.pass(true)
	return c.Context.Deadline()
}

func (c *call) pass(connected bool) {
	c.passed.Do(func() {
		c.connected.Store(connected)
		c.session.gate.RUnlock()
	})
}

// enter finds a session, connecting if there is none, and admits a call to it.
// Its errors mean that nothing was sent.
func (s *Store) enter(ctx context.Context) (*call, error) {
	for {
		ses, err := s.session(ctx)
		if err != nil {
			return nil, err
		}
		ses.gate.RLock()
		if ses.retired.Load() {
			ses.gate.RUnlock()
			continue
		}
		ses.mu.Lock()
		ses.running++
		ses.mu.Unlock()
		return &call{Context: ctx, store: s, session: ses, began: time.Now()}, nil
	}
}

// leave ends the call. err is what the client said, nil for success; it decides
// whether the session serves another call. limit is the call's own time-out, 0
// if it had none: a server that let it pass is worth a new connection.
func (c *call) leave(err error, limit time.Duration) {
	c.pass(false)
	switch {
	case err == nil:
		c.session.proven.Store(true)
	case broken(err),
		statusOf(err) == codes.Canceled && c.Err() == nil, // the connection was closed under the call
		limit > 0 && time.Since(c.began) >= limit,
		kindOf(err) == kindDenied && c.store.credentialsChanged(c.session):
		c.store.retire(c.session)
	case kindOf(err) != kindPassing:
		c.session.proven.Store(true)
	}
	c.session.mu.Lock()
	c.session.running--
	c.session.closeIfDone()
	c.session.mu.Unlock()
}

// closeIfDone closes the client of a retired session that nobody uses. Earlier
// would be fatal: an operation that fails later writes to what Close closes.
// The caller holds mu.
func (ses *session) closeIfDone() {
	if ses.retired.Load() && ses.running == 0 && !ses.closed {
		ses.closed = true
		_ = ses.client.Close() // always nil
	}
}

// retire keeps new operations off the session and closes its client when the
// last one has left. It returns when none is between entering and having its
// connection. It may be called any number of times, but not by an operation
// that has not got its connection yet.
func (s *Store) retire(ses *session) {
	s.mu.Lock()
	if s.current == ses {
		s.current = nil
		if ses.proven.Load() {
			s.failures = 0
		} else { // connected, but served nobody: as good as a failed attempt
			s.failures++
			s.last = time.Now()
		}
	}
	s.mu.Unlock()
	ses.gate.Lock()
	ses.retired.Store(true)
	ses.gate.Unlock()
	ses.mu.Lock()
	ses.closeIfDone()
	ses.mu.Unlock()
}

// attempt is one connection attempt that all callers wait for.
type attempt struct {
	done    chan struct{} // closed at its end
	session *session
	err     error
}

// session returns the session to use, joining or starting an attempt if there
// is none. It returns ErrUnavailable when that attempt fails or ctx ends.
func (s *Store) session(ctx context.Context) (*session, error) {
	s.mu.Lock()
	if s.current != nil {
		defer s.mu.Unlock()
		return s.current, nil
	}
	a := s.attempt
	if a == nil {
		if s.closed {
			s.mu.Unlock()
			return nil, ErrClosed
		}
		a = &attempt{done: make(chan struct{})}
		s.attempt = a
		go s.connect(a, s.failures, s.last)
	}
	s.mu.Unlock()
	select {
	case <-a.done:
		return a.session, a.err
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, context.Cause(ctx))
	}
}

// connect makes one attempt, no sooner than the back-off allows.
func (s *Store) connect(a *attempt, failures int, last time.Time) {
	ses, err := s.dialAfter(time.Until(last.Add(s.config.Reconnect.delay(failures))))
	s.mu.Lock()
	defer s.mu.Unlock()
	defer close(a.done)
	s.attempt = nil
	if err != nil {
		s.failures++
		s.last = time.Now()
		s.stats.connectFailures.Add(1)
		a.err = fmt.Errorf("%w: %w", ErrUnavailable, failure{err})
		if errors.Is(err, ErrClosed) {
			a.err = ErrClosed
		} else {
			s.log.Warn("event store: not connected", "attempt", s.failures, "error", failure{err}.Error())
		}
		return
	}
	if s.closed {
		_ = ses.client.Close() // always nil; nobody else has it
		a.err = ErrClosed
		return
	}
	s.stats.connects.Add(1)
	s.log.Info("event store: connected", "version", ses.version)
	s.current, a.session = ses, ses
}

func (s *Store) dialAfter(wait time.Duration) (*session, error) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return s.dial()
	case <-s.ctx.Done():
		return nil, ErrClosed
	}
}

// dial makes a client and lets it discover its server. It takes at most the
// gossip time-out (5 s unless the connection string says otherwise) per host.
func (s *Store) dial() (*session, error) {
	ses := &session{}
	s.locating.Lock()
	conf, credentials, err := s.config.client(func(level esdb.LogLevel, format string, args ...any) {
		s.observe(ses, level, format, args)
	})
	s.locating.Unlock()
	if err != nil {
		return nil, err
	}
	client, err := esdb.NewClient(conf)
	if err != nil {
		return nil, err
	}
	version, err := client.GetServerVersion() // runs the discovery
	if err != nil {
		_ = client.Close() // always nil
		return nil, err
	}
	ses.client, ses.credentials = client, credentials
	ses.version = fmt.Sprintf("%d.%d.%d", version.Major, version.Minor, version.Patch)
	return ses, nil
}

// observe receives the client's log lines. It runs in the goroutine that failed
// and before the client acts on the failure: the one moment to retire in time.
func (s *Store) observe(ses *session, level esdb.LogLevel, format string, args []any) {
	if format == unexpectedException && len(args) == 1 {
		if err, ok := args[0].(error); ok && statusOf(err) == codes.Unavailable {
			s.retire(ses)
		}
	}
	s.log.Debug("event store client: "+strings.TrimSpace(fmt.Sprintf(format, args...)), "level", level)
}

// credentialsChanged tells whether a new connection would use other ones.
func (s *Store) credentialsChanged(ses *session) bool {
	s.locating.Lock()
	defer s.locating.Unlock()
	_, credentials, err := s.config.client(nil)
	return err == nil && credentials != ses.credentials
}

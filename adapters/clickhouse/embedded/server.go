package embedded

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Server answers requests with the engine.
type Server struct {
	config     Config
	engine     *engine
	listener   net.Listener
	http       *http.Server
	users      map[string]*user
	served     chan error
	forgets    *time.Timer  // see newForgets
	forgetting atomic.Int32 // how often it still fires

	queries context.Context // ends when running queries must
	cancel  context.CancelCauseFunc

	closing  sync.Once
	closeErr error
}

// user is one of the two.
type user struct {
	role   role
	digest [sha256.Size]byte // of the password
	limits Limits
	turns  *turns
}

// Open starts the engine and answers on the loopback from then on. One server
// runs in a process at a time. Close it.
func Open(config Config) (*Server, error) {
	config, err := config.complete()
	if err != nil {
		return nil, fmt.Errorf("opening the embedded ClickHouse: %w", err)
	}
	listener, err := net.Listen("tcp", config.Listen)
	if err != nil {
		return nil, fmt.Errorf("opening the embedded ClickHouse: %w", err)
	}
	e, err := start(config)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening the embedded ClickHouse: %w", err), listener.Close())
	}
	s := &Server{config: config, engine: e, listener: listener, served: make(chan error, 1), users: map[string]*user{
		WriterName:  {writer, sha256.Sum256([]byte(config.Writer)), config.WriterLimits, newTurns(config.WriterLimits, 0)},
		AnalystName: {analyst, sha256.Sum256([]byte(config.Analyst)), config.AnalystLimits, newTurns(config.AnalystLimits, 1)},
	}}
	s.queries, s.cancel = context.WithCancelCause(context.Background())
	s.http = &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: 1 << 20}
	s.http.SetKeepAlivesEnabled(false)
	s.forgets = s.newForgets()
	go func() { s.served <- s.http.Serve(listener) }()
	return s, nil
}

// Addr is the address listened on.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// errClosing is why queries end when the server closes.
var errClosing = errors.New("the server is closing")

// killTime is how long Close waits for killed queries to end.
const killTime = 10 * time.Second

// Close takes no more requests, lets those under way finish until ctx ends,
// kills the queries that are left, and ends the engine. If the engine does not
// let go of a query in time it is left running, to end with the process, and
// Close fails; nothing is lost by that.
func (s *Server) Close(ctx context.Context) error {
	s.closing.Do(func() { s.closeErr = s.close(ctx) })
	return s.closeErr
}

func (s *Server) close(ctx context.Context) error {
	s.forgets.Stop()
	if s.http.Shutdown(ctx) != nil {
		s.cancel(errClosing)
		killed, stop := context.WithTimeout(context.WithoutCancel(ctx), min(killTime, s.config.KillWithin))
		defer stop()
		if err := s.http.Shutdown(killed); err != nil {
			return fmt.Errorf("closing the embedded ClickHouse: queries are still running: %w", err)
		}
	}
	s.cancel(errClosing)
	<-s.served
	s.engine.stop()
	return nil
}

// Serve opens a server, calls ready with its address, and closes it when ctx
// ends, giving running queries the time drain to finish.
func Serve(ctx context.Context, config Config, drain time.Duration, ready func(address string) error) error {
	s, err := Open(config)
	if err != nil {
		return err
	}
	config = s.config
	err = ready(s.Addr())
	if err == nil {
		select {
		case <-ctx.Done():
		case err = <-s.served:
			s.served <- err // for Close
			err = fmt.Errorf("answering for the embedded ClickHouse: %w", err)
		case <-s.engine.hangs:
			err = fmt.Errorf("a query went on for %s after it was killed: the embedded ClickHouse ends and has to be started again", config.KillWithin)
		}
	}
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer cancel()
	return errors.Join(err, s.Close(closing))
}

// turns lets so many run at once and so many more wait. Reports and others do not wait for each other in line.
type turns struct {
	running chan struct{}
	others  chan struct{} // running or next to, and no reports
	present chan struct{} // running or waiting, and no reports
	reports chan struct{} // likewise, reports
}

// newTurns keeps some of several places for reports.
func newTurns(l Limits, reports int) *turns {
	places := func(n int) chan struct{} { return make(chan struct{}, n) }
	return &turns{places(l.AtOnce), places(max(1, l.AtOnce-reports)), places(l.AtOnce + l.Waiting), places(l.AtOnce + l.Waiting)}
}

// take waits for a turn; the caller gives it back.
func (t *turns) take(ctx context.Context, report bool) (back func(), err error) {
	present, needed := t.present, []chan struct{}{t.others, t.running}
	if report {
		present, needed = t.reports, needed[1:]
	}
	select {
	case present <- struct{}{}:
	default:
		return nil, exception(codeTooManyQueries, "Too many simultaneous queries: %d run or wait already", cap(present))
	}
	taken := []chan struct{}{present}
	back = func() {
		for _, place := range taken {
			<-place
		}
	}
	for _, place := range needed {
		select {
		case place <- struct{}{}:
			taken = append(taken, place)
		case <-ctx.Done():
			back()
			return nil, asEnd(ctx, exception(codeQueryWasCancelled, "Query was cancelled while it waited"))
		}
	}
	return back, nil
}

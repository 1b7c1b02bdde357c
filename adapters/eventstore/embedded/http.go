package embedded

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// EventStoreDB answers gRPC and HTTP on one port. The server does so too: a connection
// that speaks HTTP/2 goes to gRPC, any other to the few paths below.

const handshakeLimit = 10 * time.Second

// http2Preface is how every HTTP/2 client begins (RFC 9113, section 3.4).
const http2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// splitter hands accepted connections to one of two listeners.
type splitter struct {
	net.Listener
	tls        *tls.Config // nil: plaintext
	grpc, http *handoff
}

// handoff is a listener fed by the splitter.
type handoff struct {
	net.Listener // for its address
	conns        chan net.Conn
	done         chan struct{}
	once         sync.Once
}

func newHandoff(l net.Listener) *handoff {
	return &handoff{Listener: l, conns: make(chan net.Conn), done: make(chan struct{})}
}

func (h *handoff) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.done:
		return nil, net.ErrClosed
	}
}

func (h *handoff) Close() error {
	h.once.Do(func() { close(h.done) })
	return nil
}

func (h *handoff) give(c net.Conn) {
	select {
	case h.conns <- c:
	case <-h.done:
		c.Close()
	}
}

func newSplitter(l net.Listener, certificate *tls.Certificate) *splitter {
	s := &splitter{Listener: l, grpc: newHandoff(l), http: newHandoff(l)}
	if certificate != nil {
		s.tls = &tls.Config{
			Certificates: []tls.Certificate{*certificate},
			MinVersion:   tls.VersionTLS12,
			NextProtos:   []string{"h2", "http/1.1"},
		}
	}
	return s
}

func (s *splitter) serve() {
	for {
		c, err := s.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // such as too many open files: let some be closed
			time.Sleep(10 * time.Millisecond)
			continue
		}
		go s.sort(c)
	}
}

// sort finds out what a connection speaks. A client that says nothing is dropped.
func (s *splitter) sort(c net.Conn) {
	_ = c.SetDeadline(time.Now().Add(handshakeLimit))
	if s.tls != nil {
		secured := tls.Server(c, s.tls)
		if err := secured.Handshake(); err != nil {
			c.Close()
			return
		}
		_ = c.SetDeadline(time.Time{})
		if secured.ConnectionState().NegotiatedProtocol == "h2" {
			s.grpc.give(secured)
			return
		}
		s.http.give(secured)
		return
	}
	begun := bufio.NewReaderSize(c, 64)
	first, err := begun.Peek(3)
	if err != nil {
		c.Close()
		return
	}
	_ = c.SetDeadline(time.Time{})
	peeked := &peekedConn{Conn: c, r: begun}
	if string(first) == http2Preface[:3] {
		s.grpc.give(peeked)
		return
	}
	s.http.give(peeked)
}

type peekedConn struct {
	net.Conn
	r *bufio.Reader
}

func (p *peekedConn) Read(b []byte) (int, error) {
	if p.r.Buffered() > 0 {
		return p.r.Read(b)
	}
	return p.Conn.Read(b)
}

func (s *Server) httpServer() *http.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health/live", s.serveHealth)
	mux.HandleFunc("GET /health/ready", s.serveHealth)
	mux.HandleFunc("POST /admin/scavenge", s.serveScavenge)
	mux.HandleFunc("GET /metrics", s.serveMetrics)
	return &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: handshakeLimit,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
}

func (s *Server) serveHealth(w http.ResponseWriter, _ *http.Request) {
	if s.journal.Err() != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// loggedIn refuses whoever does not say who they are. Without accounts there is nobody to be.
func (s *Server) loggedIn(w http.ResponseWriter, r *http.Request) (*account, bool) {
	if s.accounts == nil {
		return nil, true
	}
	a, err := s.accounts.login(r.Header.Get("Authorization"))
	if err != nil || a == nil {
		w.Header().Set("WWW-Authenticate", `Basic realm="event store"`)
		w.WriteHeader(http.StatusUnauthorized)
		return nil, false
	}
	return a, true
}

// serveMetrics tells any user the counts since the start, in Prometheus's text format.
func (s *Server) serveMetrics(w http.ResponseWriter, r *http.Request) {
	if _, ok := s.loggedIn(w, r); !ok {
		return
	}
	m := s.Metrics()
	w.Header().Set("Content-Type", "text/plain; version=0.0.4")
	for _, c := range []struct {
		name, help string
		value      uint64
	}{
		{"appends", "Successful appends, deletions included.", m.Appends},
		{"events", "Events appended.", m.Events},
		{"bytes", "Bytes of the records appended.", m.Bytes},
		{"syncs", "Syncs of the write-ahead log to the disk.", m.Syncs},
	} {
		name := "kiroku_embedded_store_" + c.name + "_total"
		fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s counter\n%s %d\n", name, c.help, name, name, c.value)
	}
	var used unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &used) == nil {
		const name = "process_cpu_seconds_total"
		seconds := time.Duration(used.Utime.Nano() + used.Stime.Nano()).Seconds()
		fmt.Fprintf(w, "# HELP %s Processor time of the process.\n# TYPE %s counter\n%s %f\n", name, name, name, seconds)
	}
}

// serveScavenge runs a scavenge to its end; a second one waits for the first. Leaving
// does not stop it.
func (s *Server) serveScavenge(w http.ResponseWriter, r *http.Request) {
	a, ok := s.loggedIn(w, r)
	if !ok {
		return
	}
	if a != nil && !a.is(GroupOperations) {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	done, err := s.Scavenge(context.WithoutCancel(r.Context()))
	if err != nil {
		http.Error(w, "scavenge failed; see the log of the store", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]uint64{"events": done.Events})
}

// Package admin is the endpoint through which one machine's operators and
// tools watch and steer a running core. It promises them that it listens on
// the loopback only; that /health/live and /health/ready say why when they say
// no; that /metrics is what Prometheus expects; and that everything registered
// with Handle is answered only to who can read the token in the data
// directory's run folder.
package admin

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"kiroku/adapters/datadir"
)

// Limits of one request.
const (
	maxBody     = 1 << 20          // bytes
	checkWithin = 2 * time.Second  // for each readiness check
	headWithin  = 5 * time.Second  // to receive the head of a request
	idleWithin  = 60 * time.Second // between two requests of a connection
)

// Config of a server.
type Config struct {
	Listen string             // loopback host:port; port 0 takes a free one
	Token  datadir.Credential // bearer token of what Handle registers; not empty
	Log    *slog.Logger       // not nil
}

// Server is the endpoint. Register everything before the first request that
// needs it; registering is safe at any time.
type Server struct {
	config   Config
	tokenSum [sha256.Size]byte
	mux      *http.ServeMux
	registry *prometheus.Registry
	listener net.Listener
	http     *http.Server
	served   chan struct{} // closed when Serve has returned

	mu     sync.Mutex // guards checks
	checks []check
}

// Check says why something is not ready, or nil. It must return when its
// context ends. What it says is shown to anybody on the machine.
type Check func(context.Context) error

type check struct {
	name string
	run  Check
}

// Open listens and serves. Close it.
func Open(config Config) (*Server, error) {
	host, _, err := net.SplitHostPort(config.Listen)
	if err != nil {
		return nil, fmt.Errorf("opening the admin endpoint: %w", err)
	}
	if !datadir.Loopback(host) {
		return nil, fmt.Errorf("opening the admin endpoint: %s is reachable from other machines; use 127.0.0.1", config.Listen)
	}
	if config.Token.IsZero() {
		return nil, errors.New("opening the admin endpoint: no token")
	}
	listener, err := net.Listen("tcp", config.Listen)
	if err != nil {
		return nil, fmt.Errorf("opening the admin endpoint: %w", err)
	}
	s := &Server{
		config: config, tokenSum: sha256.Sum256([]byte(config.Token.Expose())), mux: http.NewServeMux(),
		registry: prometheus.NewRegistry(), listener: listener, served: make(chan struct{}),
	}
	s.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	s.mux.HandleFunc("GET /health/live", s.live)
	s.mux.HandleFunc("GET /health/ready", s.ready)
	s.mux.Handle("GET /metrics", promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError}))
	s.http = &http.Server{
		Handler: s.guarded(s.mux), ReadHeaderTimeout: headWithin, IdleTimeout: idleWithin,
		ErrorLog: slog.NewLogLogger(config.Log.Handler(), slog.LevelWarn),
	}
	go func() {
		defer close(s.served)
		if err := s.http.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			config.Log.Error("the admin endpoint stopped", "error", err.Error())
		}
	}()
	return s, nil
}

// Address is the host:port listened on.
func (s *Server) Address() string { return s.listener.Addr().String() }

// Metrics is where collectors are registered.
func (s *Server) Metrics() prometheus.Registerer { return s.registry }

// Ready adds a condition of readiness. Names are shown and must differ.
func (s *Server) Ready(name string, run Check) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.checks = append(s.checks, check{name, run})
}

// Handle registers a handler for callers with the token. The pattern is that
// of http.ServeMux. Bodies are cut at 1 MiB.
func (s *Server) Handle(pattern string, handler http.Handler) {
	s.mux.Handle(pattern, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.authorised(r) {
			w.Header().Set("WWW-Authenticate", "Bearer")
			Fail(w, http.StatusUnauthorized, errors.New("the token in the data directory's run folder is needed"))
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		handler.ServeHTTP(w, r)
	}))
}

// Close lets running requests finish until ctx ends, then cuts them.
func (s *Server) Close(ctx context.Context) error {
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, s.http.Close())
	}
	<-s.served
	if err != nil {
		return fmt.Errorf("closing the admin endpoint: %w", err)
	}
	return nil
}

// guarded refuses requests for another host name: a page in a browser of this
// machine must not reach the endpoint through a name that resolves to it.
func (s *Server) guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			host = r.Host
		}
		if !datadir.Loopback(strings.Trim(host, "[]")) {
			Fail(w, http.StatusMisdirectedRequest, errors.New("this endpoint has no such host name"))
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (s *Server) authorised(r *http.Request) bool {
	token, found := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	sum := sha256.Sum256([]byte(token))
	return found && subtle.ConstantTimeCompare(sum[:], s.tokenSum[:]) == 1
}

func (s *Server) live(w http.ResponseWriter, _ *http.Request) {
	Answer(w, http.StatusOK, map[string]string{"status": "live"})
}

// readiness is what /health/ready answers.
type readiness struct {
	Status  string            `json:"status"`            // ready, not ready
	Reasons map[string]string `json:"reasons,omitempty"` // by check, only those that fail
}

func (s *Server) ready(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	checks := slices.Clone(s.checks)
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(r.Context(), checkWithin)
	defer cancel()
	reasons := make([]error, len(checks))
	var all sync.WaitGroup
	for i, c := range checks {
		all.Go(func() { reasons[i] = c.run(ctx) })
	}
	all.Wait()
	answer := readiness{Status: "ready", Reasons: map[string]string{}}
	status := http.StatusOK
	for i, reason := range reasons {
		if reason != nil {
			status, answer.Status = http.StatusServiceUnavailable, "not ready"
			answer.Reasons[checks[i].name] = reason.Error()
		}
	}
	Answer(w, status, answer)
}

// Answer writes value as JSON.
func Answer(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	// The status is sent; a caller that is gone cannot be told more.
	_ = json.NewEncoder(w).Encode(value)
}

// Failure is the body of every answer that is not a success.
type Failure struct {
	Error string `json:"error"`
}

// Fail answers with an error, in words that are safe to show.
func Fail(w http.ResponseWriter, status int, err error) {
	Answer(w, status, Failure{Error: err.Error()})
}

package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	gossip "github.com/EventStore/EventStore-Client-Go/v4/protos/gossip"
	features "github.com/EventStore/EventStore-Client-Go/v4/protos/serverfeatures"
	streams "github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/cockroachdb/pebble/v2/vfs"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"

	"kiroku/adapters/eventstore/embedded/internal/journal"
)

// maxRequestBytes is the largest message that EventStoreDB's Streams service receives.
const maxRequestBytes = 16_767_216

// Server is one running node.
type Server struct {
	streams.UnimplementedStreamsServer
	features.UnimplementedServerFeaturesServer

	config    Config
	log       *slog.Logger
	journal   *journal.Journal
	accounts  accounts // nil: insecure mode
	grpc      *grpc.Server
	http      *http.Server
	health    *health.Server
	split     *splitter
	listener  net.Listener
	advertise *gossip.EndPoint

	closing   chan struct{} // ends subscriptions
	closeOnce sync.Once
	closeErr  error
	served    chan error
}

// Open starts a server. Close it.
func Open(c Config) (*Server, error) {
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.FS == nil {
		c.FS = vfs.Default
	}
	s := &Server{config: c, log: c.Logger, closing: make(chan struct{}), served: make(chan error, 2), health: health.NewServer()}
	if c.Certificate != nil {
		as, err := newAccounts(c.Users)
		if err != nil {
			return nil, fmt.Errorf("open event store: %w", err)
		}
		if len(as) == 0 {
			return nil, errors.New("open event store: TLS without any user would let nobody in; configure users")
		}
		s.accounts = as
	}
	if err := s.listen(); err != nil {
		return nil, err
	}
	j, err := journal.Open(journal.Options{Dir: c.Dir, FS: c.FS, Clock: c.Clock, Logger: c.Logger,
		CacheBytes: c.CacheBytes, MinFreeBytes: c.MinFreeBytes})
	if err != nil {
		return nil, errors.Join(err, s.listener.Close())
	}
	s.journal = j
	s.grpc = grpc.NewServer(s.grpcOptions()...)
	streams.RegisterStreamsServer(s.grpc, s)
	features.RegisterServerFeaturesServer(s.grpc, s)
	gossip.RegisterGossipServer(s.grpc, &gossipService{endPoint: s.advertise})
	healthpb.RegisterHealthServer(s.grpc, s.health)
	s.http = s.httpServer()
	go s.split.serve()
	go func() { s.served <- s.grpc.Serve(s.split.grpc) }()
	go func() { s.served <- s.http.Serve(s.split.http) }()
	go s.watch()
	return s, nil
}

func (s *Server) listen() error {
	l, err := net.Listen("tcp", s.config.Listen)
	if err != nil {
		return fmt.Errorf("open event store: %w", err)
	}
	address := s.config.Advertise
	if address == "" {
		address = l.Addr().String()
	}
	host, port, err := net.SplitHostPort(address)
	n, errPort := strconv.ParseUint(port, 10, 16)
	if err := errors.Join(err, errPort); err != nil {
		return errors.Join(fmt.Errorf("advertised address %q: %w", address, err), l.Close())
	}
	s.listener = l
	s.split = newSplitter(l, s.config.Certificate)
	s.advertise = &gossip.EndPoint{Address: host, Port: uint32(n)}
	return nil
}

func (s *Server) grpcOptions() []grpc.ServerOption {
	options := []grpc.ServerOption{
		grpc.ForceServerCodecV2(newCodec()),
		grpc.MaxRecvMsgSize(maxRequestBytes),
		grpc.MaxSendMsgSize(1 << 25),
		grpc.WaitForHandlers(true),
		grpc.InitialWindowSize(4 << 20),
		grpc.InitialConnWindowSize(8 << 20),
		grpc.ReadBufferSize(128 << 10),
		grpc.WriteBufferSize(128 << 10),
		// The client pings every ten seconds, also when idle.
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 10 * time.Second, Timeout: 10 * time.Second}),
		grpc.ChainUnaryInterceptor(unaryTrailers, s.unaryLogin),
		grpc.ChainStreamInterceptor(streamTrailers, s.streamLogin),
	}
	return options // TLS is done before gRPC sees the connection, see http.go
}

// watch turns the health status when the journal fails.
func (s *Server) watch() {
	select {
	case <-s.journal.Failed():
		s.health.Shutdown()
	case <-s.closing:
	}
}

// Addr is the address listened on.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Failed is closed when the disk refused a write: no further append will succeed until
// the process is restarted. Err then says why.
func (s *Server) Failed() <-chan struct{} { return s.journal.Failed() }

// Err is nil until Failed is closed.
func (s *Server) Err() error { return s.journal.Err() }

// Metrics since the start.
type Metrics struct {
	Appends uint64 // successful appends, deletions included
	Events  uint64
	Bytes   uint64 // of stored records
	Syncs   uint64 // of the write-ahead log; fewer than Appends when appends share them
}

// Metrics returns the present counts.
func (s *Server) Metrics() Metrics { return Metrics(s.journal.Counters()) }

// Close ends the subscriptions, lets the other calls finish until ctx is done, then
// closes the store. A second Close returns the first one's error.
func (s *Server) Close(ctx context.Context) error {
	s.closeOnce.Do(func() {
		s.health.Shutdown()
		close(s.closing)
		_ = s.listener.Close()
		stopped := make(chan struct{})
		go func() {
			s.grpc.GracefulStop()
			close(stopped)
		}()
		select {
		case <-stopped:
		case <-ctx.Done():
			s.grpc.Stop()
			<-stopped
		}
		_ = s.http.Shutdown(ctx)
		<-s.served
		<-s.served
		s.closeErr = s.journal.Close()
	})
	return s.closeErr
}

package embedded

import (
	"context"
	"strings"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"kiroku/adapters/eventstore/embedded/internal/journal"
)

type callerKey struct{}

// authenticate puts the caller's account into the context, before any handler.
func (s *Server) authenticate(ctx context.Context) (context.Context, error) {
	if s.accounts == nil {
		return ctx, nil
	}
	for _, header := range metadata.ValueFromIncomingContext(ctx, "authorization") {
		a, err := s.accounts.login(header)
		if err != nil {
			return nil, err
		}
		if a != nil {
			return context.WithValue(ctx, callerKey{}, a), nil
		}
	}
	return ctx, nil
}

func (s *Server) unaryLogin(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	ctx, err := s.authenticate(ctx)
	if err != nil {
		return nil, err
	}
	return next(ctx, req)
}

type loggedIn struct {
	grpc.ServerStream
	ctx context.Context
}

func (l loggedIn) Context() context.Context { return l.ctx }

// strangersRequests bounds what is read of somebody who could not log in.
const strangersRequests = 10_000

func (s *Server) streamLogin(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	ctx, err := s.authenticate(ss.Context())
	if err != nil {
		if info.FullMethod == streams.Streams_Append_FullMethodName {
			for n := 0; n < strangersRequests && ss.RecvMsg(&streams.AppendReq{}) == nil; n++ { // as drain does
			}
		}
		return err
	}
	return next(srv, loggedIn{ss, ctx})
}

type right int

const (
	mayRead right = iota
	mayWrite
	mayDelete
)

// allStream is the name under which the whole log is read.
const allStream = "$all"

// authorize checks the caller's right to a stream. Without TLS everybody may do
// everything.
func (s *Server) authorize(ctx context.Context, r right, stream string) error {
	meta := strings.HasPrefix(stream, journal.MetadataPrefix)
	if r == mayDelete && meta || r != mayRead && stream == allStream {
		return accessDenied()
	}
	if s.accounts == nil {
		return nil
	}
	a, _ := ctx.Value(callerKey{}).(*account)
	if a == nil {
		return accessDenied()
	}
	if a.is() {
		return nil
	}
	for _, role := range s.roles(r, stream) {
		if role == "$all" || a.is(role) {
			return nil
		}
	}
	return accessDenied()
}

// roles that hold a right: of the stream's own list, else of the default for its kind.
func (s *Server) roles(r right, stream string) []string {
	subject, meta := strings.CutPrefix(stream, journal.MetadataPrefix)
	if acl := s.journal.Tail(subject).ACL; acl != nil {
		list := map[right][]string{mayRead: acl.Read, mayWrite: acl.Write, mayDelete: acl.Delete}[r]
		if meta {
			list = map[right][]string{mayRead: acl.MetaRead, mayWrite: acl.MetaWrite}[r]
		}
		if list != nil {
			return list
		}
	}
	if strings.HasPrefix(subject, "$") {
		return []string{GroupAdmins}
	}
	return []string{"$all"}
}

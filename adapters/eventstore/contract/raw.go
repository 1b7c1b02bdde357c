package contract

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"math"
	"net/url"
	"os"
	"testing"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	streams "github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// raw is the protocol without the client, for what the client does not send.
func (n *node) raw(t testing.TB) (streams.StreamsClient, context.Context) {
	t.Helper()
	u, err := url.Parse(n.connectionString)
	if err != nil {
		t.Fatal(err)
	}
	ctx, _ := cancellable(t)
	creds := insecure.NewCredentials()
	if u.Query().Get("tls") != "false" {
		creds = credentials.NewTLS(clientTLS(t, u))
		password, _ := u.User.Password()
		basic := base64.StdEncoding.EncodeToString([]byte(u.User.Username() + ":" + password))
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Basic "+basic)
	}
	conn, err := grpc.NewClient(u.Host, grpc.WithTransportCredentials(creds))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return streams.NewStreamsClient(conn), ctx
}

func clientTLS(t testing.TB, u *url.URL) *tls.Config {
	config := &tls.Config{InsecureSkipVerify: u.Query().Get("tlsVerifyCert") == "false"}
	for _, key := range []string{"tlsCAFile", "tlscafile"} {
		if path := u.Query().Get(key); path != "" {
			pem, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			config.RootCAs = x509.NewCertPool()
			config.RootCAs.AppendCertsFromPEM(pem)
		}
	}
	return config
}

func named(stream string) *shared.StreamIdentifier {
	return &shared.StreamIdentifier{StreamName: []byte(stream)}
}

func message(id *shared.UUID, system map[string]string) *streams.AppendReq {
	return &streams.AppendReq{Content: &streams.AppendReq_ProposedMessage_{
		ProposedMessage: &streams.AppendReq_ProposedMessage{Id: id, Metadata: system, Data: []byte("d")}}}
}

func stringID(s string) *shared.UUID { return &shared.UUID{Value: &shared.UUID_String_{String_: s}} }

var wholeMetadata = map[string]string{"type": "k", "content-type": "application/octet-stream"}

func testInvalid(t *testing.T, n *node) {
	t.Run("append", func(t *testing.T) { testInvalidAppend(t, n) })
	t.Run("read", func(t *testing.T) { testInvalidRead(t, n) })
	t.Run("the answer to a wrong revision", func(t *testing.T) { testWrongRevisionAnswer(t, n) })
	t.Run("trailers of a deletion", func(t *testing.T) { testDeletionTrailers(t, n) })
	t.Run("ids as text", func(t *testing.T) { testTextIDs(t, n) })
}

// appendRaw sends the messages and returns the answer.
func appendRaw(t testing.TB, n *node, messages ...*streams.AppendReq) (*streams.AppendResp, metadata.MD, error) {
	t.Helper()
	c, ctx := n.raw(t)
	call, err := c.Append(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range messages {
		if call.Send(m) != nil {
			break // the reason comes with the answer
		}
	}
	resp, err := call.CloseAndRecv()
	return resp, call.Trailer(), err
}

func options(stream string) *streams.AppendReq_Options {
	return &streams.AppendReq_Options{StreamIdentifier: named(stream),
		ExpectedStreamRevision: &streams.AppendReq_Options_Any{Any: &shared.Empty{}}}
}

func withOptions(o *streams.AppendReq_Options) *streams.AppendReq {
	return &streams.AppendReq{Content: &streams.AppendReq_Options_{Options: o}}
}

func testInvalidAppend(t *testing.T, n *node) {
	good := withOptions(options(fresh("raw")))
	id := stringID(uuid.NewString())
	for _, c := range []struct {
		name      string
		messages  []*streams.AppendReq
		code      codes.Code
		exception string
	}{
		{"nothing", nil, codes.Unknown, ""},
		{"an event first", []*streams.AppendReq{message(id, wholeMetadata)}, codes.Unknown, ""},
		{"options twice", []*streams.AppendReq{good, good}, codes.Unknown, ""},
		{"no expected revision", []*streams.AppendReq{withOptions(&streams.AppendReq_Options{StreamIdentifier: named("x")})}, codes.InvalidArgument, ""},
		{"no stream name", []*streams.AppendReq{withOptions(options("")), message(id, wholeMetadata)}, codes.Unknown, ""},
		{"no type", []*streams.AppendReq{good, message(id, map[string]string{"content-type": "x"})}, codes.InvalidArgument, "missing-required-metadata-property"},
		{"no content type", []*streams.AppendReq{good, message(id, map[string]string{"type": "x"})}, codes.InvalidArgument, "missing-required-metadata-property"},
		{"empty type", []*streams.AppendReq{good, message(id, map[string]string{"type": "", "content-type": "x"})}, codes.Unknown, ""},
		{"no id", []*streams.AppendReq{good, message(nil, wholeMetadata)}, codes.Unknown, ""},
		{"zero id", []*streams.AppendReq{good, message(stringID(uuid.Nil.String()), wholeMetadata)}, codes.Unknown, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, trailers, err := appendRaw(t, n, c.messages...)
			if status.Code(err) != c.code {
				t.Errorf("%v, want %v", err, c.code)
			}
			if c.exception != "" && (len(trailers.Get("exception")) == 0 || trailers.Get("exception")[0] != c.exception) {
				t.Errorf("trailers %v, want exception %s", trailers, c.exception)
			}
		})
	}
	t.Run("too big", func(t *testing.T) {
		m := message(id, wholeMetadata)
		m.GetProposedMessage().Data = make([]byte, 1<<20)
		_, trailers, err := appendRaw(t, n, good, m)
		if status.Code(err) != codes.InvalidArgument || trailers.Get("exception")[0] != "maximum-append-size-exceeded" || trailers.Get("maximum-append-size")[0] != "1048576" {
			t.Errorf("%v %v", err, trailers)
		}
	})
}

func testWrongRevisionAnswer(t *testing.T, n *node) {
	s := fresh("raw")
	n.mustAppend(t, s, none, events(3)...)
	for _, c := range []struct {
		expected uint64
		legacy   uint64
	}{{7, 7}, {0, 0}, {math.MaxUint64, math.MaxUint64}} {
		o := options(s)
		o.ExpectedStreamRevision = &streams.AppendReq_Options_Revision{Revision: c.expected}
		resp, _, err := appendRaw(t, n, withOptions(o), message(stringID(uuid.NewString()), wholeMetadata))
		w := resp.GetWrongExpectedVersion()
		if err != nil || w == nil || w.GetCurrentRevision() != 2 || w.GetCurrentRevision_20_6_0() != 2 || w.GetExpectedRevision_20_6_0() != c.legacy {
			t.Errorf("%v %v", resp, err)
		}
		if none := w.GetExpectedNoStream() != nil; none != (c.expected == math.MaxUint64) {
			t.Errorf("expecting %d: %v", c.expected, resp)
		}
	}
}

func testDeletionTrailers(t *testing.T, n *node) {
	s := fresh("raw")
	c, ctx := n.raw(t)
	var trailers metadata.MD
	_, err := c.Delete(ctx, &streams.DeleteReq{Options: &streams.DeleteReq_Options{StreamIdentifier: named(s),
		ExpectedStreamRevision: &streams.DeleteReq_Options_Any{Any: &shared.Empty{}}}}, grpc.Trailer(&trailers))
	want := map[string]string{"exception": "wrong-expected-version", "stream-name": s, "expected-version": "-2", "actual-version": "-1"}
	if status.Code(err) != codes.FailedPrecondition {
		t.Fatal(err)
	}
	for k, v := range want {
		if got := trailers.Get(k); len(got) != 1 || got[0] != v {
			t.Errorf("trailer %s is %v, want %s", k, got, v)
		}
	}
}

func testTextIDs(t *testing.T, n *node) {
	s, id := fresh("raw"), uuid.New()
	if _, _, err := appendRaw(t, n, withOptions(options(s)), message(stringID(id.String()), wholeMetadata)); err != nil {
		t.Fatal(err)
	}
	c, ctx := n.raw(t)
	call, err := c.Read(ctx, &streams.ReadReq{Options: &streams.ReadReq_Options{
		StreamOption: &streams.ReadReq_Options_Stream{Stream: &streams.ReadReq_Options_StreamOptions{StreamIdentifier: named(s),
			RevisionOption: &streams.ReadReq_Options_StreamOptions_Start{Start: &shared.Empty{}}}},
		CountOption:  &streams.ReadReq_Options_Count{Count: 1},
		FilterOption: &streams.ReadReq_Options_NoFilter{NoFilter: &shared.Empty{}},
		UuidOption:   &streams.ReadReq_Options_UUIDOption{Content: &streams.ReadReq_Options_UUIDOption_String_{String_: &shared.Empty{}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	resp, err := call.Recv()
	if err != nil || resp.GetEvent().GetEvent().GetId().GetString_() != id.String() {
		t.Errorf("%v %v", resp, err)
	}
}

func testInvalidRead(t *testing.T, n *node) {
	structured := &streams.ReadReq_Options_UUIDOption{Content: &streams.ReadReq_Options_UUIDOption_Structured{Structured: &shared.Empty{}}}
	all := &streams.ReadReq_Options_All{All: &streams.ReadReq_Options_AllOptions{
		AllOption: &streams.ReadReq_Options_AllOptions_Start{Start: &shared.Empty{}}}}
	one := &streams.ReadReq_Options_Count{Count: 1}
	for _, c := range []struct {
		name    string
		options *streams.ReadReq_Options
		code    codes.Code
	}{
		{"no form of ids", &streams.ReadReq_Options{StreamOption: all, CountOption: one}, codes.InvalidArgument},
		{"no stream", &streams.ReadReq_Options{UuidOption: structured, CountOption: one}, codes.InvalidArgument},
		{"a subscription backwards", &streams.ReadReq_Options{UuidOption: structured, StreamOption: all,
			FilterOption:  &streams.ReadReq_Options_NoFilter{NoFilter: &shared.Empty{}},
			CountOption:   &streams.ReadReq_Options_Subscription{Subscription: &streams.ReadReq_Options_SubscriptionOptions{}},
			ReadDirection: streams.ReadReq_Options_Backwards}, codes.InvalidArgument},
		{"commit before prepare", &streams.ReadReq_Options{UuidOption: structured, CountOption: one,
			FilterOption: &streams.ReadReq_Options_NoFilter{NoFilter: &shared.Empty{}},
			StreamOption: &streams.ReadReq_Options_All{All: &streams.ReadReq_Options_AllOptions{
				AllOption: &streams.ReadReq_Options_AllOptions_Position{
					Position: &streams.ReadReq_Options_Position{CommitPosition: 1, PreparePosition: 2}}}}}, codes.Unknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			client, ctx := n.raw(t)
			call, err := client.Read(ctx, &streams.ReadReq{Options: c.options})
			if err == nil {
				_, err = call.Recv()
			}
			if status.Code(err) != c.code {
				t.Errorf("%v, want %v", err, c.code)
			}
		})
	}
}

package contract

import (
	"testing"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	streams "github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/google/uuid"
	rpccode "google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/protobuf/types/known/emptypb"
)

// testBatchAppend: several appends on one call, each with an outcome of its own.
func testBatchAppend(t *testing.T, n *node) {
	c, ctx := n.raw(t)
	call, err := c.BatchAppend(ctx)
	if err != nil {
		t.Fatal(err)
	}
	stream, dead := fresh("batch"), fresh("batch")
	n.mustTombstone(t, dead, none)
	proposed := func(size int) *streams.BatchAppendReq_ProposedMessage {
		return &streams.BatchAppendReq_ProposedMessage{Id: stringID(uuid.NewString()), Metadata: wholeMetadata, Data: make([]byte, size)}
	}
	noStream := func(name string) *streams.BatchAppendReq_Options {
		return &streams.BatchAppendReq_Options{StreamIdentifier: named(name),
			ExpectedStreamPosition: &streams.BatchAppendReq_Options_NoStream{NoStream: &emptypb.Empty{}}}
	}
	for _, step := range []struct {
		name     string
		stream   string
		messages []int // sizes; the first half travels in a message of its own
		failure  rpccode.Code
	}{
		{"in two messages", stream, []int{10, 20}, rpccode.Code_OK},
		{"wrong revision", stream, []int{10}, rpccode.Code_ALREADY_EXISTS},
		{"tombstoned", dead, []int{10}, rpccode.Code_NOT_FOUND},
		{"too big", fresh("batch"), []int{1 << 19, 1 << 19}, rpccode.Code_INVALID_ARGUMENT},
	} {
		id := stringID(uuid.NewString())
		first := &streams.BatchAppendReq{CorrelationId: id, Options: noStream(step.stream)}
		second := &streams.BatchAppendReq{CorrelationId: id, IsFinal: true}
		for i, size := range step.messages {
			if i == 0 {
				first.ProposedMessages = append(first.ProposedMessages, proposed(size))
			} else {
				second.ProposedMessages = append(second.ProposedMessages, proposed(size))
			}
		}
		for _, m := range []*streams.BatchAppendReq{first, second} {
			if err := call.Send(m); err != nil {
				t.Fatal(err)
			}
		}
		resp, err := call.Recv()
		if err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if string(resp.GetStreamIdentifier().GetStreamName()) != step.stream || !sameID(resp.GetCorrelationId(), id) {
			t.Errorf("%s: answer is about %v", step.name, resp)
		}
		if got := rpccode.Code(resp.GetError().GetCode()); got != step.failure {
			t.Errorf("%s: %v, want %v", step.name, got, step.failure)
		}
		if s := resp.GetSuccess(); step.failure == rpccode.Code_OK && (s.GetCurrentRevision() != 1 || s.GetPosition().GetCommitPosition() == 0) {
			t.Errorf("%s: %v", step.name, resp)
		}
	}
	n.expectRevisions(t, stream, 0, 1)
}

// sameID: a server may answer in the other form.
func sameID(a, b *shared.UUID) bool { return idText(a) == idText(b) }

func idText(u *shared.UUID) string {
	if s := u.GetStructured(); s != nil {
		var id uuid.UUID
		for i := range 8 {
			id[i] = byte(uint64(s.MostSignificantBits) >> (56 - 8*i))
			id[8+i] = byte(uint64(s.LeastSignificantBits) >> (56 - 8*i))
		}
		return id.String()
	}
	return u.GetString_()
}

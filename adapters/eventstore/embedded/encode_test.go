package embedded

import (
	"testing"

	streams "github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"kiroku/adapters/eventstore/embedded/internal/journal"
)

// TestEncodedEvent: what is written directly decodes to what the schema means by it.
func TestEncodedEvent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := journal.Event{
			Stream:   rapid.StringN(1, 300, -1).Draw(t, "stream"),
			Revision: rapid.Int64Min(0).Draw(t, "revision"),
			Position: rapid.Uint64Min(1).Draw(t, "position"),
			ID:       uuid.UUID(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id")),
			Type:     rapid.StringN(1, 300, -1).Draw(t, "type"),
			JSON:     rapid.Bool().Draw(t, "json"),
			Created:  rapid.Int64Min(0).Draw(t, "created"),
			Metadata: rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "metadata"),
			Data:     rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "data"),
		}
		stringIDs := rapid.Bool().Draw(t, "string ids")
		var resp streams.ReadResp
		if err := proto.Unmarshal(readEvent(&e, &e, e.Position, stringIDs), &resp); err != nil {
			t.Fatal(err)
		}
		if resp.GetEvent().GetCommitPosition() != e.Position || !proto.Equal(resp.GetEvent().Event, resp.GetEvent().Link) {
			t.Fatalf("%v", &resp)
		}
		got := resp.GetEvent().Event
		id, ok := parseID(got.Id)
		content := map[bool]string{true: "application/json", false: "application/octet-stream"}[e.JSON]
		if id != e.ID || ok != (e.ID != uuid.Nil) || (got.Id.GetStructured() == nil) != stringIDs ||
			string(got.StreamIdentifier.StreamName) != e.Stream || got.StreamRevision != uint64(e.Revision) ||
			got.PreparePosition != e.Position || got.CommitPosition != e.Position ||
			got.Metadata["type"] != e.Type || got.Metadata["content-type"] != content || len(got.Metadata) != 3 ||
			string(got.CustomMetadata) != string(e.Metadata) || string(got.Data) != string(e.Data) {
			t.Fatalf("%v came back as %v", e, got)
		}
	})
}

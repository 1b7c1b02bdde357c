package embedded

import (
	"encoding/binary"
	"strconv"

	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // registers the codec that this one extends
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"

	"kiroku/adapters/eventstore/embedded/internal/journal"
)

// Events are most of what a server sends. Building a ReadResp with its map for each and
// marshalling it by reflection cost more than reading it from the disk, so responses
// with an event are written directly.

// encoded is a response that is already in its wire form.
type encoded []byte

// codec is the ordinary one, except that it lets encoded pass.
type codec struct{ encoding.CodecV2 }

func newCodec() codec { return codec{encoding.GetCodecV2("proto")} }

func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	if e, ok := v.(encoded); ok {
		return mem.BufferSlice{mem.SliceBuffer(e)}, nil
	}
	return c.CodecV2.Marshal(v)
}

// Field numbers of streams.proto and shared.proto.
const (
	respEvent        = 1 // ReadResp.event
	eventEvent       = 1 // ReadEvent.event
	eventLink        = 2
	eventCommit      = 3
	recordedID       = 1 // RecordedEvent.id
	recordedStream   = 2
	recordedRevision = 3
	recordedPrepare  = 4
	recordedCommit   = 5
	recordedSystem   = 6
	recordedCustom   = 7
	recordedData     = 8
	idStructured     = 1
	idString         = 2
	idMost           = 1
	idLeast          = 2
	identifierName   = 3
	mapKey           = 1
	mapValue         = 2
)

// readEvent encodes a response with an event, a link, or both; nil leaves one out.
func readEvent(event, link *journal.Event, commit uint64, stringIDs bool) encoded {
	size := 32
	for _, e := range []*journal.Event{event, link} {
		if e != nil {
			size += 192 + len(e.Stream) + len(e.Type) + len(e.Metadata) + len(e.Data)
		}
	}
	// Lengths come before contents: leave room for the outer prefix, then fill it in.
	const room = 1 + binary.MaxVarintLen64
	b := make([]byte, room, room+size)
	if event != nil {
		b = appendMessage(b, eventEvent, func(b []byte) []byte { return appendRecorded(b, event, stringIDs) })
	}
	if link != nil {
		b = appendMessage(b, eventLink, func(b []byte) []byte { return appendRecorded(b, link, stringIDs) })
	}
	b = protowire.AppendVarint(protowire.AppendTag(b, eventCommit, protowire.VarintType), commit)
	var prefix [room]byte
	p := protowire.AppendTag(prefix[:0], respEvent, protowire.BytesType)
	p = protowire.AppendVarint(p, uint64(len(b)-room))
	start := room - len(p)
	copy(b[start:], p)
	return b[start:]
}

// appendMessage writes a nested message whose length is known only afterwards.
func appendMessage(b []byte, field protowire.Number, body func([]byte) []byte) []byte {
	const room = 4 // a length below 2^28 in four octets, padded as protobuf allows
	b = protowire.AppendTag(b, field, protowire.BytesType)
	at := len(b)
	b = body(append(b, 0, 0, 0, 0))
	n := len(b) - at - room
	for i := range room {
		b[at+i] = byte(n>>(7*i))&0x7f | 0x80
	}
	b[at+room-1] &= 0x7f
	return b
}

func appendRecorded(b []byte, e *journal.Event, stringIDs bool) []byte {
	b = appendMessage(b, recordedID, func(b []byte) []byte { return appendID(b, e, stringIDs) })
	b = appendMessage(b, recordedStream, func(b []byte) []byte { return appendText(b, identifierName, e.Stream) })
	b = appendNumber(b, recordedRevision, uint64(e.Revision))
	b = appendNumber(b, recordedPrepare, e.Position)
	b = appendNumber(b, recordedCommit, e.Position)
	content := "application/octet-stream"
	if e.JSON {
		content = "application/json"
	}
	var ticks [20]byte
	b = appendPair(b, "type", e.Type)
	b = appendPair(b, "created", string(strconv.AppendInt(ticks[:0], e.Created, 10)))
	b = appendPair(b, "content-type", content)
	b = protowire.AppendBytes(protowire.AppendTag(b, recordedCustom, protowire.BytesType), e.Metadata)
	return protowire.AppendBytes(protowire.AppendTag(b, recordedData, protowire.BytesType), e.Data)
}

func appendID(b []byte, e *journal.Event, asString bool) []byte {
	if asString {
		return appendText(b, idString, e.ID.String())
	}
	return appendMessage(b, idStructured, func(b []byte) []byte {
		b = appendNumber(b, idMost, binary.BigEndian.Uint64(e.ID[:8]))
		return appendNumber(b, idLeast, binary.BigEndian.Uint64(e.ID[8:]))
	})
}

func appendNumber(b []byte, field protowire.Number, n uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), n)
}

func appendText(b []byte, field protowire.Number, text string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), text)
}

func appendPair(b []byte, key, value string) []byte {
	return appendMessage(b, recordedSystem, func(b []byte) []byte {
		return appendText(appendText(b, mapKey, key), mapValue, value)
	})
}

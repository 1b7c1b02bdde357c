package journal

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/uuid"
)

// FuzzRecord: bytes that are not a record are refused, those that are keep their content.
func FuzzRecord(f *testing.F) {
	p := Proposed{ID: uuid.New(), Type: "type", JSON: true, Metadata: []byte("m"), Data: []byte("d")}
	whole := make([]byte, recordLen("stream", &p))
	putRecord(whole, "stream", 7, 1, &p)
	f.Add(whole)
	f.Add(whole[:recordFixed])
	f.Add(append(bytes.Clone(whole[:recordFixed]), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := decodeRecord(1, b)
		if err != nil {
			if !errors.Is(err, errCorrupt) {
				t.Fatalf("%v does not say corrupt", err)
			}
			return
		}
		p := Proposed{ID: e.ID, Type: e.Type, JSON: e.JSON, Metadata: e.Metadata, Data: e.Data}
		again := make([]byte, recordLen(e.Stream, &p))
		putRecord(again, e.Stream, e.Revision, e.Created, &p)
		e2, err := decodeRecord(1, again)
		if err != nil || e2.Stream != e.Stream || e2.Type != e.Type || !bytes.Equal(e2.Data, e.Data) || !bytes.Equal(e2.Metadata, e.Metadata) {
			t.Fatalf("%+v came back as %+v, %v", e, e2, err)
		}
	})
}

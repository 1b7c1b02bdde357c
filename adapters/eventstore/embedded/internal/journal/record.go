package journal

import (
	"encoding/binary"
	"fmt"
	"unicode/utf16"
)

// A record is
//
//	created ticks (8) · revision (8) · id (16) · flags (1) ·
//	uvarint length and bytes of: stream, type, metadata · data (the rest)
const recordFixed = 8 + 8 + 16 + 1

const flagJSON = 1

// Size is what the event counts towards MaxAppendBytes: its data, its metadata and its
// type in UTF-16.
func (p *Proposed) Size() int {
	units := 0
	for _, r := range p.Type {
		units += max(1, utf16.RuneLen(r))
	}
	return len(p.Data) + len(p.Metadata) + 2*units
}

func uvarintLen(n int) int {
	l := 1
	for ; n >= 0x80; n >>= 7 {
		l++
	}
	return l
}

func recordLen(stream string, p *Proposed) int {
	return recordFixed + uvarintLen(len(stream)) + len(stream) + uvarintLen(len(p.Type)) + len(p.Type) +
		uvarintLen(len(p.Metadata)) + len(p.Metadata) + len(p.Data)
}

// putRecord fills dst, which is recordLen bytes long.
func putRecord(dst []byte, stream string, revision, created int64, p *Proposed) {
	binary.BigEndian.PutUint64(dst, uint64(created))
	binary.BigEndian.PutUint64(dst[8:], uint64(revision))
	copy(dst[16:], p.ID[:])
	dst[32] = 0
	if p.JSON {
		dst[32] = flagJSON
	}
	n := recordFixed
	n += binary.PutUvarint(dst[n:], uint64(len(stream)))
	n += copy(dst[n:], stream)
	n += binary.PutUvarint(dst[n:], uint64(len(p.Type)))
	n += copy(dst[n:], p.Type)
	n += binary.PutUvarint(dst[n:], uint64(len(p.Metadata)))
	n += copy(dst[n:], p.Metadata)
	copy(dst[n:], p.Data)
}

// recordRevision reads the one field that skipping needs.
func recordRevision(value []byte) (int64, error) {
	if len(value) < recordFixed {
		return 0, fmt.Errorf("record of %d bytes: %w", len(value), errCorrupt)
	}
	return int64(binary.BigEndian.Uint64(value[8:])), nil
}

// decodeRecord copies value, which the iterator will overwrite.
func decodeRecord(position uint64, value []byte) (Event, error) {
	revision, err := recordRevision(value)
	if err != nil {
		return Event{}, fmt.Errorf("position %d: %w", position, err)
	}
	e := Event{
		Position: position,
		Revision: revision,
		Created:  int64(binary.BigEndian.Uint64(value)),
		JSON:     value[32]&flagJSON != 0,
	}
	copy(e.ID[:], value[16:])
	rest := append([]byte(nil), value[recordFixed:]...)
	field := func() []byte {
		n, w := binary.Uvarint(rest)
		if err != nil || w <= 0 || n > uint64(len(rest)-w) {
			err = fmt.Errorf("record at position %d: %w", position, errCorrupt)
			return nil
		}
		f := rest[w : w+int(n) : w+int(n)]
		rest = rest[w+int(n):]
		return f
	}
	e.Stream, e.Type, e.Metadata = string(field()), string(field()), field()
	e.Data = rest
	return e, err
}

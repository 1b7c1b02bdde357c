package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// The key space. Events lie under their positions, so the log is written and compacted
// in the order it grows and an append's events are neighbours; a stream's index has one
// entry an append, not one an event.
//
//	e position                         → record (record.go)
//	h stream                           → last revision, tombstone flag
//	m name                             → a counter of the journal
//	s len(stream) stream firstRevision → run
//
// Integers are big-endian, so that they sort.
const (
	spaceEvent  = 'e'
	spaceHead   = 'h'
	spaceMeta   = 'm'
	spaceStream = 's'
)

var (
	keyNextPosition = []byte("mnext")
	keyScavenged    = []byte("mscavenged")
	keyVersion      = []byte("mversion")
)

// layoutVersion of the key space; another one on the disk is refused.
const layoutVersion = 1

// firstPosition: positions are above zero, because clients take zero for "none".
const firstPosition = 1

func eventKey(position uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{spaceEvent}, position)
}

func headKey(stream string) []byte {
	return append([]byte{spaceHead}, stream...)
}

func streamPrefix(stream string) []byte {
	k := make([]byte, 0, 1+4+len(stream)+8)
	k = append(k, spaceStream)
	k = binary.BigEndian.AppendUint32(k, uint32(len(stream)))
	return append(k, stream...)
}

func runKey(stream string, first int64) []byte {
	return binary.BigEndian.AppendUint64(streamPrefix(stream), uint64(first))
}

// run is the place of one append's events: consecutive revisions of one stream, at
// consecutive records of the log.
type run struct {
	first int64 // revision, from the key
	count uint32
	from  uint64 // position of the first event
	to    uint64 // position of the last event
}

func (r run) last() int64 { return r.first + int64(r.count) - 1 }

const runBytes = 4 + 8 + 8

func (r run) encode() []byte {
	b := binary.BigEndian.AppendUint32(make([]byte, 0, runBytes), r.count)
	b = binary.BigEndian.AppendUint64(b, r.from)
	return binary.BigEndian.AppendUint64(b, r.to)
}

func decodeRun(key, value []byte) (run, error) {
	if len(key) < 8 || len(value) != runBytes {
		return run{}, fmt.Errorf("stream index entry of %d bytes: %w", len(value), errCorrupt)
	}
	return run{
		first: int64(binary.BigEndian.Uint64(key[len(key)-8:])),
		count: binary.BigEndian.Uint32(value),
		from:  binary.BigEndian.Uint64(value[4:]),
		to:    binary.BigEndian.Uint64(value[12:]),
	}, nil
}

// errCorrupt: the bytes on the disk are not what this package writes.
var errCorrupt = errors.New("event journal is corrupt")

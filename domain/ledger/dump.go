package ledger

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"iter"
	"strconv"

	"github.com/google/uuid"
)

// maxDumpLine is the longest line of a dump in bytes: payload and metadata in
// base64, and the names.
const maxDumpLine = 4 << 20

// ErrDump is wrapped by errors about a dump line that is not exactly as
// FORMAT.md describes it.
var ErrDump = errors.New("malformed dump line")

// The fixed text of a dump line around its six values.
const (
	dumpStream   = `{"stream":"`
	dumpRevision = `","revision":`
	dumpID       = `,"id":"`
	dumpType     = `","type":"`
	dumpData     = `","data":"`
	dumpMetadata = `","metadata":"`
	dumpEnd      = `"}`
)

// AppendDumpLine appends the event as one line of JSON with its newline. Names
// outside the format's alphabet are refused with [ErrName]: no ledger event has
// one.
func AppendDumpLine(dst []byte, e Event) ([]byte, error) {
	if err := checkDumpable(&e); err != nil {
		return dst, err
	}
	dst = append(append(dst, dumpStream...), e.Stream...)
	dst = strconv.AppendUint(append(dst, dumpRevision...), e.Revision, 10)
	dst = append(append(dst, dumpID...), e.ID.String()...)
	dst = append(append(dst, dumpType...), e.Type...)
	dst = base64.StdEncoding.AppendEncode(append(dst, dumpData...), e.Data)
	dst = base64.StdEncoding.AppendEncode(append(dst, dumpMetadata...), e.Metadata)
	return append(append(dst, dumpEnd...), '\n'), nil
}

func checkDumpable(e *Event) error {
	if err := checkStream(e.Stream); err != nil {
		return err
	}
	if err := checkName("event type", e.Type, MaxTypeName); err != nil {
		return err
	}
	if e.Revision > maxUint {
		return fmt.Errorf("revision %d above 2^53-1: %w", e.Revision, ErrDump)
	}
	return nil
}

// ParseDumpLine reads one line without its newline. There is one way to write
// an event; every other is refused with [ErrDump], because two readers could
// take it for different events.
func ParseDumpLine(line []byte) (Event, error) {
	var e Event
	rest := line
	stream, rest, ok1 := cutValue(rest, dumpStream, dumpRevision)
	revision, rest, ok2 := cutValue(rest, "", dumpID)
	id, rest, ok3 := cutValue(rest, "", dumpType)
	typ, rest, ok4 := cutValue(rest, "", dumpData)
	data, rest, ok5 := cutValue(rest, "", dumpMetadata)
	meta, rest, ok6 := cutValue(rest, "", dumpEnd)
	if !(ok1 && ok2 && ok3 && ok4 && ok5 && ok6) || len(rest) > 0 {
		return Event{}, fmt.Errorf("not the six fields of an event in their order: %w", ErrDump)
	}
	var err error
	e.Stream, e.Type = string(stream), string(typ)
	if e.Revision, err = strconv.ParseUint(string(revision), 10, 53); err != nil || strconv.FormatUint(e.Revision, 10) != string(revision) {
		return Event{}, fmt.Errorf("revision %q: %w", revision, ErrDump)
	}
	if e.ID, err = uuid.ParseBytes(id); err != nil || e.ID.String() != string(id) {
		return Event{}, fmt.Errorf("id %q: %w", id, ErrDump)
	}
	if e.Data, err = decodeBase64(data); err != nil {
		return Event{}, fmt.Errorf("data: %w", err)
	}
	if e.Metadata, err = decodeBase64(meta); err != nil {
		return Event{}, fmt.Errorf("metadata: %w", err)
	}
	if err := checkDumpable(&e); err != nil {
		return Event{}, fmt.Errorf("%w: %w", ErrDump, err)
	}
	return e, nil
}

// cutValue strips opening and returns what stands before closing.
func cutValue(b []byte, opening, closing string) (value, rest []byte, ok bool) {
	b, found := bytes.CutPrefix(b, []byte(opening))
	if !found {
		return nil, nil, false
	}
	return bytes.Cut(b, []byte(closing))
}

// strictBase64 refuses set bits in the padding; line breaks, which it would
// skip, fail the length check of decodeBase64.
var strictBase64 = base64.StdEncoding.Strict()

func decodeBase64(text []byte) ([]byte, error) {
	out := make([]byte, strictBase64.DecodedLen(len(text)))
	n, err := strictBase64.Decode(out, text)
	if err != nil || strictBase64.EncodedLen(n) != len(text) {
		return nil, fmt.Errorf("not base64 with padding: %w", ErrDump)
	}
	return out[:n], nil
}

// ReadDump yields the events of a dump, one line each. It ends with the first
// error, which names the line (from 1): a malformed or overlong line, a last
// line without newline ([ErrDump] in both cases), or an error of r.
func ReadDump(r io.Reader) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		in := bufio.NewReaderSize(r, maxDumpLine)
		for number := 1; ; number++ {
			line, err := in.ReadSlice('\n')
			if errors.Is(err, io.EOF) && len(line) == 0 {
				return
			}
			e, err := dumpLine(line, err)
			if err != nil {
				yield(Event{}, fmt.Errorf("line %d of the dump: %w", number, err))
				return
			}
			if !yield(e, nil) {
				return
			}
		}
	}
}

func dumpLine(line []byte, err error) (Event, error) {
	switch {
	case errors.Is(err, io.EOF):
		return Event{}, fmt.Errorf("ends without a newline: %w", ErrDump)
	case errors.Is(err, bufio.ErrBufferFull):
		return Event{}, fmt.Errorf("longer than %d bytes: %w", maxDumpLine, ErrDump)
	case err != nil:
		return Event{}, err
	}
	return ParseDumpLine(line[:len(line)-1])
}

package backup

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/google/uuid"

	"kiroku/domain/event"
	"kiroku/domain/ledger"
)

// Version of the form of a backup.
const Version = 1

// ManifestFile is the name of the manifest in the folder of a backup.
const ManifestFile = "manifest.jsonl"

// maxManifest bounds the manifest, in bytes: some 500,000 segments.
const maxManifest = 256 << 20

// Plan is what a backup is to hold, fixed when it is begun.
type Plan struct {
	Version    int       `json:"kiroku_backup"`
	ID         uuid.UUID `json:"id"`
	Ledger     string    `json:"ledger"`     // see ledger.LedgerID
	Anchor     Anchor    `json:"anchor"`     // the one that names the heads
	Streams    []Range   `json:"streams"`    // registry first
	Recipients []string  `json:"recipients"` // fingerprints, sorted
	Begun      time.Time `json:"begun"`
}

// Anchor is where an anchor stands in the registry.
type Anchor struct {
	Revision uint64    `json:"revision"`
	Leaf     string    `json:"leaf"` // 64 hexadecimal digits
	Time     time.Time `json:"time"`
}

// Range is what of a stream a backup holds.
type Range struct {
	Stream string `json:"stream"`
	First  uint64 `json:"first"` // first revision, above 0 where what came before was truncated ($tb)
	Next   uint64 `json:"next"`  // after the last
	Leaf   string `json:"leaf"`  // leaf hash of the last, 64 hexadecimal digits
}

// Segment is one file of a backup.
type Segment struct {
	Number int    `json:"segment"` // from 1, without a gap
	Stream string `json:"stream"`
	First  uint64 `json:"first"`
	Next   uint64 `json:"next"`
	Size   int64  `json:"size"`   // in bytes, as encrypted
	SHA256 string `json:"sha256"` // of the file, 64 hexadecimal digits
}

// File is the segment's name in the folder.
func (s Segment) File() string { return fmt.Sprintf("segment-%06d.age", s.Number) }

// End is the last line of a finished backup.
type End struct {
	Segments int       `json:"segments"`
	Events   uint64    `json:"events"`
	Bytes    int64     `json:"bytes"` // of all segments
	Finished time.Time `json:"finished"`
}

// Manifest describes a backup.
type Manifest struct {
	Plan     Plan
	Segments []Segment
	End      *End   // nil: not finished
	Digest   string // chain of the last line, 64 hexadecimal digits: it names exactly this manifest
}

const chainMember = `,"chain":"`

// chain is the running hash of a manifest's lines.
type chain [sha256.Size]byte

func (c chain) String() string { return hex.EncodeToString(c[:]) }

// line encodes v as the next line, with its newline.
func (c *chain) line(v any) ([]byte, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("writing the manifest: %w", err)
	}
	*c = sha256.Sum256(append(c[:], body...))
	text := append(body[:len(body)-1], chainMember...)
	return append(append(text, c.String()...), "\"}\n"...), nil
}

// parse checks a line without its newline and returns its JSON without the
// chain.
func (c *chain) parse(line []byte) ([]byte, bool) {
	i := bytes.LastIndex(line, []byte(chainMember))
	if i < 0 {
		return nil, false
	}
	body := append(bytes.Clone(line[:i]), '}')
	next := chain(sha256.Sum256(append(c[:], body...)))
	if string(line[i+len(chainMember):]) != next.String()+`"}` {
		return nil, false
	}
	*c = next
	return body, true
}

// parseManifest reads a manifest. An unfinished one may end in half a line, by
// which it was cut off: whole is how many bytes are good.
func parseManifest(text []byte) (m Manifest, c chain, whole int, err error) {
	number := 0
	for line := range bytes.Lines(text) {
		number++
		if line[len(line)-1] != '\n' {
			if m.End == nil && number > 1 {
				return m, c, whole, nil
			}
			return m, c, whole, damaged(ManifestFile, "line %d is cut off", number)
		}
		if m.End != nil {
			return m, c, whole, damaged(ManifestFile, "line %d comes after the end", number)
		}
		body, ok := c.parse(line[:len(line)-1])
		if !ok {
			return m, c, whole, damaged(ManifestFile, "line %d is not as it was written (its hash is another)", number)
		}
		if err := m.take(number, body); err != nil {
			return m, c, whole, err
		}
		whole += len(line)
	}
	if number == 0 {
		return m, c, 0, damaged(ManifestFile, "it is empty")
	}
	m.Digest = c.String()
	return m, c, whole, nil
}

func (m *Manifest) take(number int, body []byte) error {
	var err error
	switch {
	case number == 1:
		if err = decode(body, &m.Plan); err == nil {
			err = m.Plan.check()
		}
	case bytes.HasPrefix(body, []byte(`{"segments":`)):
		m.End = &End{}
		if err = decode(body, m.End); err == nil {
			err = m.checkEnd()
		}
	default:
		var s Segment
		if err = decode(body, &s); err == nil {
			err = m.checkSegment(s)
		}
		m.Segments = append(m.Segments, s)
	}
	if err != nil {
		return damaged(ManifestFile, "line %d: %v", number, err)
	}
	return nil
}

func decode(body []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("text after the end")
	}
	return nil
}

func (p Plan) check() error {
	if p.Version != Version {
		return fmt.Errorf("it has the form %d of a backup, and this kiroku knows form %d", p.Version, Version)
	}
	if p.ID == uuid.Nil || len(p.Recipients) == 0 || len(p.Streams) == 0 || p.Streams[0].Stream != event.StreamRegistry {
		return errors.New("the plan lacks its id, its recipients or its streams")
	}
	seen := map[string]bool{}
	for _, r := range p.Streams {
		if seen[r.Stream] || r.Stream == "" || r.First >= r.Next {
			return fmt.Errorf("stream %q from %d to %d is no range", r.Stream, r.First, r.Next)
		}
		seen[r.Stream] = true
	}
	_, err := p.Heads()
	return err
}

// checkSegment holds the segments to the plan: stream after stream, without a gap.
func (m *Manifest) checkSegment(s Segment) error {
	stream, first, ok := m.position()
	switch {
	case !ok:
		return errors.New("a segment beyond the plan")
	case s.Number != len(m.Segments)+1:
		return fmt.Errorf("segment %d stands where segment %d belongs", s.Number, len(m.Segments)+1)
	case s.Stream != stream.Stream || s.First != first || s.Next <= first || s.Next > stream.Next:
		return fmt.Errorf("segment %d holds %s from %d to %d, where %s from %d to at most %d belongs", s.Number, s.Stream, s.First, s.Next, stream.Stream, first, stream.Next)
	case s.Size <= 0 || len(s.SHA256) != hex.EncodedLen(sha256.Size):
		return fmt.Errorf("segment %d has no size or hash", s.Number)
	}
	return nil
}

// position is where the next segment begins; false if there is none.
func (m *Manifest) position() (r Range, first uint64, ok bool) {
	if len(m.Segments) == 0 {
		r = m.Plan.Streams[0]
		return r, r.First, true
	}
	last := m.Segments[len(m.Segments)-1]
	i := slices.IndexFunc(m.Plan.Streams, func(r Range) bool { return r.Stream == last.Stream })
	if last.Next < m.Plan.Streams[i].Next {
		return m.Plan.Streams[i], last.Next, true
	}
	if i+1 == len(m.Plan.Streams) {
		return Range{}, 0, false
	}
	r = m.Plan.Streams[i+1]
	return r, r.First, true
}

func (m *Manifest) checkEnd() error {
	if _, _, more := m.position(); more {
		return errors.New("it ends before the plan does")
	}
	events, size := m.totals()
	if m.End.Segments != len(m.Segments) || m.End.Events != events || m.End.Bytes != size {
		return errors.New("the end counts other segments than there are")
	}
	return nil
}

func (m *Manifest) totals() (events uint64, size int64) {
	for _, s := range m.Segments {
		events += s.Next - s.First
		size += s.Size
	}
	return events, size
}

// Heads are the plan's heads in the form of a heads file.
func (p Plan) Heads() (ledger.Heads, error) {
	h := ledger.Heads{Ledger: p.Ledger, Time: p.Anchor.Time}
	for _, r := range p.Streams {
		leaf, err := hex.DecodeString(r.Leaf)
		if err != nil || len(leaf) != len(ledger.Hash{}) {
			return h, fmt.Errorf("the leaf hash of %s is not 64 hexadecimal digits", r.Stream)
		}
		h.Heads = append(h.Heads, ledger.AnchoredHead{Stream: r.Stream, Count: r.Next, Leaf: ledger.Hash(leaf)})
	}
	ledger.SortHeads(h.Heads)
	_, err := h.Encode()
	return h, err
}

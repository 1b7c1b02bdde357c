package ledger

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// Heads is the heads file: what an auditor keeps outside the ledger, to notice
// later that a tail was cut off or an older copy put in its place.
type Heads struct {
	Ledger string         // leaf hash of registry/0 in hexadecimal, see [LedgerID]
	Heads  []AnchoredHead // sorted by stream, bytewise; none twice
	Time   time.Time      // when the heads were read, UTC, whole microseconds
}

// LedgerID names a ledger: the leaf hash of the first event of its registry.
func LedgerID(first Hash) string { return first.String() }

// ErrHeads is wrapped by errors about a heads file that is not exactly as
// FORMAT.md describes it.
var ErrHeads = errors.New("malformed heads file")

const timeLayout = "2006-01-02T15:04:05.000000Z"

type headsJSON struct {
	Ledger string     `json:"ledger"`
	Heads  []headJSON `json:"heads"`
	Time   string     `json:"time"`
}

type headJSON struct {
	Stream string `json:"stream"`
	Count  uint64 `json:"count"`
	Leaf   string `json:"leaf"`
}

// Encode writes the file, indented JSON with a final newline.
func (h Heads) Encode() ([]byte, error) {
	if err := h.check(); err != nil {
		return nil, err
	}
	out := headsJSON{Ledger: h.Ledger, Heads: make([]headJSON, len(h.Heads)), Time: h.Time.UTC().Format(timeLayout)}
	for i, head := range h.Heads {
		out.Heads[i] = headJSON{Stream: head.Stream, Count: head.Count, Leaf: head.Leaf.String()}
	}
	b, err := json.MarshalIndent(out, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encoding the heads file: %w", err)
	}
	return append(b, '\n'), nil
}

func (h Heads) check() error {
	if _, err := parseHash(h.Ledger); err != nil {
		return fmt.Errorf("ledger id %q: %w", h.Ledger, err)
	}
	if _, err := microseconds(h.Time); err != nil {
		return fmt.Errorf("%w: %w", ErrHeads, err)
	}
	if err := checkHeads(h.Heads); err != nil {
		return fmt.Errorf("%w: %w", ErrHeads, err)
	}
	return nil
}

// ParseHeads reads a heads file; white space is free, all else is as Encode
// writes it. Errors wrap [ErrHeads].
func ParseHeads(file []byte) (Heads, error) {
	var in headsJSON
	d := json.NewDecoder(bytes.NewReader(file))
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		return Heads{}, fmt.Errorf("%w: %w", ErrHeads, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Heads{}, fmt.Errorf("text after the end: %w", ErrHeads)
	}
	h := Heads{Ledger: in.Ledger, Heads: make([]AnchoredHead, len(in.Heads))}
	var err error
	if h.Time, err = time.Parse(timeLayout, in.Time); err != nil {
		return Heads{}, fmt.Errorf("time %q: %w", in.Time, ErrHeads)
	}
	for i, head := range in.Heads {
		leaf, err := parseHash(head.Leaf)
		if err != nil {
			return Heads{}, fmt.Errorf("leaf of stream %q: %w", head.Stream, err)
		}
		h.Heads[i] = AnchoredHead{Stream: head.Stream, Count: head.Count, Leaf: leaf}
	}
	return h, h.checkForm(file)
}

// checkForm refuses what the JSON decoder is lenient about: fields twice, in
// another order or in capitals.
func (h Heads) checkForm(file []byte) error {
	canonical, err := h.Encode()
	if err != nil {
		return err
	}
	var got, want bytes.Buffer
	if err := errors.Join(json.Compact(&got, file), json.Compact(&want, canonical)); err != nil {
		return fmt.Errorf("%w: %w", ErrHeads, err)
	}
	if !bytes.Equal(got.Bytes(), want.Bytes()) {
		return fmt.Errorf("not the fields of a heads file in their order: %w", ErrHeads)
	}
	return nil
}

// parseHash accepts 64 lower-case hexadecimal digits.
func parseHash(s string) (Hash, error) {
	var h Hash
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(h) {
		return Hash{}, fmt.Errorf("expected 64 hexadecimal digits: %w", ErrHeads)
	}
	copy(h[:], b)
	if h.String() != s {
		return Hash{}, fmt.Errorf("expected lower-case digits: %w", ErrHeads)
	}
	return h, nil
}

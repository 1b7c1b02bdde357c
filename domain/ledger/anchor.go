package ledger

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// AnchoredHead is the head of a stream as somebody wrote it down: so many
// events, the last of them with this leaf hash. It always lies at the end of a
// batch.
type AnchoredHead struct {
	Stream string
	Count  uint64 // at least 1
	Leaf   Hash
}

// Anchored is the head in the form in which it is written down.
func (h Head) Anchored() AnchoredHead {
	return AnchoredHead{Stream: h.Stream, Count: h.Count, Leaf: h.Leaf}
}

// Anchor is the payload of a [TypeAnchor] event in the registry, signed
// plaintext: the heads of all streams that have events, the registry's own
// included as it was before the batch that the anchor is part of.
type Anchor struct {
	Time     time.Time      // when the heads were read, UTC, whole microseconds
	Previous Hash           // leaf hash of the anchor before this one, zero for the first
	Heads    []AnchoredHead // sorted by stream, bytewise; none twice
}

// Truncation is the payload of a [TypeStreamTruncated] event in the registry,
// signed plaintext: from now on the stream may begin at revision First, whose
// predecessor had this leaf hash, because what came before was destroyed as the
// law demands (Order art. 30). It is appended before the store is told to
// forget.
type Truncation struct {
	Stream string
	First  uint64 // first revision that stays, at least 1
	Prev   Hash   // leaf hash of the event at First-1
}

// ErrRecord is wrapped by errors about the payload of an anchor, a truncation
// or a day-opened event that is not exactly as FORMAT.md describes it.
var ErrRecord = errors.New("malformed payload")

// Keys of the anchor map.
const (
	anchorTime = iota + 1
	anchorPrevious
	anchorHeads
)

// checkHeads holds heads to their order and bounds.
func checkHeads(heads []AnchoredHead) error {
	for i, h := range heads {
		if err := checkStream(h.Stream); err != nil {
			return err
		}
		if h.Count == 0 || h.Count > maxUint {
			return fmt.Errorf("head of stream %s with %d events: %w", h.Stream, h.Count, ErrRecord)
		}
		if i > 0 && heads[i-1].Stream >= h.Stream {
			return fmt.Errorf("head of stream %s is not in order, or there twice: %w", h.Stream, ErrRecord)
		}
	}
	return nil
}

// SortHeads brings heads into the order that anchors and heads files have.
func SortHeads(heads []AnchoredHead) {
	slices.SortFunc(heads, func(a, b AnchoredHead) int { return strings.Compare(a.Stream, b.Stream) })
}

// Encode writes the payload, deterministic CBOR. Heads must be sorted, see
// [SortHeads].
func (a Anchor) Encode() ([]byte, error) {
	us, err := microseconds(a.Time)
	if err != nil {
		return nil, err
	}
	if err := checkHeads(a.Heads); err != nil {
		return nil, err
	}
	b := appendUint([]byte{majorMap | 3, anchorTime}, majorUint, us)
	b = appendBytes(append(b, anchorPrevious), a.Previous[:])
	b = appendUint(append(b, anchorHeads), majorArray, uint64(len(a.Heads)))
	for _, h := range a.Heads {
		b = appendText(append(b, majorArray|3), h.Stream)
		b = appendUint(b, majorUint, h.Count)
		b = appendBytes(b, h.Leaf[:])
	}
	return b, nil
}

// DecodeAnchor reads what Encode writes and refuses all else with an error that
// wraps [ErrRecord] or [ErrName].
func DecodeAnchor(payload []byte) (Anchor, error) {
	var a Anchor
	c := cursor{rest: payload}
	c.expectLength(majorMap, 3, "anchor")
	c.expectUint(anchorTime, "anchor field")
	a.Time = fromMicroseconds(c.uint())
	c.expectUint(anchorPrevious, "anchor field")
	a.Previous = c.hash("previous anchor")
	c.expectUint(anchorHeads, "anchor field")
	n := c.item(majorArray)
	for i := uint64(0); i < n && c.err == nil; i++ {
		var h AnchoredHead
		c.expectLength(majorArray, 3, "head")
		h.Stream = c.text()
		h.Count = c.uint()
		h.Leaf = c.hash("leaf hash")
		a.Heads = append(a.Heads, h)
	}
	if err := c.end(); err != nil {
		return Anchor{}, fmt.Errorf("anchor: %w: %w", ErrRecord, err)
	}
	return a, checkHeads(a.Heads)
}

// Keys of the truncation map.
const (
	truncationStream = iota + 1
	truncationFirst
	truncationPrev
)

func (t Truncation) check() error {
	if err := checkStream(t.Stream); err != nil {
		return err
	}
	if t.Stream == RegistryStream || t.First == 0 || t.First > maxUint {
		return fmt.Errorf("truncation of stream %s to revision %d: %w", t.Stream, t.First, ErrRecord)
	}
	return nil
}

// Encode writes the payload, deterministic CBOR.
func (t Truncation) Encode() ([]byte, error) {
	if err := t.check(); err != nil {
		return nil, err
	}
	b := appendText([]byte{majorMap | 3, truncationStream}, t.Stream)
	b = appendUint(append(b, truncationFirst), majorUint, t.First)
	return appendBytes(append(b, truncationPrev), t.Prev[:]), nil
}

// DecodeTruncation reads what Encode writes and refuses all else with an error
// that wraps [ErrRecord] or [ErrName].
func DecodeTruncation(payload []byte) (Truncation, error) {
	var t Truncation
	c := cursor{rest: payload}
	c.expectLength(majorMap, 3, "truncation")
	c.expectUint(truncationStream, "truncation field")
	t.Stream = c.text()
	c.expectUint(truncationFirst, "truncation field")
	t.First = c.uint()
	c.expectUint(truncationPrev, "truncation field")
	t.Prev = c.hash("previous leaf hash")
	if err := c.end(); err != nil {
		return Truncation{}, fmt.Errorf("truncation: %w: %w", ErrRecord, err)
	}
	return t, t.check()
}

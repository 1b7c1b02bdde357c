package ledger

import (
	"crypto/sha256"
	"fmt"
)

// Link is what an event says of itself and its place. Nobody has vouched for it before a [Chain] that it stands in
// reaches a head that is known.
type Link struct {
	Header Header
	Leaf   Hash
}

// Examine checks all that an event says of itself, but not who signed it. The error is a [*Finding].
func Examine(e Event) (Link, error) {
	h, headerBytes, _, err := decodeMetadata(e.Metadata, nil)
	if err != nil {
		return Link{}, &Finding{Stream: e.Stream, Revision: e.Revision, Kind: KindMalformed, Detail: err.Error()}
	}
	if detail := fieldMismatch(&e, &h); detail != "" {
		return Link{}, &Finding{Stream: e.Stream, Revision: e.Revision, Kind: KindFieldMismatch, Detail: detail}
	}
	if sha256.Sum256(e.Data) != h.Digest {
		return Link{}, &Finding{Stream: e.Stream, Revision: e.Revision, Kind: KindPayloadMismatch, Detail: "payload does not have the digest in the header"}
	}
	return Link{Header: h, Leaf: LeafHash(headerBytes)}, nil
}

// Chain follows one stream from its first event on and holds no more than its end, however long the stream is. What was
// followed up to a head that somebody vouches for is exactly what was written: each event holds the hash of the one before,
// so that no event below can be missing, added, exchanged or altered. It belongs to one goroutine.
//
// Use a [Verifier] where no head is known, and for who signed what.
type Chain struct {
	Stream string

	next  uint64
	leaf  Hash
	epoch uint64
}

// Next is the revision that is expected next.
func (c *Chain) Next() uint64 { return c.next }

// Follow moves on to the next event. The error is a [*Finding], after which the chain stands where it stood.
func (c *Chain) Follow(l *Link) error {
	h := &l.Header
	fail := func(revision uint64, kind Kind, format string, args ...any) error {
		return &Finding{Stream: c.Stream, Revision: revision, Kind: kind, Detail: fmt.Sprintf(format, args...)}
	}
	switch {
	case h.Stream != c.Stream:
		return fail(c.next, KindFieldMismatch, "header was written for stream %s", h.Stream)
	case h.Revision < c.next:
		return fail(h.Revision, KindOutOfOrder, "revision %d was expected", c.next)
	case h.Revision > c.next:
		return fail(c.next, KindMissing, "next is revision %d", h.Revision)
	case h.Prev != c.leaf:
		return fail(h.Revision, KindChainBreak, "does not follow the event before it")
	case h.Epoch < c.epoch || c.next > 0 && h.Epoch > c.epoch && h.Type != TypeEpochStarted:
		return fail(h.Revision, KindEpochOrder, "epoch goes from %d to %d", c.epoch, h.Epoch)
	}
	c.next, c.leaf, c.epoch = h.Revision+1, l.Leaf, h.Epoch
	return nil
}

// Ends checks that the chain has come to a head, and no further. The error is a [*Finding].
func (c *Chain) Ends(at Head) error {
	switch {
	case c.next < at.Count:
		return &Finding{Stream: c.Stream, Revision: c.next, Kind: KindTailMissing, Detail: fmt.Sprintf("%d events were written", at.Count)}
	case c.next > at.Count || c.leaf != at.Leaf:
		return &Finding{Stream: c.Stream, Revision: at.Count, Kind: KindHeadMismatch, Detail: "ends with another event than was written last"}
	}
	return nil
}

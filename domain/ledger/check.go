package ledger

import (
	"bytes"
	"crypto/sha256"
	"fmt"
)

// Checked is what the check of one event establishes.
type Checked struct {
	Header  Header
	Receipt Receipt
	Leaf    Hash   // the event's leaf hash
	Root    Hash   // of the batch's Merkle tree
	Signer  string // id of the signing key
}

// Head is the stream's head if the event is its last one.
func (c Checked) Head() Head {
	return Head{
		Stream: c.Header.Stream, Count: c.Header.Revision + 1,
		Leaf: c.Leaf, Epoch: c.Header.Epoch, Time: c.Header.Time,
	}
}

// EndsBatch reports whether the event is the last of its batch. A stream only
// ever ends with such an event.
func (c Checked) EndsBatch() bool { return c.Receipt.Index == c.Receipt.Size-1 }

// statement is what the signature in the receipt must cover.
func (c *Checked) statement() statement {
	return statement{
		Stream: c.Header.Stream, Epoch: c.Header.Epoch,
		First: c.Receipt.First, Size: c.Receipt.Size,
		Prev: c.Receipt.Prev, Last: c.Receipt.Last, Root: c.Root,
	}
}

// CheckEvent verifies one event alone: that a holder of one of the keys signed
// it, with this payload, for this place. It says nothing about the events
// around it. The error is a [*Finding].
func CheckEvent(e Event, keys KeySet) (Checked, error) {
	c := checker{keys: keys}
	checked, finding := c.check(&e)
	if finding != nil {
		return Checked{}, finding
	}
	return checked, nil
}

// checker checks events one after another and remembers the last batch whose
// signature was good, because the next event is most likely of the same batch.
// It belongs to one goroutine.
type checker struct {
	keys KeySet

	scratch    []byte
	path       [][]byte
	signatures uint64 // verified so far

	known          bool
	knownStatement statement
	knownSignature []byte
	knownKey       PublicKey
}

// check returns the first thing wrong with the event, in the order of
// FORMAT.md. Receipt.Path of the result is only good until the next call.
func (c *checker) check(e *Event) (Checked, *Finding) {
	fail := func(kind Kind, detail string) (Checked, *Finding) {
		return Checked{}, &Finding{Stream: e.Stream, Revision: e.Revision, Kind: kind, Detail: detail}
	}
	h, headerBytes, r, err := decodeMetadata(e.Metadata, c.path[:0])
	if err != nil {
		return fail(KindMalformed, err.Error())
	}
	c.path = r.Path
	signer, _, err := decodeSignature(r.Signature)
	if err != nil {
		return fail(KindMalformed, err.Error())
	}
	if detail := fieldMismatch(e, &h); detail != "" {
		return fail(KindFieldMismatch, detail)
	}
	if sha256.Sum256(e.Data) != h.Digest {
		return fail(KindPayloadMismatch, "payload does not have the digest in the header")
	}
	out := Checked{Header: h, Receipt: r, Leaf: leafHash(&c.scratch, headerBytes), Signer: signer}
	if detail := receiptMismatch(&out); detail != "" {
		return fail(KindReceiptMismatch, detail)
	}
	out.Root = rootFrom(out.Leaf, r.Index, r.Size, r.Path)
	if kind, detail := c.checkSignature(&out); kind != "" {
		return fail(kind, detail)
	}
	return out, nil
}

func fieldMismatch(e *Event, h *Header) string {
	switch {
	case e.Stream != h.Stream:
		return fmt.Sprintf("header was written for stream %s", h.Stream)
	case e.Revision != h.Revision:
		return fmt.Sprintf("header was written for revision %d", h.Revision)
	case e.ID != h.ID:
		return fmt.Sprintf("header has event id %s", h.ID)
	case e.Type != h.Type:
		return fmt.Sprintf("header has event type %s", h.Type)
	}
	return ""
}

func receiptMismatch(c *Checked) string {
	h, r := &c.Header, &c.Receipt
	switch {
	case r.First > h.Revision || h.Revision-r.First != r.Index:
		return fmt.Sprintf("receipt is for revision %d+%d", r.First, r.Index)
	case r.Index == 0 && r.Prev != h.Prev:
		return "batch follows another event than its first event does"
	case r.Index == r.Size-1 && r.Last != c.Leaf:
		return "batch ends with another event than this one"
	}
	return ""
}

func (c *checker) checkSignature(e *Checked) (Kind, string) {
	s := e.statement()
	if c.known && c.knownStatement == s && bytes.Equal(c.knownSignature, e.Receipt.Signature) {
		return keyValidity(&c.knownKey, e)
	}
	key, found := c.keys.Lookup(e.Signer)
	if !found {
		return KindUnknownKey, fmt.Sprintf("signed with key %s, which is not in the key set", e.Signer)
	}
	if kind, detail := keyValidity(&key, e); kind != "" {
		return kind, detail
	}
	c.signatures++
	if err := verifySignature(e.Receipt.Signature, &s, key.Key); err != nil {
		return KindBadSignature, fmt.Sprintf("signature by key %s does not cover this event", e.Signer)
	}
	c.known, c.knownStatement, c.knownSignature, c.knownKey = true, s, e.Receipt.Signature, key
	return "", ""
}

func keyValidity(key *PublicKey, e *Checked) (Kind, string) {
	if !key.validAt(e.Header.Time) {
		return KindKeyNotValid, fmt.Sprintf("event of %s is outside the validity of key %s", e.Header.Time.Format("2006-01-02T15:04:05.000000Z"), key.ID)
	}
	return "", ""
}

package projections

import (
	"bytes"
	"crypto/sha256"
	"fmt"

	"kiroku/domain/ledger"
)

// Trust is what verification rests on. It is asked again and again, and may
// learn; the registry projection is one. It is safe for concurrent use.
type Trust interface {
	// SigningKeys returns every public key that may have signed an event.
	SigningKeys() ledger.KeySet
	// Truncated returns the leaf hash before revision first of a stream, if the
	// ledger says that the stream may begin there.
	Truncated(stream string, first uint64) (prev ledger.Hash, authorised bool)
}

// Learner is a Trust that knows how far it has read the registry.
type Learner interface {
	Trust
	// Learned returns the revision that it expects next in the registry.
	Learned() (next uint64, err error)
}

// proven is an event that some trusted key vouches for.
type proven struct {
	header ledger.Header
	bytes  []byte
	leaf   ledger.Hash
}

func (p *proven) after() Checkpoint {
	return Checkpoint{Next: p.header.Revision + 1, Leaf: p.leaf, Epoch: p.header.Epoch}
}

// prove verifies consecutive events of one stream. Of the events that share a
// signature only the last is verified with it: each header holds the hash of the
// one before, so that one vouches for all. The error is a *ledger.Finding.
func prove(events []ledger.Event, keys ledger.KeySet) ([]proven, error) {
	out := make([]proven, len(events))
	var signature []byte
	for i := range events {
		p, receipt, err := examine(&events[i])
		if err == nil && i > 0 {
			err = out[i-1].after().precedes(&p)
		}
		if err == nil && i > 0 && !bytes.Equal(signature, receipt.Signature) {
			err = vouch(&events[i-1], keys)
		}
		if err != nil {
			return nil, blame(events[:i+1], keys, err)
		}
		out[i], signature = p, receipt.Signature
	}
	if len(events) > 0 {
		if err := vouch(&events[len(events)-1], keys); err != nil {
			return nil, blame(events, keys, err)
		}
	}
	return out, nil
}

func vouch(e *ledger.Event, keys ledger.KeySet) error {
	_, err := ledger.CheckEvent(*e, keys)
	return err
}

// blame finds the earliest event that is wrong by itself: a changed header
// shows first in the event after it.
func blame(events []ledger.Event, keys ledger.KeySet, err error) error {
	for i := range events {
		if own := vouch(&events[i], keys); own != nil {
			return own
		}
	}
	return err
}

// examine checks all that an event says of itself, but not who signed it.
func examine(e *ledger.Event) (proven, ledger.Receipt, error) {
	h, header, receipt, err := ledger.DecodeMetadata(e.Metadata)
	if err != nil {
		return proven{}, receipt, finding(e.Stream, e.Revision, ledger.KindMalformed, err.Error())
	}
	if h.Stream != e.Stream || h.Revision != e.Revision || h.ID != e.ID || h.Type != e.Type {
		return proven{}, receipt, finding(e.Stream, e.Revision, ledger.KindFieldMismatch, "header was written for another event")
	}
	if sha256.Sum256(e.Data) != h.Digest {
		return proven{}, receipt, finding(e.Stream, e.Revision, ledger.KindPayloadMismatch, "payload does not have the digest in the header")
	}
	return proven{header: h, bytes: header, leaf: ledger.LeafHash(header)}, receipt, nil
}

// precedes checks that the event follows the position. The error is a *ledger.Finding.
func (c Checkpoint) precedes(p *proven) error {
	h := &p.header
	fail := func(kind ledger.Kind, detail string) error { return finding(h.Stream, h.Revision, kind, detail) }
	switch {
	case h.Revision < c.Next:
		return fail(ledger.KindOutOfOrder, fmt.Sprintf("revision %d was expected", c.Next))
	case h.Revision > c.Next:
		return finding(h.Stream, c.Next, ledger.KindMissing, fmt.Sprintf("the next event is %d", h.Revision))
	case h.Prev != c.Leaf:
		return fail(ledger.KindChainBreak, "does not follow the event before it")
	case h.Epoch < c.Epoch || h.Epoch > c.Epoch && h.Type != ledger.TypeEpochStarted:
		return fail(ledger.KindEpochOrder, fmt.Sprintf("epoch goes from %d to %d", c.Epoch, h.Epoch))
	}
	return nil
}

// begins checks that a stream may begin with the event although the position is before it: the ledger itself says that
// what came before was destroyed.
func (c Checkpoint) begins(p *proven, trust Trust) error {
	h := &p.header
	prev, authorised := trust.Truncated(h.Stream, h.Revision)
	if !authorised || prev != h.Prev {
		return finding(h.Stream, h.Revision, ledger.KindStartNotTrusted,
			fmt.Sprintf("stream begins here, revision %d was expected, and nothing in the registry authorises it", c.Next))
	}
	if h.Epoch < c.Epoch {
		return finding(h.Stream, h.Revision, ledger.KindEpochOrder, fmt.Sprintf("epoch goes from %d to %d", c.Epoch, h.Epoch))
	}
	return nil
}

func finding(stream string, revision uint64, kind ledger.Kind, detail string) error {
	return &ledger.Finding{Stream: stream, Revision: revision, Kind: kind, Detail: detail}
}

package ledger_test

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"kiroku/domain/ledger"
)

const (
	registry = ledger.RegistryStream
	record   = "record-0"
)

var scenarios = slices.Concat(goodScenarios, eventScenarios, encodingScenarios, orderScenarios, writerScenarios, anchorScenarios)

// Nothing is wrong with these.
var goodScenarios = []scenario{
	{"empty", "no event at all", func(t testing.TB) evidence { return evidenceOf(newWriter(t)) }, nil},
	{"small", "two epochs, batches of several sizes, two anchors, a heads file", func(t testing.TB) evidence {
		w := smallLedger(t)
		e := evidenceOf(w)
		e.heads = []ledger.Heads{w.headsFile()}
		return e
	}, nil},
	{"batch-of-13", "a tree whose size is no power of two, every path length in it", func(t testing.TB) evidence {
		w := newWriter(t)
		w.records(record, 13)
		return evidenceOf(w)
	}, nil},
	{"grown-since-heads", "heads files of two earlier times", func(t testing.TB) evidence {
		w := newWriter(t)
		w.append(w.plain(registry, "agency-registered", nil))
		w.records(record, 2)
		first := w.headsFile()
		w.records(record, 3)
		second := w.headsFile()
		w.records(record, 1)
		e := evidenceOf(w)
		e.heads = []ledger.Heads{second, first}
		return e
	}, nil},
	{"truncated", "record-0 begins at revision 3, inside a batch, as the registry allows", func(t testing.TB) evidence {
		w, _ := truncatable(t)
		e := evidenceOf(w)
		e.events = withoutBefore(w.events, record, 3)
		return e
	}, nil},
	{"truncation-pending", "the registry allows record-0 to begin later than it does", func(t testing.TB) evidence {
		w, _ := truncatable(t)
		return evidenceOf(w)
	}, nil},
	{"truncated-to-nothing", "all of record-0 was truncated, up to the head that the anchor names", func(t testing.TB) evidence {
		w := newWriter(t)
		w.records(record, 2)
		w.anchor()
		payload, err := ledger.Truncation{Stream: record, First: 3, Prev: w.heads[record].Leaf}.Encode()
		if err != nil {
			t.Fatal(err)
		}
		w.append(w.plain(registry, ledger.TypeStreamTruncated, payload))
		e := evidenceOf(w)
		e.events = withoutBefore(w.events, record, 3)
		return e
	}, nil},
	{"trusted-start", "record-0 begins at revision 4, as the verifier was told", func(t testing.TB) evidence {
		w := smallLedger(t)
		l := tampering{t: t, events: w.events}
		_, leaf := decode(t, *l.at(record, 3))
		e := evidenceOf(w)
		e.events = withoutBefore(w.events, record, 4)
		e.starts = []ledger.TrustedStart{{Stream: record, First: 4, Prev: leaf}}
		return e
	}, nil},
	{"key-replaced", "a second signing key takes over where the first one ends", func(t testing.TB) evidence {
		first, second := signer(t, "sign/1").Public(), signer(t, "sign/2").Public()
		first.ValidTo, second.ValidFrom = endOf2026(), endOf2026()
		w := newWriter(t)
		w.records(record, 2)
		w.key, w.time = signer(t, "sign/2"), endOf2026().Add(-1500*time.Microsecond)
		w.records(record, 2)
		return evidence{events: w.events, keys: []ledger.PublicKey{first, second}}
	}, nil},
}

// Something about one event was changed.
var eventScenarios = []scenario{
	{"payload-changed", "one byte of the stored payload", tampered(func(t testing.TB, l *tampering) {
		l.at(record, 5).Data[7] ^= 1
	}), []place{{record, 5, ledger.KindPayloadMismatch}}},
	{"payload-shortened", "the last byte of the stored payload is gone", tampered(func(t testing.TB, l *tampering) {
		e := l.at(record, 5)
		e.Data = e.Data[:len(e.Data)-1]
	}), []place{{record, 5, ledger.KindPayloadMismatch}}},
	{"payload-and-digest-changed", "a payload with the digest in the header to match", tampered(func(t testing.TB, l *tampering) {
		e := l.at(record, 5)
		old, _ := decode(t, *e)
		d, err := ledger.Plain(ledger.AAD{Stream: record, ID: e.ID, Type: e.Type, Time: old.Time}, []byte("forged"))
		if err != nil {
			t.Fatal(err)
		}
		e.Data = d.Data
		l.editHeader(e, func(h []byte) []byte { return l.replaced(h, old.Digest[:], d.Digest[:]) })
	}), []place{{record, 5, ledger.KindBadSignature}}},
	{"previous-changed", "one byte of the previous leaf hash, inside a batch", tampered(func(t testing.TB, l *tampering) {
		e := l.at(record, 5)
		h, _ := decode(t, *e)
		l.editHeader(e, func(b []byte) []byte { b[bytes.Index(b, h.Prev[:])] ^= 1; return b })
	}), []place{{record, 5, ledger.KindBadSignature}}},
	{"previous-changed-at-start", "one byte of the previous leaf hash of a batch's first event", tampered(func(t testing.TB, l *tampering) {
		e := l.at(record, 4)
		h, _ := decode(t, *e)
		l.editHeader(e, func(b []byte) []byte { b[bytes.Index(b, h.Prev[:])] ^= 1; return b })
	}), []place{{record, 4, ledger.KindReceiptMismatch}}},
	{"time-changed", "the time in a batch's last header", tampered(func(t testing.TB, l *tampering) {
		l.editHeader(l.at(record, 8), func(b []byte) []byte {
			at := bytes.Index(b, []byte{0x08, 0x1b})
			b[at+9] ^= 1
			return b
		})
	}), []place{{record, 8, ledger.KindReceiptMismatch}}},
	{"id-changed", "the event id as stored", tampered(func(t testing.TB, l *tampering) { l.at(record, 5).ID[3] ^= 1 }),
		[]place{{record, 5, ledger.KindFieldMismatch}}},
	{"type-changed", "the event type as stored", tampered(func(t testing.TB, l *tampering) { l.at(record, 5).Type = "inquiry-lapsed" }),
		[]place{{record, 5, ledger.KindFieldMismatch}}},
	{"moved-to-other-stream", "an event stands in another stream, at the revision after its last", tampered(func(t testing.TB, l *tampering) {
		e := *l.at(record, 3)
		e.Stream = "record-1"
		l.events = append(l.events, e)
	}), []place{{"record-1", 3, ledger.KindFieldMismatch}}},
	{"renamed-stream", "all events of a stream stand in another one, with none of their own", tampered(func(t testing.TB, l *tampering) {
		for i := range l.events {
			if l.events[i].Stream == "record-1" {
				l.events[i].Stream = "record-2"
			}
		}
	}), []place{
		{"record-1", 0, ledger.KindTailMissing}, {"record-2", 0, ledger.KindFieldMismatch},
		{"record-2", 1, ledger.KindFieldMismatch}, {"record-2", 2, ledger.KindFieldMismatch},
	}},
	{"path-changed", "one byte of the Merkle path", tampered(func(t testing.TB, l *tampering) {
		e := l.at(record, 5)
		_, _, r, _ := ledger.DecodeMetadata(e.Metadata)
		l.editReceipt(e, func(b []byte) []byte { b[bytes.Index(b, r.Path[1])+31] ^= 0x80; return b })
	}), []place{{record, 5, ledger.KindBadSignature}}},
	{"receipts-exchanged-in-batch", "two events of a batch have each other's receipt", tampered(func(t testing.TB, l *tampering) {
		l.exchangeReceipts(l.at(record, 5), l.at(record, 6))
	}), []place{{record, 5, ledger.KindReceiptMismatch}, {record, 6, ledger.KindReceiptMismatch}}},
	{"receipts-exchanged-between-streams", "two events with the same revision in different streams have each other's receipt", tampered(func(t testing.TB, l *tampering) {
		l.exchangeReceipts(l.at(record, 0), l.at("record-1", 0))
	}), []place{{record, 0, ledger.KindReceiptMismatch}, {"record-1", 0, ledger.KindReceiptMismatch}}},
	{"metadata-exchanged", "two events have each other's metadata", tampered(func(t testing.TB, l *tampering) {
		a, b := l.at(record, 5), l.at(record, 6)
		a.Metadata, b.Metadata = b.Metadata, a.Metadata
	}), []place{{record, 5, ledger.KindFieldMismatch}, {record, 6, ledger.KindFieldMismatch}}},
	{"signature-changed", "one byte of r in one receipt", tampered(func(t testing.TB, l *tampering) {
		l.editSignature(l.at(record, 5), func(b []byte) []byte { b[len(b)-64] ^= 1; return b })
	}), []place{{record, 5, ledger.KindBadSignature}}},
	{"metadata-empty", "the metadata is gone", tampered(func(t testing.TB, l *tampering) { l.at(record, 5).Metadata = nil }),
		[]place{{record, 5, ledger.KindMalformed}}},
}

// The same content in an encoding that is not the one encoding.
var encodingScenarios = []scenario{
	{"high-s", "s replaced by n-s, which plain ECDSA accepts", tampered(func(t testing.TB, l *tampering) {
		l.editSignature(l.at(record, 5), highS)
	}), []place{{record, 5, ledger.KindMalformed}}},
	{"unprotected-header", "an unprotected header {4: 'x'}", tampered(func(t testing.TB, l *tampering) {
		l.editSignature(l.at(record, 5), func(b []byte) []byte {
			return l.replaced(b, []byte{0xa0, 0xf6, 0x58, 0x40}, []byte{0xa1, 0x04, 0x41, 'x', 0xf6, 0x58, 0x40})
		})
	}), []place{{record, 5, ledger.KindMalformed}}},
	{"attached-payload", "an empty payload in place of null", tampered(func(t testing.TB, l *tampering) {
		l.editSignature(l.at(record, 5), func(b []byte) []byte {
			return l.replaced(b, []byte{0xa0, 0xf6, 0x58, 0x40}, []byte{0xa0, 0x40, 0x58, 0x40})
		})
	}), []place{{record, 5, ledger.KindMalformed}}},
	{"untagged-signature", "COSE_Sign1 without its tag", tampered(func(t testing.TB, l *tampering) {
		l.editSignature(l.at(record, 5), func(b []byte) []byte { return b[1:] })
	}), []place{{record, 5, ledger.KindMalformed}}},
	{"other-algorithm", "ES384 in the protected header", tampered(func(t testing.TB, l *tampering) {
		l.editSignature(l.at(record, 5), func(b []byte) []byte {
			return l.replaced(b, []byte{0xa2, 0x01, 0x26}, []byte{0xa2, 0x01, 0x38, 0x22})
		})
	}), []place{{record, 5, ledger.KindMalformed}}},
	{"zero-r", "a signature with r = 0", tampered(func(t testing.TB, l *tampering) {
		l.editSignature(l.at(record, 5), func(b []byte) []byte { clear(b[len(b)-64 : len(b)-32]); return b })
	}), []place{{record, 5, ledger.KindMalformed}}},
	{"trailing-byte", "a byte after the metadata", tampered(func(t testing.TB, l *tampering) {
		e := l.at(record, 5)
		e.Metadata = append(e.Metadata, 0)
	}), []place{{record, 5, ledger.KindMalformed}}},
	{"trailing-byte-in-header", "a byte after the header map, inside its byte string", tampered(func(t testing.TB, l *tampering) {
		l.editHeader(l.at(record, 5), func(b []byte) []byte { return append(b, 0) })
	}), []place{{record, 5, ledger.KindMalformed}}},
	{"trailing-byte-in-receipt", "a byte after the receipt map, inside its byte string", tampered(func(t testing.TB, l *tampering) {
		l.editReceipt(l.at(record, 5), func(b []byte) []byte { return append(b, 0) })
	}), []place{{record, 5, ledger.KindMalformed}}},
	{"long-integer", "the revision in two bytes where one would do", tampered(func(t testing.TB, l *tampering) {
		l.editHeader(l.at(record, 5), func(b []byte) []byte {
			return l.replaced(b, []byte{0x03, 0x05, 0x04, 0x01}, []byte{0x03, 0x18, 0x05, 0x04, 0x01})
		})
	}), []place{{record, 5, ledger.KindMalformed}}},
	{"unknown-header-field", "a field 12 in the header", tampered(func(t testing.TB, l *tampering) {
		l.editHeader(l.at(record, 5), func(b []byte) []byte { b[0]++; return append(b, 0x0c, 0x00) })
	}), []place{{record, 5, ledger.KindMalformed}}},
	{"fields-out-of-order", "the first two fields of the receipt exchanged", tampered(func(t testing.TB, l *tampering) {
		l.editReceipt(l.at(record, 5), func(b []byte) []byte {
			b[1], b[2], b[3], b[4] = b[3], b[4], b[1], b[2]
			return b
		})
	}), []place{{record, 5, ledger.KindMalformed}}},
	{"index-outside-tree", "index 5 in a tree of 5", tampered(func(t testing.TB, l *tampering) {
		l.editReceipt(l.at(record, 8), func(b []byte) []byte { b[4] = 5; return b })
	}), []place{{record, 8, ledger.KindMalformed}}},
	{"path-too-long", "the tree is said to be larger, so that the path has the wrong length", tampered(func(t testing.TB, l *tampering) {
		l.editReceipt(l.at(record, 5), func(b []byte) []byte { b[2] = 9; return b })
	}), []place{{record, 5, ledger.KindMalformed}}},
}

// Events are missing, repeated or in the wrong order.
var orderScenarios = []scenario{
	{"removed", "an event in the middle of a batch", tampered(func(t testing.TB, l *tampering) { l.remove(record, 5, 5) }),
		[]place{{record, 5, ledger.KindMissing}}},
	{"removed-batch", "a whole batch in the middle", tampered(func(t testing.TB, l *tampering) { l.remove(record, 4, 8) }),
		[]place{{record, 4, ledger.KindMissing}}},
	{"removed-and-renumbered", "an event is gone and those after it have moved up", tampered(func(t testing.TB, l *tampering) {
		l.remove(record, 8, 8)
		l.at(record, 9).Revision = 8
		l.at(record, 10).Revision = 9
	}), []place{
		{record, 8, ledger.KindFieldMismatch}, {record, 9, ledger.KindFieldMismatch}, {record, 10, ledger.KindTailMissing},
	}},
	{"removed-first", "the first event of a stream", tampered(func(t testing.TB, l *tampering) { l.remove("record-1", 0, 0) }),
		[]place{{"record-1", 1, ledger.KindStartNotTrusted}}},
	{"removed-stream", "a whole stream that an anchor names", tampered(func(t testing.TB, l *tampering) { l.remove("record-1", 0, 2) }),
		[]place{{"record-1", 0, ledger.KindTailMissing}}},
	{"duplicated", "an event comes twice", tampered(func(t testing.TB, l *tampering) {
		i := l.index(record, 5)
		l.events = slices.Insert(l.events, i, l.events[i])
	}), []place{{record, 5, ledger.KindOutOfOrder}}},
	{"swapped", "two events in each other's place", tampered(func(t testing.TB, l *tampering) {
		i, j := l.index(record, 5), l.index(record, 6)
		l.events[i], l.events[j] = l.events[j], l.events[i]
	}), []place{{record, 5, ledger.KindMissing}, {record, 5, ledger.KindOutOfOrder}}},
	{"tail-cut", "the last batch of a stream, which an anchor names", tampered(func(t testing.TB, l *tampering) { l.remove(record, 10, 10) }),
		[]place{{record, 10, ledger.KindTailMissing}}},
	{"tail-cut-in-batch", "the last event of a batch that nothing names", func(t testing.TB) evidence {
		w := newWriter(t)
		w.records(record, 4)
		w.events = w.events[:len(w.events)-1]
		return evidenceOf(w)
	}, []place{{record, 4, ledger.KindBatchIncomplete}}},
	{"older-copy", "the whole ledger as it was before the heads file", func(t testing.TB) evidence {
		w := newWriter(t)
		w.append(w.plain(registry, "agency-registered", nil))
		w.records(record, 2)
		old := slices.Clone(w.events)
		w.records(record, 2)
		w.anchor()
		e := evidenceOf(w)
		e.events, e.heads = old, []ledger.Heads{w.headsFile()}
		return e
	}, []place{{record, 3, ledger.KindTailMissing}, {registry, 2, ledger.KindTailMissing}}},
	{"start-not-authorised", "record-0 begins at revision 4, and only revision 3 is allowed", func(t testing.TB) evidence {
		w, _ := truncatable(t)
		e := evidenceOf(w)
		e.events = withoutBefore(w.events, record, 4)
		return e
	}, []place{{record, 4, ledger.KindStartNotTrusted}}},
	{"start-after-other-event", "record-0 begins where it may, but follows another event than allowed", func(t testing.TB) evidence {
		w, leaf := truncatable(t)
		leaf[0] ^= 1
		e := evidenceOf(w)
		e.events = slices.DeleteFunc(withoutBefore(w.events, record, 3), func(e ledger.Event) bool { return e.Stream == registry })
		e.starts = []ledger.TrustedStart{{Stream: record, First: 3, Prev: leaf}}
		return e
	}, []place{{record, 3, ledger.KindStartNotTrusted}}},
}

// Somebody with a signing key wrote what the rules forbid, or somebody without
// one pretended to have it.
var writerScenarios = []scenario{
	{"batch-replaced", "a batch was replaced by another one that is validly signed", func(t testing.TB) evidence {
		w := newWriter(t)
		w.records(record, 2)
		head := w.heads[record]
		w.records(record, 3)
		w.records(record, 1)
		good := slices.Clone(w.events)
		w.events = nil
		w.forge(head, 1, payloadDraft(w, record, 1), payloadDraft(w, record, 2), payloadDraft(w, record, 3))
		e := evidenceOf(w)
		e.events = append(good[:3:3], append(w.events, good[6:]...)...)
		return e
	}, []place{{record, 6, ledger.KindChainBreak}}},
	{"last-batch-replaced", "the same at the end of the stream, where the anchor tells", func(t testing.TB) evidence {
		w := newWriter(t)
		w.records(record, 2)
		head, before := w.heads[record], len(w.events)
		w.records(record, 1)
		w.anchor()
		good := slices.Clone(w.events)
		w.events = nil
		w.forge(head, 1, payloadDraft(w, record, 1))
		e := evidenceOf(w)
		e.events = slices.Concat(good[:before], w.events, good[before+1:])
		return e
	}, []place{{record, 3, ledger.KindHeadMismatch}}},
	{"batches-overlap", "after the second event of a batch, the stream goes on with another batch", func(t testing.TB) evidence {
		w := newWriter(t)
		w.records(record, 1)
		head := w.heads[record]
		first, second := payloadDraft(w, record, 1), payloadDraft(w, record, 2)
		w.forge(head, 1, first, second)
		kept := slices.Clone(w.events[:3])
		w.events = nil
		w.forge(head, 1, first, payloadDraft(w, record, 3))
		e := evidenceOf(w)
		e.events = append(kept, w.events[1:]...)
		return e
	}, []place{{record, 3, ledger.KindBatchBreak}}},
	{"forged-middle-unknown-key", "a batch signed with a key nobody knows", func(t testing.TB) evidence {
		return forgedMiddle(t, "sign/9")
	}, []place{{record, 3, ledger.KindUnknownKey}, {record, 4, ledger.KindUnknownKey}}},
	{"forged-middle-borrowed-id", "a batch signed with another key under the id of the right one", func(t testing.TB) evidence {
		return forgedMiddle(t, "sign/1")
	}, []place{{record, 3, ledger.KindBadSignature}, {record, 4, ledger.KindBadSignature}}},
	{"epoch-falls", "a writer of epoch 1 goes on after one of epoch 5", func(t testing.TB) evidence {
		w := twoEpochs(t)
		w.forge(w.heads[record], 1, payloadDraft(w, record, 1))
		return evidenceOf(w)
	}, []place{{record, 6, ledger.KindEpochOrder}}},
	{"epoch-rises-silently", "epoch 6 without an epoch-started event", func(t testing.TB) evidence {
		w := twoEpochs(t)
		w.forge(w.heads[record], 6, payloadDraft(w, record, 1))
		return evidenceOf(w)
	}, []place{{record, 6, ledger.KindEpochOrder}}},
	{"epoch-started-again", "an epoch-started event with the epoch that is running", func(t testing.TB) evidence {
		w := twoEpochs(t)
		w.forge(w.heads[record], 5, w.plain(record, ledger.TypeEpochStarted, nil))
		return evidenceOf(w)
	}, []place{{record, 6, ledger.KindEpochOrder}}},
	{"first-event-no-epoch", "a stream whose first event is not an epoch-started event", func(t testing.TB) evidence {
		w := newWriter(t)
		w.forge(ledger.Head{Stream: record}, 1, payloadDraft(w, record, 1))
		return evidenceOf(w)
	}, []place{{record, 0, ledger.KindEpochOrder}}},
	{"key-expired", "an event of the first instant after the key's validity", func(t testing.TB) evidence {
		w := newWriter(t)
		w.records(record, 1)
		w.time = endOf2026().Add(-3000 * time.Microsecond)
		w.records(record, 2)
		e := evidenceOf(w)
		e.keys[0].ValidTo = endOf2026()
		return e
	}, []place{{record, 3, ledger.KindKeyNotValid}}},
	{"key-not-yet", "events before the key's validity", func(t testing.TB) evidence {
		w := newWriter(t)
		w.records(record, 1)
		e := evidenceOf(w)
		e.keys[0].ValidFrom = endOf2026()
		return e
	}, []place{{record, 0, ledger.KindKeyNotValid}, {record, 1, ledger.KindKeyNotValid}}},
}

// What anchors and heads files give away.
var anchorScenarios = []scenario{
	{"anchor-other-leaf", "an anchor with another leaf hash than the stream has", func(t testing.TB) evidence {
		return withAnchor(t, func(a *ledger.Anchor) { a.Heads[0].Leaf[5] ^= 1 })
	}, []place{{record, 3, ledger.KindHeadMismatch}}},
	{"anchor-inside-batch", "an anchor that names an event inside a batch", func(t testing.TB) evidence {
		return withAnchor(t, func(a *ledger.Anchor) { a.Heads[0].Count-- })
	}, []place{{record, 2, ledger.KindHeadMismatch}}},
	{"anchor-of-more", "an anchor that names more events than there are", func(t testing.TB) evidence {
		return withAnchor(t, func(a *ledger.Anchor) { a.Heads[0].Count += 10 })
	}, []place{{record, 4, ledger.KindTailMissing}}},
	{"anchor-of-itself", "an anchor that names itself as a head", func(t testing.TB) evidence {
		return withAnchor(t, func(a *ledger.Anchor) { a.Heads[1].Count = 4 })
	}, []place{{registry, 3, ledger.KindRecordInvalid}}},
	{"anchor-chain", "an anchor that does not name the one before it", func(t testing.TB) evidence {
		return withAnchor(t, func(a *ledger.Anchor) { a.Previous[0] ^= 1 })
	}, []place{{registry, 3, ledger.KindAnchorChain}}},
	{"anchor-forgets-stream", "an anchor without a stream that the one before names", func(t testing.TB) evidence {
		return withAnchor(t, func(a *ledger.Anchor) { a.Heads = a.Heads[1:] })
	}, []place{{registry, 3, ledger.KindAnchorRegressed}}},
	{"anchor-regresses", "an anchor that knows fewer events than the one before", func(t testing.TB) evidence {
		return withAnchor(t, func(a *ledger.Anchor) { a.Heads[1].Count = 1 })
	}, []place{{registry, 3, ledger.KindAnchorRegressed}}},
	{"anchor-unreadable", "an anchor whose payload is not one; the next one cannot be held to it", func(t testing.TB) evidence {
		w := newWriter(t)
		w.append(w.plain(registry, "agency-registered", nil))
		w.append(w.plain(registry, ledger.TypeAnchor, []byte{0xa0}))
		w.anchor()
		return evidenceOf(w)
	}, []place{{registry, 2, ledger.KindRecordInvalid}}},
	{"anchor-sealed", "an anchor that only the holder of a data key can read", func(t testing.TB) evidence {
		w := newWriter(t)
		w.append(w.sealed(registry, ledger.TypeAnchor, []byte{0xa0}))
		return evidenceOf(w)
	}, []place{{registry, 1, ledger.KindRecordInvalid}}},
	{"truncation-unreadable", "a truncation whose payload is not one", func(t testing.TB) evidence {
		w := newWriter(t)
		w.append(w.plain(registry, ledger.TypeStreamTruncated, []byte("record-0")))
		return evidenceOf(w)
	}, []place{{registry, 1, ledger.KindRecordInvalid}}},
	{"truncation-of-registry", "a truncation of the registry itself", func(t testing.TB) evidence {
		w := newWriter(t)
		w.append(w.plain(registry, ledger.TypeStreamTruncated, slices.Concat([]byte{0xa3, 1, 0x68}, []byte(registry), []byte{2, 1, 3, 0x58, 32}, make([]byte, 32))))
		return evidenceOf(w)
	}, []place{{registry, 1, ledger.KindRecordInvalid}}},
	{"heads-other-leaf", "a heads file with another leaf hash than the stream has", func(t testing.TB) evidence {
		w := smallLedger(t)
		e := evidenceOf(w)
		heads := w.headsFile()
		heads.Heads[0].Leaf[0] ^= 1
		e.heads = []ledger.Heads{heads}
		return e
	}, []place{{record, 10, ledger.KindHeadMismatch}}},
	{"heads-of-other-ledger", "a heads file made for another ledger", func(t testing.TB) evidence {
		w := smallLedger(t)
		e := evidenceOf(w)
		heads := w.headsFile()
		heads.Ledger = ledger.LedgerID(ledger.Hash{1})
		heads.Heads = nil
		e.heads = []ledger.Heads{heads}
		return e
	}, []place{{registry, 0, ledger.KindOtherLedger}}},
	{"bad-event-under-anchor", "a changed event that an anchor names: reported once", tampered(func(t testing.TB, l *tampering) {
		l.at(record, 3).Data[0] ^= 1
	}), []place{{record, 3, ledger.KindPayloadMismatch}}},
}

func (l *tampering) exchangeReceipts(a, b *ledger.Event) {
	headerA, receiptA := l.split(a)
	headerB, receiptB := l.split(b)
	a.Metadata, b.Metadata = join(headerA, receiptB), join(headerB, receiptA)
}

// forgedMiddle replaces revisions 3 and 4 between good ends. The forger knows
// everything but the private key, and keeps the revisions' count.
func forgedMiddle(t testing.TB, id string) evidence {
	w := newWriter(t)
	w.records(record, 2)
	head := w.heads[record]
	w.records(record, 2)
	w.records(record, 1)
	good := slices.Clone(w.events)
	public := w.key.Public()
	w.events, w.key = nil, signer(t, "forger")
	w.key.ID = id
	w.forge(head, 1, payloadDraft(w, record, 1), payloadDraft(w, record, 2))
	return evidence{
		events: slices.Concat(good[:3], w.events, good[5:]),
		keys:   []ledger.PublicKey{public},
	}
}

// withAnchor is a ledger whose second anchor was written with a change.
func withAnchor(t testing.TB, change func(*ledger.Anchor)) evidence {
	w := newWriter(t)
	w.append(w.plain(registry, "agency-registered", nil))
	w.records(record, 1)
	w.anchor()
	w.records(record, 2)
	a := ledger.Anchor{Time: w.time, Previous: w.lastAnchor, Heads: w.anchoredHeads()}
	change(&a)
	payload, err := a.Encode()
	if err != nil {
		t.Fatal(err)
	}
	w.append(w.plain(registry, ledger.TypeAnchor, payload))
	return evidenceOf(w)
}

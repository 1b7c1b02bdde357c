package ledger

import (
	"fmt"
	"strings"
)

// Kind is what is wrong, as FORMAT.md names it.
type Kind string

// Findings about one event alone.
const (
	KindMalformed       Kind = "malformed"        // metadata is not the one encoding of a header and a receipt
	KindFieldMismatch   Kind = "field-mismatch"   // stream, revision, id or type as stored differ from the header
	KindPayloadMismatch Kind = "payload-mismatch" // stored payload does not have the header's digest
	KindReceiptMismatch Kind = "receipt-mismatch" // receipt belongs to another event
	KindUnknownKey      Kind = "unknown-key"      // signed with a key that is not in the key set
	KindKeyNotValid     Kind = "key-not-valid"    // event's time is outside the validity of its signing key
	KindBadSignature    Kind = "bad-signature"    // signature does not cover this event
)

// Findings about an event's place in its stream.
const (
	KindOutOfOrder      Kind = "out-of-order"      // revision seen before, or passed over before
	KindMissing         Kind = "missing"           // revisions from here to the next event are not there
	KindChainBreak      Kind = "chain-break"       // does not follow the event before it
	KindBatchBreak      Kind = "batch-break"       // is not the next of its batch, or the first of the next
	KindEpochOrder      Kind = "epoch-order"       // epoch falls, or rises elsewhere than at an epoch-started event
	KindBatchIncomplete Kind = "batch-incomplete"  // stream ends inside a batch
	KindStartNotTrusted Kind = "start-not-trusted" // stream begins after revision 0, and nothing authorises it
)

// Findings about what anchors, or heads kept outside the ledger, say.
const (
	KindTailMissing     Kind = "tail-missing"     // stream is shorter than it was known to be
	KindHeadMismatch    Kind = "head-mismatch"    // another event stood at this revision when it was the head
	KindRecordInvalid   Kind = "record-invalid"   // anchor or truncation with an unreadable or impossible payload
	KindAnchorChain     Kind = "anchor-chain"     // anchor does not name the anchor before it
	KindAnchorRegressed Kind = "anchor-regressed" // anchor knows less of a stream than the one before it
	KindOtherLedger     Kind = "other-ledger"     // heads file was made for another ledger
)

// Finding is one thing wrong with a ledger, and where. It is an error, so that
// [CheckEvent] can return it.
type Finding struct {
	Stream   string
	Revision uint64
	Kind     Kind
	Detail   string // for a person; names no secret
}

// Error returns stream, revision, kind and detail.
func (f *Finding) Error() string {
	return fmt.Sprintf("%q/%d: %s: %s", f.Stream, f.Revision, f.Kind, f.Detail)
}

// compareFindings orders by stream (bytewise), revision and kind.
func compareFindings(a, b Finding) int {
	if c := strings.Compare(a.Stream, b.Stream); c != 0 {
		return c
	}
	if a.Revision != b.Revision {
		if a.Revision < b.Revision {
			return -1
		}
		return 1
	}
	return strings.Compare(string(a.Kind), string(b.Kind))
}

package ledger

import (
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// Head is the end of a stream: what the next event follows.
type Head struct {
	Stream string
	Count  uint64    // events so far, which is the next revision
	Leaf   Hash      // leaf hash of the last event, zero if there is none
	Epoch  uint64    // writer epoch of the last event, 0 if there is none
	Time   time.Time // time of the last event
}

// Draft is an event waiting for a place: its payload is sealed (or is signed
// plaintext), but it has no revision yet. [Seal] and [Plain] make drafts.
type Draft struct {
	Stream string // the stream it was sealed for
	Type   string
	ID     uuid.UUID
	Time   time.Time // UTC, whole microseconds
	KeyID  string    // empty: signed plaintext
	Nonce  []byte    // NonceSize bytes, or none for plaintext
	Data   []byte    // payload as it will be stored
	Digest Hash      // SHA-256 of Data
}

// ErrBatch is wrapped by errors about drafts that cannot form a batch: it is a
// mistake of the caller, and nothing was signed.
var ErrBatch = errors.New("cannot form a batch")

// BuildBatch gives drafts their places after head, chains them and signs them
// together with one signature. It returns the events to append at revision
// head.Count in one atomic append, and the head after them. Nothing has
// happened until they are stored: a failed append is repeated with the same
// events, not with a new batch.
//
// epoch is the writer's epoch. It equals head.Epoch, or it is greater and then
// the first draft, and no other, is a [TypeEpochStarted]. keyID names the
// signing key; sign is called once. An s in the upper half is replaced by its
// low counterpart. Errors wrap [ErrBatch], [ErrName] or [ErrHeader] for drafts
// that break the format, else the error of sign.
func BuildBatch(head Head, epoch uint64, drafts []Draft, keyID string, sign Signer) ([]Event, Head, error) {
	if err := checkBatch(head, epoch, drafts, keyID); err != nil {
		return nil, Head{}, err
	}
	return buildBatch(head, epoch, drafts, keyID, sign)
}

func buildBatch(head Head, epoch uint64, drafts []Draft, keyID string, sign Signer) ([]Event, Head, error) {
	b, err := chain(head, epoch, drafts)
	if err != nil {
		return nil, Head{}, err
	}
	t := newTree(b.leaves)
	next := Head{
		Stream: head.Stream,
		Count:  head.Count + uint64(len(drafts)),
		Leaf:   b.leaves[len(b.leaves)-1],
		Epoch:  epoch,
		Time:   drafts[len(drafts)-1].Time,
	}
	signature, err := signStatement(&statement{
		Stream: head.Stream, Epoch: epoch,
		First: head.Count, Size: uint64(len(drafts)),
		Prev: head.Leaf, Last: next.Leaf, Root: t.root(),
	}, keyID, sign)
	if err != nil {
		return nil, Head{}, err
	}
	tail := receiptTail(head.Count, head.Leaf, next.Leaf, signature)
	return b.events(head, drafts, t, tail), next, nil
}

func checkBatch(head Head, epoch uint64, drafts []Draft, keyID string) error {
	if len(drafts) == 0 || len(drafts) > MaxBatch {
		return fmt.Errorf("%d drafts for stream %s, allowed are 1 to %d: %w", len(drafts), head.Stream, MaxBatch, ErrBatch)
	}
	if head.Count > maxUint-uint64(len(drafts)) {
		return fmt.Errorf("stream %s is full at revision %d: %w", head.Stream, head.Count, ErrBatch)
	}
	if head.Count == 0 && (head.Leaf != Hash{} || head.Epoch != 0) {
		return fmt.Errorf("head of the empty stream %s is not empty: %w", head.Stream, ErrBatch)
	}
	if epoch < head.Epoch {
		return fmt.Errorf("epoch %d after epoch %d in stream %s: %w", epoch, head.Epoch, head.Stream, ErrBatch)
	}
	if err := checkName("signing key id", keyID, MaxSignerID); err != nil {
		return err
	}
	for i := range drafts {
		d := &drafts[i]
		if d.Stream != head.Stream {
			return fmt.Errorf("draft %d was made for stream %q, not %q: %w", i, d.Stream, head.Stream, ErrBatch)
		}
		if starts := i == 0 && epoch > head.Epoch; starts != (d.Type == TypeEpochStarted) {
			return fmt.Errorf("draft %d has type %q, but the epoch of stream %s goes from %d to %d: %w",
				i, d.Type, head.Stream, head.Epoch, epoch, ErrBatch)
		}
	}
	return nil
}

// chained is a batch whose headers are written, one after another, in one
// buffer.
type chained struct {
	headers []byte
	ends    []int // of each header in headers
	leaves  []Hash
}

func chain(head Head, epoch uint64, drafts []Draft) (chained, error) {
	b := chained{
		headers: make([]byte, 0, 256*len(drafts)),
		ends:    make([]int, len(drafts)),
		leaves:  make([]Hash, len(drafts)),
	}
	var scratch []byte
	prev := head.Leaf
	for i := range drafts {
		d := &drafts[i]
		h := Header{
			Stream: head.Stream, Revision: head.Count + uint64(i), Epoch: epoch, Prev: prev,
			Type: d.Type, ID: d.ID, Time: d.Time, KeyID: d.KeyID, Nonce: d.Nonce, Digest: d.Digest,
		}
		if err := h.check(); err != nil {
			return chained{}, fmt.Errorf("draft %d for stream %s: %w", i, head.Stream, err)
		}
		start := len(b.headers)
		b.headers = h.append(b.headers)
		b.ends[i] = len(b.headers)
		prev = leafHash(&scratch, b.headers[start:])
		b.leaves[i] = prev
	}
	return b, nil
}

// events puts header and receipt of each draft together. All metadata lies in
// one allocation.
func (b *chained) events(head Head, drafts []Draft, t tree, tail []byte) []Event {
	receiptBound := 16 + (len(t)-1)*(2+len(Hash{})) + len(tail)
	arena := make([]byte, 0, len(b.headers)+len(drafts)*metadataSize(0, receiptBound))
	receipt := make([]byte, 0, receiptBound)
	events := make([]Event, len(drafts))
	start := 0
	for i := range drafts {
		d := &drafts[i]
		receipt = appendReceipt(receipt[:0], t, i, tail)
		begin := len(arena)
		arena = appendBytes(append(arena, majorArray|2), b.headers[start:b.ends[i]])
		arena = appendBytes(arena, receipt)
		start = b.ends[i]
		events[i] = Event{
			Stream: head.Stream, Revision: head.Count + uint64(i), ID: d.ID, Type: d.Type,
			Data: d.Data, Metadata: arena[begin:len(arena):len(arena)],
		}
	}
	return events
}

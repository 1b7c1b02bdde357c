package crosscheck_test

import (
	"crypto/sha256"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/uuid"

	"kiroku/domain/ledger"
	"kiroku/domain/ledger/ledgertest"
)

var recordStreams = []string{"record-0", "record-1", "record-2"}

// writer writes a ledger as its owner might, honest or not: everything it signs
// is signed properly, but not all of it keeps the rules.
type writer struct {
	t         *testing.T
	rng       *rand.Rand
	dishonest bool
	now       time.Time
	heads     map[string]ledger.Head
	past      []ledger.Head // heads that were, of all streams
	snapshots [][]ledger.AnchoredHead
	anchor    ledger.Hash // leaf hash of the newest anchor
	events    []ledger.Event
}

func newWriter(t *testing.T, rng *rand.Rand) *writer {
	return &writer{
		t: t, rng: rng, dishonest: rng.IntN(3) > 0,
		now:   time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC),
		heads: map[string]ledger.Head{},
	}
}

// chance is true once in n times.
func (w *writer) chance(n int) bool { return w.rng.IntN(n) == 0 }

// cheats is true once in n times for a dishonest writer.
func (w *writer) cheats(n int) bool { return w.dishonest && w.chance(n) }

func (w *writer) bytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(w.rng.Uint32())
	}
	return b
}

func (w *writer) hash() ledger.Hash { return ledger.Hash(w.bytes(32)) }

// write writes the whole ledger.
func (w *writer) write() {
	w.append(ledger.RegistryStream, w.ordinary(ledger.RegistryStream))
	for range 6 + w.rng.IntN(14) {
		stream := recordStreams[w.rng.IntN(len(recordStreams))]
		switch w.rng.IntN(5) {
		case 0:
			w.append(ledger.RegistryStream, w.anchorDraft())
		case 1:
			w.append(ledger.RegistryStream, w.ordinary(ledger.RegistryStream))
			if w.chance(2) {
				w.append(ledger.RegistryStream, w.truncationDraft(stream))
			}
		default:
			w.append(stream, w.ordinary(stream))
		}
	}
	w.snapshots = append(w.snapshots, w.anchoredHeads())
}

// ordinary is an event without a meaning for verification, sealed or not.
func (w *writer) ordinary(stream string) ledger.Draft {
	d := w.plain(stream, "inquiry-submitted", w.bytes(w.rng.IntN(40)))
	if w.chance(2) {
		d.KeyID, d.Nonce = "record/2026-11-22/record-0/1", w.bytes(ledger.NonceSize)
	}
	return d
}

func (w *writer) plain(stream, kind string, payload []byte) ledger.Draft {
	w.now = w.now.Add(time.Duration(1+w.rng.IntN(1e6)) * time.Microsecond)
	return ledger.Draft{
		Stream: stream, Type: kind, ID: uuid.UUID(w.bytes(16)), Time: w.now,
		Data: payload, Digest: sha256.Sum256(payload),
	}
}

// append signs a batch that ends with the draft.
func (w *writer) append(stream string, last ledger.Draft) {
	var drafts []ledger.Draft
	head := w.misremember(w.head(stream))
	epoch := head.Epoch
	if epoch == 0 || w.chance(6) {
		epoch += 1 + w.rng.Uint64N(3)
		drafts = append(drafts, w.plain(stream, ledger.TypeEpochStarted, nil))
	}
	for range w.rng.IntN(6) {
		drafts = append(drafts, w.ordinary(stream))
	}
	events, after := w.sign(head, epoch, append(drafts, last))
	w.events = append(w.events, events...)
	w.past = append(w.past, w.head(stream))
	w.heads[stream] = after
	if last.Type == ledger.TypeAnchor {
		w.anchor = after.Leaf
	}
	if w.chance(4) {
		w.snapshots = append(w.snapshots, w.anchoredHeads())
	}
}

// sign makes a batch of the drafts. A dishonest writer may sign another version
// of it too, and mix the two.
func (w *writer) sign(head ledger.Head, epoch uint64, drafts []ledger.Draft) ([]ledger.Event, ledger.Head) {
	events, after := w.build(head, epoch, drafts)
	if !w.cheats(6) {
		return events, after
	}
	longer, after := w.build(head, epoch, append(drafts, w.ordinary(head.Stream)))
	at := 1 + w.rng.IntN(len(events))
	return append(events[:at], longer[at:]...), after
}

func (w *writer) build(head ledger.Head, epoch uint64, drafts []ledger.Draft) ([]ledger.Event, ledger.Head) {
	key := signingKey(w.t, w.keyID())
	events, after, err := ledger.BuildBatch(head, epoch, drafts, key.ID, key.Sign)
	if err != nil {
		w.t.Fatalf("building a batch of %s: %v", head.Stream, err)
	}
	return events, after
}

func (w *writer) head(stream string) ledger.Head {
	head := w.heads[stream]
	head.Stream = stream
	return head
}

// misremember gives a dishonest writer another idea of where its stream ends.
func (w *writer) misremember(head ledger.Head) ledger.Head {
	if w.cheats(10) && len(w.past) > 0 {
		if other := w.past[w.rng.IntN(len(w.past))]; other.Stream == head.Stream && other.Count > 0 {
			head = other
		}
	}
	if w.cheats(15) && head.Count > 0 {
		head.Leaf = w.hash()
	}
	if w.cheats(15) && head.Count > 0 {
		head.Count += w.rng.Uint64N(3)
	}
	if w.cheats(12) && head.Count > 0 {
		head.Epoch = w.rng.Uint64N(8)
	}
	return head
}

func (w *writer) keyID() string {
	switch {
	case w.cheats(30):
		return unknownKey
	case w.cheats(30):
		return expiredKey
	case w.chance(3):
		return secondKey
	}
	return firstKey
}

// anchoredHeads are the heads as they are.
func (w *writer) anchoredHeads() []ledger.AnchoredHead {
	heads := []ledger.AnchoredHead{}
	for _, head := range w.heads {
		heads = append(heads, head.Anchored())
	}
	ledger.SortHeads(heads)
	return heads
}

func (w *writer) anchorDraft() ledger.Draft {
	a := ledger.Anchor{Time: w.now, Previous: w.anchor, Heads: w.anchoredHeads()}
	if w.cheats(8) {
		a.Previous = w.hash()
	}
	a.Heads = w.misstate(a.Heads, 8)
	payload, err := a.Encode()
	if err != nil {
		w.t.Fatalf("encoding an anchor: %v", err)
	}
	return w.spoil(w.plain(ledger.RegistryStream, ledger.TypeAnchor, payload))
}

// misstate makes a dishonest writer's heads differ from what was.
func (w *writer) misstate(heads []ledger.AnchoredHead, n int) []ledger.AnchoredHead {
	if len(heads) == 0 {
		return heads
	}
	at := w.rng.IntN(len(heads))
	switch {
	case w.cheats(n):
		heads[at].Leaf = w.hash()
	case w.cheats(n):
		heads[at].Count = max(1, heads[at].Count+w.rng.Uint64N(5)-2)
	case w.cheats(n):
		heads = append(heads[:at], heads[at+1:]...)
	case w.cheats(n):
		heads = append(heads, ledger.AnchoredHead{Stream: "unseen", Count: 1 + w.rng.Uint64N(9), Leaf: w.hash()})
		ledger.SortHeads(heads)
	case w.cheats(n) && len(w.past) > 0:
		if past := w.past[w.rng.IntN(len(w.past))]; past.Count > 0 {
			heads = []ledger.AnchoredHead{past.Anchored()}
		}
	}
	return heads
}

// truncationDraft allows a stream to begin later. Most are honest, about an
// event that was; some name a stream of which nothing is left.
func (w *writer) truncationDraft(stream string) ledger.Draft {
	tr := ledger.Truncation{Stream: stream, First: 1 + w.rng.Uint64N(9), Prev: w.hash()}
	if w.cheats(4) {
		tr.Stream = "unseen"
	}
	var before []ledger.Event
	for _, e := range w.events {
		if e.Stream == stream {
			before = append(before, e)
		}
	}
	if len(before) > 0 && !w.cheats(3) {
		e := before[w.rng.IntN(len(before))]
		tr = ledger.Truncation{Stream: stream, First: e.Revision + 1, Prev: leaf(w.t, e)}
	}
	payload, err := tr.Encode()
	if err != nil {
		w.t.Fatalf("encoding a truncation: %v", err)
	}
	return w.spoil(w.plain(ledger.RegistryStream, ledger.TypeStreamTruncated, payload))
}

// spoil makes a payload with a meaning unusable, now and then.
func (w *writer) spoil(d ledger.Draft) ledger.Draft {
	switch {
	case w.cheats(12):
		d.KeyID, d.Nonce = "record/2026-11-22/record-0/1", w.bytes(ledger.NonceSize)
	case w.cheats(8):
		d.Data = damageBytes(w.rng, d.Data)
		d.Digest = sha256.Sum256(d.Data)
	}
	return d
}

func leaf(t *testing.T, e ledger.Event) ledger.Hash {
	t.Helper()
	_, header, _, err := ledger.DecodeMetadata(e.Metadata)
	if err != nil {
		t.Fatalf("%s, event %d: %v", e.Stream, e.Revision, err)
	}
	return ledger.LeafHash(header)
}

const (
	firstKey   = "sign/1"
	secondKey  = "sign/2"
	expiredKey = "sign/expired"
	unknownKey = "sign/unknown"
)

func signingKey(t *testing.T, id string) ledgertest.Key {
	t.Helper()
	key, err := ledgertest.NewKey(id)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// publicKeys is the file of keys that both verifiers trust.
func publicKeys(t *testing.T) []byte {
	t.Helper()
	expired := signingKey(t, expiredKey).Public()
	expired.ValidTo = time.Date(2026, 11, 22, 0, 0, 1, 0, time.UTC)
	keys, err := ledger.NewKeySet(signingKey(t, firstKey).Public(), signingKey(t, secondKey).Public(), expired)
	if err != nil {
		t.Fatal(err)
	}
	text, err := keys.MarshalPEM()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

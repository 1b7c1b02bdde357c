package projectiontest

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"

	"kiroku/domain/event"
	"kiroku/domain/keyring"
	"kiroku/domain/ledger"
	"kiroku/domain/ledger/ledgertest"
	"kiroku/domain/register"
)

func quote(b []byte) string { return strconv.Quote(string(b)) }

// Fact is an event to be appended.
type Fact struct {
	Type    string
	ID      uuid.UUID // zero: derived from stream and revision
	Time    time.Time // whole microseconds
	Payload any       // a payload of domain/event, or []byte as it is
	Key     string    // names the data key; empty for plaintext
}

// Ledger is a ledger in memory. It is a projections.Source, Counter, Opener,
// Indexer and Trust, and safe for concurrent use.
type Ledger struct {
	signer ledgertest.Key

	mu        sync.Mutex
	streams   map[string][]ledger.Event
	heads     map[string]ledger.Head
	changed   chan struct{}
	destroyed map[string]bool
	trusted   ledger.KeySet
	failOpen  error
	failRead  error
	starts    map[string]ledger.Hash
}

// New returns an empty ledger whose signing key is trusted.
func New() (*Ledger, error) {
	l := &Ledger{
		streams: map[string][]ledger.Event{}, heads: map[string]ledger.Head{}, changed: make(chan struct{}),
		destroyed: map[string]bool{}, starts: map[string]ledger.Hash{},
	}
	var err error
	if l.signer, err = ledgertest.NewKey("projectiontest"); err != nil {
		return nil, err
	}
	l.trusted, err = l.signer.KeySet()
	return l, err
}

// Append chains, signs and stores facts as one batch. The first batch of a
// stream is preceded by the epoch event that the format demands.
func (l *Ledger) Append(stream string, facts ...Fact) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.heads[stream].Count == 0 {
		if err := l.begin(stream, facts[0].Time); err != nil {
			return err
		}
	}
	return l.append(stream, l.heads[stream].Epoch, facts)
}

// Restart has another writer take over a stream, in a new epoch.
func (l *Ledger) Restart(stream string, at time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.begin(stream, at)
}

func (l *Ledger) begin(stream string, at time.Time) error {
	return l.append(stream, l.heads[stream].Epoch+1, []Fact{{Type: ledger.TypeEpochStarted, Time: at,
		Payload: event.EpochStarted{Writer: uuid.NewSHA1(uuid.Nil, []byte(stream))}}})
}

// Epoch returns the writer epoch of a stream, 0 if it is empty.
func (l *Ledger) Epoch(stream string) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.heads[stream].Epoch
}

func (l *Ledger) append(stream string, epoch uint64, facts []Fact) error {
	head := l.heads[stream]
	head.Stream = stream
	drafts := make([]ledger.Draft, len(facts))
	for i, f := range facts {
		if f.ID == uuid.Nil {
			f.ID = uuid.NewSHA1(uuid.Nil, fmt.Appendf(nil, "%s/%d", stream, head.Count+uint64(i)))
		}
		var err error
		if drafts[i], err = seal(stream, f); err != nil {
			return err
		}
	}
	events, next, err := ledger.BuildBatch(head, epoch, drafts, l.signer.ID, l.signer.Sign)
	if err != nil {
		return err
	}
	l.streams[stream] = append(l.streams[stream], events...)
	l.heads[stream] = next
	close(l.changed)
	l.changed = make(chan struct{})
	return nil
}

func seal(stream string, f Fact) (ledger.Draft, error) {
	payload, raw := f.Payload.([]byte)
	if !raw {
		var err error
		if payload, err = event.Encode(f.Payload); err != nil {
			return ledger.Draft{}, err
		}
	}
	aad := ledger.AAD{Stream: stream, ID: f.ID, Type: f.Type, Time: f.Time, KeyID: f.Key}
	if f.Key == "" {
		return ledger.Plain(aad, payload)
	}
	key := sha256.Sum256([]byte("data key " + f.Key))
	return ledger.Seal(key[:], aad, payload)
}

// Events returns the events of a stream as stored.
func (l *Ledger) Events(stream string) []ledger.Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]ledger.Event(nil), l.streams[stream]...)
}

// Tamper changes a stored event behind the ledger's back.
func (l *Ledger) Tamper(stream string, revision uint64, change func(*ledger.Event)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	events := append([]ledger.Event(nil), l.streams[stream]...)
	change(&events[revision])
	l.streams[stream] = events
}

// Destroy makes everything sealed under a key unreadable.
func (l *Ledger) Destroy(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.destroyed[key] = true
}

// FailOpen has every Open fail with err until it is called with nil.
func (l *Ledger) FailOpen(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failOpen = err
}

// FailRead has every subscription fail with err until it is called with nil.
func (l *Ledger) FailRead(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failRead = err
	close(l.changed)
	l.changed = make(chan struct{})
}

// Distrust forgets the signing key; Trust knows it again.
func (l *Ledger) Distrust() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.trusted = ledger.KeySet{}
}

// Trust knows the signing key again after Distrust.
func (l *Ledger) Trust() error {
	keys, err := l.signer.KeySet()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.trusted = keys
	return err
}

// SigningKeys implements projections.Trust.
func (l *Ledger) SigningKeys() ledger.KeySet {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.trusted
}

// Truncated implements projections.Trust.
func (l *Ledger) Truncated(stream string, first uint64) (ledger.Hash, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	prev, ok := l.starts[fmt.Sprintf("%s@%d", stream, first)]
	return prev, ok
}

// Authorise says that a stream may begin at a revision.
func (l *Ledger) Authorise(stream string, first uint64, prev ledger.Hash) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.starts[fmt.Sprintf("%s@%d", stream, first)] = prev
}

// Truncate forgets the events below a revision.
func (l *Ledger) Truncate(stream string, first uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var kept []ledger.Event
	for _, e := range l.streams[stream] {
		if e.Revision >= first {
			kept = append(kept, e)
		}
	}
	l.streams[stream] = kept
}

// Open implements projections.Opener.
func (l *Ledger) Open(_ context.Context, h ledger.Header, data []byte) ([]byte, error) {
	l.mu.Lock()
	failure, gone := l.failOpen, l.destroyed[h.KeyID]
	l.mu.Unlock()
	if failure != nil {
		return nil, failure
	}
	if gone {
		return nil, keyring.ErrShredded
	}
	key := sha256.Sum256([]byte("data key " + h.KeyID))
	plain, err := ledger.Open(key[:], h, data)
	if err != nil {
		return nil, errors.Join(keyring.ErrWrongKey, err)
	}
	return plain, nil
}

// Index implements projections.Indexer.
func (l *Ledger) Index(kind string, parts ...[]byte) (k register.Key) {
	h := hmac.New(sha256.New, []byte("index key"))
	for _, p := range append([][]byte{[]byte(kind)}, parts...) {
		h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(p))))
		h.Write(p)
	}
	copy(k[:], h.Sum(nil))
	return k
}

// Locate reads the people that a generation of the vault deletes: here a locator is the id itself.
func (l *Ledger) Locate(_ int, locators [][]byte) ([]register.SubjectID, error) {
	all := make([]register.SubjectID, len(locators))
	for i, id := range locators {
		if len(id) != 16 {
			return nil, keyring.ErrWrongKey
		}
		all[i] = register.NewSubjectID([16]byte(id))
	}
	return all, nil
}

// Count implements projections.Counter.
func (l *Ledger) Count(_ context.Context, stream string) (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.heads[stream].Count, nil
}

// chunk is how many events a subscription hands over at once, at most.
const chunk = 300

// Subscribe implements projections.Source.
func (l *Ledger) Subscribe(ctx context.Context, stream string, from uint64,
	handler func(context.Context, []ledger.Event) error, caughtUp func()) error {
	told := false
	for {
		l.mu.Lock()
		events, changed, failure := l.streams[stream], l.changed, l.failRead
		l.mu.Unlock()
		if failure != nil {
			return failure
		}
		for len(events) > 0 && events[0].Revision < from {
			events = events[min(len(events), max(1, int(from-events[0].Revision))):]
		}
		if len(events) > 0 {
			events = events[:min(len(events), chunk)]
			if err := handler(ctx, events); err != nil {
				return err
			}
			from, told = events[len(events)-1].Revision+1, false
			continue
		}
		if !told {
			caughtUp()
			told = true
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
	}
}

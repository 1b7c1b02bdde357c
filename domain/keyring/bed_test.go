package keyring_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/domain/keyring"
	"kiroku/domain/ledger"
	"kiroku/domain/secret"
)

var (
	errGone = errors.New("this token is the right one, and it has no such key")
	errDown = errors.New("the token does not answer")
)

// token is an HSM of software keys.
type token struct {
	mu    sync.Mutex
	keys  map[string][]byte
	down  bool
	calls int
	after func() // called when an answer was made, before it is given
}

func newToken(labels ...string) *token {
	t := &token{keys: map[string][]byte{}}
	for _, l := range append(labels, keyring.LabelView, keyring.LabelDigest, keyring.LabelVault) {
		t.put(l)
	}
	return t
}

func (t *token) put(label string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := sha256.Sum256([]byte("software key " + label))
	t.keys[label] = key[:]
}

func (t *token) destroy(label string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.keys, label)
}

func (t *token) setDown(down bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.down = down
}

func (t *token) HMAC(_ context.Context, label string, message []byte) (*secret.Bytes, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.calls++
	key, ok := t.keys[label]
	switch {
	case t.down:
		return nil, errDown
	case !ok:
		return nil, errGone
	}
	h := hmac.New(sha256.New, key)
	h.Write(message)
	if t.after != nil {
		t.after()
	}
	return secret.Take(h.Sum(nil)), nil
}

// shelf holds the day-opened events.
type shelf struct {
	mu     sync.Mutex
	events map[string][]ledger.Event
	err    error
}

func (s *shelf) ReadForward(_ context.Context, stream string, from uint64, limit int) ([]ledger.Event, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return nil, s.err
	}
	var out []ledger.Event
	for _, e := range s.events[stream] { // as the store does: from there on, what there is
		if e.Revision >= from && len(out) < limit {
			out = append(out, e)
		}
	}
	return out, nil
}

func (s *shelf) put(e ledger.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.events == nil {
		s.events = map[string][]ledger.Event{}
	}
	s.events[e.Stream] = append(s.events[e.Stream], e)
}

func (s *shelf) lose() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = nil
}

// bed is a keyring with what it asks.
type bed struct {
	testing.TB
	*keyring.Keyring
	token *token
	shelf *shelf
	next  uint64
}

const stream = "record-03"

var (
	today = calendar.DayOf(noon)
	noon  = time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)
)

func newBed(t testing.TB, o ...keyring.Options) *bed {
	t.Helper()
	b := &bed{TB: t, token: newToken(keyring.DayLabel(today)), shelf: &shelf{}}
	b.restart(o...)
	return b
}

// restart makes a keyring that knows nothing yet.
func (b *bed) restart(o ...keyring.Options) {
	b.Helper()
	options := keyring.Options{}
	if len(o) > 0 {
		options = o[0]
	}
	options.KeyGone = func(err error) bool { return errors.Is(err, errGone) }
	k, err := keyring.New(b.Context(), b.token, b.shelf, options)
	if err != nil {
		b.Fatal(err)
	}
	b.Keyring = k
}

// openDay opens a day in a stream, with its event on the shelf.
func (b *bed) openDay(stream string, day calendar.Day) (revision uint64) {
	b.Helper()
	o, err := b.NewDay(b.Context(), stream, day)
	if err != nil {
		b.Fatal(err)
	}
	payload, err := o.Encode()
	if err != nil {
		b.Fatal(err)
	}
	revision = b.next
	b.next++
	b.shelf.put(ledger.Event{Stream: stream, Revision: revision, Type: event.TypeDayOpened, Data: payload})
	if err := b.DayOpened(b.Context(), stream, revision, o); err != nil {
		b.Fatal(err)
	}
	return revision
}

// openVault makes a vault and loads it. It returns its events.
func (b *bed) openVault(buckets, perEvent int) (event.VaultOpened, []event.BucketKeysStored) {
	b.Helper()
	o, err := b.NewVault(b.Context(), buckets)
	if err != nil {
		b.Fatal(err)
	}
	var stored []event.BucketKeysStored
	for first := 0; first < buckets; first += perEvent {
		s, err := b.NewBucketKeys(b.Context(), o, first, min(perEvent, buckets-first))
		if err != nil {
			b.Fatal(err)
		}
		stored = append(stored, s)
	}
	b.loadVault(o, stored)
	return o, stored
}

func (b *bed) loadVault(o event.VaultOpened, stored []event.BucketKeysStored) {
	b.Helper()
	if err := b.OpenVault(b.Context(), o); err != nil {
		b.Fatal(err)
	}
	for _, s := range stored {
		if _, err := b.LoadBucketKeys(s); err != nil {
			b.Fatal(err)
		}
	}
}

func aad(stream, eventType string, at time.Time) ledger.AAD {
	return ledger.AAD{Stream: stream, ID: uuid.New(), Type: eventType, Time: at}
}

// header is that of a draft once it has a place.
func header(d ledger.Draft) ledger.Header {
	return ledger.Header{Stream: d.Stream, Revision: 7, Epoch: 1, Type: d.Type, ID: d.ID, Time: d.Time, KeyID: d.KeyID, Nonce: d.Nonce, Digest: d.Digest}
}

func (b *bed) sealRecord(plain string) ledger.Draft {
	b.Helper()
	d, err := b.SealRecord(aad(stream, event.TypeInquiryNotified, noon), []byte(plain))
	if err != nil {
		b.Fatal(err)
	}
	return d
}

func (b *bed) sealSubject(s *keyring.Subject, plain string) ledger.Draft {
	b.Helper()
	d, err := b.SealSubject(s, aad(event.StreamIssuance, event.TypeSymbolIssued, noon), []byte(plain))
	if err != nil {
		b.Fatal(err)
	}
	return d
}

func (b *bed) opens(d ledger.Draft, plain string) {
	b.Helper()
	got, err := b.Open(b.Context(), header(d), d.Data)
	if err != nil || string(got) != plain {
		b.Errorf("opened as %q (%v), want %q", got, err, plain)
	}
}

func (b *bed) refuses(d ledger.Draft, sentinel error, not ...error) {
	b.Helper()
	_, err := b.Open(b.Context(), header(d), d.Data)
	if !errors.Is(err, sentinel) {
		b.Errorf("got %v, want %v", err, sentinel)
	}
	for _, n := range not {
		if errors.Is(err, n) {
			b.Errorf("%v is told as %v", err, n)
		}
	}
}

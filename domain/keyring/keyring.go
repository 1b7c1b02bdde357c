// Package keyring opens and seals the payloads of the ledger. It promises that no
// data key is ever stored: the key of a day and the key that wraps the vault are answers of the HSM,
// the key of a person lies wrapped in events under the vault, so that a key destroyed in the HSM
// takes everything under it along. Commands seal with it, projections open with it.
//
// It reaches the HSM and the ledger only through the two ports below.
package keyring

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"kiroku/domain/ledger"
	"kiroku/domain/secret"
)

// HSM answers keyed hashes under keys that never leave it.
type HSM interface {
	// HMAC returns HMAC-SHA256 of the message under the key with that label, 32 octets. An error of which
	// Options.KeyGone says so means that the token answers and the key is gone.
	HMAC(ctx context.Context, label string, message []byte) (*secret.Bytes, error)
}

// Events reads single events back from the ledger.
type Events interface {
	ReadForward(ctx context.Context, stream string, from uint64, limit int) ([]ledger.Event, error)
}

// Errors of Open and of the sealing functions.
var (
	// ErrShredded: the key was destroyed, the payload is unreadable for ever.
	ErrShredded = errors.New("the key of this payload has been destroyed")
	// ErrWrongKey: the payload or its key reference was altered, or belongs to another ledger.
	ErrWrongKey = errors.New("the payload does not open under its key")
	// ErrDayNotOpened: the stream has no data key for that day yet; append a day-opened event first.
	ErrDayNotOpened = errors.New("the day has no data key in this stream yet")
	// ErrVaultNotOpen: the vault's keys are not loaded yet.
	ErrVaultNotOpen = errors.New("the vault is not open")
)

// Options names what the keyring cannot know by itself.
type Options struct {
	// KeyGone tells the HSM's answer "this key does not exist, and the token is the right one" from every other failure.
	KeyGone func(error) bool
	// DayKeyCache bounds the day keys held in memory; 0 means DefaultDayKeyCache.
	DayKeyCache int
	// Elapsed is a clock that only goes on, by which day keys in memory age; see Followed and Expire. nil: they do not.
	Elapsed func() time.Time
	// DayKeyLifetime is how old they get; 0 means DefaultDayKeyLifetime.
	DayKeyLifetime time.Duration
}

// DefaultDayKeyCache holds a week of days of every shard of a large core.
const DefaultDayKeyCache = 1024

// Keyring is safe for concurrent use.
type Keyring struct {
	hsm    HSM
	events Events
	gone   func(error) bool
	limit  int

	elapsed  func() time.Time // nil: keys do not age
	lifetime time.Duration

	mu       sync.RWMutex       // guards the fields below
	days     map[string]*dayKey // by key id, bounded by limit
	current  map[string]openDay // by stream: the key that seals now
	forgets  uint64             // calls of Forget so far
	ended    map[string]bool    // days of which nothing opens any more
	followed time.Time          // by elapsed: up to then the ends of days were taken in
	vault    *vault             // complete; nil until then
	opening  *vault             // bucket keys are still being loaded; nil if none is

	index  *pool // keyed index of views
	digest *pool // keyed digest of commands
}

// New makes a keyring and asks the HSM for the two answers that it needs all the time:
// the key of the views' indexes and the key of the commands' digests.
func New(ctx context.Context, h HSM, events Events, o Options) (*Keyring, error) {
	k := &Keyring{hsm: h, events: events, gone: o.KeyGone, limit: o.DayKeyCache,
		days: map[string]*dayKey{}, current: map[string]openDay{}, ended: map[string]bool{}}
	if k.elapsed, k.lifetime = o.Elapsed, o.DayKeyLifetime; k.lifetime <= 0 {
		k.lifetime = DefaultDayKeyLifetime
	}
	if k.limit <= 0 {
		k.limit = DefaultDayKeyCache
	}
	if k.gone == nil {
		k.gone = func(error) bool { return false }
	}
	var err error
	if k.index, err = newPool(ctx, h, LabelView, "kiroku/view/1"); err != nil {
		return nil, err
	}
	if k.digest, err = newPool(ctx, h, LabelDigest, "kiroku/digest/1"); err != nil {
		k.index.key.Destroy()
		return nil, err
	}
	return k, nil
}

// Labels of the HSM keys that the keyring asks.
const (
	LabelView   = "view/1"
	LabelDigest = "digest/1"
	LabelVault  = "vault/1"
)

// Open returns the plaintext of an event's payload. A payload without key id is its own plaintext.
// ErrShredded is final; ErrWrongKey means tampering; anything else is worth another try.
func (k *Keyring) Open(ctx context.Context, h ledger.Header, data []byte) ([]byte, error) {
	if h.KeyID == "" {
		return data, nil
	}
	key, done, err := k.find(ctx, h.KeyID)
	if err != nil {
		return nil, fmt.Errorf("open %s@%d: %w", h.Stream, h.Revision, err)
	}
	defer done()
	plain, err := ledger.Open(key, h, data)
	if err != nil {
		return nil, fmt.Errorf("open %s@%d: %w", h.Stream, h.Revision, ErrWrongKey)
	}
	return plain, nil
}

// find returns the key of a key id, and what to call when it has been used.
func (k *Keyring) find(ctx context.Context, keyID string) (key []byte, done func(), err error) {
	class, _, _ := strings.Cut(keyID, "/")
	switch class {
	case classRecord:
		key, err := k.day(ctx, keyID)
		if err != nil {
			return nil, nil, err
		}
		return key.bytes.Expose(), key.release, nil
	case classSubject:
		s, err := k.SubjectOf(keyID)
		if err != nil {
			return nil, nil, err
		}
		return s.key.Expose(), s.Destroy, nil
	}
	return nil, nil, fmt.Errorf("key id of class %q: %w", class, ErrWrongKey)
}

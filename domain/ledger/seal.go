package ledger

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"kiroku/domain/secret"
)

// Sizes of a sealed payload, in bytes.
const (
	DataKeySize = 32      // AES-256
	PadBlock    = 256     // padded plaintexts are multiples of it
	MaxPayload  = 1 << 20 // of any stored payload

	lengthPrefix = 4
	tagSize      = 16
)

// AAD is what a payload is bound to: its ciphertext opens nowhere else.
type AAD struct {
	Stream string
	ID     uuid.UUID
	Type   string
	Time   time.Time // used in UTC and whole microseconds
	KeyID  string    // data key; empty for signed plaintext
}

const aadFields = 6

// encode writes the additional data of AES-GCM, deterministic CBOR.
func (a *AAD) encode() []byte {
	b := make([]byte, 0, 256)
	b = append(b, majorArray|aadFields, FormatVersion)
	b = appendText(b, a.Stream)
	b = appendBytes(b, a.ID[:])
	b = appendText(b, a.Type)
	b = appendUint(b, majorUint, uint64(a.Time.UnixMicro()))
	return appendText(b, a.KeyID)
}

func (a *AAD) check() error {
	h := Header{Stream: a.Stream, Epoch: 1, Type: a.Type, ID: a.ID, Time: a.Time}
	return h.check()
}

// ErrPayload is wrapped by errors about a payload that cannot be sealed, or
// that does not open: wrong key, or not the bytes that were sealed here.
var ErrPayload = errors.New("payload cannot be sealed or opened")

// Seal encrypts a payload under a data key of [DataKeySize] bytes with
// AES-256-GCM and a random nonce, and returns the draft of its event. The
// plaintext is padded so that its length shows in steps of [PadBlock] only.
// Calls may run in parallel; a data key is good for 2^32 of them (NIST SP
// 800-38D section 8.3). The caller wipes key and plaintext; Seal keeps
// neither.
func Seal(key []byte, a AAD, plaintext []byte) (Draft, error) {
	nonce := make([]byte, NonceSize)
	if _, err := rand.Read(nonce); err != nil {
		return Draft{}, fmt.Errorf("drawing a nonce: %w", err)
	}
	return seal(key, nonce, a, plaintext)
}

func seal(key, nonce []byte, a AAD, plaintext []byte) (Draft, error) {
	if err := a.check(); err != nil {
		return Draft{}, err
	}
	if err := checkName("key id", a.KeyID, MaxKeyID); err != nil {
		return Draft{}, err
	}
	padded := (lengthPrefix + len(plaintext) + PadBlock - 1) / PadBlock * PadBlock
	if padded+tagSize > MaxPayload {
		return Draft{}, fmt.Errorf("plaintext of %d bytes for a %s event: %w", len(plaintext), a.Type, ErrPayload)
	}
	gcm, err := newGCM(key)
	if err != nil {
		return Draft{}, err
	}
	defer gcm.Wipe()
	// Encrypted in place, so that no copy of the plaintext is left behind.
	data := make([]byte, padded, padded+tagSize)
	binary.BigEndian.PutUint32(data, uint32(len(plaintext)))
	copy(data[lengthPrefix:], plaintext)
	data = gcm.Seal(data[:0], nonce, data, a.encode())
	return a.draft(nonce, data), nil
}

// Plain returns the draft of an event whose payload is signed but not
// encrypted. It is stored as it is, without padding; a.KeyID is empty.
func Plain(a AAD, payload []byte) (Draft, error) {
	if err := a.check(); err != nil {
		return Draft{}, err
	}
	if a.KeyID != "" {
		return Draft{}, fmt.Errorf("plaintext %s event with key id %s: %w", a.Type, a.KeyID, ErrPayload)
	}
	if len(payload) > MaxPayload {
		return Draft{}, fmt.Errorf("plaintext of %d bytes for a %s event: %w", len(payload), a.Type, ErrPayload)
	}
	return a.draft(nil, payload), nil
}

func (a *AAD) draft(nonce, data []byte) Draft {
	return Draft{
		Stream: a.Stream, Type: a.Type, ID: a.ID, Time: a.Time.UTC().Truncate(time.Microsecond),
		KeyID: a.KeyID, Nonce: nonce, Data: data, Digest: sha256.Sum256(data),
	}
}

// Open decrypts a payload that [Seal] made. The result is a new slice, for the
// caller to wipe. It fails with [ErrPayload] for signed plaintext, which has
// nothing to open, and for everything that this key did not seal for this
// header.
func Open(key []byte, h Header, data []byte) ([]byte, error) {
	if !h.Sealed() {
		return nil, fmt.Errorf("opening %s/%d, which is signed plaintext: %w", h.Stream, h.Revision, ErrPayload)
	}
	gcm, err := newGCM(key)
	if err != nil {
		return nil, err
	}
	defer gcm.Wipe()
	if len(h.Nonce) != NonceSize || len(data) > MaxPayload || len(data)%PadBlock != tagSize || len(data) < PadBlock {
		return nil, fmt.Errorf("opening %s/%d, whose length no sealed payload has: %w", h.Stream, h.Revision, ErrPayload)
	}
	a := AAD{Stream: h.Stream, ID: h.ID, Type: h.Type, Time: h.Time, KeyID: h.KeyID}
	padded, err := gcm.Open(nil, h.Nonce, data, a.encode())
	if err != nil {
		return nil, fmt.Errorf("opening %s/%d under key %s: %w", h.Stream, h.Revision, h.KeyID, ErrPayload)
	}
	plaintext, ok := unpad(padded)
	if !ok {
		clear(padded)
		return nil, fmt.Errorf("opening %s/%d, whose padding is wrong: %w", h.Stream, h.Revision, ErrPayload)
	}
	return plaintext, nil
}

// unpad accepts the least padding that reaches a whole block, all zero.
func unpad(padded []byte) ([]byte, bool) {
	n := uint64(binary.BigEndian.Uint32(padded))
	body := padded[lengthPrefix:]
	if n > uint64(len(body)) || uint64(len(body))-n >= PadBlock {
		return nil, false
	}
	for _, b := range body[n:] {
		if b != 0 {
			return nil, false
		}
	}
	return body[:n], true
}

func newGCM(key []byte) (secret.GCM, error) {
	if len(key) != DataKeySize {
		return secret.GCM{}, fmt.Errorf("data key of %d bytes, not %d: %w", len(key), DataKeySize, ErrPayload)
	}
	return secret.NewGCM(key)
}

package ledger

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// PublicKey is a signing key's public half and the time in which events signed
// with it may lie.
type PublicKey struct {
	ID        string // COSE kid, 1..[MaxSignerID] bytes
	Key       *ecdsa.PublicKey
	ValidFrom time.Time // inclusive, whole seconds
	ValidTo   time.Time // exclusive, whole seconds; zero: still in use
}

// validAt reports whether an event of that time may be signed with the key.
func (k *PublicKey) validAt(t time.Time) bool {
	return !t.Before(k.ValidFrom) && (k.ValidTo.IsZero() || t.Before(k.ValidTo))
}

// KeySet is an immutable set of public keys, found by their id. The zero value
// holds none.
type KeySet struct {
	keys []PublicKey // sorted by ID
}

// ErrKeys is wrapped by errors about a public keys file or set.
var ErrKeys = errors.New("invalid public keys")

// NewKeySet checks keys (P-256, a proper name, a validity that ends after it
// begins, whole seconds, no id twice) and returns the set of them.
func NewKeySet(keys ...PublicKey) (KeySet, error) {
	set := KeySet{keys: slices.Clone(keys)}
	slices.SortFunc(set.keys, func(a, b PublicKey) int { return strings.Compare(a.ID, b.ID) })
	for i := range set.keys {
		k := &set.keys[i]
		if err := k.check(); err != nil {
			return KeySet{}, err
		}
		if i > 0 && set.keys[i-1].ID == k.ID {
			return KeySet{}, fmt.Errorf("key id %s stands for two keys: %w", k.ID, ErrKeys)
		}
		k.ValidFrom, k.ValidTo = k.ValidFrom.UTC(), k.ValidTo.UTC()
	}
	return set, nil
}

// epoch is the earliest time that the format knows.
var epoch = time.Unix(0, 0).UTC()

func (k *PublicKey) check() error {
	if err := checkName("key id", k.ID, MaxSignerID); err != nil {
		return err
	}
	if k.Key == nil || k.Key.Curve != elliptic.P256() {
		return fmt.Errorf("key %s is not an EC P-256 key: %w", k.ID, ErrKeys)
	}
	if k.ValidFrom.Before(epoch) || !k.ValidTo.IsZero() && k.ValidTo.Before(epoch) {
		return fmt.Errorf("validity of key %s lies before 1970: %w", k.ID, ErrKeys)
	}
	if k.ValidFrom.Nanosecond() != 0 || k.ValidTo.Nanosecond() != 0 {
		return fmt.Errorf("validity of key %s is not in whole seconds from a beginning: %w", k.ID, ErrKeys)
	}
	if !k.ValidTo.IsZero() && !k.ValidTo.After(k.ValidFrom) {
		return fmt.Errorf("validity of key %s ends before it begins: %w", k.ID, ErrKeys)
	}
	return nil
}

// Lookup finds a key by its id.
func (s KeySet) Lookup(id string) (PublicKey, bool) {
	i, found := slices.BinarySearchFunc(s.keys, id, func(k PublicKey, id string) int { return strings.Compare(k.ID, id) })
	if !found {
		return PublicKey{}, false
	}
	return s.keys[i], true
}

// All returns the keys, sorted by id.
func (s KeySet) All() []PublicKey { return slices.Clone(s.keys) }

// PEM block type and headers of a public keys file.
const (
	pemType      = "PUBLIC KEY"
	pemKeyID     = "Key-Id"
	pemValidFrom = "Valid-From"
	pemValidTo   = "Valid-To"
)

// MarshalPEM writes the public keys file: for each key a PEM block with the
// SubjectPublicKeyInfo (RFC 5480) and the headers Key-Id, Valid-From and, for a
// key no longer in use, Valid-To (RFC 3339, UTC, whole seconds).
func (s KeySet) MarshalPEM() ([]byte, error) {
	var out bytes.Buffer
	for _, k := range s.keys {
		der, err := x509.MarshalPKIXPublicKey(k.Key)
		if err != nil {
			return nil, fmt.Errorf("encoding public key %s: %w", k.ID, err)
		}
		headers := map[string]string{pemKeyID: k.ID, pemValidFrom: k.ValidFrom.Format(time.RFC3339)}
		if !k.ValidTo.IsZero() {
			headers[pemValidTo] = k.ValidTo.Format(time.RFC3339)
		}
		if err := pem.Encode(&out, &pem.Block{Type: pemType, Headers: headers, Bytes: der}); err != nil {
			return nil, fmt.Errorf("encoding public key %s: %w", k.ID, err)
		}
	}
	return out.Bytes(), nil
}

// ParseKeys reads a public keys file: blocks exactly as MarshalPEM writes them,
// in any order, with nothing but empty lines around them. The PEM decoder skips
// what it cannot read and takes the last of two equal headers; here a key that
// is silently missing, or another one than a person sees, would make good
// events look forged or forged ones good. Errors wrap [ErrKeys] or [ErrName].
func ParseKeys(file []byte) (KeySet, error) {
	var keys []PublicKey
	for rest := bytes.TrimLeft(file, "\n"); len(rest) > 0; rest = bytes.TrimLeft(rest, "\n") {
		block, after := pem.Decode(rest)
		if block == nil || !bytes.Equal(pem.EncodeToMemory(block), rest[:len(rest)-len(after)]) {
			return KeySet{}, fmt.Errorf("block %d, or text before it, is not exactly a PEM block: %w", len(keys)+1, ErrKeys)
		}
		key, err := parseKey(block)
		if err != nil {
			return KeySet{}, fmt.Errorf("block %d: %w", len(keys)+1, err)
		}
		keys = append(keys, key)
		rest = after
	}
	if len(keys) == 0 {
		return KeySet{}, fmt.Errorf("no key in the file: %w", ErrKeys)
	}
	return NewKeySet(keys...)
}

func parseKey(block *pem.Block) (PublicKey, error) {
	var k PublicKey
	if block.Type != pemType {
		return PublicKey{}, fmt.Errorf("a %q: %w", block.Type, ErrKeys)
	}
	for name, value := range block.Headers {
		var err error
		switch name {
		case pemKeyID:
			k.ID = value
		case pemValidFrom:
			k.ValidFrom, err = parseSeconds(value)
		case pemValidTo:
			k.ValidTo, err = parseSeconds(value)
		default:
			err = ErrKeys
		}
		if err != nil {
			return PublicKey{}, fmt.Errorf("header %q with value %q: %w", name, value, ErrKeys)
		}
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return PublicKey{}, fmt.Errorf("key %q: %w: %w", k.ID, ErrKeys, err)
	}
	key, ok := parsed.(*ecdsa.PublicKey)
	if !ok {
		return PublicKey{}, fmt.Errorf("key %q is not an EC key: %w", k.ID, ErrKeys)
	}
	k.Key = key
	return k, nil
}

// parseSeconds accepts the one form that MarshalPEM writes.
func parseSeconds(s string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return time.Time{}, err
	}
	if t.UTC().Format(time.RFC3339) != s || t.Before(epoch) {
		return time.Time{}, ErrKeys
	}
	return t.UTC(), nil
}

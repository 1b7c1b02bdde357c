// Package ledgertest gives tests software signing keys. They derive from their
// names, and so protect nothing.
package ledgertest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/asn1"
	"fmt"
	"math/big"
	"time"

	"kiroku/domain/ledger"
)

// Key is a signing key that is always the same for the same name.
type Key struct {
	ID      string
	private *ecdsa.PrivateKey
}

// NewKey derives the key: its private scalar is SHA-256 of "ledgertest/" and
// the id.
func NewKey(id string) (Key, error) {
	scalar := sha256.Sum256([]byte("ledgertest/" + id))
	private, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), scalar[:])
	if err != nil {
		return Key{}, fmt.Errorf("deriving test key %s: %w", id, err)
	}
	return Key{ID: id, private: private}, nil
}

// Sign is a [ledger.Signer]. It is deterministic (RFC 6979).
func (k Key) Sign(digest [32]byte) ([64]byte, error) {
	var rs [64]byte
	der, err := k.private.Sign(nil, digest[:], crypto.SHA256)
	if err != nil {
		return rs, fmt.Errorf("signing with test key %s: %w", k.ID, err)
	}
	var sig struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(der, &sig); err != nil {
		return rs, fmt.Errorf("reading the signature of test key %s: %w", k.ID, err)
	}
	sig.R.FillBytes(rs[:32])
	sig.S.FillBytes(rs[32:])
	return rs, nil
}

// Public is the public half, valid from 2020 on.
func (k Key) Public() ledger.PublicKey {
	return ledger.PublicKey{
		ID: k.ID, Key: &k.private.PublicKey,
		ValidFrom: time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC),
	}
}

// KeySet holds the public half alone.
func (k Key) KeySet() (ledger.KeySet, error) { return ledger.NewKeySet(k.Public()) }

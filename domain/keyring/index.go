package keyring

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"sync"

	"kiroku/domain/register"
	"kiroku/domain/secret"
)

// pool hands out HMAC-SHA256 states under one key that the HSM answered.
type pool struct {
	key *secret.Bytes
	p   sync.Pool
}

func newPool(ctx context.Context, h HSM, label, purpose string) (*pool, error) {
	key, err := h.HMAC(ctx, label, []byte(purpose))
	if err != nil {
		return nil, fmt.Errorf("ask the HSM for the %s key: %w", purpose, err)
	}
	p := &pool{key: key}
	p.p.New = func() any { return hmac.New(sha256.New, key.Expose()) }
	return p, nil
}

// blank overwrites the block that a hash keeps for what is not yet a whole one.
var blank [2 * sha256.BlockSize]byte

// sum returns the first 128 bits of HMAC(key, len(kind) ‖ kind ‖ len(part) ‖ part …).
func (p *pool) sum(kind string, parts ...[]byte) (out [16]byte) {
	h := p.p.Get().(hash.Hash)
	defer p.p.Put(h)
	h.Reset()
	var n [4]byte
	binary.BigEndian.PutUint32(n[:], uint32(len(kind)))
	h.Write(n[:])
	h.Write([]byte(kind))
	for _, part := range parts {
		binary.BigEndian.PutUint32(n[:], uint32(len(part)))
		h.Write(n[:])
		h.Write(part)
	}
	var sum [sha256.Size]byte
	copy(out[:], h.Sum(sum[:0]))
	clear(sum[:])
	h.Write(blank[:]) // the hash keeps the last block it was given: let that be zeros
	return out
}

// Kinds of Index.
const (
	IndexManagement = "management" // of management information, 32 octets
	IndexLinkage    = "linkage"    // of a linkage symbol, 16 octets
	IndexRecord     = "record"     // of a record symbol, 16 octets
	IndexSubject    = "subject"    // of a subject id, 16 octets
)

// Index returns the key under which a view finds something that it must not hold in clear.
func (k *Keyring) Index(kind string, parts ...[]byte) register.Key {
	return register.Key(k.index.sum(kind, parts...))
}

// Digest returns the keyed digest by which two commands with one id are told apart. It is
// keyed because a resident code is guessable.
func (k *Keyring) Digest(kind string, parts ...[]byte) [16]byte {
	return k.digest.sum(kind, parts...)
}

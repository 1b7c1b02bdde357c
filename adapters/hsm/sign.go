package hsm

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"

	"github.com/miekg/pkcs11"
)

// half is half of the order of P-256: s is kept at or below it, so that every
// message has one form of each signature.
var half = new(big.Int).Rsh(elliptic.P256().Params().N, 1)

// errSignature says that the token signed wrongly, by a fault or under a key
// that does not belong to the public one.
var errSignature = errors.New("the token's signature does not verify under its public key")

// Sign is the ECDSA P-256 signature of a SHA-256 digest: r ‖ s, 32 bytes each,
// s in the lower half. It is verified in software before it is returned: a
// faulty signature would reach the ledger and could not be taken back.
//
// Errors: as HMAC.
func (h *HSM) Sign(ctx context.Context, label string, digest [32]byte) ([64]byte, error) {
	public, err := h.PublicKey(ctx, label)
	if err != nil {
		return [64]byte{}, fmt.Errorf("signing: %w", err)
	}
	t, k, err := h.route(label, kindSign)
	if err != nil {
		return [64]byte{}, fmt.Errorf("signing: %w", err)
	}
	var rs [64]byte
	err = t.use(ctx, func(s *session) error {
		key, err := s.key(label, k)
		if err != nil {
			return err
		}
		rs, err = s.sign(key, digest)
		return err
	})
	if err == nil && !verify(public, digest, rs) {
		err = unavailable(t.config.Label, errSignature)
	}
	if err != nil {
		return [64]byte{}, fmt.Errorf("signing under %q: %w", label, err)
	}
	return rs, nil
}

func (s *session) sign(key pkcs11.ObjectHandle, digest [32]byte) (rs [64]byte, err error) {
	s.calls.sign.Add(1)
	mechanism := []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_ECDSA, nil)}
	if err := s.api.SignInit(s.handle, mechanism, key); err != nil {
		return rs, call("C_SignInit", err)
	}
	signature, err := s.api.Sign(s.handle, digest[:])
	if err != nil {
		return rs, call("C_Sign", err)
	}
	if len(signature) != len(rs) {
		return rs, fmt.Errorf("C_Sign: the signature has %d bytes, not %d", len(signature), len(rs))
	}
	return lowS([64]byte(signature)), nil
}

// lowS replaces s by n − s where s is in the upper half.
func lowS(rs [64]byte) [64]byte {
	s := new(big.Int).SetBytes(rs[32:])
	if s.Cmp(half) > 0 {
		s.Sub(elliptic.P256().Params().N, s).FillBytes(rs[32:])
	}
	return rs
}

func verify(public *ecdsa.PublicKey, digest [32]byte, rs [64]byte) bool {
	return ecdsa.Verify(public, digest[:], new(big.Int).SetBytes(rs[:32]), new(big.Int).SetBytes(rs[32:]))
}

// PublicKey is the public half of a signing key.
//
// Errors: as HMAC.
func (h *HSM) PublicKey(ctx context.Context, label string) (*ecdsa.PublicKey, error) {
	if cached, ok := h.public.Load(label); ok {
		return cached.(*ecdsa.PublicKey), nil
	}
	t, k, err := h.route(label, kindSign)
	if err != nil {
		return nil, fmt.Errorf("reading a public key: %w", err)
	}
	var public *ecdsa.PublicKey
	err = t.use(ctx, func(s *session) error {
		if _, err := s.key(label, k); err != nil {
			return err
		}
		a, err := s.publicAttributes(label, pkcs11.CKA_EC_POINT)
		if err != nil {
			return err
		}
		public, err = parsePoint(a[0].Value)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading the public key of %q: %w", label, err)
	}
	h.public.Store(label, public)
	return public, nil
}

// publicAttributes reads the public key object of a pair whose private half is
// known to be there.
func (s *session) publicAttributes(label string, types ...uint) ([]*pkcs11.Attribute, error) {
	found, err := s.findObject(object{label, pkcs11.CKO_PUBLIC_KEY})
	if err != nil {
		return nil, err
	}
	if len(found) != 1 {
		if err := s.prove(); err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("%w: %q has %d public keys for its private one", ErrDuplicate, label, len(found))
	}
	var queries []*pkcs11.Attribute
	for _, typ := range types {
		queries = append(queries, pkcs11.NewAttribute(typ, nil))
	}
	return s.attributes(found[0], queries)
}

// parsePoint reads CKA_EC_POINT: an uncompressed point, in a DER octet string
// as PKCS#11 wants it or bare as some tokens give it.
func parsePoint(value []byte) (*ecdsa.PublicKey, error) {
	point := value
	var inner []byte
	if rest, err := asn1.Unmarshal(value, &inner); err == nil && len(rest) == 0 {
		point = inner
	}
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		return nil, fmt.Errorf("reading CKA_EC_POINT: %w", err)
	}
	return public, nil
}

// PublicPart is what others need of a key pair.
type PublicPart struct {
	Label string
	ID    string // first 8 bytes of SHA-256 over SPKI, in hexadecimal
	SPKI  []byte // DER SubjectPublicKeyInfo (RFC 5280, 4.1.2.7)
}

// ExportPublic is the public half of a signing key or of a key for Juki-net.
//
// Errors: as HMAC.
func (h *HSM) ExportPublic(ctx context.Context, label string) (PublicPart, error) {
	t, k, err := h.route(label, kindSign, kindOpen)
	if err != nil {
		return PublicPart{}, fmt.Errorf("exporting a public key: %w", err)
	}
	var public any
	if k == kindSign {
		public, err = h.PublicKey(ctx, label)
	} else {
		public, err = t.rsaPublic(ctx, label)
	}
	if err != nil {
		return PublicPart{}, fmt.Errorf("exporting the public key of %q: %w", label, err)
	}
	spki, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return PublicPart{}, fmt.Errorf("exporting the public key of %q: %w", label, err)
	}
	return PublicPart{Label: label, ID: KeyID(spki), SPKI: spki}, nil
}

// KeyID is the name a public key has in the ledger: the first 8 bytes of
// SHA-256 over its DER SubjectPublicKeyInfo, as 16 hexadecimal digits.
func KeyID(spki []byte) string {
	sum := sha256.Sum256(spki)
	return hex.EncodeToString(sum[:8])
}

func (t *token) rsaPublic(ctx context.Context, label string) (*rsa.PublicKey, error) {
	var public *rsa.PublicKey
	err := t.use(ctx, func(s *session) error {
		if _, err := s.key(label, kindOpen); err != nil {
			return err
		}
		a, err := s.publicAttributes(label, pkcs11.CKA_MODULUS, pkcs11.CKA_PUBLIC_EXPONENT)
		if err != nil {
			return err
		}
		exponent := new(big.Int).SetBytes(a[1].Value)
		public = &rsa.PublicKey{N: new(big.Int).SetBytes(a[0].Value), E: int(exponent.Int64())}
		return nil
	})
	return public, err
}

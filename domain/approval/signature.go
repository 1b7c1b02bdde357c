package approval

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"math/big"

	"kiroku/domain/event"
)

// signatureSize is r ‖ s of P-256 (RFC 7518 §3.4).
const signatureSize = 64

var (
	order = elliptic.P256().Params().N
	half  = new(big.Int).Rsh(order, 1)
)

// Sign approves a proposal with an official's key, which may lie in a card or a token: ES256, r ‖ s of 32 octets each,
// the lower of the two values that s can have, so that an approval has one form only. A key in memory signs in the same
// way again (RFC 6979), so that an approval can be given again as the same command.
func Sign(key crypto.Signer, h Hash) ([]byte, error) {
	public, ok := key.Public().(*ecdsa.PublicKey)
	if !ok || public.Curve != elliptic.P256() {
		return nil, fmt.Errorf("sign proposal %s: the key is not one of P-256", h)
	}
	var random io.Reader
	if _, own := key.(*ecdsa.PrivateKey); !own {
		random = rand.Reader // cards and tokens mostly bring their own
	}
	digest := h.digest()
	der, err := key.Sign(random, digest[:], crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("sign proposal %s: %w", h, err)
	}
	var parts struct{ R, S *big.Int }
	if rest, err := asn1.Unmarshal(der, &parts); err != nil || len(rest) > 0 || !inRange(parts.R) || !inRange(parts.S) {
		return nil, fmt.Errorf("sign proposal %s: the key answered with something else than a signature", h)
	}
	if parts.S.Cmp(half) > 0 {
		parts.S.Sub(order, parts.S)
	}
	signature := make([]byte, signatureSize)
	parts.R.FillBytes(signature[:signatureSize/2])
	parts.S.FillBytes(signature[signatureSize/2:])
	return signature, verifyWith(public, h, signature)
}

func inRange(n *big.Int) bool { return n != nil && n.Sign() > 0 && n.Cmp(order) < 0 }

// verify proves a signature with the public key in a SubjectPublicKeyInfo.
func verify(spki []byte, h Hash, signature []byte) error {
	key, err := x509.ParsePKIXPublicKey(spki)
	if err != nil {
		return errors.Join(ErrSignature, errNotP256)
	}
	public, ok := key.(*ecdsa.PublicKey)
	if !ok || public.Curve != elliptic.P256() {
		return errors.Join(ErrSignature, errNotP256)
	}
	return verifyWith(public, h, signature)
}

var errNotP256 = errors.New("its key is not one of P-256")

func verifyWith(public *ecdsa.PublicKey, h Hash, signature []byte) error {
	if len(signature) != signatureSize {
		return fmt.Errorf("proposal %s: %w: it must be %d octets", h, ErrSignature, signatureSize)
	}
	r, s := new(big.Int).SetBytes(signature[:signatureSize/2]), new(big.Int).SetBytes(signature[signatureSize/2:])
	digest := h.digest()
	if !inRange(r) || !inRange(s) || s.Cmp(half) > 0 || !ecdsa.Verify(public, digest[:], r, s) {
		return fmt.Errorf("proposal %s: %w", h, ErrSignature)
	}
	return nil
}

// Signed proves that the key which an approval names signed the proposal which it names. It says nothing of whose key
// that is, nor of when. Errors: ErrHash, ErrSignature.
func Signed(a event.ProposalApproved) error {
	if len(a.Proposal) != len(Hash{}) {
		return ErrHash
	}
	return verify(a.SPKI, Hash(a.Proposal), a.Signature)
}

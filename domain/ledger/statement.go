package ledger

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/big"

	"github.com/veraison/go-cose"
)

// batchContext opens every signed statement, so that a signature made for
// another purpose can never pass for one over a batch.
const batchContext = "kiroku/batch/1"

// statement is what the HSM signs: one batch, where it stands and what it
// follows.
type statement struct {
	Stream string
	Epoch  uint64
	First  uint64
	Size   uint64
	Prev   Hash
	Last   Hash
	Root   Hash
}

const statementFields = 8

func (s *statement) encode() []byte {
	b := make([]byte, 0, 256)
	b = appendText(append(b, majorArray|statementFields), batchContext)
	b = appendText(b, s.Stream)
	b = appendUint(b, majorUint, s.Epoch)
	b = appendUint(b, majorUint, s.First)
	b = appendUint(b, majorUint, s.Size)
	b = appendBytes(b, s.Prev[:])
	b = appendBytes(b, s.Last[:])
	return appendBytes(b, s.Root[:])
}

// Signer signs a SHA-256 digest with an ECDSA P-256 key and returns r ‖ s,
// 32 bytes each, big-endian. It may be called from any goroutine.
type Signer func(digest [32]byte) (rs [64]byte, err error)

// signatureSize is the length of r ‖ s in bytes.
const signatureSize = 64

// digestSigner lets go-cose build the structure to be signed and a [Signer]
// sign its digest.
type digestSigner struct{ sign Signer }

func (digestSigner) Algorithm() cose.Algorithm { return cose.AlgorithmES256 }

func (d digestSigner) Sign(_ io.Reader, content []byte) ([]byte, error) {
	rs, err := d.sign(sha256.Sum256(content))
	if err != nil {
		return nil, err
	}
	rs = lowS(rs)
	return rs[:], nil
}

// signStatement returns the COSE_Sign1 with detached payload.
func signStatement(s *statement, keyID string, sign Signer) ([]byte, error) {
	m := cose.NewSign1Message()
	m.Headers.Protected.SetAlgorithm(cose.AlgorithmES256)
	m.Headers.Protected[cose.HeaderLabelKeyID] = []byte(keyID)
	m.Payload = s.encode()
	if err := m.Sign(nil, nil, digestSigner{sign}); err != nil {
		return nil, fmt.Errorf("signing the batch at %s/%d with key %s: %w", s.Stream, s.First, keyID, err)
	}
	m.Payload = nil
	b, err := m.MarshalCBOR()
	if err != nil {
		return nil, fmt.Errorf("encoding the signature of the batch at %s/%d: %w", s.Stream, s.First, err)
	}
	return b, nil
}

// Bytes that every signature of this format has in common: tag 18 and an array
// of four before the protected header, then an empty map, a null payload and
// the length of r ‖ s.
const coseTag = majorTag | 18

// decodeSignature reads the key id and r ‖ s out of a COSE_Sign1 and refuses
// every other form of it: another algorithm, another header, an attached
// payload, s in the upper half.
func decodeSignature(b []byte) (keyID string, rs []byte, err error) {
	c := cursor{rest: b}
	c.expectByte(coseTag, "tag 18")
	c.expectLength(majorArray, 4, "COSE_Sign1")
	protected := cursor{rest: c.bytes()}
	c.expectByte(majorMap, "an empty unprotected header")
	c.expectByte(cborNull, "a detached payload")
	rs = c.fixed(signatureSize, "signature")
	if err := c.end(); err != nil {
		return "", nil, fmt.Errorf("signature: %w", err)
	}
	protected.expectLength(majorMap, 2, "protected header")
	protected.expectUint(1, "header label alg")
	protected.expectByte(0x26, "algorithm ES256")
	protected.expectUint(4, "header label kid")
	keyID = string(protected.bytes())
	if err := protected.end(); err != nil {
		return "", nil, fmt.Errorf("signature: protected header: %w", err)
	}
	if err := checkName("signing key id", keyID, MaxSignerID); err != nil {
		return "", nil, fmt.Errorf("signature: %w", err)
	}
	return keyID, rs, checkScalars(rs)
}

var (
	errScalar = errors.New("signature: r or s outside 1..n-1")
	errHighS  = errors.New("signature: s in the upper half of the order")
)

var (
	order     = elliptic.P256().Params().N
	orderText = order.FillBytes(make([]byte, 32))
	halfOrder = new(big.Int).Rsh(order, 1).FillBytes(make([]byte, 32))
	zeroText  = make([]byte, 32)
)

// checkScalars leaves one signature per signing: of the two values of s that
// verify, only the lower one is accepted.
func checkScalars(rs []byte) error {
	r, s := rs[:32], rs[32:]
	for _, v := range [][]byte{r, s} {
		if bytes.Equal(v, zeroText) || bytes.Compare(v, orderText) >= 0 {
			return errScalar
		}
	}
	if bytes.Compare(s, halfOrder) > 0 {
		return errHighS
	}
	return nil
}

// lowS replaces s by n-s where s lies in the upper half.
func lowS(rs [64]byte) [64]byte {
	if bytes.Compare(rs[32:], halfOrder) > 0 {
		s := new(big.Int).SetBytes(rs[32:])
		s.Sub(order, s)
		if s.Sign() > 0 {
			s.FillBytes(rs[32:])
		}
	}
	return rs
}

// verifySignature checks a signature that decodeSignature accepts.
func verifySignature(b []byte, s *statement, key *ecdsa.PublicKey) error {
	var m cose.Sign1Message
	if err := m.UnmarshalCBOR(b); err != nil {
		return fmt.Errorf("reading the signature: %w", err)
	}
	m.Payload = s.encode()
	verifier, err := cose.NewVerifier(cose.AlgorithmES256, crypto.PublicKey(key))
	if err != nil {
		return fmt.Errorf("using the public key: %w", err)
	}
	return m.Verify(nil, verifier)
}

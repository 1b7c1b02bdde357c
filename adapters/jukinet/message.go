// Package jukinet reads the messages in which Juki-net (住民基本台帳ネットワークシステム) delivers resident codes: pairs
// of an acquisition number (取得番号) and an encrypted resident code (住民票コード), Order 27. In the same form, and by
// nobody to be taken for a delivery, it asks for physical deletions (物理削除要求電文): pairs of the request's number and
// the code.
//
// It promises whoever issues symbols that a code goes from its ciphertext into locked memory without having been in
// a Go string or on the Go heap, and that no altered, reordered, shortened or foreign record is taken for a
// delivered one. The message's own key is unwrapped by the HSM; the AES key schedule that the standard library makes
// of it stays on the Go heap while a message is open, which is beyond this package's reach.
//
// The format, all numbers big-endian:
//
//	message = header, record frame * n, end frame                    0 ≤ n ≤ 1,000,000
//	header  = "kiroku juki-net delivery 1" or "kiroku juki-net deletion 1", key version (1 octet), length of wrapped key (2), wrapped key
//	frame   = kind (1 octet: 1 record, 2 end), AES-256-GCM ciphertext of 76 octets, its tag (16)
//	nonce   = kind (1), 0 (3), index of the frame from 0 (8)
//	record  = resident code (11 ASCII digits), length of acquisition number (1), acquisition number, zeros up to 76
//	end     = 76 zeros
//
// The wrapped key is 32 random octets under RSA-OAEP (RFC 8017; SHA-1, MGF1 with SHA-1, no label: the parameters that
// every PKCS#11 token has) for the HSM's key "juki/<key version>". Each frame's additional data is the SHA-256 of the
// header. A key serves one message, so the nonces, which count, never repeat under it.
package jukinet

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"kiroku/domain/secret"
	"kiroku/domain/symbol"
)

// magic begins a message and says what it is for.
type magic string

// String is what errors call such a message.
func (m magic) String() string {
	if m == deletionMagic {
		return "deletion message"
	}
	return "delivery message"
}

// MaxDeliveries is how many deliveries one message may hold.
const MaxDeliveries = 1_000_000

const (
	deliveryMagic = magic("kiroku juki-net delivery 1")
	deletionMagic = magic("kiroku juki-net deletion 1")
	keySize       = 32
	maxWrapped    = 1024 // octets: RSA of 8,192 bits
	plainSize     = symbol.ResidentCodeSize + 1 + symbol.MaxAcquisitionNumber
	tagSize       = 16
	frameSize     = plainSize + tagSize
	kindRecord    = 1
	kindEnd       = 2
	lengthAt      = symbol.ResidentCodeSize
	acquisitionAt = lengthAt + 1
)

var (
	// ErrFormat tells that what came is not a message of this version, or one for something else.
	ErrFormat = errors.New("not such a message of Juki-net")
	// ErrAltered tells that a record was changed, moved, taken from another message, or that the key is another's.
	ErrAltered = errors.New("altered or out of its place")
	// ErrTruncated tells that the message stops before its end.
	ErrTruncated = errors.New("the message is cut short; have it delivered again")
	// ErrTooMany tells that a message holds more than MaxDeliveries; have it delivered in parts.
	ErrTooMany = errors.New("more than 1,000,000 deliveries in one message")
)

// Delivery is one resident code for one acquisition number. Whoever receives it destroys the code.
type Delivery struct {
	AcquisitionNumber symbol.AcquisitionNumber
	Code              symbol.ResidentCode
}

// Decrypter is the HSM: it opens RSA-OAEP with the private key of that label. The answer is the caller's to destroy.
type Decrypter interface {
	Decrypt(ctx context.Context, label string, ciphertext []byte) (*secret.Bytes, error)
}

// frames seals or opens the frames of one message in their order.
type frames struct {
	aead    cipher.AEAD
	binding [sha256.Size]byte
	index   uint64
}

func newFrames(key, header []byte) (*frames, error) {
	if len(key) != keySize {
		return nil, fmt.Errorf("a message key of %d bytes, not %d: %w", len(key), keySize, ErrFormat)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("using the message key: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("using the message key: %w", err)
	}
	return &frames{aead: aead, binding: sha256.Sum256(header)}, nil
}

// seal encrypts the first plainSize bytes of frame in place, and adds the tag behind them.
func (f *frames) seal(kind byte, frame []byte) {
	f.aead.Seal(frame[:0], f.nonce(kind), frame[:plainSize], f.binding[:])
	f.index++
}

// open decrypts the frame in place; on failure the frame is wiped.
func (f *frames) open(kind byte, frame []byte) error {
	if _, err := f.aead.Open(frame[:0], f.nonce(kind), frame, f.binding[:]); err != nil {
		secret.Wipe(frame)
		return ErrAltered
	}
	f.index++
	return nil
}

func (f *frames) nonce(kind byte) []byte {
	nonce := make([]byte, 12)
	nonce[0] = kind
	binary.BigEndian.PutUint64(nonce[4:], f.index)
	return nonce
}

func (m magic) encodeHeader(keyVersion uint8, wrapped []byte) []byte {
	header := append([]byte(m), keyVersion)
	header = binary.BigEndian.AppendUint16(header, uint16(len(wrapped)))
	return append(header, wrapped...)
}

func (m magic) decodeHeader(r io.Reader) (header []byte, keyVersion uint8, wrapped []byte, err error) {
	fixed := len(m) + 1 + 2
	header = make([]byte, fixed)
	if _, err := io.ReadFull(r, header); err != nil {
		return nil, 0, nil, readError(err)
	}
	n := int(binary.BigEndian.Uint16(header[fixed-2:]))
	if magic(header[:len(m)]) != m || n == 0 || n > maxWrapped {
		return nil, 0, nil, ErrFormat
	}
	header = append(header, make([]byte, n)...)
	if _, err := io.ReadFull(r, header[fixed:]); err != nil {
		return nil, 0, nil, readError(err)
	}
	return header, header[len(m)], header[fixed:], nil
}

// readError tells a message that stopped from a source that failed.
func readError(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrTruncated
	}
	return err
}

func keyLabel(version uint8) string { return fmt.Sprintf("juki/%d", version) }

package ledger

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// FormatVersion is the version of the header, and of everything FORMAT.md
// describes with it.
const FormatVersion = 1

// NonceSize is the length of an AES-GCM nonce in bytes (96 bits).
const NonceSize = 12

// Hash is a SHA-256 value.
type Hash [sha256.Size]byte

// String returns 64 lower-case hexadecimal digits.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// Header is the part of an event that is chained and signed. It says where the
// event stands, what it follows and what its stored payload hashes to.
type Header struct {
	Stream   string    // 1..[MaxStreamName] bytes
	Revision uint64    // position in the stream, from 0, at most 2^53-1
	Epoch    uint64    // writer epoch, from 1, at most 2^53-1
	Prev     Hash      // leaf hash of the event before it, zero for revision 0
	Type     string    // 1..[MaxTypeName] bytes
	ID       uuid.UUID // never zero
	Time     time.Time // UTC, whole microseconds, 1970 to 2255
	KeyID    string    // data key of the payload; empty: signed plaintext
	Nonce    []byte    // NonceSize bytes exactly if KeyID is set, else empty
	Digest   Hash      // SHA-256 of the payload as stored
}

// Sealed reports whether the payload is encrypted.
func (h Header) Sealed() bool { return h.KeyID != "" }

// ErrHeader is wrapped by errors about a header whose fields break a rule.
var ErrHeader = errors.New("invalid event header")

// Keys of the header map.
const (
	headerVersion = iota + 1
	headerStream
	headerRevision
	headerEpoch
	headerPrev
	headerType
	headerID
	headerTime
	headerKeyID
	headerNonce
	headerDigest
)

const (
	headerFields       = 9
	headerFieldsSealed = headerFields + 2
)

// check holds a header to every rule of the format but the encoding.
func (h *Header) check() error {
	if err := checkStream(h.Stream); err != nil {
		return err
	}
	if err := checkName("event type", h.Type, MaxTypeName); err != nil {
		return err
	}
	switch {
	case h.Revision > maxUint:
		return fmt.Errorf("revision %d above 2^53-1: %w", h.Revision, ErrHeader)
	case h.Epoch == 0 || h.Epoch > maxUint:
		return fmt.Errorf("epoch %d outside 1..2^53-1: %w", h.Epoch, ErrHeader)
	case h.ID == uuid.Nil:
		return fmt.Errorf("event id is zero: %w", ErrHeader)
	case h.Revision == 0 && h.Prev != Hash{}:
		return fmt.Errorf("revision 0 names a predecessor: %w", ErrHeader)
	}
	if _, err := microseconds(h.Time); err != nil {
		return err
	}
	return checkSealing(h.KeyID, h.Nonce)
}

func checkSealing(keyID string, nonce []byte) error {
	if keyID == "" {
		if len(nonce) != 0 {
			return fmt.Errorf("nonce without a key id: %w", ErrHeader)
		}
		return nil
	}
	if len(nonce) != NonceSize {
		return fmt.Errorf("nonce of %d bytes, not %d: %w", len(nonce), NonceSize, ErrHeader)
	}
	return checkName("key id", keyID, MaxKeyID)
}

// microseconds since 1970-01-01T00:00:00Z, bounds checked.
func microseconds(t time.Time) (uint64, error) {
	us := t.UnixMicro()
	if us < 0 || us > maxUint {
		return 0, fmt.Errorf("time %s outside 1970..2255: %w", t.UTC().Format(time.RFC3339), ErrHeader)
	}
	return uint64(us), nil
}

func fromMicroseconds(us uint64) time.Time { return time.UnixMicro(int64(us)).UTC() }

// append writes the header, which the caller has checked.
func (h *Header) append(dst []byte) []byte {
	fields := headerFields
	if h.Sealed() {
		fields = headerFieldsSealed
	}
	dst = append(dst, majorMap|byte(fields))
	dst = append(dst, headerVersion, FormatVersion)
	dst = appendText(append(dst, headerStream), h.Stream)
	dst = appendUint(append(dst, headerRevision), majorUint, h.Revision)
	dst = appendUint(append(dst, headerEpoch), majorUint, h.Epoch)
	dst = appendBytes(append(dst, headerPrev), h.Prev[:])
	dst = appendText(append(dst, headerType), h.Type)
	dst = appendBytes(append(dst, headerID), h.ID[:])
	dst = appendUint(append(dst, headerTime), majorUint, uint64(h.Time.UnixMicro()))
	if h.Sealed() {
		dst = appendText(append(dst, headerKeyID), h.KeyID)
		dst = appendBytes(append(dst, headerNonce), h.Nonce)
	}
	return appendBytes(append(dst, headerDigest), h.Digest[:])
}

// decodeHeader reads exactly what append writes and refuses all else. The
// nonce is a slice of b.
func decodeHeader(b []byte) (Header, error) {
	var h Header
	c := cursor{rest: b}
	fields := c.item(majorMap)
	if c.err == nil && fields != headerFields && fields != headerFieldsSealed {
		c.fail(fmt.Errorf("header of %d fields", fields))
	}
	field := func(n uint64) { c.expectUint(n, "header field") }
	field(headerVersion)
	c.expectUint(FormatVersion, "format version")
	field(headerStream)
	h.Stream = c.text()
	field(headerRevision)
	h.Revision = c.uint()
	field(headerEpoch)
	h.Epoch = c.uint()
	field(headerPrev)
	h.Prev = c.hash("previous leaf hash")
	field(headerType)
	h.Type = c.text()
	field(headerID)
	copy(h.ID[:], c.fixed(len(h.ID), "event id"))
	field(headerTime)
	h.Time = fromMicroseconds(c.uint())
	if fields == headerFieldsSealed {
		field(headerKeyID)
		h.KeyID = c.text()
		field(headerNonce)
		h.Nonce = c.fixed(NonceSize, "nonce")
		if c.err == nil && h.KeyID == "" {
			c.fail(errors.New("empty key id"))
		}
	}
	field(headerDigest)
	h.Digest = c.hash("payload digest")
	if err := c.end(); err != nil {
		return Header{}, fmt.Errorf("header: %w", err)
	}
	return h, h.check()
}

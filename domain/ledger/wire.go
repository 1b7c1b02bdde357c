package ledger

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// The subset of deterministic CBOR (RFC 8949 section 4.2.1) that headers and
// receipts are made of. They are read for every event of every verification and
// replay, where a reflecting codec takes six times as long, because it can check
// canonical form only by writing again what it has read
// (BenchmarkMetadataCodec). The tests hold this file to the output of
// fxamacker/cbor byte by byte.

const (
	majorUint  = 0x00
	majorBytes = 0x40
	majorText  = 0x60
	majorArray = 0x80
	majorMap   = 0xa0
	majorTag   = 0xc0
	majorMask  = 0xe0

	cborNull = 0xf6
)

// maxUint is the largest integer in the format: what an IEEE 754 double holds
// exactly, so that no JSON reader ever rounds a revision. As microseconds it
// reaches the year 2255.
const maxUint = 1<<53 - 1

var (
	errTruncated    = errors.New("ends too early")
	errNotCanonical = errors.New("integer or length not in its shortest form")
	errTrailing     = errors.New("bytes after the end")
)

func appendUint(dst []byte, major byte, n uint64) []byte {
	switch {
	case n < 24:
		return append(dst, major|byte(n))
	case n <= 0xff:
		return append(dst, major|24, byte(n))
	case n <= 0xffff:
		return binary.BigEndian.AppendUint16(append(dst, major|25), uint16(n))
	case n <= 0xffffffff:
		return binary.BigEndian.AppendUint32(append(dst, major|26), uint32(n))
	default:
		return binary.BigEndian.AppendUint64(append(dst, major|27), n)
	}
}

func appendBytes(dst, b []byte) []byte {
	return append(appendUint(dst, majorBytes, uint64(len(b))), b...)
}

func appendText(dst []byte, s string) []byte {
	return append(appendUint(dst, majorText, uint64(len(s))), s...)
}

// cursor reads canonical items one after another. The first failure sticks, so
// that a decoder reads as the list of fields it expects.
type cursor struct {
	rest []byte
	err  error
}

func (c *cursor) fail(err error) {
	if c.err == nil {
		c.err = err
		c.rest = nil
	}
}

// item reads an initial byte of the given major type with its argument.
func (c *cursor) item(major byte) uint64 {
	if c.err != nil {
		return 0
	}
	if len(c.rest) == 0 {
		c.fail(errTruncated)
		return 0
	}
	first := c.rest[0]
	if first&majorMask != major {
		c.fail(fmt.Errorf("initial byte 0x%02x where major type %d belongs", first, major>>5))
		return 0
	}
	info := first &^ majorMask
	c.rest = c.rest[1:]
	if info < 24 {
		return uint64(info)
	}
	if info > 27 {
		c.fail(fmt.Errorf("initial byte 0x%02x is an indefinite or reserved length", first))
		return 0
	}
	return c.argument(1 << (info - 24))
}

// argument reads a big-endian integer of 1, 2, 4 or 8 bytes and insists that
// no shorter form would have held it.
func (c *cursor) argument(width int) uint64 {
	if len(c.rest) < width {
		c.fail(errTruncated)
		return 0
	}
	var n uint64
	for _, b := range c.rest[:width] {
		n = n<<8 | uint64(b)
	}
	c.rest = c.rest[width:]
	if width == 1 && n < 24 || width > 1 && n < 1<<(4*width) {
		c.fail(errNotCanonical)
	}
	return n
}

func (c *cursor) uint() uint64 {
	n := c.item(majorUint)
	if n > maxUint {
		c.fail(fmt.Errorf("integer %d above 2^53-1", n))
		return 0
	}
	return n
}

func (c *cursor) expectUint(want uint64, what string) {
	if got := c.item(majorUint); c.err == nil && got != want {
		c.fail(fmt.Errorf("%d where %s %d belongs", got, what, want))
	}
}

func (c *cursor) expectLength(major byte, want uint64, what string) {
	if got := c.item(major); c.err == nil && got != want {
		c.fail(fmt.Errorf("%s of %d elements, not %d", what, got, want))
	}
}

func (c *cursor) expectByte(want byte, what string) {
	if c.err != nil {
		return
	}
	if len(c.rest) == 0 {
		c.fail(errTruncated)
		return
	}
	if c.rest[0] != want {
		c.fail(fmt.Errorf("0x%02x where %s belongs", c.rest[0], what))
		return
	}
	c.rest = c.rest[1:]
}

// take returns the next n bytes without copying them.
func (c *cursor) take(n uint64) []byte {
	if c.err != nil {
		return nil
	}
	if n > uint64(len(c.rest)) {
		c.fail(errTruncated)
		return nil
	}
	b := c.rest[:n:n]
	c.rest = c.rest[n:]
	return b
}

func (c *cursor) bytes() []byte { return c.take(c.item(majorBytes)) }

// fixed reads a byte string whose length the format fixes.
func (c *cursor) fixed(n int, what string) []byte {
	b := c.bytes()
	if c.err == nil && len(b) != n {
		c.fail(fmt.Errorf("%s of %d bytes, not %d", what, len(b), n))
		return nil
	}
	return b
}

func (c *cursor) hash(what string) (h Hash) {
	copy(h[:], c.fixed(len(h), what))
	return h
}

func (c *cursor) text() string { return string(c.take(c.item(majorText))) }

// end insists that everything has been read.
func (c *cursor) end() error {
	if c.err == nil && len(c.rest) > 0 {
		c.fail(errTrailing)
	}
	return c.err
}

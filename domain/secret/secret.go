// Package secret holds the values that must leave no trace: resident codes (住民票コード), data keys and PINs.
//
// What it promises to every other package:
//
//   - A Bytes lives outside the Go heap, in memory that the process asked the kernel to lock (no swap), to leave
//     out of core dumps and to wipe in forked children. The garbage collector never copies it.
//   - Destroy overwrites it before the memory can be used again.
//   - No print verb, log handler or encoder shows it: text forms say "[redacted]", binary forms are errors.
//
// What it cannot promise: locking is best effort (RLIMIT_MEMLOCK; see Locked and Usage), and whatever a caller or
// a library copies out of Expose (registers, a cipher's key schedule, a C library's buffer) is beyond its reach.
//
// There is deliberately no finalizer. The slice that Expose returns does not keep its Bytes alive, so a collector
// that destroyed "forgotten" values would wipe a key while a cipher still reads it. Whoever makes a Bytes destroys
// it; Usage.Live makes a leak visible.
package secret

import (
	"crypto/subtle"
	"runtime"
)

// Bytes is a secret of fixed length. It is a handle: copies of it name the same secret, and Destroy through one
// ends all. The zero value and the nil pointer are destroyed secrets of length 0.
//
// All methods may be called from several goroutines; it is the callers' matter that nobody still uses the slice of
// Expose when another destroys.
type Bytes struct {
	Redaction

	region     *region // nil: no memory
	generation uint64  // of the slot, while this secret lives in it
	slot       int
	length     int
}

// New returns a secret of n zero bytes; a negative n counts as 0. Up to 64 KiB it comes from shared regions
// (about as dear as a small heap allocation), above that from a mapping of its own.
func New(n int) *Bytes {
	if n <= 0 {
		return &Bytes{}
	}
	r, slot, generation := arena.take(n)
	return &Bytes{region: r, generation: generation, slot: slot, length: n}
}

// Take moves src into a new secret: it is copied, then src is wiped.
func Take(src []byte) *Bytes {
	b := New(len(src))
	copy(b.Expose(), src)
	Wipe(src)
	return b
}

// Expose returns the secret itself, to be read or written in place until Destroy; afterwards it returns nil.
// A slice kept beyond Destroy is a fault of the caller's: it may show another secret, or fault above 64 KiB.
// The name is meant to be searched for: every use is a place to review.
func (b *Bytes) Expose() []byte {
	if b == nil || b.region == nil || !b.region.holds(b.slot, b.generation) {
		return nil
	}
	return b.region.bytes(b.slot, b.length)
}

// Len is the length in bytes given to New, 0 for nil. It stays after Destroy.
func (b *Bytes) Len() int {
	if b == nil {
		return 0
	}
	return b.length
}

// Destroy wipes the secret and gives its memory back. The second and every later call, on this handle or a copy of
// it, does nothing, even when the memory already belongs to another secret; so does a call on nil.
func (b *Bytes) Destroy() {
	if b == nil || b.region == nil {
		return
	}
	arena.release(b.region, b.slot, b.generation, b.length)
}

// Equal reports in constant time for equal lengths whether both hold the same bytes. A destroyed secret, or nil,
// equals nothing, itself included.
func (b *Bytes) Equal(other *Bytes) bool {
	mine, theirs := b.Expose(), other.Expose()
	if mine == nil || theirs == nil {
		return false
	}
	return subtle.ConstantTimeCompare(mine, theirs) == 1
}

// Wipe overwrites b with zeros. Use it on buffers outside this package that have held a secret.
//
//go:noinline
func Wipe(b []byte) {
	clear(b)
	runtime.KeepAlive(&b)
}

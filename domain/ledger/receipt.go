package ledger

import (
	"errors"
	"fmt"
)

// MaxBatch is the largest number of events in one batch.
const MaxBatch = 1 << 16

// Receipt proves that an event was part of a signed batch: its place in the
// batch's Merkle tree and the signature over the root.
type Receipt struct {
	Size      uint64   // leaves of the tree, 1..[MaxBatch]
	Index     uint64   // of this event in the batch, from 0
	Path      [][]byte // 32-byte hashes, nearest sibling first
	First     uint64   // revision of the batch's first event
	Prev      Hash     // leaf hash before the batch
	Last      Hash     // leaf hash of the batch's last event
	Signature []byte   // COSE_Sign1, the same bytes for the whole batch
}

// Keys of the receipt map.
const (
	receiptSize = iota + 1
	receiptIndex
	receiptPath
	receiptFirst
	receiptPrev
	receiptLast
	receiptSignature
)

const receiptFields = 7

// appendReceipt writes what is particular to one event; tail is the encoded
// part from receiptFirst on, which a batch shares.
func appendReceipt(dst []byte, t tree, index int, tail []byte) []byte {
	dst = append(dst, majorMap|receiptFields)
	dst = appendUint(append(dst, receiptSize), majorUint, uint64(len(t[0])))
	dst = appendUint(append(dst, receiptIndex), majorUint, uint64(index))
	dst = t.appendPath(append(dst, receiptPath), index)
	return append(dst, tail...)
}

func receiptTail(first uint64, prev, last Hash, signature []byte) []byte {
	b := appendUint([]byte{receiptFirst}, majorUint, first)
	b = appendBytes(append(b, receiptPrev), prev[:])
	b = appendBytes(append(b, receiptLast), last[:])
	return appendBytes(append(b, receiptSignature), signature)
}

// decodeReceipt reads exactly what appendReceipt writes and refuses all else.
// Path and signature are slices of b; path is the room for the former.
func decodeReceipt(b []byte, path [][]byte) (Receipt, error) {
	var r Receipt
	c := cursor{rest: b}
	c.expectLength(majorMap, receiptFields, "receipt")
	field := func(n uint64) { c.expectUint(n, "receipt field") }
	field(receiptSize)
	r.Size = c.uint()
	if c.err == nil && (r.Size == 0 || r.Size > MaxBatch) {
		c.fail(fmt.Errorf("tree of %d leaves", r.Size))
	}
	field(receiptIndex)
	r.Index = c.uint()
	if c.err == nil && r.Index >= r.Size {
		c.fail(fmt.Errorf("index %d in a tree of %d leaves", r.Index, r.Size))
	}
	field(receiptPath)
	r.Path = c.path(path, r.Index, r.Size)
	field(receiptFirst)
	r.First = c.uint()
	field(receiptPrev)
	r.Prev = c.hash("previous leaf hash")
	field(receiptLast)
	r.Last = c.hash("last leaf hash")
	field(receiptSignature)
	r.Signature = c.bytes()
	if err := c.end(); err != nil {
		return Receipt{}, fmt.Errorf("receipt: %w", err)
	}
	return r, nil
}

func (c *cursor) path(room [][]byte, index, size uint64) [][]byte {
	n := c.item(majorArray)
	if c.err == nil && n != uint64(pathLength(index, size)) {
		c.fail(errors.New("path of the wrong length for its index and tree"))
	}
	if c.err != nil {
		return nil
	}
	for range n {
		room = append(room, c.fixed(len(Hash{}), "path element"))
	}
	return room
}

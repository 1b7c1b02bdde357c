package ledger

import (
	"crypto/sha256"
	"math/bits"
)

// Hash prefixes of RFC 9162 section 2.1.1: a leaf can never pass for a node.
const (
	leafPrefix = 0x00
	nodePrefix = 0x01
)

// leafHash is SHA-256(0x00 || header). scratch is reused between calls and
// spares an allocation per event.
func leafHash(scratch *[]byte, header []byte) Hash {
	*scratch = append(append((*scratch)[:0], leafPrefix), header...)
	return sha256.Sum256(*scratch)
}

// LeafHash is SHA-256(0x00 ‖ header), the name of an event in the chain
// (RFC 9162 section 2.1.1). header is the encoded header as stored.
func LeafHash(header []byte) Hash {
	var scratch []byte
	return leafHash(&scratch, header)
}

func nodeHash(left, right *Hash) Hash {
	var b [1 + 2*sha256.Size]byte
	b[0] = nodePrefix
	copy(b[1:], left[:])
	copy(b[1+sha256.Size:], right[:])
	return sha256.Sum256(b[:])
}

// tree is the Merkle tree of a batch, level by level from the leaves. A last
// node without a sibling rises unchanged, which gives the tree of RFC 9162
// section 2.1.1 for every size.
type tree [][]Hash

func newTree(leaves []Hash) tree {
	t := tree{leaves}
	for level := leaves; len(level) > 1; {
		up := make([]Hash, (len(level)+1)/2)
		for i := 0; i+1 < len(level); i += 2 {
			up[i/2] = nodeHash(&level[i], &level[i+1])
		}
		if len(level)%2 == 1 {
			up[len(up)-1] = level[len(level)-1]
		}
		t = append(t, up)
		level = up
	}
	return t
}

func (t tree) root() Hash { return t[len(t)-1][0] }

// appendPath writes the inclusion path of a leaf as a CBOR array of hashes,
// nearest sibling first (RFC 9162 section 2.1.3.1).
func (t tree) appendPath(dst []byte, index int) []byte {
	dst = appendUint(dst, majorArray, uint64(pathLength(uint64(index), uint64(len(t[0])))))
	for _, level := range t[:len(t)-1] {
		if sibling := index ^ 1; sibling < len(level) {
			dst = appendBytes(dst, level[sibling][:])
		}
		index /= 2
	}
	return dst
}

// pathLength is the number of hashes in the path of a leaf: one for each level
// below the point where the paths of this leaf and of the last leaf join, and
// above it one for each left sibling.
func pathLength(index, size uint64) int {
	inner := bits.Len64(index ^ (size - 1))
	return inner + bits.OnesCount64(index>>inner)
}

// rootFrom computes the root that a path leads to (RFC 9162 section 2.1.3.2).
// The path has pathLength(index, size) hashes.
func rootFrom(leaf Hash, index, size uint64, path [][]byte) Hash {
	node, last := leaf, size-1
	var sibling Hash
	for _, p := range path {
		copy(sibling[:], p)
		if index%2 == 0 && index != last {
			node = nodeHash(&node, &sibling)
		} else {
			// A node without a sibling rises until it is a right child.
			for index%2 == 0 && index > 0 {
				index, last = index/2, last/2
			}
			node = nodeHash(&sibling, &node)
		}
		index, last = index/2, last/2
	}
	return node
}

package ledger

// What a forger with the signing key, or a test that must come out the same
// every time, needs and nobody else may have.
var (
	BuildUnchecked = buildBatch
	SealWithNonce  = seal
)

// StatementBytes and SigStructure are the signed bytes, for the vectors.
func StatementBytes(c Checked) []byte {
	s := c.statement()
	return s.encode()
}

// AADBytes is the additional data of a payload.
func AADBytes(a AAD) []byte { return a.encode() }

// EncodeHeader writes a header without checking it.
func EncodeHeader(h Header) []byte { return h.append(nil) }

// TreeRoot is the Merkle root of leaves.
func TreeRoot(leaves []Hash) Hash { return newTree(leaves).root() }

// TreePath is the encoded path of a leaf, and PathLength how many hashes the
// format expects in it.
func TreePath(leaves []Hash, index int) []byte { return newTree(leaves).appendPath(nil, index) }

var (
	PathLength = pathLength
	RootFrom   = rootFrom
	LowS       = lowS
)

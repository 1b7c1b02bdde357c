// Package ledger is the evidence format of the event ledger: the chained
// header of every event, the Merkle tree and the one signature of the batch it
// was appended in, the sealing of its payload, and the verification of all of
// that by somebody who holds nothing but public keys.
//
// It promises the following to whoever holds a stored event, a dump or a list
// of heads. An event whose check succeeds was written by a holder of the named
// signing key, in that stream, at that revision, after exactly that
// predecessor. A [Verifier] that reports nothing has seen every event of each
// stream in order, with nothing changed, added, removed, moved or replaced, up
// to the heads that the anchors in the ledger and the heads kept outside it
// name. It does not promise that a payload tells the truth, nor that a batch
// no anchor and no outside head has named yet is still there.
//
// FORMAT.md beside this file specifies every byte, so that a verifier can be
// written in another language; testdata holds the vectors for it.
//
// The package does no input or output of its own, reads no clock and knows no
// HSM: signatures come from a function, data keys from the caller.
package ledger

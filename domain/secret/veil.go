package secret

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
)

// Veiled is 16 bytes enciphered under a key that this process drew at its start and that nothing stores. fmt prints
// the unexported fields of a struct by reflection, past every method of theirs, and %p does so for exported ones; an
// identifier kept as it is would come out there, and in every heap dump. Veiled, it is of no use outside the process,
// and still comparable within it. It prints as what it is: give the type that holds it a Redaction.
type Veiled [16]byte

var veil = newVeil()

func newVeil() cipher.Block {
	var key [32]byte
	_, _ = rand.Read(key[:])          // it never returns an error (crypto/rand)
	block, _ := aes.NewCipher(key[:]) // the length is one of AES's
	clear(key[:])
	return block
}

// Veil returns b veiled. Equal bytes are equal veiled, within one process.
func Veil(b [16]byte) Veiled {
	veil.Encrypt(b[:], b[:])
	return Veiled(b)
}

// Reveal is the inverse of Veil.
func (v Veiled) Reveal() [16]byte {
	veil.Decrypt(v[:], v[:])
	plain := [16]byte(v)
	clear(v[:]) // v went to the heap for the cipher
	return plain
}

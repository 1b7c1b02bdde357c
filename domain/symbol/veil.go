package symbol

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
)

// veiled is 16 bytes enciphered under a key that this process drew at its start and that nothing stores. fmt prints
// the unexported fields of a struct by reflection, past every method of theirs; a symbol kept as it is would come
// out there, and in every heap dump. Veiled, it is of no use outside the process, and still comparable within it.
type veiled [Size]byte

var veilCipher = newVeil()

func newVeil() cipher.Block {
	var key [32]byte
	_, _ = rand.Read(key[:])          // it never returns an error (crypto/rand)
	block, _ := aes.NewCipher(key[:]) // the length is one of AES's
	clear(key[:])
	return block
}

func veil(b [Size]byte) veiled {
	veilCipher.Encrypt(b[:], b[:])
	return veiled(b)
}

func (v veiled) reveal() [Size]byte {
	veilCipher.Decrypt(v[:], v[:])
	plain := [Size]byte(v)
	clear(v[:]) // v went to the heap for the cipher
	return plain
}

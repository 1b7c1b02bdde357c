package secret

import (
	"crypto/aes"
	"crypto/cipher"
	"fmt"
	"reflect"
)

// Block is AES with a key, which it holds expanded, and so readable, outside the secret memory: make it for one use and
// wipe it.
type Block struct{ cipher.Block }

// NewBlock expands a key of 16, 24 or 32 bytes. Wipe must follow.
func NewBlock(key []byte) (Block, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return Block{}, fmt.Errorf("using a key: %w", err)
	}
	return Block{block}, nil
}

// Wipe overwrites the expanded key, or it would lie in freed memory, and in a core dump, until something else is put
// there.
func (b Block) Wipe() { wipePointed(b.Block) }

// GCM is AES-GCM with a key, of which the same is true.
type GCM struct {
	cipher.AEAD
	block Block
}

// NewGCM is as NewBlock. Wipe must follow.
func NewGCM(key []byte) (GCM, error) {
	block, err := NewBlock(key)
	if err != nil {
		return GCM{}, err
	}
	aead, err := cipher.NewGCM(block.Block)
	if err != nil {
		block.Wipe()
		return GCM{}, fmt.Errorf("using a key: %w", err)
	}
	return GCM{aead, block}, nil
}

// Wipe overwrites the expanded key in all places.
func (g GCM) Wipe() {
	wipePointed(g.AEAD)
	g.block.Wipe()
}

func wipePointed(v any) {
	if p := reflect.ValueOf(v); p.Kind() == reflect.Pointer && !p.IsNil() {
		p.Elem().SetZero()
	}
}

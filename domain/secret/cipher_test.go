package secret_test

import (
	"bytes"
	"testing"

	"kiroku/domain/secret"
	"kiroku/domain/secret/secrettest"
)

// What AES expands of a key begins with the key itself: the scan finds it while the cipher lives, and not after Wipe.
func TestAWipedCipherLeavesNoKey(t *testing.T) {
	key := secret.New(32)
	defer key.Destroy()
	for i := range key.Expose() {
		key.Expose()[i] = byte(i*7 + 11)
	}
	for name, open := range map[string]func() interface{ Wipe() }{
		"block": func() interface{ Wipe() } { b, _ := secret.NewBlock(key.Expose()); return b },
		"GCM":   func() interface{ Wipe() } { g, _ := secret.NewGCM(key.Expose()); return g },
	} {
		t.Run(name, func(t *testing.T) {
			c := open()
			if outside(t, key) == 0 {
				t.Error("the scan does not find the key of a living cipher")
			}
			c.Wipe()
			if n := outside(t, key); n > 0 {
				t.Errorf("%d copies of the key are left", n)
			}
		})
	}
}

// outside counts the places outside the secret memory at which a key lies, as AES expands it: in words of either order.
func outside(t *testing.T, key *secret.Bytes) (found int) {
	t.Helper()
	swapped := secret.New(key.Len())
	defer swapped.Destroy()
	for i, b := range key.Expose() {
		swapped.Expose()[i^3] = b
	}
	for _, needle := range []*secret.Bytes{key, swapped} {
		n, err := secrettest.OutsideArena(needle.Expose())
		if err != nil {
			t.Fatal(err)
		}
		found += n
	}
	return found
}

func TestACipherSealsAndRefusesWrongKeys(t *testing.T) {
	if _, err := secret.NewGCM(make([]byte, 31)); err == nil {
		t.Error("a key of 31 bytes is taken")
	}
	g, err := secret.NewGCM(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	defer g.Wipe()
	sealed := g.Seal(nil, make([]byte, 12), []byte("payload"), nil)
	if plain, err := g.Open(nil, make([]byte, 12), sealed, nil); err != nil || !bytes.Equal(plain, []byte("payload")) {
		t.Errorf("%q, %v", plain, err)
	}
}

package keyring

import (
	"fmt"

	"kiroku/domain/secret"
)

// KeysOf are the keys that a keyring keeps of its vault, and a person's, in secret memory.
func KeysOf(k *Keyring, s *Subject) map[string]*secret.Bytes {
	all := map[string]*secret.Bytes{"a person's key": s.key, "the locator key": k.vault.locator}
	for b := range k.vault.buckets {
		all[fmt.Sprintf("bucket key %d", b)] = secret.New(keySize)
		copy(all[fmt.Sprintf("bucket key %d", b)].Expose(), k.vault.key(b))
	}
	return all
}

package node

import (
	"kiroku/adapters/hsm"
	"kiroku/commands"
)

// VaultKeysOf are the root keys of the vault in a token, for tests that come between.
func VaultKeysOf(h *hsm.HSM) commands.VaultKeys { return vaultKeys{h} }

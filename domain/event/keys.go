package event

// VaultOpened begins a generation of the vault: the key that wraps all bucket
// keys is HMAC(root, "kiroku/vault/1" ‖ Random), which the HSM answers and nobody stores.
type VaultOpened struct {
	Generation int    `cbor:"generation"` // from 1
	Root       string `cbor:"root"`       // label of the HSM key
	Random     []byte `cbor:"random"`     // 32 octets
	Commitment []byte `cbor:"commitment"` // 16 octets
	Buckets    int    `cbor:"buckets"`    //
	Locator    []byte `cbor:"locator"`    // the locator key, wrapped

	// From generation 2 on, where persons are deleted with it (物理削除):
	Rotated   []int    `cbor:"rotated,omitempty"`   // buckets that get another key than before, rising
	Deleted   [][]byte `cbor:"deleted,omitempty"`   // 44 octets each: locator of a person whose key does not go along
	Proposals [][]byte `cbor:"proposals,omitempty"` // hashes of the deletions, as approved
	Rotations [][]byte `cbor:"rotations,omitempty"` // hashes of approved proposals to rotate; where Proposals is empty there is one
}

// BucketKeysStored holds wrapped bucket keys First, First+1, … of a generation.
type BucketKeysStored struct {
	Generation int      `cbor:"generation"`
	First      int      `cbor:"first"`
	Keys       [][]byte `cbor:"keys"` // 60 octets each
}

// SubjectKeysStored holds the keys of people in a rotated bucket, wrapped anew: whoever is not among them is deleted.
// From generation 2 on.
type SubjectKeysStored struct {
	Generation int      `cbor:"generation"`
	Bucket     int      `cbor:"bucket"`
	Keys       [][]byte `cbor:"keys"` // 104 octets each: the locator, then the key under the bucket's key
}

// VaultCompleted says that a generation from 2 on has all its keys and is in force: of whoever is deleted with it,
// nothing opens any more under it.
type VaultCompleted struct {
	Generation int      `cbor:"generation"`
	Deleted    [][]byte `cbor:"deleted,omitempty"` // as in vault-opened
	Days       []string `cbor:"days,omitempty"`    // YYYY-MM-DD, rising: on which the deleted had entries made, of all together
}

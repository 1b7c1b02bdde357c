package event

// VaultOpened begins a generation of the vault: the key that wraps all bucket
// keys is HMAC(root, "kiroku/vault/1" ‖ Random), which the HSM answers and nobody stores.
type VaultOpened struct {
	Generation int    `cbor:"generation"`        // from 1
	Root       string `cbor:"root"`              // label of the HSM key
	Random     []byte `cbor:"random"`            // 32 octets
	Commitment []byte `cbor:"commitment"`        // 16 octets
	Buckets    int    `cbor:"buckets"`           //
	Locator    []byte `cbor:"locator"`           // the locator key, wrapped
	Rotated    []int  `cbor:"rotated,omitempty"` // buckets that have another key than before; from generation 2 on
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

// VaultCompleted says that a generation from 2 on has all its keys and is in force.
type VaultCompleted struct {
	Generation int `cbor:"generation"`
}

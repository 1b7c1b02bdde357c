package event

import "github.com/google/uuid"

// Operations on backups, as they stand in the audit stream.
const (
	OperationBackupBegun     = "backup-begun" // before anything was written out
	OperationBackupContinued = "backup-continued"
	OperationBackupFinished  = "backup-finished"
)

// Backup says which backup an operation was on (評価書 III: extraction is logged).
type Backup struct {
	ID         uuid.UUID `cbor:"id"`
	Recipients []string  `cbor:"recipients"`         // fingerprints of the public keys it is encrypted for, sorted
	Anchor     uint64    `cbor:"anchor"`             // revision in the registry of the anchor that names how far it goes
	Leaf       []byte    `cbor:"leaf"`               // leaf hash of that anchor, 32 octets
	Events     uint64    `cbor:"events,omitempty"`   // when finished
	Bytes      uint64    `cbor:"bytes,omitempty"`    // when finished
	Manifest   []byte    `cbor:"manifest,omitempty"` // digest that names its manifest, 32 octets, when finished
}

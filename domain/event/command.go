package event

import "github.com/google/uuid"

// Actor is who gave a command: recorded with every fact that follows from it
// (評価書 III: the operation log identifies the person who acted).
type Actor struct {
	Identity  string `cbor:"identity"`             // unique name of the signed-in person or system, 1 to 128 characters
	Role      string `cbor:"role"`                 // the role in which they acted
	Agency    string `cbor:"agency,omitempty"`     // agency code, empty for the core's own officials
	RequestID string `cbor:"request_id,omitempty"` // correlates logs; not an identifier of a person
}

// Command ties a fact to the command that caused it.
type Command struct {
	ID     uuid.UUID `cbor:"id"`     // the id the actor gave (UUIDv7, RFC 9562 §5.7), or derived from it
	Actor  Actor     `cbor:"actor"`  //
	Digest []byte    `cbor:"digest"` // 16 octets: digest of the command's content, keyed by the HSM
}

// commandNamespace separates ids of commands from every other use of UUIDv5.
var commandNamespace = uuid.MustParse("8c0a7f0e-3a52-5d3c-9f0e-6b1f5f2b6d11")

// CommandKey is the identity of a command: (actor's identity, UUID), as UUIDv5.
func CommandKey(identity string, id uuid.UUID) uuid.UUID {
	return uuid.NewSHA1(uuid.NewSHA1(commandNamespace, id[:]), []byte(identity))
}

// IDOf returns the event id of the index-th event that a command causes: UUIDv5 of the command's key.
func IDOf(key uuid.UUID, index int) uuid.UUID {
	return uuid.NewSHA1(key, []byte{'e', 'v', byte(index >> 8), byte(index)})
}

// ItemID returns the id of item index of a bulk command: UUIDv5 of the bulk command's id.
func ItemID(bulk uuid.UUID, index uint64) uuid.UUID {
	var b [12]byte
	copy(b[:], "item")
	for i := range 8 {
		b[4+i] = byte(index >> (8 * (7 - i)))
	}
	return uuid.NewSHA1(bulk, b[:])
}

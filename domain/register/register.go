// Package register holds the answers that read models give to commands: who is
// known in the issuance register (連携用符号発行管理ファイル), how an inquiry stands, and
// which command was seen. It keeps commands and projections apart: both speak these values,
// neither imports the other.
package register

import (
	"time"

	"github.com/google/uuid"

	"kiroku/domain/event"
	"kiroku/domain/ledger"
	"kiroku/domain/secret"
)

// Key is the keyed index by which a view finds a person: 128 bits of an HMAC whose key the
// HSM answers. It is of no use without the HSM, and no symbol can be read from it.
type Key [16]byte

// SubjectID names a person inside the core: 16 random octets, redacted wherever it is printed or encoded, and unreadable
// where printing reaches past that. Equal ids are ==, within a process. The zero value names nobody.
type SubjectID struct {
	secret.Redaction
	veiled secret.Veiled
}

// NewSubjectID takes the 16 octets of an id.
func NewSubjectID(b [16]byte) SubjectID { return SubjectID{veiled: secret.Veil(b)} }

// Expose returns the octets themselves, to seal them or to make an index key of them.
func (s SubjectID) Expose() [16]byte { return s.veiled.Reveal() }

// Protected returns the id as it stands in a payload.
func (s SubjectID) Protected() event.Protected {
	b := s.Expose()
	return event.Protected(b[:])
}

// SubjectIDFrom reads an id from a payload; a wrong length gives the zero id and false.
func SubjectIDFrom(p event.Protected) (SubjectID, bool) {
	if len(p) != 16 {
		return SubjectID{}, false
	}
	return NewSubjectID([16]byte(p)), true
}

// Resolution is what a resident code resolves to.
type Resolution struct {
	Subject    SubjectID
	Superseded bool // the code was this person's once and no longer resolves
}

// Holding says that an agency holds a person's symbol.
type Holding struct {
	Agency string
	Scheme int // version of the agency-symbol scheme
}

// Holder is a person found by their linkage symbol, with the agencies that hold a symbol of theirs.
type Holder struct {
	Subject  SubjectID
	Holdings []Holding
}

// Holds reports whether an agency holds the person's symbol.
func (h Holder) Holds(agency string) bool {
	for _, x := range h.Holdings {
		if x.Agency == agency {
			return true
		}
	}
	return false
}

// Sealed is an event's payload still under its key, with the header that opens it.
type Sealed struct {
	Header []byte // deterministic CBOR of the ledger's header
	Data   []byte
}

// Reference says where the first event of a command stands, and what the command was.
type Reference struct {
	Stream   string
	Revision uint64
	Type     string
	Digest   [16]byte
	At       time.Time
}

// Anchored is an anchor and where it stands in the registry.
type Anchored struct {
	Revision uint64
	Leaf     ledger.Hash // of the anchor's event
	Anchor   ledger.Anchor
}

// Standing is how an inquiry stands.
type Standing struct {
	ProcessingNumber uuid.UUID
	State            string // a state of domain/inquiry
	Provider         string // agency code
	ValidUntil       time.Time
	Latest           Sealed // its latest event
}

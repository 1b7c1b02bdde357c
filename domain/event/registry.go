package event

import "github.com/google/uuid"

// LedgerOpened is the first fact of the registry: what the ledger is and what
// can never change in it.
type LedgerOpened struct {
	LedgerID     uuid.UUID `cbor:"ledger_id"`
	RecordShards int       `cbor:"record_shards"` // 1 to MaxRecordShards
	VaultBuckets int       `cbor:"vault_buckets"` // 1 to 65,536
	Sentinel     []byte    `cbor:"sentinel"`      // 32 octets: the answer by which the token of this ledger is known
}

// EpochStarted says that a writer took over a stream. The epoch itself is in the header.
type EpochStarted struct {
	Writer uuid.UUID `cbor:"writer"` // random id of the process
}

// SigningKeyPublished makes the public half of a signing key known, with its validity.
type SigningKeyPublished struct {
	KeyID     string `cbor:"key_id"`
	SPKI      []byte `cbor:"spki"`               // SubjectPublicKeyInfo, DER (RFC 5280 §4.1.2.7)
	ValidFrom int64  `cbor:"valid_from"`         // microseconds since 1970-01-01 UTC
	ValidTo   int64  `cbor:"valid_to,omitempty"` // 0: still in use
}

// AgencyRegistered says that an agency (情報照会者等) takes part.
type AgencyRegistered struct {
	Command   Command  `cbor:"command"`
	Code      string   `cbor:"code"`
	Name      string   `cbor:"name"`
	Classes   []string `cbor:"classes"`
	Parameter []byte   `cbor:"parameter"` // 機関別パラメータ, 16 octets
}

// AgencyStatusChanged suspends or reinstates an agency.
type AgencyStatusChanged struct {
	Command   Command `cbor:"command"`
	Code      string  `cbor:"code"`
	Suspended bool    `cbor:"suspended"`
	Reason    string  `cbor:"reason"`
}

// RuleRow is one rule of a published set, in the columns of the rules file. Days are YYYY-MM-DD.
type RuleRow struct {
	ID            string `cbor:"id"`
	InquirerClass string `cbor:"inquirer_class"`
	Affair        string `cbor:"affair"`
	ProviderClass string `cbor:"provider_class"`
	Information   string `cbor:"information"`
	LegalBasis    string `cbor:"legal_basis"`
	ValidFrom     string `cbor:"valid_from"`
	ValidTo       string `cbor:"valid_to,omitempty"`
}

// ScopeRulesPublished is one part of a rule set. The parts of a set follow each
// other in one append; the set is in force from the last of them on.
type ScopeRulesPublished struct {
	Command Command   `cbor:"command"`
	SetHash []byte    `cbor:"set_hash"` // 32 octets, of the whole set
	Part    int       `cbor:"part"`     // 0-based
	Parts   int       `cbor:"parts"`
	Rules   []RuleRow `cbor:"rules"`
}

// PIAViolation says that the assessment of a file is missing or unpublished
// (Act 21(2), 28), or, with To set, until when it was.
type PIAViolation struct {
	Command Command `cbor:"command"`
	Agency  string  `cbor:"agency"`
	File    string  `cbor:"file,omitempty"` // affair or information name; empty: every file of the agency
	From    string  `cbor:"from"`           // day, inclusive
	To      string  `cbor:"to,omitempty"`   // day, inclusive; empty: until further notice
	Reason  string  `cbor:"reason"`
}

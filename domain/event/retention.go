package event

import "github.com/google/uuid"

// The types of event by which what is older than seven years ends (Order 30), and by which two officials end what may
// end early. All but the last stand in the registry, signed plaintext: they name days, keys and hashes, never a person.
const (
	TypeDestructionAnnounced = "destruction-announced"
	TypeDaySummarised        = "day-summarised"
	TypeDestructionDecided   = "destruction-decided"
	TypeDayKeyDestroyed      = "day-key-destroyed"
	TypeDayCertified         = "day-certified"
	TypeDayUnrecoverable     = "day-unrecoverable"
	TypeHoldAdded            = "legal-hold-added"
	TypeHoldReleased         = "legal-hold-released"
	TypeProposalMade         = "proposal-made"
	TypeProposalApproved     = "proposal-approved"
	TypeVaultRotated         = "vault-rotated"
	TypeAuthoritiesSet       = "authorities-set"
	TypeCopiesDeclared       = "copies-declared"
	TypeLossAcknowledged     = "key-loss-acknowledged"

	TypeDeletionRequested = "deletion-requested" // in issuance, class subject
)

// DestructionAnnounced says, at least the time of notice before they fall due, which days will be destroyed.
type DestructionAnnounced struct {
	Days []string `cbor:"days"` // YYYY-MM-DD, rising
	At   int64    `cbor:"at"`   // microseconds since 1970-01-01 UTC
}

// SummaryRow counts the exchanges of a day that were alike. What would have told too much is empty.
type SummaryRow struct {
	Inquirer    string `cbor:"inquirer,omitempty"` // agency code
	Provider    string `cbor:"provider,omitempty"` // agency code
	Affair      string `cbor:"affair,omitempty"`
	Information string `cbor:"information,omitempty"`
	Outcome     string `cbor:"outcome"`
	Refusal     string `cbor:"refusal,omitempty"`
	Rule        string `cbor:"rule,omitempty"`
	Exchanges   uint64 `cbor:"exchanges"`
}

// DaySummarised is one part of what is kept of a day's exchanges: the parts follow each other in one append.
type DaySummarised struct {
	Day   string       `cbor:"day"`
	Part  int          `cbor:"part"`  // 0-based
	Parts int          `cbor:"parts"` // at least 1, also where there are no rows
	Least uint64       `cbor:"least"` // counts below it were suppressed
	Rows  []SummaryRow `cbor:"rows"`
}

// DayStream is what a stream held of a day.
type DayStream struct {
	Stream string    `cbor:"stream"`
	First  uint64    `cbor:"first"` // first revision of the day
	Next   uint64    `cbor:"next"`  // after the last
	Keys   []DataKey `cbor:"keys"`  // by its day-opened events
}

// DataKey names a data key of a day by the event that made it, with the commitment that stands there.
type DataKey struct {
	Revision   uint64 `cbor:"revision"`
	Commitment []byte `cbor:"commitment"` // 16 octets
}

// DestructionDecided says that a day's key is destroyed from now on: at this place in the registry the day was due, its
// notice had run, that the time had passed was proven, and no order held it. No order is taken for the day after it. It
// stands before the token is told, so that it does not matter how long a core that was told to takes, or which one does it.
type DestructionDecided struct {
	Day       string `cbor:"day"`
	Due       string `cbor:"due"`       // first day on which it could be decided
	Announced uint64 `cbor:"announced"` // revision of the announcement in the registry
	Summary   uint64 `cbor:"summary"`   // revision of the summary's first part
	At        int64  `cbor:"at"`        // microseconds since 1970-01-01 UTC
}

// DayKeyDestroyed says that the HSM holds the key of a day no more: whoever follows the registry drops what came of it.
//
// It stands behind its DestructionDecided. Where Lost is set, nobody destroyed the key here: it was found missing, and two officials approved that the day has ended
// by that. There is no summary then, because nothing of the day could be counted, and there need not be an announcement.
type DayKeyDestroyed struct {
	Day       string      `cbor:"day"`
	Label     string      `cbor:"label"`     // of the HSM key
	Due       string      `cbor:"due"`       // first day on which it could be destroyed
	Announced uint64      `cbor:"announced"` // revision of the announcement in the registry
	Summary   uint64      `cbor:"summary"`   // revision of the summary's first part
	Streams   []DayStream `cbor:"streams"`   // sorted by stream; none if the day had no event
	Events    uint64      `cbor:"events"`    // of all streams
	Token     Token       `cbor:"token"`     // that answered
	At        int64       `cbor:"at"`        // of a loss: when the key was looked for in vain

	Lost      bool   `cbor:"lost,omitempty"`
	Premature bool   `cbor:"premature,omitempty"` // lost before the day was due
	Proposal  []byte `cbor:"proposal,omitempty"`  // of a loss: hash of the approved proposal, 32 octets
}

// Token names an HSM token as it names itself (PKCS #11 §3.2, CK_TOKEN_INFO).
type Token struct {
	Label        string `cbor:"label"`
	Manufacturer string `cbor:"manufacturer"`
	Model        string `cbor:"model"`
	Serial       string `cbor:"serial"`
}

// DayCertified is the certificate of a day's destruction, first stage: besides the key, everything that the core derived
// from the day is gone, namely Cleared. It speaks for the core that wrote it. One that stands by, or lost the store, loses
// the data keys of the day that are in its memory ("keyring") when it takes the event of the destruction in, and at the
// latest ten minutes after it last followed the registry or asked the HSM; its read models drop the day with that event.
type DayCertified struct {
	Day       string   `cbor:"day"`
	Destroyed uint64   `cbor:"destroyed"` // revision of day-key-destroyed
	Leaf      []byte   `cbor:"leaf"`      // its leaf hash, 32 octets
	Cleared   []string `cbor:"cleared"`   // sorted: keyring, disclosure, mediation, statistics
	At        int64    `cbor:"at"`

	Lost     bool   `cbor:"lost,omitempty"`     // the key was not destroyed but found missing
	Found    int64  `cbor:"found,omitempty"`    // of a loss: when
	Proposal []byte `cbor:"proposal,omitempty"` // of a loss: hash of the proposal that officials approved
}

// LossAcknowledged ends the alarm of a day whose key was lost before the day was due: somebody has seen to what the loss
// calls for, such as reports. The day stays lost.
type LossAcknowledged struct {
	Command Command `cbor:"command"`
	Day     string  `cbor:"day"`
	Reason  string  `cbor:"reason"` // what was done about it, 1 to 200 characters; names no person
	At      int64   `cbor:"at"`
}

// DayUnrecoverable is the second stage: two officials attested, for each copy of the HSM's keys that is known, that it
// holds the keys of these days no more.
type DayUnrecoverable struct {
	From      string   `cbor:"from"` // first day
	To        string   `cbor:"to"`   // last day
	Copies    []string `cbor:"copies"`
	Proposals [][]byte `cbor:"proposals"` // hashes of the attestations
	At        int64    `cbor:"at"`
}

// HoldAdded keeps days from destruction by an order (証拠保全等).
type HoldAdded struct {
	Command   Command   `cbor:"command"`
	Hold      uuid.UUID `cbor:"hold"`
	From      string    `cbor:"from"`      // first day held
	To        string    `cbor:"to"`        // last day held
	Reason    string    `cbor:"reason"`    // 1 to 200 characters; names no person
	Authority string    `cbor:"authority"` // whose order, with its number
	Until     string    `cbor:"until"`     // last day on which it holds
}

// HoldReleased ends a hold before its time, as two officials approved.
type HoldReleased struct {
	Hold     uuid.UUID `cbor:"hold"`
	Proposal []byte    `cbor:"proposal"` // its hash
	At       int64     `cbor:"at"`
}

// Kinds of proposal.
const (
	ProposalDeletion    = "physical-deletion" // 物理削除
	ProposalHoldRelease = "hold-release"
	ProposalAttestation = "attestation"
	ProposalAuthorities = "authorities"
	ProposalCopyRemoval = "copy-removal"
	ProposalKeyLoss     = "key-loss"
	ProposalRotation    = "vault-rotation" // of the vault's root key, whoever is deleted with it
)

// ProposalMade is what two officials are asked to approve. Its hash is what they sign.
type ProposalMade struct {
	Command  Command   `cbor:"command"`
	ID       uuid.UUID `cbor:"id"`
	Kind     string    `cbor:"kind"`
	Hold     []byte    `cbor:"hold,omitempty"`     // hold-release: 16 octets
	Deletion []byte    `cbor:"deletion,omitempty"` // physical-deletion: leaf hash of the deletion-requested event
	Revision uint64    `cbor:"revision,omitempty"` // where that stands in issuance
	Copy     string    `cbor:"copy,omitempty"`     // attestation, copy-removal: name of the copy of the HSM's keys
	From     string    `cbor:"from,omitempty"`     // attestation: first day whose key the copy holds no more
	To       string    `cbor:"to,omitempty"`       // attestation: last day
	Day      string    `cbor:"day,omitempty"`      // key-loss: the day whose key the HSM lacks
	Reason   string    `cbor:"reason"`             // 1 to 200 characters; names no person
	At       int64     `cbor:"at"`
	Until    int64     `cbor:"until"` // an approval after it counts no more

	Authorities [][]byte `cbor:"authorities,omitempty"` // authorities: the new set, as in AuthoritiesSet
	Replaces    []byte   `cbor:"replaces,omitempty"`    // authorities: hash of the set in force, 32 octets
}

// ProposalApproved is one official's approval.
type ProposalApproved struct {
	Command     Command `cbor:"command"`
	Proposal    []byte  `cbor:"proposal"`    // hash of the proposal, 32 octets
	Official    string  `cbor:"official"`    // pseudonym of the certificate's subject: two approvals count if these differ
	Certificate []byte  `cbor:"certificate"` // SHA-256 of the official's certificate (X.509, DER)
	SPKI        []byte  `cbor:"spki"`        // its public key
	Authority   []byte  `cbor:"authority"`   // SHA-256 of the certificate of the authority at the end of its path, one of AuthoritiesSet
	Signature   []byte  `cbor:"signature"`   // by that key over the proposal's hash in its context
	At          int64   `cbor:"at"`
}

// DeletionRequested is a physical deletion (物理削除要求電文) as Juki-net asked for it, under the person's own key: when
// they are deleted, it is too.
type DeletionRequested struct {
	Command Command   `cbor:"command"`
	Subject Protected `cbor:"subject"`
	Number  string    `cbor:"number"` // of Juki-net's message
	Salt    Protected `cbor:"salt"`   // 32 random octets: nobody finds the content from the event's hash
	Reason  string    `cbor:"reason"`
	At      int64     `cbor:"at"`
}

// VaultRotated is the certificate of a physical deletion: the old root key is destroyed, and with it every copy of the
// deleted persons' keys; and the register's view of the core that wrote it holds nothing of them any more, nor do the view's
// files. The views of cores that stand by drop it when they take the new generation in, and are not certified.
type VaultRotated struct {
	Generation int      `cbor:"generation"`          // that is in force
	Destroyed  string   `cbor:"destroyed"`           // label of the old root key
	Commitment []byte   `cbor:"commitment"`          // to what it answered, from the old vault-opened
	Proposals  [][]byte `cbor:"proposals"`           // hashes of the deletions carried out, by this rotation or (of a person deleted before) an earlier one; none for a rotation alone
	Rotations  [][]byte `cbor:"rotations,omitempty"` // hashes of the proposals to rotate that it carried out
	Days       []string `cbor:"days"`                // on which the deleted had symbols issued, of all together: their statistics change
	Token      Token    `cbor:"token"`
	At         int64    `cbor:"at"`
}

// AuthoritiesSet says whose word counts, from now on, on who is an official. The first set is the one that the core was
// given first; each later one was approved by two officials of the set before it.
type AuthoritiesSet struct {
	Command     *Command `cbor:"command,omitempty"`  // of the first set
	Authorities [][]byte `cbor:"authorities"`        // their certificates (X.509, DER), rising by their SHA-256; they name organisations, no person
	Proposal    []byte   `cbor:"proposal,omitempty"` // of a later set: hash of the proposal
	At          int64    `cbor:"at"`
}

// CopiesDeclared names the copies of the HSM's keys that there are from now on. A name leaves the list only as two
// officials approved.
type CopiesDeclared struct {
	Command  *Command `cbor:"command,omitempty"`  // where names were added
	Copies   []string `cbor:"copies"`             // sorted
	Proposal []byte   `cbor:"proposal,omitempty"` // where a name was removed: hash of the proposal
	At       int64    `cbor:"at"`
}

package event

// Record is the provision record (情報提供等記録, Act 23, 評価書 別添2), repeated in
// full by every event of an inquiry, so that the end of one day never maims
// an event of a later one. Times are microseconds since 1970-01-01 UTC, 0 for none.
type Record struct {
	Symbol            Protected `cbor:"symbol,omitempty"`  // 情報提供等記録用符号, 16 octets; none where the person is unknown
	Subject           Protected `cbor:"subject,omitempty"` // 16 octets; from it the symbols are derived again
	ProcessingNumber  []byte    `cbor:"processing_number"` // 処理通番, 16 octets
	Branch            int       `cbor:"branch"`            // 枝番, from 0
	Affair            string    `cbor:"affair"`
	Procedure         string    `cbor:"procedure"`
	Inquirer          string    `cbor:"inquirer"` // agency code
	InquirerName      string    `cbor:"inquirer_name"`
	Department        string    `cbor:"department"`
	Provider          string    `cbor:"provider"` // agency code
	ProviderName      string    `cbor:"provider_name"`
	RequestedAt       int64     `cbor:"requested_at"`
	ProvidedAt        int64     `cbor:"provided_at,omitempty"`
	Information       string    `cbor:"information"`
	Items             []string  `cbor:"items"`
	WithheldRequest   bool      `cbor:"withheld_request,omitempty"`   // 不開示 of the request, Act 23(2)
	WithheldProvision bool      `cbor:"withheld_provision,omitempty"` // 不開示 of the provision, Act 23(2)
	AmendmentReason   string    `cbor:"amendment_reason,omitempty"`   // 記録事項変更事由
	Article21         bool      `cbor:"article_21,omitempty"`         // the inquiry fell under Act 21(2)
	Consent           bool      `cbor:"consent,omitempty"`            // the inquirer declared the person's consent (Act 19(9))
	RuleSet           []byte    `cbor:"rule_set,omitempty"`           // hash of the set that decided
	Rule              string    `cbor:"rule,omitempty"`               // rule that permitted
	ValidUntil        int64     `cbor:"valid_until,omitempty"`        // Ordinance 41: the notification lapses here
}

// InquiryNotified: the inquiry was permitted and the provider may be notified.
type InquiryNotified struct {
	Command Command `cbor:"command"`
	Record  Record  `cbor:"record"`
}

// InquiryRefused: the inquiry was refused, and why (a code of domain/inquiry).
type InquiryRefused struct {
	Command Command `cbor:"command"`
	Record  Record  `cbor:"record"`
	Reason  string  `cbor:"reason"`
}

// ProvisionReported: the provider's answer.
type ProvisionReported struct {
	Command Command `cbor:"command"`
	Record  Record  `cbor:"record"`
	Answer  string  `cbor:"answer"` // a code of domain/inquiry: provided, no such information, cannot provide
	At      int64   `cbor:"at"`
}

// InquiryLapsed: no answer within the validity (Ordinance 41(3)).
type InquiryLapsed struct {
	Command Command `cbor:"command"`
	Record  Record  `cbor:"record"`
	At      int64   `cbor:"at"`
}

// OperationRecorded: an official gave a command on the registry. The registry itself, which everybody may read, names
// them by a pseudonym only (評価書 III: the operation log identifies the person who acted).
type OperationRecorded struct {
	Command   Command `cbor:"command"`
	Pseudonym string  `cbor:"pseudonym"` // the actor's identity in the registry
	Operation string  `cbor:"operation"` // type of the registry's event, or one of the operations on backups
	At        int64   `cbor:"at"`

	Certificates []Protected `cbor:"certificates,omitempty"` // of an approval: the official's (X.509, DER), then those between it and an authority
	Backup       *Backup     `cbor:"backup,omitempty"`
}

// RecordsDisclosed: a person, a representative or the commission was shown records
// (domain rule Records 4): who asked, on what receipt, what was given and by whom.
type RecordsDisclosed struct {
	Command  Command   `cbor:"command"`
	Symbol   Protected `cbor:"symbol"`   // whose records
	Receipt  string    `cbor:"receipt"`  // receipt number of the request
	Audience string    `cbor:"audience"` // person, representative, commission
	From     int64     `cbor:"from"`     // interval asked for, half-open
	To       int64     `cbor:"to"`
	Count    int       `cbor:"count"` // how many entries were shown
	Given    [][]byte  `cbor:"given"` // from which events they were made: the first 8 octets of SHA-256 of each one's header
	At       int64     `cbor:"at"`
}

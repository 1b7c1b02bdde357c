package event

// Subject is what the issuance register says of one person at one version.
type Subject struct {
	ID             Protected `cbor:"id"`              // 16 random octets; names the person inside the core only
	Linkage        Protected `cbor:"linkage"`         // 連携用符号, 16 octets
	LinkageVersion int       `cbor:"linkage_version"` //
	Management     Protected `cbor:"management"`      // 連携用符号管理情報, 32 octets
	IndexVersion   int       `cbor:"index_version"`
	Salt           Protected `cbor:"salt,omitempty"` // 16 octets, in the first issuance only
}

// Issuance is the register's line for one agency (評価書 別添2 連携用符号発行管理ファイル).
type Issuance struct {
	Agency    string `cbor:"agency"`    // 機関コード
	Parameter []byte `cbor:"parameter"` // 機関別パラメータ
	Scheme    int    `cbor:"scheme"`    // version of the agency-symbol scheme
	At        int64  `cbor:"at"`        // microseconds since 1970-01-01 UTC
}

// SymbolIssued says that an agency was issued a person's symbol for the first time.
// The symbol itself is nowhere in it. The acquisition number (取得番号) is not kept (Act 21-2(3)).
type SymbolIssued struct {
	Command   Command  `cbor:"command"`
	Subject   Subject  `cbor:"subject"`
	Issuance  Issuance `cbor:"issuance"`
	NewPerson bool     `cbor:"new_person"`
}

// SymbolAlreadyAcquired says that an agency asked again (Ordinance 44(2)).
type SymbolAlreadyAcquired struct {
	Command  Command   `cbor:"command"`
	Subject  Protected `cbor:"subject"`
	Issuance Issuance  `cbor:"issuance"`
}

// ResidentCodeChanged says that a person's resident code (住民票コード) changed:
// the old management information no longer resolves and is remembered as superseded.
type ResidentCodeChanged struct {
	Command       Command   `cbor:"command"`
	Subject       Protected `cbor:"subject"`
	OldManagement Protected `cbor:"old_management"`
	Management    Protected `cbor:"management"`
	IndexVersion  int       `cbor:"index_version"`
	At            int64     `cbor:"at"`
}

// ResidentCodeChangeRefused reports a change onto a code that belongs, or belonged, to
// another person. Other is that person.
type ResidentCodeChangeRefused struct {
	Command Command   `cbor:"command"`
	Subject Protected `cbor:"subject"`
	Other   Protected `cbor:"other"`
	Reason  string    `cbor:"reason"`
	At      int64     `cbor:"at"`
}

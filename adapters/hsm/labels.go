package hsm

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Purpose groups keys that one office or device may hold apart from the others.
type Purpose string

// The purposes. Each has its token, user and PIN file in Config.
const (
	PurposeIndex   Purpose = "index"   // finds persons and rows: index, view, digest
	PurposeSymbols Purpose = "symbols" // makes symbols and opens deliveries: linkage, tweak, agency, record-symbol, juki
	PurposeDays    Purpose = "days"    // one key per Japanese calendar day: record/YYYY-MM-DD
	PurposeVault   Purpose = "vault"   // the root over the persons' keys: vault
	PurposeSigning Purpose = "signing" // signs batches of events: sign
)

// Purposes are all purposes, in the order in which SentinelValue lists tokens.
func Purposes() []Purpose {
	return []Purpose{PurposeIndex, PurposeSymbols, PurposeDays, PurposeVault, PurposeSigning}
}

// Labels of the first version of each long-lived key.
const (
	LabelSentinel     = "sentinel/1"      // HMAC; in every token, proves that it is the one
	LabelIndex        = "index/1"         // HMAC; management information (連携用符号管理情報)
	LabelLinkage      = "linkage/1"       // HMAC; linkage symbols (連携用符号)
	LabelTweak        = "tweak/1"         // HMAC; an agency's tweak
	LabelAgency       = "agency/1"        // AES-256, both directions; agency symbols (情報提供用個人識別符号)
	LabelRecordSymbol = "record-symbol/1" // AES-256, encrypts only; record symbols (情報提供等記録用符号)
	LabelView         = "view/1"          // HMAC; index keys of the views
	LabelDigest       = "digest/1"        // HMAC; digests of commands
	LabelVault        = "vault/1"         // HMAC; root over the bucket keys
	LabelSign         = "sign/1"          // EC P-256; batch signatures
	LabelJuki         = "juki/1"          // RSA; what Juki-net (住民基本台帳ネットワークシステム) encrypts for the core
)

// dayFamily is the family whose versions are days.
const dayFamily = "record"

// kind is what a key is and the one use it has.
type kind int

const (
	kindMAC     kind = iota // HMAC-SHA256
	kindEncrypt             // AES-256-ECB, encrypt
	kindPair                // AES-256-ECB, encrypt and decrypt
	kindSign                // ECDSA P-256
	kindOpen                // RSA-OAEP, decrypt
)

// family is what all keys of a name have in common.
type family struct {
	name     string
	purpose  Purpose // "" is every token
	kind     kind
	erasable bool // Destroy may end it
	standing bool // at least one version exists from Init on
}

var families = []family{
	{name: "sentinel", kind: kindMAC, standing: true},
	{name: "index", purpose: PurposeIndex, kind: kindMAC, standing: true},
	{name: "view", purpose: PurposeIndex, kind: kindMAC, standing: true},
	{name: "digest", purpose: PurposeIndex, kind: kindMAC, standing: true},
	{name: "linkage", purpose: PurposeSymbols, kind: kindMAC, standing: true},
	{name: "tweak", purpose: PurposeSymbols, kind: kindMAC, standing: true},
	{name: "agency", purpose: PurposeSymbols, kind: kindPair, standing: true},
	{name: "record-symbol", purpose: PurposeSymbols, kind: kindEncrypt, standing: true},
	{name: "juki", purpose: PurposeSymbols, kind: kindOpen}, // made by EnsureKey where Juki-net is connected
	{name: dayFamily, purpose: PurposeDays, kind: kindMAC, erasable: true},
	{name: "vault", purpose: PurposeVault, kind: kindMAC, erasable: true, standing: true},
	{name: "sign", purpose: PurposeSigning, kind: kindSign, standing: true},
}

// parseLabel splits a label into its family and version: a number from 1 to 255 (of the vault, to 65,535)
// without leading zeros, or a day for the record family.
func parseLabel(label string) (family, string, error) {
	name, version, _ := strings.Cut(label, "/")
	for _, f := range families {
		if f.name != name {
			continue
		}
		if !validVersion(f, version) {
			break
		}
		return f, version, nil
	}
	return family{}, "", fmt.Errorf("%w: %q", ErrLabel, label)
}

func validVersion(f family, version string) bool {
	if f.name == dayFamily {
		day, err := time.Parse(time.DateOnly, version)
		return err == nil && day.Format(time.DateOnly) == version
	}
	bits := 8
	if f.erasable { // a version of the vault's root key is used up with every rotation
		bits = 16
	}
	n, err := strconv.ParseUint(version, 10, bits)
	return err == nil && n > 0 && strconv.FormatUint(n, 10) == version
}

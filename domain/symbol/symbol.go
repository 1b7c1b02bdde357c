// Package symbol holds the identifiers of persons and the rules by which each is derived from another: the resident
// code (住民票コード), the linkage symbol (連携用符号), the agency symbol (情報提供用個人識別符号), the record symbol
// (情報提供等記録用符号) and the management information (連携用符号管理情報).
//
// It promises the commands that an agency symbol satisfies Article 27(5) of the Order as long as the keys stay in
// the HSM: derived from the resident code, without a regularity that gives it back, different from every other
// symbol of that agency and from that person's symbol at every other agency. And it promises the operators that no
// value of these types is shown by a printer, a log handler or an encoder.
//
// Every key lives in the HSM, so a derivation is three steps: a function here builds the message or block, the HSM
// answers, and a function here makes the symbol of the answer.
//
//	linkage symbol v1      = first 128 bits of HMAC(linkage key 1, "linkage/1" ‖ resident code ‖ salt)
//	linkage symbol v(n+1)  = first 128 bits of HMAC(linkage key n+1, linkage symbol vn)
//	management info v1     = HMAC(index key 1, resident code)
//	management info v(n+1) = HMAC(index key n+1, management info vn)
//	tweak Δ                = first 128 bits of HMAC(tweak key, "agency" ‖ octet 16 ‖ agency parameter ‖ scheme version)
//	agency symbol          = scheme version ‖ (AES_agency(linkage symbol ⊕ Δ) ⊕ Δ)
//	record symbol          = AES_record(linkage symbol)
//
// HMAC is HMAC-SHA-256 (RFC 2104, FIPS 180-4), AES is AES-256 (FIPS 197) on one block.
package symbol

import (
	"errors"
	"fmt"

	"kiroku/domain/secret"
)

// Size is the length in bytes of a linkage and a record symbol, and of a tweak.
const Size = 16

// ErrSymbol tells that bytes or a text cannot be a symbol. The error never repeats them.
var ErrSymbol = errors.New("not a symbol")

// Linkage is a linkage symbol (連携用符号): one person, common to all agencies. It never leaves the core. Equal symbols
// are ==, so it serves as a map key within the process. The zero value is no symbol.
type Linkage struct {
	secret.Redaction
	veiled veiled
}

// LinkageFromBytes takes the 16 bytes of a stored symbol (ErrSymbol for another length).
func LinkageFromBytes(b []byte) (Linkage, error) {
	block, err := blockOf(b, "linkage")
	if err != nil {
		return Linkage{}, err
	}
	return Linkage{veiled: veil(block)}, nil
}

// Expose returns the symbol itself: to seal it, or as the block that AES_record makes the record symbol of.
func (l Linkage) Expose() [Size]byte { return l.veiled.reveal() }

// IsZero reports whether l is no symbol.
func (l Linkage) IsZero() bool { return l == Linkage{} }

// Record is a record symbol (情報提供等記録用符号): it keys one person's provision records. Operators never see it.
// Equal symbols are ==. The zero value is no symbol.
type Record struct {
	secret.Redaction
	veiled veiled
}

// RecordFromBlock makes the record symbol of the HSM's answer to Linkage.Expose. AES is a permutation, so two
// persons never share one.
func RecordFromBlock(block [Size]byte) Record { return Record{veiled: veil(block)} }

// RecordFromBytes takes the 16 bytes of a stored symbol (ErrSymbol for another length).
func RecordFromBytes(b []byte) (Record, error) {
	block, err := blockOf(b, "record")
	if err != nil {
		return Record{}, err
	}
	return RecordFromBlock(block), nil
}

// Expose returns the symbol itself, to seal it or to make an index key of it.
func (r Record) Expose() [Size]byte { return r.veiled.reveal() }

// IsZero reports whether r is no symbol.
func (r Record) IsZero() bool { return r == Record{} }

func blockOf(b []byte, kind string) ([Size]byte, error) {
	if len(b) != Size {
		return [Size]byte{}, fmt.Errorf("making a %s symbol of %d bytes, it has %d: %w", kind, len(b), Size, ErrSymbol)
	}
	return [Size]byte(b), nil
}

// Versions names the keys and the scheme that a symbol was made with, each counted from 1, so that each can be
// replaced when it is compromised and every symbol made anew.
type Versions struct {
	Linkage uint8 // linkage key
	Index   uint8 // index key, of the management information
	Scheme  uint8 // agency-symbol scheme: tweak key, agency key and the way they are joined
	Record  uint8 // record-symbol key
}

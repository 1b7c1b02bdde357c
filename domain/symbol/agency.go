package symbol

import (
	"encoding/base64"
	"fmt"

	"kiroku/domain/secret"
)

const (
	// AgencySize is the length in bytes of an agency symbol: the scheme version and a block.
	AgencySize = 1 + Size
	// AgencyTextSize is the length in characters of what Encode gives.
	AgencyTextSize = 23
)

// Agency is an agency symbol (情報提供用個人識別符号): one person at one agency, the only name that the agency and the
// core have in common. The core never stores it and derives it again where it needs it. Equal symbols are ==. The
// zero value is no symbol.
type Agency struct {
	secret.Redaction
	version uint8
	veiled  veiled
}

var agencyText = base64.RawURLEncoding.Strict()

// AgencyFromBytes takes the scheme version and the 16 bytes after it (ErrSymbol for another length or version 0).
// A symbol of a known form may still name nobody.
func AgencyFromBytes(b []byte) (Agency, error) {
	if len(b) != AgencySize || b[0] == 0 {
		return Agency{}, fmt.Errorf("making an agency symbol of %d bytes, it has %d and a version from 1: %w", len(b), AgencySize, ErrSymbol)
	}
	return Agency{version: b[0], veiled: veil([Size]byte(b[1:]))}, nil
}

// DecodeAgency reads what Encode gives, in that one form (ErrSymbol). The text is a string of the caller's; keep it
// no longer than the request lasts.
func DecodeAgency(text string) (Agency, error) {
	if len(text) != AgencyTextSize {
		return Agency{}, fmt.Errorf("reading an agency symbol of %d characters, it has %d: %w", len(text), AgencyTextSize, ErrSymbol)
	}
	var b [AgencySize + 1]byte // room for what base64 checks beyond
	n, err := agencyText.Decode(b[:], []byte(text))
	defer clear(b[:])
	if err != nil {
		return Agency{}, fmt.Errorf("reading an agency symbol that is not base64url: %w", ErrSymbol) // err would show a place in it
	}
	return AgencyFromBytes(b[:n])
}

// Encode is the symbol as a gateway of its agency sends and receives it: base64url (RFC 4648, section 5) without
// padding, 23 characters. For that gateway only, never for a log, an event or another agency.
func (a Agency) Encode() string {
	b := a.Expose()
	defer clear(b[:])
	return agencyText.EncodeToString(b[:])
}

// Expose returns the scheme version and the 16 bytes after it.
func (a Agency) Expose() [AgencySize]byte {
	block := a.veiled.reveal()
	var b [AgencySize]byte
	b[0] = a.version
	copy(b[1:], block[:])
	return b
}

// Version is the scheme version that the symbol says it was made with; 0 for the zero value.
func (a Agency) Version() uint8 { return a.version }

// IsZero reports whether a is no symbol.
func (a Agency) IsZero() bool { return a == Agency{} }

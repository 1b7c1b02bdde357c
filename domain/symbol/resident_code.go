package symbol

import (
	"errors"
	"fmt"

	"kiroku/domain/secret"
)

// ResidentCodeSize is the number of digits of a resident code, the check digit included.
const ResidentCodeSize = 11

var (
	// ErrResidentCode tells that what came is not 11 digits.
	ErrResidentCode = errors.New("not a resident code of 11 digits")
	// ErrCheckDigit tells that the 11th digit does not fit the ten before it.
	ErrCheckDigit = errors.New("resident code with a wrong check digit")
)

// ResidentCode is a resident code (住民票コード): 11 ASCII digits in locked memory, the last a check digit. It is
// received to make one person's symbols and destroyed as soon as they exist; whoever receives it destroys it.
// Copies name the same code. The zero value is a destroyed one.
type ResidentCode struct {
	secret.Redaction
	digits *secret.Bytes
}

// ParseResidentCode moves 11 ASCII digits into locked memory and wipes b, also when it refuses them: ErrResidentCode
// or ErrCheckDigit, neither of which repeats a digit. A nil policy is Mod11.
func ParseResidentCode(b []byte, policy CheckDigit) (ResidentCode, error) {
	defer secret.Wipe(b)
	if len(b) != ResidentCodeSize || !areDigits(b) {
		return ResidentCode{}, fmt.Errorf("reading %d bytes: %w", len(b), ErrResidentCode)
	}
	if b[ResidentCodeSize-1] != policy.of(b[:ResidentCodeSize-1]) {
		return ResidentCode{}, fmt.Errorf("reading a resident code: %w", ErrCheckDigit)
	}
	return ResidentCode{digits: secret.Take(b)}, nil
}

// WithCheckDigit makes a synthetic code of ten digits, for tests and demonstrations, and wipes them.
// ErrResidentCode if they are not ten digits. A nil policy is Mod11.
func WithCheckDigit(first10 []byte, policy CheckDigit) (ResidentCode, error) {
	defer secret.Wipe(first10)
	if len(first10) != ResidentCodeSize-1 || !areDigits(first10) {
		return ResidentCode{}, fmt.Errorf("adding a check digit to %d bytes, not to 10 digits: %w", len(first10), ErrResidentCode)
	}
	digits := secret.New(ResidentCodeSize)
	b := digits.Expose()
	copy(b, first10)
	b[ResidentCodeSize-1] = policy.of(first10)
	return ResidentCode{digits: digits}, nil
}

// Expose returns the 11 digits themselves, nil after Destroy. Copy them into locked memory only, never into a string.
func (c ResidentCode) Expose() []byte { return c.digits.Expose() }

// Destroy wipes the code, for all copies of it. Again, or on the zero value, it does nothing.
func (c ResidentCode) Destroy() { c.digits.Destroy() }

func areDigits(b []byte) bool {
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

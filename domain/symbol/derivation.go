package symbol

import (
	"crypto/subtle"
	"errors"
	"fmt"

	"kiroku/domain/secret"
)

const (
	// SaltSize is the length in bytes of a person's salt.
	SaltSize = 16

	macSize       = 32 // of HMAC-SHA-256
	linkageLabel  = "linkage/1"
	tweakLabel    = "agency"
	parameterSize = 16
)

var (
	// ErrInput tells that what a derivation starts from is missing or has the wrong length.
	ErrInput = errors.New("no input for a symbol")
	// ErrMAC tells that the HSM's answer is not 32 bytes, or has been destroyed.
	ErrMAC = errors.New("not the 32 bytes of an HMAC-SHA-256")
)

// LinkageInput is the message whose HMAC under linkage key 1 makes a person's first linkage symbol. The salt is 16
// random bytes drawn for the person; they are drawn again should the symbol turn out to be another's (domain rule:
// each new symbol is checked against all issued). The caller destroys the message. ErrInput for a destroyed code or
// a salt of another length.
func LinkageInput(code ResidentCode, salt []byte) (*secret.Bytes, error) {
	digits := code.Expose()
	if len(digits) != ResidentCodeSize || len(salt) != SaltSize {
		return nil, fmt.Errorf("building the linkage message of %d digits and %d bytes of salt: %w", len(digits), len(salt), ErrInput)
	}
	message := secret.New(len(linkageLabel) + ResidentCodeSize + SaltSize)
	to := message.Expose()
	to = to[copy(to, linkageLabel):]
	to = to[copy(to, digits):]
	copy(to, salt)
	return message, nil
}

// LinkageFrom makes the linkage symbol of the HSM's HMAC of LinkageInput or NextLinkageInput (ErrMAC).
func LinkageFrom(mac []byte) (Linkage, error) {
	block, err := firstBlock(mac, "linkage symbol")
	if err != nil {
		return Linkage{}, err
	}
	return Linkage{veiled: veil(block)}, nil
}

// NextLinkageInput is the message whose HMAC under linkage key n+1 makes version n+1 of a symbol of version n. The
// caller destroys it.
func NextLinkageInput(l Linkage) *secret.Bytes {
	block := l.Expose()
	return secret.Take(block[:])
}

// IndexInput is the message whose HMAC under index key 1 is the management information. The caller destroys it.
// ErrInput for a destroyed code.
func IndexInput(code ResidentCode) (*secret.Bytes, error) {
	digits := code.Expose()
	if len(digits) != ResidentCodeSize {
		return nil, fmt.Errorf("building the index message of %d digits: %w", len(digits), ErrInput)
	}
	message := secret.New(ResidentCodeSize)
	copy(message.Expose(), digits)
	return message, nil
}

// NextIndexInput is the message whose HMAC under index key n+1 is version n+1 of a management information of
// version n. The caller destroys it.
func NextIndexInput(m ManagementInfo) *secret.Bytes {
	b := m.Expose()
	return secret.Take(b[:])
}

// Tweak is Δ: what sets one agency's symbols apart from every other's. With the AES key it would invert symbols, so
// it is redacted as they are; it may be kept in memory, one per agency and scheme version.
type Tweak struct {
	secret.Redaction
	veiled veiled
}

// TweakInput is the message whose HMAC under the tweak key is an agency's tweak for that scheme version. It names no
// person.
func TweakInput(parameter [parameterSize]byte, version uint8) []byte {
	message := append([]byte(tweakLabel), parameterSize)
	message = append(message, parameter[:]...)
	return append(message, version)
}

// TweakFrom makes the tweak of the HSM's HMAC of TweakInput (ErrMAC).
func TweakFrom(mac []byte) (Tweak, error) {
	block, err := firstBlock(mac, "tweak")
	if err != nil {
		return Tweak{}, err
	}
	return Tweak{veiled: veil(block)}, nil
}

// Masked is the block L ⊕ Δ that the agency key enciphers on the way to the agency symbol.
func (l Linkage) Masked(t Tweak) [Size]byte { return xor(l.Expose(), t) }

// LinkageFromBlock makes the linkage symbol of what the agency key deciphered of Agency.Masked. Any block makes one:
// whether a person has it is for the register to say, and what nobody has is an unknown symbol, to be refused.
func LinkageFromBlock(block [Size]byte, t Tweak) Linkage {
	return Linkage{veiled: veil(xor(block, t))}
}

// AgencyFrom makes the agency symbol of what the agency key enciphered of Linkage.Masked.
func AgencyFrom(block [Size]byte, t Tweak, version uint8) Agency {
	return Agency{version: version, veiled: veil(xor(block, t))}
}

// Masked is the block that the agency key deciphers on the way back to the linkage symbol.
func (a Agency) Masked(t Tweak) [Size]byte { return xor(a.veiled.reveal(), t) }

func xor(block [Size]byte, t Tweak) [Size]byte {
	mask := t.veiled.reveal()
	subtle.XORBytes(block[:], block[:], mask[:])
	return block
}

func firstBlock(mac []byte, of string) ([Size]byte, error) {
	if len(mac) != macSize {
		return [Size]byte{}, fmt.Errorf("making a %s of %d bytes: %w", of, len(mac), ErrMAC)
	}
	return [Size]byte(mac[:Size]), nil
}

package symbol

import (
	"errors"
	"fmt"
)

// MaxAcquisitionNumber is the longest acquisition number, in characters.
const MaxAcquisitionNumber = 64

// ErrAcquisitionNumber tells that a text cannot be an acquisition number.
var ErrAcquisitionNumber = errors.New("not an acquisition number of 1 to 64 visible ASCII characters")

// AcquisitionNumber is an acquisition number (取得番号): it ties an agency's request for one person's symbol to one
// delivery by Juki-net. It may not be kept longer than the issuance needs (Act 21-2(3)), so it belongs in no event
// and no view.
type AcquisitionNumber string

// ParseAcquisitionNumber checks 1 to 64 visible ASCII characters, 0x21 to 0x7E (ErrAcquisitionNumber).
func ParseAcquisitionNumber(text string) (AcquisitionNumber, error) {
	if len(text) == 0 || len(text) > MaxAcquisitionNumber {
		return "", fmt.Errorf("reading an acquisition number of %d bytes: %w", len(text), ErrAcquisitionNumber)
	}
	for i := range len(text) {
		if text[i] <= ' ' || text[i] > '~' {
			return "", fmt.Errorf("reading an acquisition number, byte %d of it: %w", i+1, ErrAcquisitionNumber)
		}
	}
	return AcquisitionNumber(text), nil
}

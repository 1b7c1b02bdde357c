package ledger

import "fmt"

// DecodeHeader reads a header from its signed bytes, as a view keeps them. It
// refuses what [DecodeMetadata] refuses, with an error that wraps [ErrMetadata].
func DecodeHeader(b []byte) (Header, error) {
	h, err := decodeHeader(b)
	if err != nil {
		return Header{}, fmt.Errorf("%w: %w", ErrMetadata, err)
	}
	return h, nil
}

package ledger

import (
	"errors"
	"fmt"

	"github.com/google/uuid"
)

// Event is an event as the store holds it.
type Event struct {
	Stream   string
	Revision uint64
	ID       uuid.UUID
	Type     string
	Data     []byte // stored payload: sealed, or signed plaintext
	Metadata []byte // header and receipt, see [DecodeMetadata]
}

// ErrMetadata is wrapped by errors about event metadata that is not exactly as
// FORMAT.md describes it.
var ErrMetadata = errors.New("malformed event metadata")

// metadataSize is an upper bound: array head, and two byte strings with theirs.
func metadataSize(header, receipt int) int { return 1 + 3 + header + 3 + receipt }

// DecodeMetadata splits the metadata of an event into its header, the header's
// bytes (what the leaf hash covers) and its receipt. Anything that is not the
// one encoding of a well-formed header and receipt is refused with an error
// that wraps [ErrMetadata]. It checks no hash and no signature; [CheckEvent]
// does. The results are slices of meta.
func DecodeMetadata(meta []byte) (Header, []byte, Receipt, error) {
	return decodeMetadata(meta, nil)
}

func decodeMetadata(meta []byte, path [][]byte) (Header, []byte, Receipt, error) {
	c := cursor{rest: meta}
	c.expectLength(majorArray, 2, "metadata")
	headerBytes := c.bytes()
	receiptBytes := c.bytes()
	if err := c.end(); err != nil {
		return Header{}, nil, Receipt{}, fmt.Errorf("%w: %w", ErrMetadata, err)
	}
	h, err := decodeHeader(headerBytes)
	if err != nil {
		return Header{}, nil, Receipt{}, fmt.Errorf("%w: %w", ErrMetadata, err)
	}
	r, err := decodeReceipt(receiptBytes, path)
	if err != nil {
		return Header{}, nil, Receipt{}, fmt.Errorf("%w: %w", ErrMetadata, err)
	}
	return h, headerBytes, r, nil
}

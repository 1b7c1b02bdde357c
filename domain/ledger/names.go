package ledger

import (
	"errors"
	"fmt"
)

// Longest names, in bytes.
const (
	MaxStreamName = 100 // of a stream
	MaxTypeName   = 100 // of an event type
	MaxKeyID      = 160 // of a payload's key
	MaxSignerID   = 100 // of a signing key (COSE kid)
)

// Streams and event types that the format itself gives a meaning to.
const (
	// RegistryStream is where anchors and truncations are recorded. It is
	// signed plaintext and is never truncated itself.
	RegistryStream = "registry"

	// TypeEpochStarted is the first event of a writer in a stream; the epoch
	// rises there and nowhere else. The first event of a stream is always one.
	TypeEpochStarted = "epoch-started"
	// TypeAnchor records the heads of all streams; its payload is an [Anchor].
	TypeAnchor = "anchor"
	// TypeStreamTruncated authorises a stream to begin later than at revision
	// 0; its payload is a [Truncation].
	TypeStreamTruncated = "stream-truncated"
	// TypeDayOpened brings a day's data key of the stream it stands in into
	// use; its payload is a [DayOpened].
	TypeDayOpened = "day-opened"
)

// ErrName is wrapped by errors about a name outside its alphabet or length.
var ErrName = errors.New("name not allowed in the ledger")

// Names are letters, digits and -._:/ so that no encoding of them (JSON, a
// URL, a file name, Unicode normalisation) has a second form.
func nameByte(b byte) bool {
	return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '-' && b <= ':' || b == '_'
}

func checkName(what, s string, longest int) error {
	if len(s) == 0 || len(s) > longest {
		return fmt.Errorf("%s of %d bytes, allowed are 1 to %d: %w", what, len(s), longest, ErrName)
	}
	for i := 0; i < len(s); i++ {
		if !nameByte(s[i]) {
			return fmt.Errorf("%s %q, allowed are letters, digits and -._:/ : %w", what, s, ErrName)
		}
	}
	return nil
}

// A slash would make data key identifiers ambiguous.
func checkStream(s string) error {
	if err := checkName("stream name", s, MaxStreamName); err != nil {
		return err
	}
	for i := 0; i < len(s); i++ {
		if s[i] == '/' {
			return fmt.Errorf("stream name %q holds a slash: %w", s, ErrName)
		}
	}
	return nil
}

package sequencer

import (
	"errors"
	"fmt"

	"kiroku/domain/ledger"
)

// ErrTail: the end of the stream does not verify. Nothing is appended behind it; run `kiroku verify`.
var ErrTail = errors.New("the end of the stream does not verify; nothing is appended behind it")

// checkTail verifies consecutive events up to the end of a stream and returns its head.
func checkTail(stream string, tail []ledger.Event, keys ledger.KeySet) (ledger.Head, error) {
	if len(tail) == 0 {
		return ledger.Head{}, fmt.Errorf("no events: %w", ErrTail)
	}
	var last ledger.Checked
	for i, e := range tail {
		c, err := ledger.CheckEvent(e, keys)
		if err != nil {
			return ledger.Head{}, fmt.Errorf("%w: %w", ErrTail, err)
		}
		if c.Header.Stream != stream {
			return ledger.Head{}, fmt.Errorf("%s@%d stands in stream %s: %w", c.Header.Stream, c.Header.Revision, stream, ErrTail)
		}
		if i > 0 && (c.Header.Prev != last.Leaf || c.Header.Revision != last.Header.Revision+1 || c.Header.Epoch < last.Header.Epoch) {
			return ledger.Head{}, fmt.Errorf("%s@%d does not follow the event before it: %w", stream, c.Header.Revision, ErrTail)
		}
		last = c
	}
	if !last.EndsBatch() {
		return ledger.Head{}, fmt.Errorf("%s@%d is not the last of its batch: %w", stream, last.Header.Revision, ErrTail)
	}
	return last.Head(), nil
}

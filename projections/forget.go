package projections

import (
	"bytes"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// Commanded is where the first event of a command stands.
type Commanded struct {
	Stream   string
	Revision uint64
	At       time.Time
	ID       uuid.UUID
}

// Forget drops the reference to a command, as if its event had never been readable. It must be of another stream than
// the batch's own.
func (b *Batch) Forget(c Commanded) error {
	b.Delete(tableCommand, c.ID[:])
	key := blockKey(hourKey(hourOf(c.At)), c.Revision/revisionsPerBlock, c.Stream)
	ids, found, err := b.Get(tableAge, key)
	if err != nil || !found {
		return wrapRead(err, "commands by hour", b.rows.name)
	}
	if len(ids)%len(c.ID) != 0 {
		return fmt.Errorf("commands by hour in %s: %w", b.rows.name, ErrDamaged)
	}
	kept := b.Room(len(ids))
	for ; len(ids) > 0; ids = ids[len(c.ID):] {
		if id := ids[:len(c.ID)]; !bytes.Equal(id, c.ID[:]) {
			kept = append(kept, id...)
		}
	}
	if len(kept) == 0 {
		b.Delete(tableAge, key)
		return nil
	}
	b.Set(tableAge, key, kept)
	return nil
}

package commands

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"kiroku/domain/event"
	"kiroku/domain/ledger"
)

// RecordBackup says that somebody begins, continues or has finished a backup of the ledger. The first two come before
// anything is written out.
type RecordBackup struct {
	Meta
	Operation string // event.OperationBackupBegun, …Continued or …Finished
	Backup    event.Backup
}

const (
	maxRecipients  = 20
	maxFingerprint = 64
)

// RecordBackup writes it into the audit stream, sealed. It needs RoleBackup. Errors: ErrNotAllowed, ErrInvalid,
// ErrConflict, ErrTooOld, and those of the sequencer.
func (c *Core) RecordBackup(ctx context.Context, cmd RecordBackup) error {
	if err := c.checkAs(cmd.Meta, RoleBackup); err != nil {
		return err
	}
	if err := cmd.valid(); err != nil {
		return fmt.Errorf("operation on a backup: %w: %w", ErrInvalid, err)
	}
	b := cmd.Backup
	numbers := make([]byte, 0, 24)
	for _, n := range []uint64{b.Anchor, b.Events, b.Bytes} {
		numbers = binary.BigEndian.AppendUint64(numbers, n)
	}
	parts := [][]byte{[]byte(cmd.Operation), b.ID[:], b.Leaf, b.Manifest, numbers}
	for _, r := range b.Recipients {
		parts = append(parts, []byte(r))
	}
	x := newCall(cmd.Meta, c.d.Keyring.Digest("record-backup", parts...))
	if err := c.audit.confirm(ctx, x); err != nil {
		return unlessRepeated(err)
	}
	draft, err := c.sealRecord(ctx, c.audit, x, func(at time.Time) (string, any) {
		return event.TypeOperationRecorded, event.OperationRecorded{Command: x.command(), Pseudonym: c.pseudonym(x), Operation: cmd.Operation,
			At: at.UnixMicro(), Backup: &b}
	})
	if err != nil {
		return err
	}
	_, err = c.audit.submit(ctx, x, func(uint64) ([]ledger.Draft, error) { return []ledger.Draft{draft}, nil })
	return unlessRepeated(err)
}

func (cmd RecordBackup) valid() error {
	b := cmd.Backup
	finished := cmd.Operation == event.OperationBackupFinished
	switch {
	case !finished && cmd.Operation != event.OperationBackupBegun && cmd.Operation != event.OperationBackupContinued:
		return fmt.Errorf("there is no operation %q", cmd.Operation)
	case b.ID == uuid.Nil, len(b.Leaf) != len(ledger.Hash{}):
		return errors.New("the backup has no id, or its anchor no leaf hash")
	case len(b.Recipients) == 0 || len(b.Recipients) > maxRecipients || !slices.IsSorted(b.Recipients):
		return fmt.Errorf("the backup has %d recipients, or they are not sorted; 1 to %d are possible", len(b.Recipients), maxRecipients)
	case finished != (len(b.Manifest) == len(ledger.Hash{})):
		return errors.New("a backup has the digest of its manifest if and only if it is finished")
	}
	for _, r := range b.Recipients {
		if len(r) != maxFingerprint {
			return fmt.Errorf("a recipient goes by its fingerprint of %d digits", maxFingerprint)
		}
	}
	return nil
}

package commands

import (
	"context"
	"errors"
	"fmt"
	"time"

	"kiroku/commands/sequencer"
	"kiroku/domain/event"
	"kiroku/domain/keyring"
	"kiroku/domain/ledger"
)

// BackupRemembered is how far back LastBackup looks.
const BackupRemembered = 400 * 24 * time.Hour

// LastBackup returns the newest backup of the ledger that the audit stream says was finished, and when; false if there is
// none in BackupRemembered. Whether it can still be read, nobody here knows. Errors: those of the sequencer and the store.
func (c *Core) LastBackup(ctx context.Context) (b event.Backup, at time.Time, found bool, err error) {
	if err := c.writer(); err != nil {
		return b, at, false, err
	}
	h, ok := c.audit.seq.Head()
	if !ok {
		return b, at, false, sequencer.ErrNotWriter
	}
	for end, since := h.Count, c.now().Add(-BackupRemembered); end > 0; {
		first := end - min(end, registerPage)
		events, err := c.d.Store.ReadForward(ctx, event.StreamAudit, first, int(end-first))
		if err != nil {
			return b, at, false, fmt.Errorf("look for the last backup: %w", err)
		}
		for i := len(events) - 1; i >= 0; i-- {
			b, at, found, err = c.backupIn(ctx, events[i])
			if err == nil && at.Before(since) {
				return event.Backup{}, time.Time{}, false, nil
			}
			if found || err != nil {
				return b, at, found, err
			}
		}
		if len(events) == 0 || events[0].Revision > first {
			break // the rest was truncated
		}
		end = first
	}
	return event.Backup{}, time.Time{}, false, nil
}

// backupIn reads whether an event of the audit stream says that a backup was finished; at is the event's time in any case.
func (c *Core) backupIn(ctx context.Context, e ledger.Event) (b event.Backup, at time.Time, found bool, err error) {
	h, _, _, err := ledger.DecodeMetadata(e.Metadata)
	if err != nil {
		return b, at, false, fmt.Errorf("look for the last backup: %s@%d: %w", e.Stream, e.Revision, err)
	}
	if e.Type != event.TypeOperationRecorded {
		return b, h.Time, false, nil
	}
	checked, err := ledger.CheckEvent(e, c.d.Keys())
	if err != nil {
		return b, h.Time, false, nil // what is damaged tells of no backup; a verification names it
	}
	plain, err := c.d.Keyring.Open(ctx, checked.Header, e.Data)
	if err != nil && !errors.Is(err, keyring.ErrShredded) && !errors.Is(err, keyring.ErrWrongKey) {
		return b, at, false, fmt.Errorf("look for the last backup: %s@%d: %w", e.Stream, e.Revision, err)
	}
	if err != nil {
		return b, h.Time, false, nil // likewise what does not open; or it is of a day that has ended
	}
	defer clear(plain)
	o, err := event.Decode[event.OperationRecorded](plain)
	if err != nil || o.Operation != event.OperationBackupFinished || o.Backup == nil {
		return b, h.Time, false, err
	}
	return *o.Backup, h.Time, true, nil
}

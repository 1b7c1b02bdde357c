package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/google/uuid"

	"kiroku/adapters/admin"
	"kiroku/adapters/backup"
	"kiroku/adapters/datadir"
	"kiroku/domain/event"
	"kiroku/domain/ledger"
)

// backupCreateCmd is kiroku backup create.
type backupCreateCmd struct {
	Folder         string   `arg:"" help:"Where to; a new folder, or that of a backup that was interrupted."`
	Recipient      []string `placeholder:"age1…" help:"Public key of someone who can restore; may be repeated."`
	RecipientsFile string   `placeholder:"FILE" help:"Public keys, one in a line."`
	SegmentMiB     int      `name:"segment-mib" default:"64" help:"Begin a new file after so much, 1 to 4096."`
}

// Help teaches.
func (backupCreateCmd) Help() string {
	return `Copies the ledger of the running core, as an anchor taken now names it, into a folder of encrypted files. The core goes on working. Who makes a backup, for which recipients and how far is recorded in the ledger's audit stream before anything is written out, and again when it is finished; the core takes that in the backup role only.

A backup holds what the event store holds: no key of the HSM, no PIN, no password, no read model. Without the HSM's keys nobody reads what it says of persons, the holders of the identity neither; ops/handbook/backup.md says what that means for copies of the HSM.

Interrupted, the same command goes on where it was, up to the same anchor. Note the digest of the manifest that is printed at the end, apart from the backup: it names this backup and no other.

Examples:

    kiroku backup create /mnt/backup/2026-11-22 --recipient age1…
    kiroku backup create /mnt/backup/2026-11-22 --recipients-file /etc/kiroku/recipients.txt`
}

// Attempts at a plan while streams are being truncated.
const planAttempts = 5

// Run copies.
func (cmd backupCreateCmd) Run(c *call) (err error) {
	recipients, err := cmd.recipients()
	if err != nil {
		return err
	}
	if cmd.SegmentMiB < 1 || cmd.SegmentMiB > 4096 {
		return fmt.Errorf("--segment-mib=%d: 1 to 4096 are possible", cmd.SegmentMiB)
	}
	settings, err := c.configuration()
	if err != nil {
		return err
	}
	client, err := admin.Connect(dir(settings))
	if err != nil {
		return fmt.Errorf("a backup is made of a running core, which records it: %w", err)
	}
	began, err := backup.Began(cmd.Folder)
	if err != nil {
		return err
	}
	core, err := openLedger(c.ctx, settings, c.quiet())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, core.Close()) }()
	if err := os.MkdirAll(cmd.Folder, 0o700); err != nil {
		return fmt.Errorf("making the backup's folder: %w", err)
	}
	lock, err := datadir.Hold(cmd.Folder)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Release()) }()
	making := &making{call: c, core: core, client: client, recipients: recipients}
	writer, err := making.open(cmd.Folder, began)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, writer.Close()) }()
	writer.SegmentBytes = cmd.SegmentMiB << 20
	writer.Finishing = making.finished
	progress, from := c.progress("copying"), time.Now()
	manifest, err := writer.Run(c.ctx, core.Store, progress.add)
	progress.end()
	if err != nil {
		return fmt.Errorf("%w; the same command goes on from here", err)
	}
	shape, seconds := shapeOf(manifest), time.Since(from).Seconds()
	return c.print(map[string]any{"backup": shape, "folder": cmd.Folder, "continued": began, "seconds": seconds}, shape.text())
}

func (cmd backupCreateCmd) recipients() (backup.Recipients, error) {
	texts := cmd.Recipient
	if cmd.RecipientsFile != "" {
		text, err := os.ReadFile(cmd.RecipientsFile)
		if err != nil {
			return backup.Recipients{}, fmt.Errorf("reading the recipients: %w", err)
		}
		texts = append(texts, string(text))
	}
	return backup.ParseRecipients(texts...)
}

// making is the making of one backup.
type making struct {
	*call
	core       *Core
	client     *admin.Client
	recipients backup.Recipients
}

// open begins or continues the backup, after that was recorded.
func (m *making) open(folder string, began bool) (*backup.Writer, error) {
	if began {
		writer, err := backup.Continue(m.ctx, folder, m.recipients)
		if err != nil {
			return nil, err
		}
		err = m.sameLedger(writer.Plan())
		if err == nil {
			err = m.record(m.ctx, event.OperationBackupContinued, backup.Manifest{Plan: writer.Plan()})
		}
		if err != nil {
			return nil, errors.Join(err, writer.Close())
		}
		return writer, nil
	}
	plan, err := m.plan()
	if err != nil {
		return nil, err
	}
	if err := m.record(m.ctx, event.OperationBackupBegun, backup.Manifest{Plan: plan}); err != nil {
		return nil, err
	}
	return backup.Begin(folder, plan, m.recipients)
}

func (m *making) plan() (backup.Plan, error) {
	streams, err := ledgerStreams(m.ctx, m.core.Store)
	if err != nil {
		return backup.Plan{}, err
	}
	for attempt := 1; ; attempt++ {
		firsts, err := backup.Firsts(m.ctx, m.core.Store, streams)
		if err != nil {
			return backup.Plan{}, err
		}
		var anchor anchorAnswer
		if err := m.client.Call(m.ctx, http.MethodPost, "/anchors", nil, &anchor); err != nil {
			return backup.Plan{}, err
		}
		plan, err := backup.NewPlan(m.ctx, m.core.Store, streams, firsts, anchor.Revision, m.recipients, time.Now())
		if err == nil && plan.Anchor.Leaf != anchor.Leaf {
			err = fmt.Errorf("the anchor in this store has the leaf hash %s, and the core's %s: %w", plan.Anchor.Leaf, anchor.Leaf, backup.ErrOtherLedger)
		}
		if !errors.Is(err, backup.ErrTruncatedMeanwhile) || attempt == planAttempts {
			return plan, err
		}
	}
}

func (m *making) sameLedger(plan backup.Plan) error {
	first, err := m.core.Store.ReadForward(m.ctx, event.StreamRegistry, 0, 1)
	if err != nil {
		return fmt.Errorf("reading the registry: %w", err)
	}
	_, header, _, err := ledger.DecodeMetadata(first[0].Metadata)
	if err != nil {
		return fmt.Errorf("reading the registry: %w", err)
	}
	if id := ledger.LedgerID(ledger.LeafHash(header)); id != plan.Ledger {
		return fmt.Errorf("continuing the backup of ledger %s, where the store has %s: %w", plan.Ledger, id, backup.ErrOtherLedger)
	}
	return nil
}

func (m *making) finished(ctx context.Context, made backup.Manifest) error {
	return m.record(ctx, event.OperationBackupFinished, made)
}

// record has the core write the operation down.
func (m *making) record(ctx context.Context, operation string, made backup.Manifest) error {
	given, err := new(orderFlags).order()
	if err != nil {
		return err
	}
	order := backupOrder{order: given, Operation: operation, Backup: made.Plan.ID, Recipients: made.Plan.Recipients,
		Anchor: made.Plan.Anchor.Revision, Leaf: made.Plan.Anchor.Leaf}
	if made.End != nil {
		order.Events, order.Bytes, order.Manifest = made.End.Events, uint64(made.End.Bytes), made.Digest
	}
	if err := m.client.Call(ctx, http.MethodPost, "/backups", order, nil); err != nil {
		return fmt.Errorf("recording the backup: %w", err)
	}
	return nil
}

// backupOrder is what the admin endpoint is told of a backup.
type backupOrder struct {
	order
	Operation  string    `json:"operation"`
	Backup     uuid.UUID `json:"backup"`
	Recipients []string  `json:"recipients"` // fingerprints
	Anchor     uint64    `json:"anchor"`
	Leaf       string    `json:"leaf"`
	Events     uint64    `json:"events,omitempty"`
	Bytes      uint64    `json:"bytes,omitempty"`
	Manifest   string    `json:"manifest,omitempty"`
}

// event is the order as it is recorded.
func (o backupOrder) event() (event.Backup, error) {
	leaf, err := hex.DecodeString(o.Leaf)
	if err != nil {
		return event.Backup{}, errors.New("the leaf hash is not hexadecimal")
	}
	manifest, err := hex.DecodeString(o.Manifest)
	if err != nil {
		return event.Backup{}, errors.New("the manifest's digest is not hexadecimal")
	}
	return event.Backup{ID: o.Backup, Recipients: o.Recipients, Anchor: o.Anchor, Leaf: leaf, Events: o.Events, Bytes: o.Bytes, Manifest: manifest}, nil
}

// anchorAnswer names the newest anchor.
type anchorAnswer struct {
	Revision uint64 `json:"revision"`
	Leaf     string `json:"leaf"`
}

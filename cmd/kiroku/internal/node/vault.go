package node

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"kiroku/adapters/hsm"
	"kiroku/commands"
	"kiroku/commands/sequencer"
	"kiroku/domain/event"
	"kiroku/projections/dedup"
)

const vaultPoll = time.Second

// followVault reads the vault for as long as the node runs: on an old ledger from the start on, and whatever another core,
// or this one, adds to it.
func (n *Node) followVault(ctx context.Context) {
	var dropping sync.WaitGroup
	defer dropping.Wait()
	dropped := make(chan int, 1)
	dropped <- 1 // with the first generation nobody was deleted
	for {
		n.tellVault(ctx, n.Core.FollowVault(ctx))
		select {
		case generation := <-dropped: // unless it is under way: the vault is followed meanwhile
			dropping.Go(func() { dropped <- n.dropDeleted(ctx, generation) })
		default:
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(vaultPoll):
		}
	}
}

// tellVault says why the vault cannot be followed on. What two officials did not approve is an alarm, given once.
func (n *Node) tellVault(ctx context.Context, err error) {
	if err != nil && !errors.Is(err, commands.ErrRotationUnapproved) && ctx.Err() == nil {
		n.c.Log.Warn("the vault cannot be read on yet", "error", err.Error())
	}
	if !errors.Is(err, commands.ErrRotationUnapproved) {
		err = nil
	}
	alarm := errors.Join(err, n.Core.VaultAlarm())
	if before := n.vaultAlarm.Swap(&alarm); alarm != nil && (before == nil || *before == nil || (*before).Error() != alarm.Error()) {
		n.c.Log.Error("the vault was rotated, or is being rotated, without approval", "error", alarm.Error())
	}
}

// dropDeleted has the files of the register's view written anew once it has taken back what a generation of the vault
// deletes: until then they hold rows of the deleted. It finds nothing to do where that was done before.
func (n *Node) dropDeleted(ctx context.Context, dropped int) int {
	generation := n.Keyring.Generation()
	if generation <= dropped || !n.Keyring.VaultReady() {
		return dropped
	}
	next, err := n.store.Count(ctx, event.StreamVault)
	if err == nil {
		err = n.registerHas(ctx, event.StreamVault, next)
	}
	if err == nil {
		err = n.Dedup.Compact(ctx)
	}
	if err != nil {
		if ctx.Err() == nil {
			n.c.Log.Warn("rows of deleted persons are still in files of the view; it is tried again", "error", err.Error())
		}
		return dropped
	}
	return generation
}

// registerHas returns when the view of the issuance register has everything of a stream below a revision.
func (n *Node) registerHas(ctx context.Context, stream string, next uint64) error {
	return n.Runner.WaitFor(ctx, dedup.Name, stream, next)
}

// registryNow returns when the registry's views have everything that is durable.
func (n *Node) registryNow(ctx context.Context) error {
	next, err := n.store.Count(ctx, event.StreamRegistry)
	if err != nil {
		return err
	}
	return n.registryHas(ctx, next)
}

// rotations are those of which the registry has the certificate.
func (n *Node) rotations() []event.VaultRotated {
	all := n.Retention.Snapshot().Rotations()
	out := make([]event.VaultRotated, len(all))
	for i, r := range all {
		out[i] = r.Fact
	}
	return out
}

// resumeRotation finishes a rotation of the vault that was interrupted, or whose old root key could not be destroyed.
func (n *Node) resumeRotation(ctx context.Context) error {
	err := n.Core.ResumeRotation(ctx)
	if errors.Is(err, sequencer.ErrNotWriter) || ctx.Err() != nil {
		return err
	}
	n.rotationFailed.Store(&err)
	return err
}

// tellWaiting warns of physical deletions that are approved and that nobody has carried out.
func (n *Node) tellWaiting(context.Context) error {
	if waiting, since := n.Core.PendingDeletions(); waiting > 0 {
		n.c.Log.Warn("approved physical deletions wait for a rotation of the vault", "deletions", waiting, "since", since.Format(time.RFC3339), "remedy", "kiroku keys rotate vault")
	}
	return nil
}

// RotationFailed returns why a rotation of the vault that was begun does not come to its end, or must not; nil if none is
// held up, and none was without approval.
func (n *Node) RotationFailed() error {
	if alarm := n.vaultAlarm.Load(); alarm != nil && *alarm != nil {
		return *alarm
	}
	if failed := n.rotationFailed.Load(); failed != nil && *failed != nil && n.Active() {
		return fmt.Errorf("the rotation of the vault does not come to its end: %w", *failed)
	}
	return nil
}

// RotateVault rotates the vault and carries out everything that two officials approved; see commands.RotateVault.
func (n *Node) RotateVault(ctx context.Context, meta commands.Meta, progress func(commands.RotationStep)) (commands.RotatedVault, error) {
	out, err := n.Core.RotateVault(ctx, commands.RotateVault{Meta: meta, Approved: true}, progress)
	if errors.Is(err, commands.ErrRootNotDestroyed) {
		n.rotationFailed.Store(&err)
		n.c.Log.Error("the old root key of the vault was not destroyed; it is tried again", "error", err.Error())
	} else if err == nil {
		n.rotationFailed.Store(&err)
	}
	return out, err
}

// vaultKeys are the root keys of the vault in the HSM.
type vaultKeys struct{ *hsm.HSM }

// Token implements commands.VaultKeys.
func (v vaultKeys) Token(ctx context.Context, label string) (event.Token, error) {
	t, err := v.TokenOf(ctx, label)
	return event.Token{Label: t.Label, Manufacturer: t.Manufacturer, Model: t.Model, Serial: t.Serial}, err
}

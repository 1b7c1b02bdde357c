package commands

import (
	"context"
	"encoding/hex"
	"time"

	"github.com/google/uuid"

	"kiroku/domain/event"
	"kiroku/domain/ledger"
)

// openCommand is how a call stands in the registry, which is signed plaintext and names no person: the actor goes by a
// pseudonym that only the core can make. Who it is stands, sealed, in the audit stream.
func (c *Core) openCommand(x call) event.Command {
	cmd := x.command()
	cmd.Actor = event.Actor{Identity: c.pseudonym(x), Role: x.meta.Actor.Role}
	return cmd
}

func (c *Core) pseudonym(x call) string {
	d := c.d.Keyring.Digest("actor", []byte(x.meta.Actor.Identity))
	return "actor-" + hex.EncodeToString(d[:])
}

// recordOperation writes into the audit stream who commands a change of the registry, before the registry changes. A
// command that fails after it stays there as what it is: an attempt. certificates are those that the command came with.
func (c *Core) recordOperation(ctx context.Context, x call, operation string, certificates ...event.Protected) error {
	own := x
	own.key = uuid.NewSHA1(x.key, []byte("operation"))
	if err := c.audit.confirm(ctx, own); err != nil {
		return unlessRepeated(err)
	}
	draft, err := c.sealRecord(ctx, c.audit, own, func(at time.Time) (string, any) {
		return event.TypeOperationRecorded, event.OperationRecorded{Command: x.command(), Pseudonym: c.pseudonym(x), Operation: operation, Certificates: certificates, At: at.UnixMicro()}
	})
	if err != nil {
		return err
	}
	_, err = c.audit.submit(ctx, own, func(uint64) ([]ledger.Draft, error) { return []ledger.Draft{draft}, nil })
	return unlessRepeated(err)
}

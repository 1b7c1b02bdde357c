package node_test

import (
	"context"
	"testing"

	"kiroku/cmd/kiroku/internal/node"
	"kiroku/cmd/kiroku/internal/node/nodetest"
	"kiroku/commands"
	"kiroku/domain/approval"
	"kiroku/domain/event"
	"kiroku/domain/ledger"
)

// Whoever asked for a rotation goes away between the beginning of a generation and its being taken in: it is taken in when
// it is followed again, and the rotation goes on, without an alarm.
func TestARotationWhoseBeginningIsNotTakenIn(t *testing.T) {
	l := &liar{}
	c := nodetest.New(t).Lead("a", oneBucket, func(c *node.Config) { c.CommandPorts = l.ports })
	c.Register("a")
	c.Issue("a", 1)
	p := proposeRotation(c)
	c.Approve(p)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	leave := func(stream string, _ uint64, events []ledger.Event) []ledger.Event {
		if stream == event.StreamVault && len(events) > 0 && events[0].Type == event.TypeVaultOpened {
			cancel()
		}
		return events
	}
	l.events.Store(&leave)
	if _, err := c.Core.RotateVault(ctx, commands.RotateVault{Meta: c.W.Meta(""), Rotations: []approval.Hash{p.Hash}}, nil); err == nil {
		t.Fatal("it was not interrupted")
	}
	l.honest()
	for range 2 {
		if err := c.Core.FollowVault(t.Context()); err != nil {
			t.Errorf("following the vault: %v", err)
		}
	}
	if _, err := c.Core.RotateVault(t.Context(), commands.RotateVault{Meta: c.W.Meta(""), Rotations: []approval.Hash{p.Hash}}, nil); err != nil {
		t.Errorf("again: %v", err)
	}
	if g, rotating := c.Core.Vault(); g != 2 || rotating || c.Core.VaultAlarm() != nil {
		t.Errorf("generation %d, rotating %t, alarm %v", g, rotating, c.Core.VaultAlarm())
	}
}

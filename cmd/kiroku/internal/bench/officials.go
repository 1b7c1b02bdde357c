package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"kiroku/cmd/kiroku/internal/node"
	"kiroku/cmd/kiroku/internal/pki"
	"kiroku/commands"
	"kiroku/domain/approval"
	"kiroku/domain/event"
)

// Officials approve what a benchmark proposes. Their keys are in memory only.
type Officials struct {
	known   approval.Officials
	signers []pki.Signer
}

// NewOfficials makes as many as it takes, and their authority.
func NewOfficials() (*Officials, error) {
	known, signers, err := pki.InMemory("kiroku benchmark", time.Now().Add(-time.Hour), time.Now().AddDate(1, 0, 0))
	if err != nil {
		return nil, fmt.Errorf("make officials: %w", err)
	}
	return &Officials{known, signers}, nil
}

// Configure is how the node is opened: it knows the authority.
func (o *Officials) Configure(c *node.Config) { c.Officials = o.known }

// approve has all of them approve a proposal.
func (o *Officials) approve(ctx context.Context, p Parts, proposed commands.Proposed) error {
	for _, by := range o.signers {
		given, err := by.Approve(proposed.Hash)
		if err != nil {
			return err
		}
		operator := commands.Meta{Actor: event.Actor{Identity: "bench-official", Role: commands.RoleOperator}, ID: uuid.Must(uuid.NewV7())}
		_, err = p.Node.Core.Approve(ctx, commands.Approve{Meta: operator, Proposal: proposed.Hash, Kind: proposed.Made.Kind, Given: given})
		if err != nil {
			return fmt.Errorf("approve a proposal: %w", err)
		}
	}
	return nil
}

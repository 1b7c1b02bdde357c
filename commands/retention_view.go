package commands

import "kiroku/domain/approval"

// Retention answers from the read model of retention.
type Retention interface {
	// Proposal finds a proposal by its hash, with the approvals of it that were recorded.
	Proposal(approval.Hash) (approval.Standing, bool)
	// Proposals returns all of them, in the order in which they were made.
	Proposals() []approval.Standing
}

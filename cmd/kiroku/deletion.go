package main

import (
	"fmt"

	"kiroku/domain/event"
)

// deletionCmd is kiroku deletion.
type deletionCmd struct {
	Approve deletionApproveCmd `cmd:"" help:"Approve a physical deletion, as an official."`
	List    deletionListCmd    `cmd:"" help:"List physical deletions."`
}

// deletionApproveCmd is kiroku deletion approve.
type deletionApproveCmd struct{ approveFlags }

// Help teaches.
func (deletionApproveCmd) Help() string {
	return `Approves the physical deletion (物理削除) of one person from the issuance register. What two different officials have approved is carried out by the next rotation of the vault, see kiroku keys rotate vault, and cannot be undone.

` + approveHelp + `

Example:

    kiroku deletion approve 5a0f…e1 --certificate official-1.pem --key official-1.key`
}

// Run approves.
func (cmd deletionApproveCmd) Run(c *call) error { return cmd.approve(c, event.ProposalDeletion) }

// deletionListCmd is kiroku deletion list.
type deletionListCmd struct{}

// Help teaches.
func (deletionListCmd) Help() string {
	return `Lists the physical deletions (物理削除) that were proposed, with their states. It names no person: the request itself stands sealed in the issuance register, at the event shown.

Example:

    kiroku deletion list`
}

// Run lists.
func (deletionListCmd) Run(c *call) error {
	client, err := c.admin()
	if err != nil {
		return err
	}
	list, err := c.proposals(client, event.ProposalDeletion)
	if err != nil {
		return err
	}
	text, err := proposalTable(list.Proposals, "REQUEST", func(p proposalLine) string { return fmt.Sprintf("issuance@%d", p.Request) })
	if err != nil {
		return err
	}
	return c.print(map[string]any{"proposals": list.Proposals}, text)
}

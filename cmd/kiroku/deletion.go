package main

import (
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"kiroku/domain/approval"
	"kiroku/domain/event"
)

// deletionCmd is kiroku deletion.
type deletionCmd struct {
	Propose deletionProposeCmd `cmd:"" help:"Propose the physical deletions that a message of Juki-net asks for."`
	Approve deletionApproveCmd `cmd:"" help:"Approve a physical deletion, as an official."`
	List    deletionListCmd    `cmd:"" help:"List physical deletions."`
}

// deletionProposeCmd is kiroku deletion propose.
type deletionProposeCmd struct {
	Message string `arg:"" help:"File of Juki-net's message, as it came."`
	proposeFlags
}

// Help teaches.
func (deletionProposeCmd) Help() string {
	return `Proposes the physical deletions (物理削除要求電文) that a message of Juki-net asks for, one proposal for each person in it. The message stays encrypted until it is in the core, which opens it with the HSM and destroys the resident codes. A message that delivers codes for issuing symbols is refused. A request stands sealed in the issuance register, under the person's own key.

Nothing is deleted before two different officials have approved the proposal and the vault was rotated.

Example:

    kiroku deletion propose deletion-2026-117.msg --reason "entered by clerical error, protocol 2026-117"`
}

// Run proposes.
func (cmd deletionProposeCmd) Run(c *call) error {
	a, err := cmd.asked()
	if err != nil {
		return err
	}
	message, err := readSmall(cmd.Message)
	if err != nil {
		return fmt.Errorf("reading the message: %w", err)
	}
	if len(message) > longestRequest {
		return fmt.Errorf("reading the message: %s has %d octets; a request for deletions has at most %d", cmd.Message, len(message), longestRequest)
	}
	client, err := c.admin()
	if err != nil {
		return err
	}
	o, err := cmd.order()
	if err != nil {
		return err
	}
	var answer deletionAnswer
	if err := cmd.give(c, client, "/deletions", deletionOrder{o, a, message}, &answer); err != nil {
		return err
	}
	return cmd.show(c, answer)
}

func (cmd deletionProposeCmd) show(c *call, answer deletionAnswer) error {
	var text strings.Builder
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "REQUEST\tPROPOSAL")
	failed := 0
	for _, r := range answer.Requests {
		outcome := r.Error
		if r.Proposal != nil {
			outcome = r.Proposal.String()
		} else {
			failed++
		}
		fmt.Fprintf(table, "%s\t%s\n", r.Number, outcome)
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("printing the proposals: %w", err)
	}
	if !answer.Until.IsZero() {
		fmt.Fprintf(&text, "Two different officials must approve each until %s: kiroku deletion approve PROPOSAL\n", answer.Until.Format(time.RFC3339))
	}
	if err := c.print(answer, text.String()); err != nil {
		return err
	}
	switch {
	case len(answer.Requests) == 0:
		return errors.New("proposing deletions: the message asks for none")
	case failed > 0:
		return fmt.Errorf("proposing deletions: %d of %d could not be proposed; the same command again with --id %s tries these only", failed, len(answer.Requests), cmd.ID)
	}
	return nil
}

// deletionAnswer is what came of a message.
type deletionAnswer struct {
	Requests []deletionLine `json:"requests"`
	Until    time.Time      `json:"until,omitzero"` // they can be approved
}

type deletionLine struct {
	Number   string         `json:"number"` // as Juki-net gave it
	Proposal *approval.Hash `json:"proposal,omitempty"`
	Error    string         `json:"error,omitempty"`
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
	return c.print(map[string]any{"proposals": list.Proposals}, text+waitingDeletions(list.Proposals))
}

// waitingDeletions says what is left to be done for those that are approved.
func waitingDeletions(all []proposalLine) string {
	n, since := 0, time.Time{}
	for _, p := range all {
		if p.State != "approved" {
			continue
		}
		n++
		if at := p.Approvals[p.Needed-1].At; since.IsZero() || at.Before(since) {
			since = at
		}
	}
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%d approved and not carried out, the oldest since %s: kiroku keys rotate vault\n", n, since.Format(time.RFC3339))
}

package main

import (
	"kiroku/domain/calendar"
	"kiroku/domain/event"
)

// attestCmd is kiroku attest.
type attestCmd struct {
	Propose attestProposeCmd `cmd:"" help:"Propose to attest that a copy of the HSM's keys holds some days' keys no more."`
	Approve attestApproveCmd `cmd:"" help:"Approve an attestation, as an official."`
	List    attestListCmd    `cmd:"" help:"List attestations."`
}

// attestProposeCmd is kiroku attest propose.
type attestProposeCmd struct {
	Copy string       `required:"" placeholder:"NAME" help:"Name of the copy, one of retention.copies."`
	From calendar.Day `required:"" placeholder:"YYYY-MM-DD" help:"First day."`
	To   calendar.Day `required:"" placeholder:"YYYY-MM-DD" help:"Last day."`
	proposeFlags
}

// Help teaches.
func (attestProposeCmd) Help() string {
	return `Proposes to attest that a copy of the HSM's keys, such as a backup or a replica of the token, holds the keys of some days no more. The core destroys keys in its own HSM only and cannot see the copies; retention.copies names those that there are. A day whose key is destroyed is called unrecoverable once two different officials have attested it for every one of them. Where retention.copies names none, no day is; if there is truly no copy, name that, for example retention.copies=no-copy-was-made, and have it attested.

The first and the last day, and every day of the ledger between, must be certified as destroyed.

Example:

    kiroku attest propose --copy backup-tokyo --from 2019-04-01 --to 2019-04-30 --reason "tapes destroyed, protocol 2026-117"`
}

// Run proposes.
func (cmd attestProposeCmd) Run(c *call) error {
	a, err := cmd.asked()
	if err != nil {
		return err
	}
	o, err := cmd.order()
	if err != nil {
		return err
	}
	return cmd.propose(c, "/attestations", "attest", attestOrder{o, a, cmd.Copy, cmd.From, cmd.To})
}

// attestApproveCmd is kiroku attest approve.
type attestApproveCmd struct{ approveFlags }

// Help teaches.
func (attestApproveCmd) Help() string {
	return `Approves an attestation: the official vouches that the copy holds the keys of these days no more.

` + approveHelp + `

Example:

    kiroku attest approve 5a0f…e1 --certificate official-1.pem --key official-1.key`
}

// Run approves.
func (cmd attestApproveCmd) Run(c *call) error { return cmd.approve(c, event.ProposalAttestation) }

// attestListCmd is kiroku attest list.
type attestListCmd struct{}

// Help teaches.
func (attestListCmd) Help() string {
	return `Lists the attestations with their states, and the copies of the HSM's keys that are known.

Example:

    kiroku attest list`
}

// Run lists.
func (attestListCmd) Run(c *call) error {
	client, err := c.admin()
	if err != nil {
		return err
	}
	list, err := c.proposals(client, event.ProposalAttestation)
	if err != nil {
		return err
	}
	text, err := proposalTable(list.Proposals, "COPY AND DAYS", func(p proposalLine) string { return p.Copy + " " + p.From + " to " + p.To })
	if err != nil {
		return err
	}
	copies := "retention.copies names no copy of the HSM's keys: no day is called unrecoverable\n"
	if len(list.Copies) > 0 {
		copies = "known copies of the HSM's keys:"
		for _, name := range list.Copies {
			copies += " " + name
		}
		copies += "\n"
	}
	return c.print(list, copies+"\n"+text)
}

package main

import (
	"kiroku/domain/calendar"
	"kiroku/domain/event"
)

// attestCmd is kiroku attest.
type attestCmd struct {
	Propose attestProposeCmd `cmd:"" help:"Propose to attest that a copy of the HSM's keys holds some days' keys no more."`
	Drop    attestDropCmd    `cmd:"" help:"Propose to say that a copy of the HSM's keys is none any more."`
	Approve attestApproveCmd `cmd:"" help:"Approve either, as an official."`
	List    attestListCmd    `cmd:"" help:"List attestations."`
}

// attestProposeCmd is kiroku attest propose.
type attestProposeCmd struct {
	Copy string       `required:"" placeholder:"NAME" help:"Name of the copy, one that was declared (retention.copies)."`
	From calendar.Day `required:"" placeholder:"YYYY-MM-DD" help:"First day."`
	To   calendar.Day `required:"" placeholder:"YYYY-MM-DD" help:"Last day."`
	proposeFlags
}

// Help teaches.
func (attestProposeCmd) Help() string {
	return `Proposes to attest that a copy of the HSM's keys, such as a backup or a replica of the token, holds the keys of some days no more. The core destroys keys in its own HSM only and cannot see the copies; retention.copies names those that there are, and what it named once stands in the registry until two officials have approved that it is no more (kiroku attest drop). A day whose key is destroyed is called unrecoverable once two different officials have attested it for every copy that there was when its key was destroyed, or that was named since. Where there is none, no day is; if there is truly no copy, name that, for example retention.copies=no-copy-was-made, and have it attested.

The first and the last day, and every day of the ledger between, must be certified as destroyed.

Example:

    kiroku attest propose --copy backup-tokyo --from 2019-04-01 --to 2019-04-30 --reason "tapes destroyed, protocol 2026-117"`
}

// Run proposes.
func (cmd attestProposeCmd) Run(c *call) error {
	o, a, err := cmd.asking()
	if err != nil {
		return err
	}
	return cmd.propose(c, "/attestations", "attest", attestOrder{o, a, cmd.Copy, cmd.From, cmd.To})
}

// attestDropCmd is kiroku attest drop.
type attestDropCmd struct {
	Copy string `required:"" placeholder:"NAME" help:"Name of the copy."`
	proposeFlags
}

// Help teaches.
func (attestDropCmd) Help() string {
	return `Proposes to say that a copy of the HSM's keys is none any more: days that are destroyed from then on need no attestation for it. Those that were destroyed while it was there do. Take it out of retention.copies and start the core anew first.

Example:

    kiroku attest drop --copy replica-1 --reason "replica ended, protocol 2026-118"`
}

// Run proposes.
func (cmd attestDropCmd) Run(c *call) error {
	o, a, err := cmd.asking()
	if err != nil {
		return err
	}
	return cmd.propose(c, "/copies/removals", "attest", dropOrder{o, a, cmd.Copy})
}

// attestApproveCmd is kiroku attest approve.
type attestApproveCmd struct{ approveFlags }

// Help teaches.
func (attestApproveCmd) Help() string {
	return `Approves an attestation: the official vouches that the copy holds the keys of these days no more. Or approves that a copy is no more.

` + approveHelp + `

Example:

    kiroku attest approve 5a0f…e1 --certificate official-1.pem --key official-1.key`
}

// Run approves.
func (cmd attestApproveCmd) Run(c *call) error {
	return cmd.approve(c, event.ProposalAttestation, event.ProposalCopyRemoval)
}

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
	removals, err := c.proposals(client, event.ProposalCopyRemoval)
	if err != nil {
		return err
	}
	list.Proposals = append(list.Proposals, removals.Proposals...)
	text, err := proposalTable(list.Proposals, "COPY AND DAYS", func(p proposalLine) string {
		if p.Kind == event.ProposalCopyRemoval {
			return p.Copy + " is no more"
		}
		return p.Copy + " " + p.From + " to " + p.To
	})
	if err != nil {
		return err
	}
	copies := "no copy of the HSM's keys is declared (retention.copies): no day is called unrecoverable\n"
	if len(list.Copies) > 0 {
		copies = "known copies of the HSM's keys:"
		for _, name := range list.Copies {
			copies += " " + name
		}
		copies += "\n"
	}
	return c.print(list, copies+"\n"+text)
}

package main

import (
	"fmt"

	"github.com/google/uuid"

	"kiroku/domain/calendar"
	"kiroku/domain/event"
)

// holdCmd is kiroku hold.
type holdCmd struct {
	Add     holdAddCmd     `cmd:"" help:"Keep days from destruction by an order."`
	Release holdReleaseCmd `cmd:"" help:"Propose to end a hold before its time."`
	Approve holdApproveCmd `cmd:"" help:"Approve a release, as an official."`
	List    holdListCmd    `cmd:"" help:"List holds and proposed releases."`
}

// holdAddCmd is kiroku hold add.
type holdAddCmd struct {
	orderFlags
	From      calendar.Day `required:"" placeholder:"YYYY-MM-DD" help:"First day held."`
	To        calendar.Day `required:"" placeholder:"YYYY-MM-DD" help:"Last day held."`
	Until     calendar.Day `required:"" placeholder:"YYYY-MM-DD" help:"Last day on which the hold is in force."`
	Authority string       `required:"" help:"Whose order, with its number."`
	Reason    string       `required:"" help:"Why. Neither it nor the authority may name a person: everybody may read them."`
}

// Help teaches.
func (holdAddCmd) Help() string {
	return `Keeps the records of some days from destruction (legal hold, 証拠保全等), whatever their age. It is in force when the command returns. Held days that are due are listed as overdue. A hold on a day whose key is destroyed is refused: nothing can bring it back.

One hold reaches over 400 days at most, and holds for 3 years at most: one operator adds it alone. A longer time is several holds; before its end a hold is added again.

Ending a hold before its time takes two officials, see kiroku hold release.

Example:

    kiroku hold add --from 2019-04-01 --to 2019-04-30 --until 2028-03-31 --authority "District Court, order 2026-(yo)-12" --reason "preservation of evidence"`
}

// Run adds the hold.
func (cmd holdAddCmd) Run(c *call) error {
	client, err := c.admin()
	if err != nil {
		return err
	}
	o, err := cmd.order()
	if err != nil {
		return err
	}
	var added struct {
		Hold uuid.UUID `json:"hold"`
	}
	if err := cmd.give(c, client, "/holds", addHoldOrder{o, cmd.From, cmd.To, cmd.Until, cmd.Reason, cmd.Authority}, &added); err != nil {
		return err
	}
	return c.print(added, fmt.Sprintf("hold %s: %s to %s, in force until %s", added.Hold, cmd.From, cmd.To, cmd.Until))
}

// holdReleaseCmd is kiroku hold release.
type holdReleaseCmd struct {
	Hold uuid.UUID `arg:"" help:"Of the hold, as kiroku hold list shows it."`
	proposeFlags
}

// Help teaches.
func (holdReleaseCmd) Help() string {
	return `Proposes to end a hold before its time. The hold ends when two different officials have approved the proposal, each with their own certificate.

Example:

    kiroku hold release 4f2c63a2-5a63-5d0e-9a53-0d2f5f4b2f11 --reason "order withdrawn on 2027-01-20"`
}

// Run proposes.
func (cmd holdReleaseCmd) Run(c *call) error {
	o, a, err := cmd.asking()
	if err != nil {
		return err
	}
	return cmd.propose(c, "/holds/"+cmd.Hold.String()+"/releases", "hold", releaseOrder{o, a})
}

// holdApproveCmd is kiroku hold approve.
type holdApproveCmd struct{ approveFlags }

// Help teaches.
func (holdApproveCmd) Help() string {
	return `Approves the release of a hold. With the second official's approval the hold ends.

` + approveHelp + `

Example:

    kiroku hold approve 5a0f…e1 --certificate official-1.pem --key official-1.key`
}

// Run approves.
func (cmd holdApproveCmd) Run(c *call) error { return cmd.approve(c, event.ProposalHoldRelease) }

// holdListCmd is kiroku hold list.
type holdListCmd struct{}

// Help teaches.
func (holdListCmd) Help() string {
	return `Lists every hold, and every proposal to release one, with their states.

Example:

    kiroku hold list --json`
}

// Run lists.
func (holdListCmd) Run(c *call) error {
	return listing[holdLine]{path: "/holds", name: "holds", header: "HOLD\tSTATE\tFROM\tTO\tUNTIL\tAUTHORITY\tREASON",
		row: func(h holdLine) string {
			return fmt.Sprintf("%s\t%s\t%s\t%s\t%s\t%s\t%s", h.Hold, h.State, h.From, h.To, h.Until, h.Authority, h.Reason)
		},
		kind: event.ProposalHoldRelease, of: "HOLD", matter: func(p proposalLine) string { return p.Hold.String() }}.show(c)
}

package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"kiroku/adapters/admin"
	"kiroku/commands"
	"kiroku/domain/calendar"
	"kiroku/domain/event"
	view "kiroku/projections/retention"
)

// lostCmd is kiroku retention lost.
type lostCmd struct {
	List        lostListCmd        `cmd:"" help:"List days whose keys are lost, and proposals to state a loss."`
	Propose     lostProposeCmd     `cmd:"" help:"Propose to state that a day's key is gone for good."`
	Approve     lostApproveCmd     `cmd:"" help:"Approve the statement of a loss, as an official."`
	Acknowledge lostAcknowledgeCmd `cmd:"" help:"End the alarm of a day whose key was lost before the day was due."`
}

// lostHelp teaches what a loss is.
const lostHelp = `The key of a day can be gone from the HSM though the registry does not say that it was destroyed: a backup from before the destruction was restored, or the key was lost in the HSM. kiroku retention plan shows such a day as key missing, and every pass fails, because the core cannot tell this from a token that is another copy and can be put right.`

// lostProposeCmd is kiroku retention lost propose.
type lostProposeCmd struct {
	Day calendar.Day `arg:"" placeholder:"YYYY-MM-DD" help:"The day whose key the token lacks."`
	proposeFlags
}

// Help teaches.
func (lostProposeCmd) Help() string {
	return lostHelp + `

First look for a copy of the HSM that still has the key, unless the day had ended before: once the loss is stated, no read model shows the day again. If the key is gone for good, this proposes to say so. When two different officials have approved it, and before the proposal expires, the next pass looks for the key once more. Only if the token proves itself and lacks it, the registry records that the day has ended, without a summary, and the day is certified like others; the certificate says that the key was found missing, when, and by which proposal.

Nothing here destroys a key. A key that is found again later is destroyed only when that of any other day like it would be, and alarmed until then; so are the sealed events kept for as long.

Refused are days that the ledger holds nothing of, that have ended, that are not over since a full day, that an order holds, and whose key is there.

Example:

    kiroku retention lost propose 2019-04-01 --reason "restored backup of 2026-03-30; certificate of 2026-04-02 is on file"
    kiroku retention lost approve 5a0f…e1 --certificate official-1.pem --key official-1.key
    kiroku retention run --once`
}

type lostOrder struct {
	order
	asked
	Day calendar.Day `json:"day"`
}

// Run proposes.
func (cmd lostProposeCmd) Run(c *call) error {
	o, a, err := cmd.asking()
	if err != nil {
		return err
	}
	return cmd.propose(c, "/losses", "retention lost", lostOrder{o, a, cmd.Day})
}

// lostApproveCmd is kiroku retention lost approve.
type lostApproveCmd struct{ approveFlags }

// Help teaches.
func (lostApproveCmd) Help() string {
	return `Approves the statement that a day's key is gone for good. With the second official's approval the next pass of the retention records it, if the token still lacks the key. Before you approve: has the HSM's maker or keeper looked for a copy that has the key? Is it known how the key went? Was the day due? If it was not, records that the law has kept are lost.

` + approveHelp + `

Example:

    kiroku retention lost approve 5a0f…e1 --certificate official-1.pem --key official-1.key`
}

// Run approves.
func (cmd lostApproveCmd) Run(c *call) error { return cmd.approve(c, event.ProposalKeyLoss) }

// lostAcknowledgeCmd is kiroku retention lost acknowledge.
type lostAcknowledgeCmd struct {
	Day calendar.Day `arg:"" placeholder:"YYYY-MM-DD" help:"The day."`
	orderFlags
	Reason string `required:"" help:"What was done about it, in up to 200 characters that name no person: everybody may read them."`
}

// Help teaches.
func (lostAcknowledgeCmd) Help() string {
	return `Ends the alarm that every pass raises for a day whose key was lost before the day was due, once the loss has been reported to whom it must be and its cause removed. The registry keeps who acknowledged it, under a pseudonym, and why. The day stays lost, and its certificate says so.

Example:

    kiroku retention lost acknowledge 2025-04-01 --reason "reported to the Commission, 2026-117; token policy changed"`
}

type acknowledgeOrder struct {
	order
	Day    calendar.Day `json:"day"`
	Reason string       `json:"reason"`
}

// Run acknowledges.
func (cmd lostAcknowledgeCmd) Run(c *call) error {
	client, err := c.admin()
	if err != nil {
		return err
	}
	o, err := cmd.order()
	if err != nil {
		return err
	}
	var line lostLine
	if err := cmd.give(c, client, "/losses/acknowledgements", acknowledgeOrder{o, cmd.Day, cmd.Reason}, &line); err != nil {
		return err
	}
	return c.print(line, fmt.Sprintf("the loss of the key of %s is acknowledged", cmd.Day))
}

// lostLine is a day whose key was lost, as the endpoint and --json show it.
type lostLine struct {
	Day          calendar.Day `json:"day"`
	Due          string       `json:"due"`
	Found        time.Time    `json:"found_missing"`
	Premature    bool         `json:"premature"` // before it was due
	Acknowledged bool         `json:"acknowledged"`
	Certified    bool         `json:"certified"`
	Events       uint64       `json:"events"`
	Proposal     string       `json:"proposal"`
}

// state says in words how a loss stands.
func (l lostLine) state() string {
	switch {
	case l.Premature && l.Acknowledged:
		return "before it was due, acknowledged"
	case l.Premature:
		return "before it was due, TO BE ACKNOWLEDGED"
	}
	return "after it was due"
}

func lostLines(s *view.Snapshot) []lostLine {
	lines := []lostLine{}
	for _, d := range s.Days() {
		if f := d.Destroyed.Fact; d.Lost() {
			lines = append(lines, lostLine{d.Day, f.Due, time.UnixMicro(f.At).UTC(), f.Premature, d.Acknowledged > 0, d.Certified > 0, f.Events, fmt.Sprintf("%x", f.Proposal)})
		}
	}
	return lines
}

// lostListCmd is kiroku retention lost list.
type lostListCmd struct{}

// Help teaches.
func (lostListCmd) Help() string {
	return lostHelp + `

Lists the days whose loss was stated, and every proposal to state one, with their states. Days whose keys are missing and of which nothing is stated are in kiroku retention plan.

Example:

    kiroku retention lost list --json`
}

// Run lists.
func (lostListCmd) Run(c *call) error {
	return listing[lostLine]{path: "/losses", name: "days", header: "DAY\tDUE\tFOUND MISSING\tLOST\tEVENTS\tCERTIFIED\tPROPOSAL",
		row: func(l lostLine) string {
			return fmt.Sprintf("%s\t%s\t%s\t%s\t%d\t%t\t%s", l.Day, l.Due, l.Found.Format(time.RFC3339), l.state(), l.Events, l.Certified, l.Proposal)
		},
		kind: event.ProposalKeyLoss, of: "DAY", matter: func(p proposalLine) string { return p.Day }}.show(c)
}

// registerLosses lets the endpoint answer kiroku retention lost.
func registerLosses(endpoint *admin.Server, core *Core) {
	handleOrders(endpoint, "POST /losses", func(ctx context.Context, _ *http.Request, o lostOrder) (any, error) {
		p, err := core.Node.Core.ProposeKeyLoss(ctx, commands.ProposeKeyLoss{Meta: o.meta(commands.RoleOperator), Day: o.Day, Asked: o.command()})
		return proposed(p, err)
	})
	handleOrders(endpoint, "POST /losses/acknowledgements", func(ctx context.Context, _ *http.Request, o acknowledgeOrder) (any, error) {
		err := core.Node.Core.AcknowledgeLoss(ctx, commands.AcknowledgeLoss{Meta: o.meta(commands.RoleOperator), Day: o.Day, Reason: o.Reason})
		if err != nil {
			return nil, err
		}
		for _, l := range lostLines(core.Node.Retention.Snapshot()) {
			if l.Day == o.Day {
				return l, nil
			}
		}
		return nil, fmt.Errorf("the loss of the key of %s: %w", o.Day, commands.ErrNotFound)
	})
	endpoint.Handle("GET /losses", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		admin.Answer(w, http.StatusOK, lostLines(core.Node.Retention.Snapshot()))
	}))
}

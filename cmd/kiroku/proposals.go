package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"kiroku/adapters/admin"
	"kiroku/adapters/datadir"
	"kiroku/domain/approval"
	"kiroku/domain/event"
)

// proposeFlags are the flags of every proposal.
type proposeFlags struct {
	orderFlags
	Reason string `required:"" help:"Why, in up to 200 characters that name no person: everybody may read them."`
	Days   int    `default:"14" help:"The proposal can be approved for so many days, 1 to 90."`
}

func (f *proposeFlags) asked() (asked, error) {
	if f.Days < 1 || f.Days > 90 {
		return asked{}, errors.New("--days: 1 to 90 are possible")
	}
	return asked{f.Reason, time.Duration(f.Days) * 24 * time.Hour}, nil
}

// asking is who proposes, and what is asked of the officials.
func (f *proposeFlags) asking() (order, asked, error) {
	a, err := f.asked()
	if err != nil {
		return order{}, a, err
	}
	o, err := f.order()
	return o, a, err
}

// propose has the core write a proposal and tells how it goes on.
func (f *proposeFlags) propose(c *call, path, approve string, order any) error {
	client, err := c.admin()
	if err != nil {
		return err
	}
	var line proposalLine
	if err := f.give(c, client, path, order, &line); err != nil {
		return err
	}
	return c.print(line, fmt.Sprintf("proposal %s\nTwo different officials must approve it until %s, each by\n\n    kiroku %s approve %s --certificate FILE --key FILE",
		line.Proposal, line.Until.Format(time.RFC3339), approve, line.Proposal))
}

// admin connects to the running core.
func (c *call) admin() (*admin.Client, error) {
	settings, err := c.configuration()
	if err != nil {
		return nil, err
	}
	client, err := admin.Connect(dir(settings))
	if errors.Is(err, datadir.ErrNotRunning) {
		return nil, fmt.Errorf("no core runs on the data directory %s; this command asks a running one: start it with kiroku serve, or name its data directory with --data: %w", dir(settings), err)
	}
	return client, err
}

// proposals asks for those of a kind.
func (c *call) proposals(client *admin.Client, kind string) (list proposalList, err error) {
	err = client.Call(c.ctx, http.MethodGet, "/proposals?kind="+url.QueryEscape(kind), nil, &list)
	return list, err
}

// listing is how things are shown that the endpoint lists, and the proposals about them.
type listing[T any] struct {
	path, name string // of the endpoint; in JSON and in errors
	header     string // of the table, columns parted by tabs, as a row
	row        func(T) string
	kind, of   string // of the proposals, and what they are about
	matter     func(proposalLine) string
}

// show asks the running core and prints what it says.
func (l listing[T]) show(c *call) error {
	client, err := c.admin()
	if err != nil {
		return err
	}
	var things []T
	if err := client.Call(c.ctx, http.MethodGet, l.path, nil, &things); err != nil {
		return err
	}
	list, err := c.proposals(client, l.kind)
	if err != nil {
		return err
	}
	var text strings.Builder
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, l.header)
	for _, thing := range things {
		fmt.Fprintln(table, l.row(thing))
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("printing the %s: %w", l.name, err)
	}
	if len(list.Proposals) > 0 {
		proposals, err := proposalTable(list.Proposals, l.of, l.matter)
		if err != nil {
			return err
		}
		text.WriteString("\n" + proposals)
	}
	return c.print(map[string]any{l.name: things, "proposals": list.Proposals}, text.String())
}

// proposalTable shows proposals; matter says what each is about.
func proposalTable(lines []proposalLine, of string, matter func(proposalLine) string) (string, error) {
	var text strings.Builder
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "PROPOSAL\tSTATE\tAPPROVALS\tUNTIL\t%s\tREASON\n", of)
	for _, p := range lines {
		fmt.Fprintf(table, "%s\t%s\t%d of %d\t%s\t%s\t%s\n", p.Proposal, p.State, len(p.Approvals), p.Needed, p.Until.Format(time.DateOnly), matter(p), p.Reason)
	}
	if err := table.Flush(); err != nil {
		return "", fmt.Errorf("printing the proposals: %w", err)
	}
	return text.String(), nil
}

// text shows one proposal to whoever is asked to approve it.
func (p proposalLine) text(more ...[2]string) string {
	lines := [][2]string{{"kind", p.Kind}}
	if p.Hold != nil {
		lines = append(lines, [2]string{"hold", p.Hold.String()})
	}
	for _, a := range p.Authorities {
		lines = append(lines, [2]string{"authority", a.text()})
	}
	if p.Copy != "" && p.From == "" {
		lines = append(lines, [2]string{"copy", p.Copy + ", which is no more"})
	} else if p.Copy != "" {
		lines = append(lines, [2]string{"copy", p.Copy + ", which holds the keys of " + p.From + " to " + p.To + " no more"})
	}
	if p.Kind == event.ProposalKeyLoss {
		lines = append(lines, [2]string{"lost key", "of " + p.Day + ", which the token lacks and nobody is known to have destroyed"})
	}
	if p.Request > 0 {
		lines = append(lines, [2]string{"request", fmt.Sprintf("event %d of issuance", p.Request)})
	}
	lines = append(lines, more...)
	lines = append(lines, [2]string{"reason", p.Reason}, [2]string{"proposed", p.Proposed.Format(time.RFC3339) + " by " + p.By}, [2]string{"until", p.Until.Format(time.RFC3339)})
	for _, a := range p.Approvals {
		lines = append(lines, [2]string{"approved", a.At.Format(time.RFC3339) + " by " + a.Official})
	}
	var text strings.Builder
	fmt.Fprintf(&text, "proposal %s\n", p.Proposal)
	for _, l := range lines {
		fmt.Fprintf(&text, "  %-10s%s\n", l[0], l[1])
	}
	return text.String()
}

// errOtherProposal: what the core shows is not what was asked for.
var errOtherProposal = fmt.Errorf("what the core shows is not the proposal of this hash; nothing was signed: %w", approval.ErrHash)

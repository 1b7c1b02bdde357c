package main

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"time"

	"kiroku/adapters/admin"
	"kiroku/commands"
	"kiroku/domain/approval"
	"kiroku/domain/event"
)

// authoritiesCmd is kiroku authorities.
type authoritiesCmd struct {
	Show    authoritiesShowCmd    `cmd:"" help:"Show the authorities in force, and how they came to be."`
	Propose authoritiesProposeCmd `cmd:"" help:"Propose other authorities."`
	Approve authoritiesApproveCmd `cmd:"" help:"Approve other authorities, as an official of those in force."`
}

// authorityLine is an authority as the endpoint and --json show it.
type authorityLine struct {
	SHA256      string    `json:"sha256"` // of the certificate
	Name        string    `json:"name"`   // of the organisation
	Until       time.Time `json:"until"`  // the certificate is valid
	Development bool      `json:"development,omitempty"`
}

func (a authorityLine) text() string {
	text := a.SHA256 + " " + a.Name + ", valid until " + a.Until.Format(time.DateOnly)
	if a.Development {
		text += ", FOR DEVELOPMENT"
	}
	return text
}

func authorityLines(ders [][]byte) ([]authorityLine, error) {
	var lines []authorityLine
	for i, der := range ders {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("reading authority %d: %w", i+1, err)
		}
		sum := sha256.Sum256(der)
		lines = append(lines, authorityLine{hex.EncodeToString(sum[:]), c.Subject.String(), c.NotAfter.UTC(), approval.IsDevelopment(c)})
	}
	return lines, nil
}

// authorityTerm is a set of authorities that came into force.
type authorityTerm struct {
	Since       time.Time       `json:"since"`
	Revision    uint64          `json:"revision"`           // in the registry
	By          string          `json:"by,omitempty"`       // pseudonym of who ran the core that was given the first set
	Proposal    string          `json:"proposal,omitempty"` // that two officials approved, of a later set
	Authorities []authorityLine `json:"authorities"`
}

// authorityList is what is answered to the question for authorities.
type authorityList struct {
	Terms    []authorityTerm `json:"terms"`           // the last is in force
	Until    *time.Time      `json:"until,omitempty"` // anybody can approve anything; nothing where nobody can
	Ending   bool            `json:"ending"`          // that is near, or past: an alarm
	Unheeded []string        `json:"unheeded"`        // in what the configuration differs, and does not count
}

// ending says that nobody will be able to approve anything any more.
func (l *authorityList) ending() string {
	if !l.Ending || l.Until == nil {
		return ""
	}
	return "ATTENTION: the last authority in force ends on " + l.Until.Format(time.DateOnly) + ", and nobody can approve anything afterwards, not even other authorities: propose them now\n"
}

func authorityListOf(core *commands.Core) (authorityList, error) {
	list := authorityList{Terms: []authorityTerm{}, Unheeded: append([]string{}, core.Unheeded()...)}
	if end, soon := core.OfficialsUntil(); !end.IsZero() {
		list.Until, list.Ending = &end, soon
	}
	for _, t := range core.Authorities() {
		lines, err := authorityLines(t.Fact.Authorities)
		if err != nil {
			return list, err
		}
		term := authorityTerm{Since: time.UnixMicro(t.Fact.At).UTC(), Revision: t.Revision, Proposal: hex.EncodeToString(t.Fact.Proposal), Authorities: lines}
		if t.Fact.Command != nil {
			term.By = t.Fact.Command.Actor.Identity
		}
		list.Terms = append(list.Terms, term)
	}
	return list, nil
}

// The commands as the endpoint takes them.
type (
	authoritiesOrder struct {
		order
		asked
		PEM       []byte   `json:"pem"`
		Officials [][]byte `json:"officials"` // each a certificate in PEM, and those between it and an authority
	}
	dropOrder struct {
		order
		asked
		Copy string `json:"copy"`
	}
)

func registerAuthorities(endpoint *admin.Server, core *Core) {
	handleOrders(endpoint, "POST /authorities", func(ctx context.Context, _ *http.Request, o authoritiesOrder) (any, error) {
		known, err := approval.ParseOfficials(o.PEM)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", commands.ErrInvalid, err)
		}
		cmd := commands.ProposeAuthorities{Meta: o.meta(commands.RoleOperator), Authorities: known, Asked: o.command()}
		for _, text := range o.Officials {
			shown, err := certifiedOf(text)
			if err != nil {
				return nil, fmt.Errorf("%w: %w", commands.ErrInvalid, err)
			}
			cmd.Shown = append(cmd.Shown, shown)
		}
		p, err := core.Node.Core.ProposeAuthorities(ctx, cmd)
		return proposed(p, err)
	})
	handleOrders(endpoint, "POST /copies/removals", func(ctx context.Context, _ *http.Request, o dropOrder) (any, error) {
		p, err := core.Node.Core.ProposeCopyRemoval(ctx, commands.ProposeCopyRemoval{Meta: o.meta(commands.RoleOperator), Copy: o.Copy, Asked: o.command()})
		return proposed(p, err)
	})
	endpoint.Handle("GET /authorities", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		list, err := authorityListOf(core.Node.Core)
		if err != nil {
			admin.Fail(w, http.StatusInternalServerError, err)
			return
		}
		admin.Answer(w, http.StatusOK, list)
	}))
}

// certifiedOf reads an official's certificate as its file holds it.
func certifiedOf(text []byte) (approval.Certified, error) {
	ders, err := approval.DecodePEM(text)
	if err != nil {
		return approval.Certified{}, err
	}
	c := approval.Certified{Certificate: ders[0]}
	for _, der := range ders[1:] {
		c.Chain = append(c.Chain, der)
	}
	return c, nil
}

// authoritiesShowCmd is kiroku authorities show.
type authoritiesShowCmd struct{}

// Help teaches.
func (authoritiesShowCmd) Help() string {
	return `Shows the authorities that are in force, each by the SHA-256 of its certificate, those before them, and proposed changes. They stand in the registry: what officials.ca_file says counts at the first start only. Where it says something else now, that is shown, logged, and a metric (kiroku_configuration_unheeded). So is, from 90 days before, that the last of them ends (kiroku_authorities_end_timestamp_seconds).

Example:

    kiroku authorities show`
}

// Run shows.
func (authoritiesShowCmd) Run(c *call) error {
	client, err := c.admin()
	if err != nil {
		return err
	}
	var list authorityList
	if err := client.Call(c.ctx, http.MethodGet, "/authorities", nil, &list); err != nil {
		return err
	}
	proposals, err := c.proposals(client, event.ProposalAuthorities)
	if err != nil {
		return err
	}
	var text strings.Builder
	for i, t := range list.Terms {
		by := "configured first by " + t.By
		if t.Proposal != "" {
			by = "approved by two officials, proposal " + t.Proposal
		}
		state := "replaced"
		if i == len(list.Terms)-1 {
			state = "in force"
		}
		fmt.Fprintf(&text, "%s since %s, registry@%d, %s\n", state, t.Since.Format(time.RFC3339), t.Revision, by)
		for _, a := range t.Authorities {
			fmt.Fprintf(&text, "  %s\n", a.text())
		}
	}
	if len(list.Terms) == 0 {
		text.WriteString("no authorities are in force: nothing can be approved; set officials.ca_file and start the core\n")
	}
	text.WriteString(list.ending())
	for _, u := range list.Unheeded {
		fmt.Fprintf(&text, "ATTENTION: %s\n", u)
	}
	if len(proposals.Proposals) > 0 {
		table, err := proposalTable(proposals.Proposals, "AUTHORITIES", func(p proposalLine) string { return fmt.Sprint(len(p.Authorities)) })
		if err != nil {
			return err
		}
		text.WriteString("\n" + table)
	}
	return c.print(map[string]any{"terms": list.Terms, "until": list.Until, "ending": list.Ending, "unheeded": list.Unheeded, "proposals": proposals.Proposals}, text.String())
}

// authoritiesProposeCmd is kiroku authorities propose.
type authoritiesProposeCmd struct {
	File     string   `required:"" placeholder:"FILE" help:"Certificates in PEM of all the authorities that shall count from then on."`
	Official []string `required:"" placeholder:"FILE" help:"Certificate of an official whom these authorities certify, and those between; given for two different officials."`
	proposeFlags
}

// Help teaches.
func (authoritiesProposeCmd) Help() string {
	return `Proposes to replace the authorities whose word counts on who is an official. They change when two different officials of those in force have approved it; what was approved before stays approved. Set officials.ca_file to the same file then.

Authorities of which all end within 30 days are refused, and certificates of two officials of the new authorities must be shown: otherwise nobody could approve anything under them, nor the way back. Their keys are not needed.

Example:

    kiroku authorities propose --file authorities-2027.pem --official new-1.pem --official new-2.pem --reason "yearly renewal"`
}

// Run proposes.
func (cmd authoritiesProposeCmd) Run(c *call) error {
	text, err := readSmall(cmd.File)
	if err != nil {
		return fmt.Errorf("reading the authorities: %w", err)
	}
	if _, err := approval.ParseOfficials(text); err != nil {
		return fmt.Errorf("reading the authorities in %s: %w", cmd.File, err)
	}
	var officials [][]byte
	for _, file := range cmd.Official {
		text, err := readSmall(file)
		if err == nil {
			_, err = certifiedOf(text)
		}
		if err != nil {
			return fmt.Errorf("reading the official's certificate %s: %w", file, err)
		}
		officials = append(officials, text)
	}
	o, a, err := cmd.asking()
	if err != nil {
		return err
	}
	return cmd.propose(c, "/authorities", "authorities", authoritiesOrder{o, a, text, officials})
}

// authoritiesApproveCmd is kiroku authorities approve.
type authoritiesApproveCmd struct{ approveFlags }

// Help teaches.
func (authoritiesApproveCmd) Help() string {
	return `Approves other authorities. With the second official's approval they are in force, and those before them are not.

` + approveHelp + `

Example:

    kiroku authorities approve 5a0f…e1 --certificate official-1.pem --key official-1.key`
}

// Run approves.
func (cmd authoritiesApproveCmd) Run(c *call) error {
	return cmd.approve(c, event.ProposalAuthorities)
}

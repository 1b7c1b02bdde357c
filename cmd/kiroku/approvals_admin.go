package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/google/uuid"

	"kiroku/adapters/admin"
	"kiroku/cmd/kiroku/internal/config"
	"kiroku/commands"
	"kiroku/domain/approval"
	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/domain/retention"
	view "kiroku/projections/retention"
)

// The commands as the endpoint takes them.
type (
	addHoldOrder struct {
		order
		From      calendar.Day `json:"from"`
		To        calendar.Day `json:"to"`
		Until     calendar.Day `json:"until"`
		Reason    string       `json:"reason"`
		Authority string       `json:"authority"`
	}
	// asked is what every proposal says.
	asked struct {
		Reason string        `json:"reason"`
		Within time.Duration `json:"within"`
	}
	releaseOrder struct {
		order
		asked
	}
	attestOrder struct {
		order
		asked
		Copy string       `json:"copy"`
		From calendar.Day `json:"from"`
		To   calendar.Day `json:"to"`
	}
	approveOrder struct {
		order
		Kind        string   `json:"kind"`
		Certificate []byte   `json:"certificate"`
		Chain       [][]byte `json:"chain,omitempty"`
		Signature   []byte   `json:"signature"`
	}
)

func (a asked) command() commands.Asked { return commands.Asked{Reason: a.Reason, Within: a.Within} }

// holdLine is a hold as the endpoint and --json show it.
type holdLine struct {
	Hold      uuid.UUID    `json:"hold"`
	From      calendar.Day `json:"from"`
	To        calendar.Day `json:"to"`
	Until     calendar.Day `json:"until"`
	State     string       `json:"state"` // in force, released, ended
	Authority string       `json:"authority"`
	Reason    string       `json:"reason"`
}

func holdLines(holds []retention.Hold, today calendar.Day) []holdLine {
	lines := []holdLine{}
	for _, h := range holds {
		state := "in force"
		switch {
		case h.Released:
			state = "released"
		case !h.InForce(today):
			state = "ended"
		}
		lines = append(lines, holdLine{h.ID, h.From, h.To, h.Until, state, h.Authority, h.Reason})
	}
	return lines
}

// proposalLine is a proposal as the endpoint and --json show it.
type proposalLine struct {
	Proposal  approval.Hash  `json:"proposal"`
	Kind      string         `json:"kind"`
	State     string         `json:"state"` // open, approved, carried out, expired, void: the authorities that it would replace are not in force any more
	Reason    string         `json:"reason"`
	Proposed  time.Time      `json:"proposed"`
	Until     time.Time      `json:"until"`
	By        string         `json:"by"` // pseudonym
	Hold      *uuid.UUID     `json:"hold,omitempty"`
	Copy      string         `json:"copy,omitempty"`
	From      string         `json:"from,omitempty"`
	To        string         `json:"to,omitempty"`
	Day       string         `json:"day,omitempty"`     // whose key is lost
	Request   uint64         `json:"request,omitempty"` // revision of deletion-requested in issuance
	Approvals []approvalLine `json:"approvals"`

	Authorities []authorityLine `json:"authorities,omitempty"` // that would count
	Needed      int             `json:"needed"`
	Payload     []byte          `json:"payload"` // as it stands in the registry; its hash is what is signed
}

type approvalLine struct {
	Official    string    `json:"official"` // pseudonym
	At          time.Time `json:"at"`
	Certificate string    `json:"certificate"` // SHA-256
}

func proposalLineOf(p view.Proposal, now time.Time) (proposalLine, error) {
	payload, err := event.Encode(p.Made)
	if err != nil {
		return proposalLine{}, err
	}
	line, err := describe(p.Hash, p.Made)
	line.State, line.Payload = "open", payload
	for _, a := range p.Counting() {
		line.Approvals = append(line.Approvals, approvalLine{a.Official, time.UnixMicro(a.At).UTC(), fmt.Sprintf("%x", a.Certificate)})
	}
	switch {
	case p.Done > 0:
		line.State = "carried out"
	case p.Timely() != nil:
		line.State = "void"
	case len(line.Approvals) >= approval.Needed:
		line.State = "approved"
	case p.Expired(now):
		line.State = "expired"
	}
	return line, err
}

// describe says what a proposal asks for.
func describe(h approval.Hash, made event.ProposalMade) (proposalLine, error) {
	line := proposalLine{
		Proposal: h, Kind: made.Kind, Reason: made.Reason, Proposed: time.UnixMicro(made.At).UTC(), Until: time.UnixMicro(made.Until).UTC(),
		By: made.Command.Actor.Identity, Copy: made.Copy, From: made.From, To: made.To, Day: made.Day, Request: made.Revision,
		Approvals: []approvalLine{}, Needed: approval.Needed,
	}
	if made.Kind == event.ProposalHoldRelease {
		hold, err := uuid.FromBytes(made.Hold)
		if err != nil {
			return line, fmt.Errorf("proposal %s names no hold: %w", h, err)
		}
		line.Hold = &hold
	}
	var err error
	line.Authorities, err = authorityLines(made.Authorities)
	return line, err
}

// proposalList is what is answered to the question for proposals.
type proposalList struct {
	Proposals []proposalLine `json:"proposals"`
	Copies    []string       `json:"copies"` // of the HSM's keys, that are known
}

// officials reads the authorities of officials' certificates, where there are any.
func officials(settings config.Config) (approval.Officials, error) {
	path := settings.Officials.CAFile
	if path == "" {
		return approval.Officials{}, nil
	}
	text, err := readSmall(path)
	if err != nil {
		return approval.Officials{}, fmt.Errorf("reading officials.ca_file: %w", err)
	}
	o, err := approval.ParseOfficials(text)
	if err != nil {
		return o, fmt.Errorf("reading officials.ca_file %s: %w", path, err)
	}
	if o.Development() && !developmentCounts(settings) {
		return o, fmt.Errorf("reading officials.ca_file %s: %w", path, approval.ErrDevelopment)
	}
	return o, nil
}

// registerApprovals lets the endpoint answer kiroku hold, deletion and attest.
func registerApprovals(endpoint *admin.Server, core *Core) {
	registerHolds(endpoint, core)
	registerAuthorities(endpoint, core)
	handleOrders(endpoint, "POST /attestations", func(ctx context.Context, _ *http.Request, o attestOrder) (any, error) {
		p, err := core.Node.Core.ProposeAttestation(ctx, commands.ProposeAttestation{Meta: o.meta(commands.RoleOperator), Copy: o.Copy, From: o.From, To: o.To, Asked: o.command()})
		return proposed(p, err)
	})
	handleOrders(endpoint, "POST /proposals/{hash}/approvals", func(ctx context.Context, r *http.Request, o approveOrder) (any, error) {
		hash, err := approval.ParseHash(r.PathValue("hash"))
		if err != nil {
			return nil, err
		}
		given := approval.Given{Certificate: o.Certificate, Signature: o.Signature}
		for _, der := range o.Chain {
			given.Chain = append(given.Chain, der)
		}
		done, err := core.Node.Core.Approve(ctx, commands.Approve{Meta: o.meta(commands.RoleOperator), Proposal: hash, Kind: o.Kind, Given: given})
		return approved{hash, done.Approvals, done.Needed}, err
	})
	endpoint.Handle("GET /proposals", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		list := proposalList{Proposals: []proposalLine{}, Copies: append([]string{}, core.Node.Core.Copies()...)}
		for _, p := range core.Node.Retention.Snapshot().Proposals() {
			if kind := r.URL.Query().Get("kind"); kind != "" && p.Made.Kind != kind {
				continue
			}
			line, err := proposalLineOf(p, time.Now())
			if err != nil {
				admin.Fail(w, http.StatusInternalServerError, err)
				return
			}
			list.Proposals = append(list.Proposals, line)
		}
		admin.Answer(w, http.StatusOK, list)
	}))
	endpoint.Handle("GET /proposals/{hash}", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hash, err := approval.ParseHash(r.PathValue("hash"))
		if err != nil {
			admin.Fail(w, http.StatusBadRequest, err)
			return
		}
		p, found := core.Node.Retention.Snapshot().Proposal(hash)
		if !found {
			admin.Fail(w, http.StatusNotFound, fmt.Errorf("proposal %s: %w", hash, commands.ErrNotFound))
			return
		}
		line, err := proposalLineOf(p, time.Now())
		if err != nil {
			admin.Fail(w, http.StatusInternalServerError, err)
			return
		}
		admin.Answer(w, http.StatusOK, line)
	}))
}

func registerHolds(endpoint *admin.Server, core *Core) {
	handleOrders(endpoint, "POST /holds", func(ctx context.Context, _ *http.Request, o addHoldOrder) (any, error) {
		id, err := core.Node.Core.AddHold(ctx, commands.AddHold{Meta: o.meta(commands.RoleOperator), From: o.From, To: o.To, Until: o.Until, Reason: o.Reason, Authority: o.Authority})
		return map[string]uuid.UUID{"hold": id}, err
	})
	handleOrders(endpoint, "POST /holds/{id}/releases", func(ctx context.Context, r *http.Request, o releaseOrder) (any, error) {
		hold, err := uuid.Parse(r.PathValue("id"))
		if err != nil {
			return nil, fmt.Errorf("a hold is named by a UUID: %w", commands.ErrInvalid)
		}
		p, err := core.Node.Core.ProposeRelease(ctx, commands.ProposeRelease{Meta: o.meta(commands.RoleOperator), Hold: hold, Asked: o.command()})
		return proposed(p, err)
	})
	endpoint.Handle("GET /holds", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		admin.Answer(w, http.StatusOK, holdLines(core.Node.Core.Holds(), calendar.DayOf(time.Now())))
	}))
}

func proposed(p commands.Proposed, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return describe(p.Hash, p.Made)
}

// approved is what came of an approval.
type approved struct {
	Proposal  approval.Hash `json:"proposal"`
	Approvals int           `json:"approvals"`
	Needed    int           `json:"needed"`
}

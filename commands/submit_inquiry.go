package commands

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"kiroku/domain/agency"
	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/domain/inquiry"
	"kiroku/domain/ledger"
	"kiroku/domain/register"
	"kiroku/domain/symbol"
)

// SubmitInquiry asks for information about a person (情報提供の求め: Act 19(8), 19(9), Order 20, Ordinance 40).
type SubmitInquiry struct {
	Meta
	Symbol  symbol.Agency // the inquirer's own symbol of the person
	Request inquiry.Fields
}

// Inquired answers SubmitInquiry: permitted and the provider notified, or refused and why.
type Inquired struct {
	ProcessingNumber inquiry.ProcessingNumber
	Refusal          inquiry.Reason // 0 where permitted
	Rule             string         // the rule that permitted
	ValidUntil       time.Time      // the notification lapses here; zero where refused
}

// SubmitInquiry decides an inquiry and records it, also where it is refused (domain rule Mediation 3).
// Errors: inquiry.ErrInvalid, ErrInvalid, ErrNotAllowed, ErrConflict, ErrTooOld, and those of the sequencer.
func (c *Core) SubmitInquiry(ctx context.Context, cmd SubmitInquiry) (Inquired, error) {
	if err := c.check(cmd.Meta); err != nil {
		return Inquired{}, err
	}
	r, err := inquiry.NewRequest(cmd.Request)
	if err != nil {
		return Inquired{}, err
	}
	if err := mustActFor(cmd.Actor, r.Inquirer()); err != nil {
		return Inquired{}, err
	}
	x := newCall(cmd.Meta, c.digestOf("submit-inquiry", cmd.Symbol, r))
	n := inquiry.NewProcessingNumber(x.key)
	line := c.recordLine(n)
	release, err := c.claim(x, &line.line)
	if err != nil {
		return Inquired{}, err
	}
	defer release()
	if err := line.confirm(ctx, x); err != nil {
		return c.inquiredBefore(ctx, x, n, err)
	}
	p, err := c.subjectOf(ctx, r, cmd.Symbol)
	if err != nil {
		return Inquired{}, err
	}
	var out Inquired
	var stands standing
	compose := func(at time.Time) (string, any) {
		d := inquiry.Decide(r, c.facts(r), p.facts, calendar.DayOf(at))
		rec := c.newRecord(n, r, d, p, at)
		out = Inquired{ProcessingNumber: n, Refusal: d.Refusal(), Rule: d.RuleID()}
		if !d.Permitted() {
			stands = standing{inquiry.Refused, rec}
			return event.TypeInquiryRefused, event.InquiryRefused{Command: x.command(), Record: rec, Reason: d.Refusal().Code()}
		}
		out.ValidUntil = micros(rec.ValidUntil)
		stands = standing{inquiry.Notified, rec}
		return event.TypeInquiryNotified, event.InquiryNotified{Command: x.command(), Record: rec}
	}
	draft, err := c.sealRecord(ctx, &line.line, x, compose)
	if err != nil {
		return Inquired{}, err
	}
	_, err = line.submit(ctx, x, func(next uint64) ([]ledger.Draft, error) {
		line.standings.Put(next, uuid.UUID(n), stands)
		return []ledger.Draft{draft}, nil
	})
	if err != nil {
		return c.inquiredBefore(ctx, x, n, err)
	}
	return out, nil
}

// personFound is what an inquirer's symbol stands for.
type personFound struct {
	facts   inquiry.PersonFacts
	subject register.SubjectID
	record  symbol.Record
}

// subjectOf inverts the inquirer's symbol. A symbol that was not issued to this inquirer names nobody.
func (c *Core) subjectOf(ctx context.Context, r inquiry.Request, s symbol.Agency) (personFound, error) {
	inquirer, ok := c.d.Registry.Agency(r.Inquirer())
	if !ok {
		return personFound{}, nil
	}
	h, l, ok, err := c.byAgencySymbol(ctx, inquirer, s, r.Provider().String())
	if err != nil || !ok {
		return personFound{}, err
	}
	rec, err := c.symbols.record(ctx, l)
	if err != nil {
		return personFound{}, err
	}
	return personFound{
		facts:   inquiry.PersonFacts{Known: true, ProviderHasSymbol: h.Holds(r.Provider().String())},
		subject: h.Subject, record: rec,
	}, nil
}

// byAgencySymbol finds the person whom an agency's symbol names, and whether the other agencies named hold theirs.
func (c *Core) byAgencySymbol(ctx context.Context, a agency.Agency, s symbol.Agency, others ...string) (register.Holder, symbol.Linkage, bool, error) {
	l, ok, err := c.symbols.invert(ctx, a.Parameter(), s)
	if err != nil || !ok {
		return register.Holder{}, symbol.Linkage{}, false, err
	}
	code := a.Code().String()
	h, ok, err := c.issuance.holder(c.linkageIndex(l), append([]string{code}, others...)...)
	if err != nil {
		return register.Holder{}, symbol.Linkage{}, false, fmt.Errorf("look the person up: %w", err)
	}
	return h, l, ok && h.Holds(code), nil
}

func (c *Core) facts(r inquiry.Request) inquiry.Facts {
	f := inquiry.Facts{Rules: c.d.Registry.Rules(), Violations: c.d.Registry.Violations()}
	f.Inquirer, _ = c.d.Registry.Agency(r.Inquirer())
	f.Provider, _ = c.d.Registry.Agency(r.Provider())
	return f
}

func (c *Core) newRecord(n inquiry.ProcessingNumber, r inquiry.Request, d inquiry.Decision, p personFound, at time.Time) event.Record {
	f := c.facts(r)
	set := d.RuleSet()
	rec := event.Record{
		ProcessingNumber: n[:], Affair: r.Affair(), Procedure: r.Procedure(),
		Inquirer: r.Inquirer().String(), InquirerName: f.Inquirer.Name().String(), Department: r.Department().String(),
		Provider: r.Provider().String(), ProviderName: f.Provider.Name().String(),
		RequestedAt: at.UnixMicro(), Information: r.Information(), Items: r.Items(),
		WithheldRequest: r.NonDisclosure(), Consent: r.Consent(), Article21: d.Article21(), RuleSet: set[:], Rule: d.RuleID(),
	}
	if p.facts.Known {
		s := p.record.Expose()
		rec.Symbol, rec.Subject = s[:], p.subject.Protected()
	}
	if d.Permitted() {
		rec.ValidUntil = r.Expiry(at).UnixMicro()
	}
	return rec
}

// digestOf is the keyed digest of an inquiry's content.
func (c *Core) digestOf(kind string, s symbol.Agency, r inquiry.Request) [16]byte {
	sym := s.Expose()
	defer clear(sym[:])
	flags := []byte{0, 0}
	if r.NonDisclosure() {
		flags[0] = 1
	}
	if r.Consent() {
		flags[1] = 1
	}
	parts := [][]byte{sym[:], []byte(r.Inquirer().String()), []byte(r.Department().String()), []byte(r.Provider().String()),
		[]byte(r.Affair()), []byte(r.Procedure()), []byte(r.Information()), flags,
		binary.BigEndian.AppendUint64(nil, uint64(r.Validity()))}
	for _, item := range r.Items() {
		parts = append(parts, []byte(item))
	}
	return c.d.Keyring.Digest(kind, parts...)
}

// inquiredBefore derives the answer of a repeated inquiry again; any other error stays what it is.
func (c *Core) inquiredBefore(ctx context.Context, x call, n inquiry.ProcessingNumber, err error) (Inquired, error) {
	var again *repeated
	if !errors.As(err, &again) {
		return Inquired{}, err
	}
	out := Inquired{ProcessingNumber: n}
	if again.ref.Type == event.TypeInquiryNotified {
		e, err := replay[event.InquiryNotified](ctx, c, x, again.ref)
		out.Rule, out.ValidUntil = e.Record.Rule, micros(e.Record.ValidUntil)
		return out, err
	}
	e, err := replay[event.InquiryRefused](ctx, c, x, again.ref)
	if err != nil {
		return out, err
	}
	out.Refusal, err = inquiry.ParseReason(e.Reason)
	return out, err
}

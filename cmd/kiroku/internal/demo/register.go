package demo

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"kiroku/commands"
	"kiroku/domain/agency"
	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/domain/scope"
	"kiroku/domain/symbol"
	shipped "kiroku/ops/scope"
)

// CodePrefix begins the code of every agency that a demonstration registers.
const CodePrefix = "demo-"

// participant is an agency with its own books: the symbols that it holds, and whose they are. Only it knows both.
type participant struct {
	code    agency.Code
	name    string
	classes []string
	holds   map[int]symbol.Agency // by person of this run
	knows   map[symbol.Agency]int // the inverse
}

func (p *participant) meta() commands.Meta {
	return meta("gateway-"+p.code.String(), commands.RoleGateway, p.code.String())
}

// way is an exchange that a rule permits between two participants.
type way struct {
	rule               scope.Rule
	inquirer, provider *participant
}

// roster is who takes part first; further agencies are cities. All are made up.
var roster = []participant{
	{name: "見本第一市長", classes: []string{"市町村長"}},
	{name: "見本厚生労働大臣", classes: []string{"厚生労働大臣"}},
	{name: "見本情報提供等記録開示システム", classes: []string{"内閣総理大臣", commands.DisclosureClass}},
	{name: "見本県知事", classes: []string{"都道府県知事", "都道府県知事等"}},
	{name: "見本年金機構", classes: []string{"日本年金機構"}},
	{name: "見本健康保険組合", classes: []string{"健康保険組合", "医療保険者"}},
}

const (
	disclosureAt    = 2 // position of the disclosure system in the roster
	suspendedCode   = CodePrefix + "suspended"
	unknownCode     = CodePrefix + "unregistered"
	officialsRole   = commands.RoleOperator
	violationReason = "特定個人情報保護評価書が公表されていない（デモ用）"
)

func (w *world) register(ctx context.Context) (string, error) {
	w.first = w.firstPerson()
	set, err := rules()
	if err != nil {
		return "", err
	}
	if w.n.Registry.Rules().Hash() != set.Hash() {
		if err := w.n.Core.PublishScopeRules(ctx, commands.PublishScopeRules{Meta: meta(w.official, officialsRole, ""), Rules: set}); err != nil {
			return "", err
		}
	}
	if err := w.registerParticipants(ctx); err != nil {
		return "", err
	}
	if err := w.suspendOne(ctx); err != nil {
		return "", err
	}
	w.findWays(set)
	if err := w.barOne(ctx); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d agencies, %d rules of %d affairs, %d exchanges permitted between them, 1 barred by a PIA violation (評価違反)",
		len(w.agencies), set.Len(), affairs(set), len(w.ways)), nil
}

// peopleOfARun is how far the numbers of the people of two runs lie apart: more than the people of any run.
const peopleOfARun = 2_000_000

// firstPerson numbers people so that no run meets those of an earlier one, of whom an interrupted run may have got any:
// each run writes the issuance register in an epoch of its own.
func (w *world) firstPerson() int {
	for _, h := range w.n.Core.Heads() {
		if h.Stream == event.StreamIssuance {
			return int(h.Epoch-1) * peopleOfARun
		}
	}
	return 0
}

func rules() (scope.Set, error) {
	classes, problems := scope.ParseClasses(strings.NewReader(shipped.Classes))
	if len(problems) == 0 {
		var set scope.Set
		if set, problems = scope.ParseCSV(strings.NewReader(shipped.Rules), classes); len(problems) == 0 {
			return set, nil
		}
	}
	return scope.Set{}, fmt.Errorf("the rules that come with kiroku: %s", problems[0])
}

func affairs(set scope.Set) int {
	seen := map[string]bool{}
	for r := range set.All() {
		seen[r.Affair] = true
	}
	return len(seen)
}

func (w *world) registerParticipants(ctx context.Context) error {
	for i := range w.o.Agencies {
		p := &participant{holds: map[int]symbol.Agency{}, knows: map[symbol.Agency]int{}}
		if i < len(roster) {
			p.name, p.classes = roster[i].name, roster[i].classes
		} else {
			p.name, p.classes = fmt.Sprintf("見本第%d市長", i+1), []string{"市町村長"}
		}
		code, err := agency.ParseCode(fmt.Sprintf(CodePrefix+"%03d", i+1))
		if err != nil {
			return err
		}
		p.code = code
		if err := w.registerAgency(ctx, code, p.name, p.classes); err != nil {
			return err
		}
		w.agencies = append(w.agencies, p)
	}
	return nil
}

// registerAgency registers unless an earlier run did.
func (w *world) registerAgency(ctx context.Context, code agency.Code, name string, classes []string) error {
	parsed, err := agency.ParseName(name)
	if err != nil {
		return err
	}
	cmd := commands.RegisterAgency{Meta: meta(w.official, officialsRole, ""), Code: code, Name: parsed}
	for _, c := range classes {
		class, err := agency.ParseClass(c)
		if err != nil {
			return err
		}
		cmd.Classes = append(cmd.Classes, class)
	}
	err = w.n.Core.RegisterAgency(ctx, cmd)
	if errors.Is(err, commands.ErrRegistered) {
		return nil
	}
	return err
}

func (w *world) suspendOne(ctx context.Context) error {
	code, err := agency.ParseCode(suspendedCode)
	if err != nil {
		return err
	}
	if a, ok := w.n.Registry.Agency(code); ok && !a.IsActive() {
		return nil
	}
	if err := w.registerAgency(ctx, code, "見本利用停止機関", []string{"市町村長"}); err != nil {
		return err
	}
	return w.n.Core.ChangeAgencyStatus(ctx, commands.ChangeAgencyStatus{Meta: meta(w.official, officialsRole, ""), Code: code, Suspended: true, Reason: "デモ用の利用停止"})
}

// findWays lists every exchange that a rule permits today between two participants.
func (w *world) findWays(set scope.Set) {
	today := calendar.DayOf(time.Now())
	for r := range set.All() {
		if !r.Holds(today) || r.NeedsConsent() {
			continue
		}
		for _, i := range w.agencies {
			for _, p := range w.agencies {
				if i != p && i.has(r.InquirerClass) && p.has(r.ProviderClass) {
					w.ways = append(w.ways, way{r, i, p})
				}
			}
		}
	}
}

func (p *participant) has(c agency.Class) bool {
	for _, own := range p.classes {
		if own == c.String() {
			return true
		}
	}
	return false
}

// barOne records a PIA violation on the file of one exchange, and takes every exchange that touches it off the list.
func (w *world) barOne(ctx context.Context) error {
	if len(w.ways) < 2 {
		return fmt.Errorf("the rules permit %d exchanges between the participants: %w", len(w.ways), ErrUnexpected)
	}
	w.barred = w.ways[len(w.ways)-1]
	today := calendar.DayOf(time.Now())
	if _, done := w.n.Registry.Violations().Of(w.barred.provider.code, w.barred.rule.Information, today); !done {
		err := w.n.Core.RecordPIAViolation(ctx, commands.RecordPIAViolation{Meta: meta(w.official, officialsRole, ""),
			Violation: scope.Violation{Agency: w.barred.provider.code, File: w.barred.rule.Information, From: today, Reason: violationReason}})
		if err != nil {
			return err
		}
	}
	open := w.ways[:0]
	v := w.n.Registry.Violations()
	for _, x := range w.ways {
		_, provider := v.Of(x.provider.code, x.rule.Information, today)
		_, inquirer := v.Of(x.inquirer.code, x.rule.Affair, today)
		if !provider && !inquirer {
			open = append(open, x)
		}
	}
	w.ways = open
	if len(w.ways) == 0 {
		return fmt.Errorf("the rules permit no exchange between the participants: %w", ErrUnexpected)
	}
	return nil
}

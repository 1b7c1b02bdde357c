package node_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"kiroku/cmd/kiroku/internal/node/nodetest"
	"kiroku/commands"
	"kiroku/domain/agency"
	"kiroku/domain/event"
	"kiroku/domain/inquiry"
	"kiroku/domain/scope"
	"kiroku/domain/symbol"
)

// repeatable is a command that can be given twice, with its answer as something comparable.
type repeatable struct {
	name  string
	give  func(c *nodetest.Core, m commands.Meta) (any, error)
	other func(c *nodetest.Core, m commands.Meta) (any, error) // the same kind, another content
	as    func(w *nodetest.World) commands.Meta                // nil: the gateway of a
}

// The same command again: the same answer and no second event, also after a restart; with another
// content: a conflict; after seven days: refused.
func TestACommandGivenAgain(t *testing.T) {
	w := nodetest.New(t)
	c := w.Lead("a")
	c.Register("a", "b")
	a, b := c.Issue("a", 1), c.Issue("b", 1)
	open, err := c.Core.SubmitInquiry(t.Context(), c.Inquiry("a", "b", a))
	if err != nil {
		t.Fatal(err)
	}
	metas := map[string]commands.Meta{}
	answers := map[string]any{}
	all := repeatables(t, a, b, open.ProcessingNumber)
	for _, r := range all {
		m := w.Meta("a")
		if r.as != nil {
			m = r.as(w)
		}
		answer, err := r.give(c, m)
		if err != nil {
			t.Fatalf("%s: %v", r.name, err)
		}
		metas[r.name], answers[r.name] = m, answer
	}
	if err := c.CaughtUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	events := len(c.Verify())
	again := func(when string) {
		for _, r := range all {
			answer, err := r.give(c, metas[r.name])
			if err != nil || answer != answers[r.name] {
				t.Errorf("%s, %s again: %v, want %v; %v", when, r.name, answer, answers[r.name], err)
			}
			if _, err := r.other(c, metas[r.name]); !errors.Is(err, commands.ErrConflict) {
				t.Errorf("%s, %s with another content: %v", when, r.name, err)
			}
		}
	}
	again("at once")
	if n := len(c.Verify()); n != events {
		t.Errorf("repeated commands left %d events", n-events)
	}
	c.Stop()
	c = w.Lead("a")
	again("after a restart")
	c.Stop()
	c = w.Lead("elsewhere") // a core that has to rebuild every view
	again("on another core")
	after := c.Verify()
	for _, eventType := range []string{event.TypeSymbolIssued, event.TypeInquiryNotified, event.TypeProvisionReported, event.TypeRecordsDisclosed} {
		if n, before := nodetest.Count(after, eventType), map[string]int{event.TypeSymbolIssued: 3, event.TypeInquiryNotified: 2, event.TypeProvisionReported: 1, event.TypeRecordsDisclosed: 1}[eventType]; n != before {
			t.Errorf("%d events of type %s, want %d", n, eventType, before)
		}
	}
	w.Turn(commands.Remembered + time.Hour)
	for _, r := range all {
		if _, err := r.give(c, metas[r.name]); !errors.Is(err, commands.ErrTooOld) {
			t.Errorf("after seven days, %s: %v", r.name, err)
		}
	}
}

func repeatables(t *testing.T, a, b symbol.Agency, open inquiry.ProcessingNumber) []repeatable {
	ctx := t.Context()
	class, err := agency.ParseClass("市町村長")
	if err != nil {
		t.Fatal(err)
	}
	name, err := agency.ParseName("見本")
	if err != nil {
		t.Fatal(err)
	}
	at := time.Now()
	issue := func(number string) func(*nodetest.Core, commands.Meta) (any, error) {
		return func(c *nodetest.Core, m commands.Meta) (any, error) {
			r, err := c.Core.IssueSymbol(ctx, commands.IssueSymbol{Meta: m, Agency: nodetest.AgencyCode(t, "a"), AcquisitionNumber: symbol.AcquisitionNumber(number), Code: nodetest.Code(t, 2)})
			return r, err
		}
	}
	inquire := func(procedure string) func(*nodetest.Core, commands.Meta) (any, error) {
		return func(c *nodetest.Core, m commands.Meta) (any, error) {
			cmd := c.Inquiry("a", "b", a)
			cmd.Meta, cmd.Request.Procedure = m, procedure
			r, err := c.Core.SubmitInquiry(ctx, cmd)
			return r, err
		}
	}
	report := func(kind inquiry.State) func(*nodetest.Core, commands.Meta) (any, error) {
		return func(c *nodetest.Core, m commands.Meta) (any, error) {
			f := inquiry.AnswerFields{Kind: kind}
			if kind == inquiry.Provided {
				f.ProvidedAt, f.Items = at, []string{"世帯"}
			}
			return nil, c.Core.ReportProvision(ctx, commands.ReportProvision{Meta: m, ProcessingNumber: open, Answer: f})
		}
	}
	register := func(code string) func(*nodetest.Core, commands.Meta) (any, error) {
		return func(c *nodetest.Core, m commands.Meta) (any, error) {
			return nil, c.Core.RegisterAgency(ctx, commands.RegisterAgency{Meta: m, Code: nodetest.AgencyCode(t, code), Name: name, Classes: []agency.Class{class}})
		}
	}
	disclose := func(receipt string) func(*nodetest.Core, commands.Meta) (any, error) {
		return func(c *nodetest.Core, m commands.Meta) (any, error) {
			d, err := c.Core.DiscloseRecords(ctx, commands.DiscloseRecords{Meta: m, Symbol: a, Receipt: receipt, Audience: commands.AudiencePerson})
			return fmt.Sprint(d.Person), err // what was shown is shown again, whatever came since
		}
	}
	change := func(to int) func(*nodetest.Core, commands.Meta) (any, error) {
		return func(c *nodetest.Core, m commands.Meta) (any, error) {
			return nil, c.Core.ChangeResidentCode(ctx, commands.ChangeResidentCode{Meta: m, Old: nodetest.Code(t, 1), New: nodetest.Code(t, to)})
		}
	}
	violate := func(reason string) func(*nodetest.Core, commands.Meta) (any, error) {
		return func(c *nodetest.Core, m commands.Meta) (any, error) {
			day := scope.Violation{Agency: nodetest.AgencyCode(t, "b"), File: "別の情報", Reason: reason}
			day.From = today()
			return nil, c.Core.RecordPIAViolation(ctx, commands.RecordPIAViolation{Meta: m, Violation: day})
		}
	}
	publish := func(id string) func(*nodetest.Core, commands.Meta) (any, error) {
		return func(c *nodetest.Core, m commands.Meta) (any, error) {
			rule, err := scope.ParseRow(scope.Row{ID: id, InquirerClass: "市町村長", Affair: nodetest.Affair, ProviderClass: "市町村長", Information: nodetest.Information,
				LegalBasis: "番号法19条8号・主務省令2条の表1の項", ValidFrom: "2024-05-27"})
			if err != nil {
				return nil, err
			}
			set, problems := scope.NewSet([]scope.Rule{rule})
			if len(problems) > 0 {
				t.Fatal(problems)
			}
			return nil, c.Core.PublishScopeRules(ctx, commands.PublishScopeRules{Meta: m, Rules: set})
		}
	}
	suspend := func(reason string) func(*nodetest.Core, commands.Meta) (any, error) {
		return func(c *nodetest.Core, m commands.Meta) (any, error) {
			return nil, c.Core.ChangeAgencyStatus(ctx, commands.ChangeAgencyStatus{Meta: m, Code: nodetest.AgencyCode(t, "x"), Suspended: true, Reason: reason})
		}
	}
	of := func(agency string) func(*nodetest.World) commands.Meta {
		return func(w *nodetest.World) commands.Meta { return w.Meta(agency) }
	}
	disclosing := func(w *nodetest.World) commands.Meta { return w.MetaAs(commands.RoleDisclosure, "a") }
	return []repeatable{
		{"issue a symbol", issue("A-1"), issue("A-2"), nil},
		{"submit an inquiry", inquire("認定"), inquire("更新"), nil},
		{"report provision", report(inquiry.Provided), report(inquiry.NoSuchInformation), of("b")},
		{"disclose records", disclose("R-1"), disclose("R-2"), disclosing},
		{"change a resident code", change(11), change(12), of("juki")},
		{"register an agency", register("x"), register("y"), of("")},
		{"suspend an agency", suspend("検査"), suspend("別の理由"), of("")},
		{"record a PIA violation", violate("未公表"), violate("未実施"), of("")},
		{"publish scope rules", publish("R2"), publish("R3"), of("")},
	}
}

// An id that cannot say when the command was made, or that lies in the future, is refused.
func TestAnIDThatCannotBeRememberedIsRefused(t *testing.T) {
	w := nodetest.New(t)
	c := w.Lead("a")
	c.Register("a")
	for name, change := range map[string]func(*commands.Meta){
		"random id":    func(m *commands.Meta) { m.ID[6] = m.ID[6]&0x0f | 0x40 },
		"no id":        func(m *commands.Meta) { clear(m.ID[:]) },
		"future id":    func(m *commands.Meta) { m.ID[2]++ },
		"no identity":  func(m *commands.Meta) { m.Actor.Identity = "" },
		"no role":      func(m *commands.Meta) { m.Actor.Role = "" },
		"long request": func(m *commands.Meta) { m.Actor.RequestID = string(make([]byte, 200)) },
	} {
		cmd := c.IssueCommand("a", 1)
		change(&cmd.Meta)
		if _, err := c.Core.IssueSymbol(t.Context(), cmd); !errors.Is(err, commands.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

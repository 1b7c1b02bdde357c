package bench

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/google/uuid"

	"kiroku/commands"
	"kiroku/domain/agency"
	"kiroku/domain/event"
	"kiroku/domain/inquiry"
	"kiroku/domain/scope"
	"kiroku/domain/symbol"
)

// What the one rule permits, between the made-up agencies.
const (
	class       = "市町村長"
	affair      = "児童手当の支給"
	information = "住民票関係情報"
)

// office is a made-up agency with the symbols it holds, by person.
type office struct {
	code  agency.Code
	holds []symbol.Agency
}

func (o *office) meta() commands.Meta {
	return commands.Meta{Actor: event.Actor{Identity: "gateway-" + o.code.String(), Role: "gateway", Agency: o.code.String()}, ID: uuid.Must(uuid.NewV7())}
}

// openOffices registers n agencies and publishes the rule.
func openOffices(ctx context.Context, p Parts, n int) ([]*office, error) {
	official := func() commands.Meta {
		return commands.Meta{Actor: event.Actor{Identity: "bench-official", Role: "operator"}, ID: uuid.Must(uuid.NewV7())}
	}
	var classes []agency.Class
	for _, name := range []string{class, commands.DisclosureClass} {
		of, err := agency.ParseClass(name)
		if err != nil {
			return nil, err
		}
		classes = append(classes, of)
	}
	var out []*office
	for i := range n {
		code, err := agency.ParseCode(fmt.Sprintf("bench-%03d", i+1))
		if err != nil {
			return nil, err
		}
		name, err := agency.ParseName(fmt.Sprintf("見本第%d市長", i+1))
		if err != nil {
			return nil, err
		}
		err = p.Node.Core.RegisterAgency(ctx, commands.RegisterAgency{Meta: official(), Code: code, Name: name, Classes: classes})
		if err != nil {
			return nil, err
		}
		out = append(out, &office{code: code})
	}
	rule, err := scope.ParseRow(scope.Row{ID: "B1", InquirerClass: class, Affair: affair, ProviderClass: class, Information: information,
		LegalBasis: "番号法19条8号・主務省令2条の表1の項", ValidFrom: "2024-05-27"})
	if err != nil {
		return nil, err
	}
	set, problems := scope.NewSet([]scope.Rule{rule})
	if len(problems) > 0 {
		return nil, fmt.Errorf("the rule of the benchmark: %s", problems[0])
	}
	return out, p.Node.Core.PublishScopeRules(ctx, commands.PublishScopeRules{Meta: official(), Rules: set})
}

// take has an agency ask for the symbols of people 0 to n−1, and returns how long each request waited for its answer.
func (o *office) take(ctx context.Context, p Parts, n int) ([]time.Duration, error) {
	o.holds = make([]symbol.Agency, n)
	began, waited := make([]time.Time, n), make([]time.Duration, n)
	var failed error
	cmd := commands.IssueSymbols{Meta: o.meta(), Agency: o.code, Requests: requests(n, began)}
	err := p.Node.Core.IssueSymbols(ctx, cmd, func(i commands.ItemIssued) {
		if i.Err == nil && i.AlreadyAcquired {
			i.Err = errors.New("already acquired")
		}
		if i.Err != nil && failed == nil {
			failed = fmt.Errorf("request %d: %w", i.Index, i.Err)
		}
		o.holds[i.Index], waited[i.Index] = i.Symbol, time.Since(began[i.Index])
	})
	if err := errors.Join(err, failed); err != nil {
		return nil, fmt.Errorf("issue symbols to %s: %w", o.code, err)
	}
	return waited, nil
}

// requests yields people's codes and notes when each was taken.
func requests(n int, began []time.Time) iter.Seq2[commands.SymbolRequest, error] {
	return func(yield func(commands.SymbolRequest, error) bool) {
		for person := range n {
			code, err := symbol.WithCheckDigit(fmt.Appendf(nil, "%010d", person), symbol.Mod11)
			began[person] = time.Now()
			if !yield(commands.SymbolRequest{AcquisitionNumber: "A-1", Code: code}, err) {
				return
			}
		}
	}
}

// inquiry makes an inquiry about a person that the rule permits.
func (o *office) inquiry(provider *office, person int) (commands.SubmitInquiry, error) {
	department, err := agency.ParseDepartment("福祉課")
	if err != nil {
		return commands.SubmitInquiry{}, err
	}
	return commands.SubmitInquiry{Meta: o.meta(), Symbol: o.holds[person], Request: inquiry.Fields{
		Inquirer: o.code, Department: department, Provider: provider.code, Affair: affair, Procedure: "支給の審査",
		Information: information, Items: []string{"該当の有無", "対象期間"}, Validity: 24 * time.Hour}}, nil
}

// inquire submits one inquiry and expects it to be permitted.
func (o *office) inquire(ctx context.Context, p Parts, provider *office, person int) error {
	cmd, err := o.inquiry(provider, person)
	if err != nil {
		return err
	}
	a, err := p.Node.Core.SubmitInquiry(ctx, cmd)
	if err == nil && a.Refusal != 0 {
		err = fmt.Errorf("inquiry %s was refused: %s", a.ProcessingNumber, a.Refusal.Code())
	}
	return err
}

// populate gives every agency the symbols of n people.
func populate(ctx context.Context, p Parts, agencies, n int) ([]*office, error) {
	offices, err := openOffices(ctx, p, agencies)
	if err != nil {
		return nil, err
	}
	for _, o := range offices {
		if _, err := o.take(ctx, p, n); err != nil {
			return nil, err
		}
	}
	return offices, p.Node.CaughtUp(ctx)
}

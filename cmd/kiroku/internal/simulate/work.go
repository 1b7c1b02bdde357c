package simulate

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"

	"kiroku/adapters/hsm"
	"kiroku/commands"
	"kiroku/domain/agency"
	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/domain/inquiry"
	"kiroku/domain/scope"
	"kiroku/domain/symbol"
)

// What the one rule permits, between the two made-up agencies.
const (
	class       = "市町村長"
	affair      = "児童手当の支給"
	information = "住民票関係情報"
	item        = "該当の有無"
)

const (
	firstPeople  = 24 // who have symbols from the first day on
	issueEvery   = 10 // days between two people who get theirs later
	discloseEach = 5  // days between two disclosures
)

// offices are two agencies, of which the one asks the other, and what is under way between them.
type offices struct {
	asks, answers agency.Code
	department    agency.Department
	people        []*person

	mu       sync.Mutex
	tomorrow []inquiry.ProcessingNumber // to be answered on the next day
	lapsing  map[calendar.Day]int       // of that day's inquiries, left unanswered
}

// person is somebody of whom both agencies hold a symbol.
type person struct {
	number   int
	at, with symbol.Agency // the asking agency's, the answering one's
	gone     bool          // deleted
}

// meta makes a fresh command at the simulation's time.
func (s *Simulation) meta(role, agency string) commands.Meta {
	id := uuid.New()
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(s.clock.now().UnixMilli()))
	copy(id[:6], ms[2:])
	id[6] = id[6]&0x0f | 0x70 // version 7
	return commands.Meta{Actor: event.Actor{Identity: "simulated-" + role, Role: role, Agency: agency}, ID: id}
}

// begin opens a day: on the first of all the ledger gets its agencies and people, in each year the core is
// started anew once. The day's first inquiry comes at midnight.
func (s *Simulation) begin(ctx context.Context, day calendar.Day) error {
	s.clock.set(day.Start())
	if s.offices == nil {
		if err := s.Node.Core.MakeDayKeys(ctx); err != nil {
			return err
		}
		s.books.page(day)
		s.books.page(day.AddDays(1))
		s.year = yearOf(day)
		return s.settle(ctx)
	}
	if yearOf(day) != s.year {
		s.year = yearOf(day)
		if err := s.Node.Anchor(ctx); err != nil { // over the restart an hour at most is proven
			return err
		}
		parts, err := s.Afresh(ctx)
		if err != nil {
			return fmt.Errorf("start the core anew: %w", err)
		}
		if parts.HSM != s.HSM {
			s.calls = hsm.Calls{}
		}
		s.Parts = parts
		if err := s.Node.Anchor(ctx); err != nil { // as a core does within a minute
			return err
		}
	}
	if s.busy(day) {
		return s.inquire(ctx, day, 0)
	}
	return nil
}

// settle registers the agencies, publishes the rule, and issues the first symbols.
func (s *Simulation) settle(ctx context.Context) error {
	s.offices = &offices{lapsing: map[calendar.Day]int{}}
	var classes []agency.Class
	for _, name := range []string{class, commands.DisclosureClass} {
		c, err := agency.ParseClass(name)
		if err != nil {
			return err
		}
		classes = append(classes, c)
	}
	for i, at := range []*agency.Code{&s.offices.asks, &s.offices.answers} {
		code, err := agency.ParseCode(fmt.Sprintf("simulated-%d", i+1))
		if err != nil {
			return err
		}
		name, err := agency.ParseName(fmt.Sprintf("見本第%d市長", i+1))
		if err != nil {
			return err
		}
		*at = code
		if err := s.Node.Core.RegisterAgency(ctx, commands.RegisterAgency{Meta: s.meta(commands.RoleOperator, ""), Code: code, Name: name, Classes: classes}); err != nil {
			return err
		}
	}
	var err error
	if s.offices.department, err = agency.ParseDepartment("福祉課"); err != nil {
		return err
	}
	rule, err := scope.ParseRow(scope.Row{ID: "S1", InquirerClass: class, Affair: affair, ProviderClass: class, Information: information,
		LegalBasis: "番号法19条8号・主務省令2条の表1の項", ValidFrom: "2024-05-27"})
	if err != nil {
		return err
	}
	set, problems := scope.NewSet([]scope.Rule{rule})
	if len(problems) > 0 {
		return fmt.Errorf("the rule of the simulation: %s", problems[0])
	}
	if err := s.Node.Core.PublishScopeRules(ctx, commands.PublishScopeRules{Meta: s.meta(commands.RoleOperator, ""), Rules: set}); err != nil {
		return err
	}
	for range firstPeople {
		if err := s.join(ctx); err != nil {
			return err
		}
	}
	return nil
}

// join has both agencies acquire the symbols of a further person.
func (s *Simulation) join(ctx context.Context) (err error) {
	p := &person{number: len(s.offices.people)}
	if p.at, err = s.issue(ctx, s.offices.asks, p.number); err != nil {
		return err
	}
	if p.with, err = s.issue(ctx, s.offices.answers, p.number); err != nil {
		return err
	}
	s.offices.people = append(s.offices.people, p)
	return nil
}

func codeOf(number int) (symbol.ResidentCode, error) {
	return symbol.WithCheckDigit(fmt.Appendf(nil, "%010d", number), symbol.Mod11)
}

func (s *Simulation) issue(ctx context.Context, to agency.Code, number int) (symbol.Agency, error) {
	code, err := codeOf(number)
	if err != nil {
		return symbol.Agency{}, err
	}
	out, err := s.Node.Core.IssueSymbol(ctx, commands.IssueSymbol{Meta: s.meta(commands.RoleGateway, to.String()), Agency: to, AcquisitionNumber: "A-1", Code: code})
	if err == nil && out.AlreadyAcquired {
		err = wrong("%s has the symbol of a person who is new", to)
	}
	s.report.Issued++
	return out.Symbol, err
}

// fate is what becomes of an inquiry.
type fate int

const (
	answered fate = iota
	answeredLater
	lapses
	refused
)

// fateOf goes through all fates on every day.
func fateOf(i int) fate {
	switch i % 10 {
	case 1:
		return refused
	case 3:
		return lapses
	case 5:
		return answeredLater
	}
	return answered
}

// lapseAfter is how long an inquiry that nobody answers stays open: until noon of the next day.
const lapseAfter = 24 * time.Hour

// inquire submits inquiry number i of a day, and has it answered where it is to be at once.
func (s *Simulation) inquire(ctx context.Context, day calendar.Day, i int) error {
	o := s.offices
	living := o.people[(i*7+day.DaysSince(s.o.From))%len(o.people)]
	for living.gone {
		living = o.people[(living.number+1)%len(o.people)]
	}
	f := fateOf(i)
	r := inquiry.Fields{Inquirer: o.asks, Department: o.department, Provider: o.answers, Affair: affair, Procedure: "認定",
		Information: information, Items: []string{item}, Validity: 72 * time.Hour}
	switch f {
	case refused:
		r.Affair = "定めのない事務"
	case lapses:
		r.Validity = lapseAfter
	}
	a, err := s.Node.Core.SubmitInquiry(ctx, commands.SubmitInquiry{Meta: s.meta(commands.RoleGateway, o.asks.String()), Symbol: living.at, Request: r})
	if err != nil {
		return err
	}
	if (f == refused) != (a.Refusal != 0) {
		return wrong("an inquiry came out with %q", a.Refusal.Code())
	}
	o.mu.Lock()
	s.report.Inquiries++
	switch f {
	case refused:
		s.report.Refused++
	case lapses:
		o.lapsing[day]++
	case answeredLater:
		o.tomorrow = append(o.tomorrow, a.ProcessingNumber)
	}
	o.mu.Unlock()
	if f == answered {
		return s.answer(ctx, a.ProcessingNumber)
	}
	return nil
}

func (s *Simulation) answer(ctx context.Context, n inquiry.ProcessingNumber) error {
	err := s.Node.Core.ReportProvision(ctx, commands.ReportProvision{Meta: s.meta(commands.RoleGateway, s.offices.answers.String()), ProcessingNumber: n,
		Answer: inquiry.AnswerFields{Kind: inquiry.Provided, ProvidedAt: s.clock.now(), Items: []string{item}}})
	if err != nil {
		return fmt.Errorf("answer an inquiry: %w", err)
	}
	s.offices.mu.Lock()
	defer s.offices.mu.Unlock()
	s.report.Answered++
	return nil
}

// together does things at once, as many as there are.
func together(n int, do func(i int) error) error {
	errs := make(chan error, n)
	for i := range n {
		go func() { errs <- do(i) }()
	}
	var first error
	for range n {
		if err := <-errs; err != nil && first == nil {
			first = err
		}
	}
	return first
}

// morning answers what was left for it, ten seconds after midnight: as late as the first event of a day may be that ends an
// inquiry of the day before.
func (s *Simulation) morning(ctx context.Context, day calendar.Day) error {
	s.clock.set(day.Start().Add(10 * time.Second))
	later := s.offices.tomorrow
	s.offices.tomorrow = nil
	return together(len(later), func(i int) error { return s.answer(ctx, later[i]) })
}

// work is the rest of a day: inquiries, the lapse of those that nobody answered, issuances, disclosures, orders; the last
// inquiry comes in the last microsecond.
func (s *Simulation) work(ctx context.Context, day calendar.Day) error {
	s.clock.set(day.Start().Add(9 * time.Hour))
	if err := s.order(ctx, day); err != nil {
		return err
	}
	keys := make(chan error, 1)
	go func() { keys <- s.Node.Core.MakeDayKeys(ctx) }() // of today and tomorrow, meanwhile, as the core does by itself
	err := s.deal(ctx, day)
	if failed := <-keys; err == nil {
		err = failed
	}
	s.books.page(day)
	s.books.page(day.AddDays(1))
	if err != nil || !s.busy(day) {
		return err
	}
	s.clock.set(day.Start().Add(18 * time.Hour))
	if err := s.lapse(ctx, day); err != nil {
		return err
	}
	s.clock.set(day.End().Add(-time.Microsecond))
	return s.inquire(ctx, day, 0)
}

// deal has most inquiries of a day decided, and symbols issued and records disclosed on some.
func (s *Simulation) deal(ctx context.Context, day calendar.Day) error {
	if !s.busy(day) {
		return nil
	}
	n := day.DaysSince(s.o.From)
	if n%issueEvery == 1 {
		if err := s.join(ctx); err != nil {
			return err
		}
	}
	if n%discloseEach == 2 {
		if err := s.disclose(ctx); err != nil {
			return err
		}
	}
	return together(s.o.PerDay-2, func(i int) error { return s.inquire(ctx, day, i+1) })
}

// lapse lapses yesterday's inquiries that were left unanswered.
func (s *Simulation) lapse(ctx context.Context, day calendar.Day) error {
	if err := s.Node.CaughtUp(ctx); err != nil {
		return err
	}
	n, err := s.Node.Core.LapseInquiries(ctx, 10_000)
	if err != nil {
		return err
	}
	if want := s.offices.lapsing[day.AddDays(-1)]; n != want {
		return wrong("%d inquiries lapsed, and %d were left unanswered", n, want)
	}
	delete(s.offices.lapsing, day.AddDays(-1))
	s.report.Lapsed += n
	return nil
}

// disclose shows somebody what there is about them, which is recorded in the audit stream.
func (s *Simulation) disclose(ctx context.Context) error {
	of := s.offices.people[s.random.IntN(len(s.offices.people))]
	if of.gone {
		return nil
	}
	s.report.Disclosed++
	_, err := s.Node.Core.DiscloseRecords(ctx, commands.DiscloseRecords{Meta: s.meta(commands.RoleDisclosure, s.offices.answers.String()),
		Symbol: of.with, Receipt: fmt.Sprintf("R-%d", s.report.Disclosed), Audience: commands.AudiencePerson})
	return err
}

// anchor ends the day: the anchor holds all of it.
func (s *Simulation) anchor(ctx context.Context, day calendar.Day) error {
	s.clock.set(day.End().Add(-time.Microsecond))
	if s.o.Busy > 0 && day == s.o.From.AddDays(s.o.Busy-1) {
		if err := together(len(s.offices.tomorrow), func(i int) error { return s.answer(ctx, s.offices.tomorrow[i]) }); err != nil {
			return err
		}
		s.offices.tomorrow = nil
	}
	return s.Node.Anchor(ctx)
}

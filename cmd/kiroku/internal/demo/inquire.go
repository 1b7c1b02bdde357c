package demo

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	"kiroku/commands"
	"kiroku/domain/agency"
	"kiroku/domain/inquiry"
	"kiroku/domain/symbol"
)

// fate is what becomes of an inquiry.
type fate int

const (
	provided fate = iota
	noSuchInformation
	cannotProvide
	lapses
	outOfScope
	violation
	noSymbol
	unknownPerson
	unknownProvider
	suspendedProvider
	fates
)

// weights out of 100.
var weights = [fates]int{provided: 64, noSuchInformation: 6, cannotProvide: 4, lapses: 6, outOfScope: 6, violation: 4,
	noSymbol: 4, unknownPerson: 3, unknownProvider: 2, suspendedProvider: 1}

var refusals = map[fate]inquiry.Reason{outOfScope: inquiry.OutOfScope, violation: inquiry.ProviderViolation, noSymbol: inquiry.ProviderHasNoSymbol,
	unknownPerson: inquiry.UnknownPerson, unknownProvider: inquiry.UnknownProvider, suspendedProvider: inquiry.SuspendedProvider}

// planned is an inquiry with what must come of it.
type planned struct {
	way    way
	person int
	fate   fate
	cmd    commands.SubmitInquiry
}

const (
	submitters    = 64
	lapseValidity = time.Second
	validity      = time.Hour
	answerWithin  = 5 * time.Minute
)

// books are what the providers will do with what they are notified of.
type books struct {
	mu     sync.Mutex
	due    map[inquiry.ProcessingNumber]planned
	lapsed map[inquiry.ProcessingNumber]bool
	ended  map[fate]int
}

func (w *world) inquire(ctx context.Context) (string, error) {
	if err := w.clearEarlier(ctx); err != nil {
		return "", err
	}
	plan := make([]planned, w.o.Inquiries)
	for i := range plan {
		p, err := w.plan(i)
		if err != nil {
			return "", err
		}
		plan[i] = p
	}
	b := &books{due: map[inquiry.ProcessingNumber]planned{}, lapsed: map[inquiry.ProcessingNumber]bool{}, ended: map[fate]int{}}
	if err := w.submitAll(ctx, plan, b); err != nil {
		return "", err
	}
	if err := w.answerAll(ctx, b); err != nil {
		return "", err
	}
	w.report.Provided = b.ended[provided]
	w.report.Unanswerable = b.ended[noSuchInformation] + b.ended[cannotProvide]
	w.unanswered = b.lapsed
	refused := 0
	for f, reason := range refusals {
		w.report.Refused[reason.Code()] = b.ended[f]
		refused += b.ended[f]
	}
	return fmt.Sprintf("%d inquiries: %d provided, %d no such information (該当なし), %d cannot provide, %d refused (媒介せず), %d left unanswered",
		w.o.Inquiries, b.ended[provided], b.ended[noSuchInformation], b.ended[cannotProvide], refused, b.ended[lapses]), nil
}

// plan draws an inquiry. The first of them go through every fate in turn.
func (w *world) plan(i int) (planned, error) {
	f := fate(i)
	if f >= fates {
		f = w.draw()
	}
	for range 100_000 {
		p := planned{fate: f, way: w.ways[w.random.IntN(len(w.ways))], person: w.random.IntN(w.o.People)}
		if f == violation {
			p.way = w.barred
		}
		_, inquirer := p.way.inquirer.holds[p.person]
		_, provider := p.way.provider.holds[p.person]
		if inquirer && provider == (f != noSymbol) {
			return w.compose(p)
		}
	}
	return planned{}, fmt.Errorf("no pair of agencies fits an inquiry that must end so (%d): %w", f, ErrUnexpected)
}

func (w *world) draw() fate {
	n := w.random.IntN(100)
	for f, weight := range weights {
		if n -= weight; n < 0 {
			return fate(f)
		}
	}
	return provided
}

func (w *world) compose(p planned) (planned, error) {
	department, err := agency.ParseDepartment("福祉課")
	if err != nil {
		return p, err
	}
	f := inquiry.Fields{Inquirer: p.way.inquirer.code, Department: department, Provider: p.way.provider.code, Affair: p.way.rule.Affair,
		Procedure: "支給の審査", Information: p.way.rule.Information, Items: []string{"該当の有無", "対象期間"}, Validity: validity,
		NonDisclosure: w.random.IntN(50) == 0}
	p.cmd = commands.SubmitInquiry{Meta: p.way.inquirer.meta(), Symbol: p.way.inquirer.holds[p.person]}
	switch p.fate {
	case lapses:
		f.Validity = lapseValidity
	case outOfScope:
		f.Affair = "法令にない事務"
	case unknownProvider:
		f.Provider, err = agency.ParseCode(unknownCode)
	case suspendedProvider:
		f.Provider, err = agency.ParseCode(suspendedCode)
	case unknownPerson:
		p.cmd.Symbol, err = strangeSymbol(p.cmd.Symbol.Version())
	}
	p.cmd.Request = f
	return p, err
}

// strangeSymbol looks like a symbol and is nobody's.
func strangeSymbol(version uint8) (symbol.Agency, error) {
	b := make([]byte, symbol.AgencySize)
	_, _ = rand.Read(b)
	b[0] = version
	return symbol.AgencyFromBytes(b)
}

// submitAll submits with many inquirers at once.
func (w *world) submitAll(ctx context.Context, plan []planned, b *books) error {
	work := make(chan planned)
	var wg sync.WaitGroup
	errs := make(chan error, submitters)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for range submitters {
		wg.Go(func() {
			for p := range work {
				if err := w.submit(ctx, p, b); err != nil {
					errs <- err
					cancel()
					return
				}
				w.progress("inquire", 1)
			}
		})
	}
feed:
	for _, p := range plan {
		select {
		case work <- p:
		case <-ctx.Done():
			break feed
		}
	}
	close(work)
	wg.Wait()
	select {
	case err := <-errs:
		return err
	default:
		return ctx.Err()
	}
}

func (w *world) submit(ctx context.Context, p planned, b *books) error {
	a, err := w.n.Core.SubmitInquiry(ctx, p.cmd)
	if err != nil {
		return err
	}
	if a.Refusal != refusals[p.fate] {
		return fmt.Errorf("inquiry %s must end as %q and was answered %q: %w", a.ProcessingNumber, refusals[p.fate].Code(), a.Refusal.Code(), ErrUnexpected)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case a.Refusal != 0:
		b.ended[p.fate]++
	case p.fate == lapses:
		b.lapsed[a.ProcessingNumber] = true
		b.ended[lapses]++
	default:
		b.due[a.ProcessingNumber] = p
	}
	return nil
}

// answerAll has every provider fetch its notifications and answer them until none is due.
func (w *world) answerAll(ctx context.Context, b *books) error {
	ctx, cancel := context.WithTimeoutCause(ctx, answerWithin, errors.New("the providers were not notified of everything in time"))
	defer cancel()
	var wg sync.WaitGroup
	errs := make([]error, len(w.agencies))
	for i, p := range w.agencies {
		wg.Go(func() { errs[i] = w.answerAs(ctx, p, b) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (b *books) outstanding(p *participant) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for _, x := range b.due {
		if x.way.provider == p {
			n++
		}
	}
	return n
}

func (w *world) answerAs(ctx context.Context, p *participant, b *books) error {
	for b.outstanding(p) > 0 {
		notes, err := w.n.Core.TakeNotifications(ctx, p.meta().Actor, commands.MaxNotifications)
		if err != nil {
			return err
		}
		answered, err := w.answerThese(ctx, p, notes, b)
		if err != nil {
			return err
		}
		if answered == 0 {
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
	return nil
}

func (w *world) answerThese(ctx context.Context, p *participant, notes []commands.Notification, b *books) (int, error) {
	var wg sync.WaitGroup
	limit := make(chan struct{}, submitters)
	errs := make(chan error, len(notes))
	answered := 0
	for _, note := range notes {
		b.mu.Lock()
		x, due := b.due[note.ProcessingNumber]
		delete(b.due, note.ProcessingNumber)
		b.mu.Unlock()
		if !due {
			continue
		}
		answered++
		limit <- struct{}{}
		wg.Go(func() {
			defer func() { <-limit }()
			errs <- w.answer(ctx, p, x, note, b)
		})
	}
	wg.Wait()
	close(errs)
	var failed error
	for err := range errs {
		failed = errors.Join(failed, err)
	}
	return answered, failed
}

// answer checks that the provider was told of the right person, by its own symbol, and reports.
func (w *world) answer(ctx context.Context, p *participant, x planned, note commands.Notification, b *books) error {
	if person, known := p.knows[note.Symbol]; !known || person != x.person {
		return fmt.Errorf("inquiry %s was translated into a symbol that is not the provider's for that person: %w", note.ProcessingNumber, ErrUnexpected)
	}
	f := inquiry.AnswerFields{Kind: inquiry.Provided}
	switch x.fate {
	case noSuchInformation:
		f.Kind = inquiry.NoSuchInformation
	case cannotProvide:
		f.Kind = inquiry.CannotProvide
	default:
		f.ProvidedAt, f.Items = time.Now(), note.Items
		f.NonDisclosure = note.ProcessingNumber[0] < 5 // about one of fifty is withheld from the person
	}
	if err := w.n.Core.ReportProvision(ctx, commands.ReportProvision{Meta: p.meta(), ProcessingNumber: note.ProcessingNumber, Answer: f}); err != nil {
		return err
	}
	b.mu.Lock()
	b.ended[x.fate]++
	b.mu.Unlock()
	w.progress("answer", 1)
	return nil
}

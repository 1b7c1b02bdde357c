// Package demo runs the main job of the core, whole, with made-up agencies and people: agencies and rules are
// registered, resident codes become symbols, inquiries are decided, translated, answered, refused or lapse, a
// person sees their records, and the ledger proves itself. It plays the part of everybody outside the core, knows
// what should come out, and fails if anything else does.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os/user"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"kiroku/adapters/hsm"
	"kiroku/cmd/kiroku/internal/node"
	"kiroku/commands"
	"kiroku/domain/event"
	"kiroku/domain/inquiry"
)

// Options say how much. The zero values are not usable; see the defaults of kiroku demo.
type Options struct {
	People    int
	Agencies  int // MinAgencies to MaxAgencies
	Inquiries int // at least MinInquiries, so that every outcome occurs
	Seed      uint64
	Progress  func(step string, done int) // nil: none
	Patience  time.Duration               // without any progress, after which it gives up; 0: DefaultPatience
}

// Bounds of Options.
const (
	MinAgencies  = 4
	MaxAgencies  = 200
	MinPeople    = 40
	MinInquiries = 20
)

// Check says what is wrong with the options.
func (o Options) Check() error {
	switch {
	case o.People < MinPeople:
		return fmt.Errorf("%d people are too few for every outcome to occur; give at least %d", o.People, MinPeople)
	case o.Agencies < MinAgencies || o.Agencies > MaxAgencies:
		return fmt.Errorf("%d agencies; give %d to %d", o.Agencies, MinAgencies, MaxAgencies)
	case o.Inquiries < MinInquiries:
		return fmt.Errorf("%d inquiries are too few for every outcome to occur; give at least %d", o.Inquiries, MinInquiries)
	}
	return nil
}

// Report is the outcome. Provided + Unanswerable + all of Refused + Lapsed = Inquiries.
type Report struct {
	People           int            `json:"people"`
	Agencies         int            `json:"agencies"`
	SymbolsIssued    int            `json:"symbols_issued"`
	AlreadyAcquired  int            `json:"already_acquired"`
	Inquiries        int            `json:"inquiries"`
	Provided         int            `json:"provided"`
	Unanswerable     int            `json:"unanswerable"`
	Refused          map[string]int `json:"refused"`
	Lapsed           int            `json:"lapsed"`
	DisclosedRecords int            `json:"disclosed_records"`
	Events           uint64         `json:"events"`
	VerifiedEvents   uint64         `json:"verified_events"`
	ElapsedMS        int64          `json:"elapsed_ms"`
	Steps            []Step         `json:"steps"`
}

// Step is what one step did and how long it took.
type Step struct {
	Name      string `json:"name"`
	Outcome   string `json:"outcome"`
	ElapsedMS int64  `json:"elapsed_ms"`
}

// ErrUnexpected: the core answered something else than the law and the demonstration's own books say.
var ErrUnexpected = errors.New("the core answered something unexpected")

// world is what everybody outside the core knows.
type world struct {
	n        *node.Node
	hsm      *hsm.HSM
	o        Options
	out      io.Writer
	random   *rand.Rand // of the goroutine of Run only
	official string     // the signed-in user, who keeps the registry
	first    int        // people of earlier runs: this run's are others
	agencies []*participant
	ways     []way // exchanges that the rules permit between the participants
	barred   way   // one whose provider's file has a PIA violation
	report   Report
	steps    atomic.Int64 // of progress

	unanswered map[inquiry.ProcessingNumber]bool // left for the core to lapse
}

// Run executes the demonstration against an active node. What it did is told to out, step by step.
func Run(ctx context.Context, n *node.Node, h *hsm.HSM, o Options, out io.Writer) (Report, error) {
	if err := o.Check(); err != nil {
		return Report{}, err
	}
	w := &world{n: n, hsm: h, o: o, out: out, random: rand.New(rand.NewPCG(o.Seed, 0)),
		report: Report{People: o.People, Agencies: o.Agencies, Inquiries: o.Inquiries, Refused: map[string]int{}}}
	signedIn, err := user.Current()
	if err != nil {
		return Report{}, fmt.Errorf("find out who is signed in: %w", err)
	}
	w.official = signedIn.Username
	ctx, end := w.whileItProceeds(ctx)
	defer end()
	began := time.Now()
	for _, step := range []struct {
		name string
		do   func(context.Context) (string, error)
	}{
		{"register agencies and scope rules (機関・利用事務の登録)", w.register},
		{"issue agency symbols (情報提供用個人識別符号の生成)", w.issue},
		{"inquire, decide, notify and answer (情報提供の求め・提供)", w.inquire},
		{"wait until what is unanswered lapses (有効期間の満了)", w.lapse},
		{"show people their records (情報提供等記録の開示)", w.disclose},
		{"prove the ledger (台帳の検証)", w.prove},
	} {
		at := time.Now()
		outcome, err := step.do(ctx)
		if err != nil {
			return w.report, fmt.Errorf("%s: %w", step.name, stuckOr(ctx, err))
		}
		took := time.Since(at)
		w.report.Steps = append(w.report.Steps, Step{step.name, outcome, took.Milliseconds()})
		fmt.Fprintf(out, "%s\n  %s  [%s]\n", step.name, outcome, took.Round(time.Millisecond))
	}
	w.report.ElapsedMS = time.Since(began).Milliseconds()
	return w.report, w.balance()
}

// balance checks that every inquiry ended in exactly one way.
func (w *world) balance() error {
	ended := w.report.Provided + w.report.Unanswerable + w.report.Lapsed
	for _, n := range w.report.Refused {
		ended += n
	}
	if ended != w.report.Inquiries {
		return fmt.Errorf("%d of %d inquiries ended: %w", ended, w.report.Inquiries, ErrUnexpected)
	}
	return nil
}

func (w *world) progress(step string, done int) {
	w.steps.Add(1)
	if w.o.Progress != nil {
		w.o.Progress(step, done)
	}
}

// meta makes a fresh command of somebody.
func meta(identity, role, agency string) commands.Meta {
	return commands.Meta{Actor: event.Actor{Identity: identity, Role: role, Agency: agency}, ID: uuid.Must(uuid.NewV7())}
}

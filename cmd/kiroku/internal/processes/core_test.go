package processes

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/google/uuid"

	"kiroku/adapters/clickhouse"
	"kiroku/adapters/eventstore"
	"kiroku/adapters/hsm"
	"kiroku/cmd/kiroku/internal/node"
	"kiroku/cmd/kiroku/internal/pki"
	"kiroku/commands"
	"kiroku/commands/sequencer"
	"kiroku/domain/agency"
	"kiroku/domain/event"
	"kiroku/domain/inquiry"
	"kiroku/domain/scope"
	"kiroku/domain/symbol"
)

// settings are the first line that a core reads.
type settings struct {
	Connection     string        `json:"connection"`
	HSM            string        `json:"hsm"`
	Views          string        `json:"views"`
	Anchors        string        `json:"anchors"`
	Queue          int           `json:"queue"`
	Batch          int           `json:"batch"`
	Offset         time.Duration `json:"offset"` // of the clock
	AnchorInterval time.Duration `json:"anchor_interval"`
	Keeps          bool          `json:"keeps"`      // for a year only, and ends days when asked to; its clock may be turned
	Statistics     string        `json:"statistics"` // data directory of the embedded ClickHouse; "": none
	Halt           string        `json:"halt"`       // where it stops itself, once, as if it were paused there; "": nowhere
}

// request is a line that a core reads: a command with the id under which it is known.
type request struct {
	Seq      int           `json:"seq"`
	Kind     string        `json:"kind"`
	ID       uuid.UUID     `json:"id"`
	Agency   string        `json:"agency,omitempty"` // who gives it
	Provider string        `json:"provider,omitempty"`
	Person   int           `json:"person,omitempty"`
	Issued   uuid.UUID     `json:"issued"`           // the issuance that gave the agency the person's symbol
	Number   string        `json:"number,omitempty"` // processing number
	Validity time.Duration `json:"validity,omitempty"`
	At       time.Time     `json:"at"`               // of the provision, or in the day meant
	Offset   time.Duration `json:"offset,omitempty"` // of the clock from now on
	Mark     int           `json:"mark,omitempty"`   // of the texts of a record, see marksOf
}

// answer is a line that a core writes. It holds no symbol and no code.
type answer struct {
	Seq     int    `json:"seq"`
	Outcome string `json:"outcome,omitempty"`
	Number  string `json:"number,omitempty"`
	Again   bool   `json:"again,omitempty"` // to be repeated with the same id
	Error   string `json:"error,omitempty"`
}

// The kinds of request.
const (
	registers = "register"
	publishes = "publish"
	issues    = "issue"
	inquires  = "inquire"
	reports   = "report"
	turns     = "turn the clock"
	asks      = "ask who is active"
	anchors   = "anchor"
	discloses = "disclose"
	ends      = "end days"
	holds     = "hold a day"
	plans     = "say how a day stands"
	rotates   = "rotate the vault"
)

const (
	affair      = "児童手当の支給"
	information = "住民票関係情報"
)

// core is the process behind the pipe.
type core struct {
	*node.Node
	offset    atomic.Int64 // of the clock, in nanoseconds
	symbols   sync.Map     // of the ids of issuances
	mu        sync.Mutex   // guards out
	out       *json.Encoder
	officials []pki.Signer // who approve what this core is asked for

	statistics *clickhouse.DB // nil: none
}

// runCore is a core until SIGTERM, or until nobody asks any longer.
func runCore(in io.Reader, out, logs io.Writer) int {
	log := slog.New(slog.NewTextHandler(logs, nil))
	if err := serveCore(in, out, log); err != nil {
		fmt.Fprintf(logs, "core: %v\n", err)
		return 2
	}
	return 0
}

func serveCore(in io.Reader, out io.Writer, log *slog.Logger) (err error) {
	told, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<20)
	var s settings
	if !lines.Scan() {
		return errors.New("no settings")
	}
	if err := json.Unmarshal(lines.Bytes(), &s); err != nil {
		return err
	}
	c := &core{out: json.NewEncoder(out)}
	c.offset.Store(int64(s.Offset))
	closeAll, err := c.open(told, s, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeAll()) }()
	requests := make(chan request)
	go func() {
		defer close(requests)
		for lines.Scan() {
			var r request
			if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
				log.Error("a request cannot be read", "error", err)
				return
			}
			requests <- r
		}
	}()
	return c.answerAll(told, requests)
}

// answerAll answers until told to stop; then it closes the node as kiroku serve does, while commands are under way.
func (c *core) answerAll(told context.Context, requests <-chan request) error {
	var underWay sync.WaitGroup
	for {
		select {
		case <-told.Done():
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			err := c.Close(ctx)
			underWay.Wait()
			return err
		case <-c.ViewsFailed():
			return errors.New("the views failed")
		case r, ok := <-requests:
			if !ok {
				return errors.New("nobody asks any longer")
			}
			underWay.Go(func() { c.tell(c.answer(r)) })
		}
	}
}

func (c *core) tell(a answer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.out.Encode(a) // whoever asked may be gone
}

func (c *core) now() time.Time { return time.Now().Add(time.Duration(c.offset.Load())) }

// open puts the node together as kiroku serve does, with shorter intervals.
func (c *core) open(ctx context.Context, s settings, log *slog.Logger) (func() error, error) {
	config, err := hsm.Provision(s.HSM, "kiroku")
	if err != nil {
		return nil, err
	}
	h, err := hsm.Open(ctx, config)
	if err != nil {
		return nil, err
	}
	store, err := eventstore.Open(eventstore.Config{ConnectionString: s.Connection, Logger: log})
	if err != nil {
		return nil, errors.Join(err, h.Close())
	}
	closeAll := func() error { return errors.Join(store.Close(), h.Close()) }
	own := node.Config{Store: store, HSM: h, Views: s.Views, Anchors: s.Anchors, Shards: 2, VaultBuckets: 16,
		AnchorInterval: s.AnchorInterval, LapseInterval: 50 * time.Millisecond, LeaseInterval: 100 * time.Millisecond, LeaseTimeout: time.Second,
		Queue: s.Queue, Batch: s.Batch, Retry: 20 * time.Millisecond, Now: c.now, Log: log}
	if s.Keeps {
		own.RetentionPolicy, own.RetentionInterval, own.LapseInterval, own.MaxClockStep = oneYear, -1, time.Hour, -1
		own.LeaseTimeout = time.Minute // it stands still while its memory is looked at
	}
	haltAt(s.Halt, &own, h)
	if own.Officials, c.officials, err = pki.InMemory("kiroku tests", c.now().Add(-time.Hour), c.now().AddDate(9, 0, 0)); err != nil {
		return nil, errors.Join(err, closeAll())
	}
	if c.Node, err = node.Open(ctx, own); err != nil {
		return nil, errors.Join(err, closeAll())
	}
	if s.Statistics != "" {
		if closeAll, err = c.count(ctx, s.Statistics, closeAll); err != nil {
			return nil, errors.Join(err, closeAll())
		}
	}
	go func() { // as kiroku serve does at longer intervals
		for ctx.Err() == nil && s.Halt == "" { // SoftHSM locks its files in every call, for as long as a process is stopped in it
			if err := h.Check(ctx); err != nil && ctx.Err() == nil {
				log.Error("the token failed its examination", "error", err)
			}
			time.Sleep(200 * time.Millisecond)
		}
	}()
	return closeAll, nil
}

// within is how long a core works on a request before it says that the outcome is open.
const within = 2 * time.Second

func (c *core) answer(r request) answer {
	limit := within
	if r.Kind == ends || r.Kind == rotates {
		limit = patience
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	a, err := c.execute(ctx, r)
	a.Seq = r.Seq
	if err != nil {
		a.Error = err.Error()
		for _, again := range []error{sequencer.ErrOutcomeOpen, sequencer.ErrNotWriter, sequencer.ErrUnavailable, sequencer.ErrOverloaded,
			sequencer.ErrClosed, sequencer.ErrClockBack, commands.ErrClockMoved} {
			a.Again = a.Again || errors.Is(err, again)
		}
	}
	return a
}

func (c *core) execute(ctx context.Context, r request) (answer, error) {
	switch r.Kind {
	case registers:
		return c.register(ctx, r)
	case publishes:
		return c.publish(ctx, r)
	case issues:
		issued, err := c.issue(ctx, r.ID, r.Agency, r.Person)
		if issued.AlreadyAcquired {
			return answer{Outcome: "already acquired"}, err
		}
		return answer{Outcome: "issued"}, err
	case inquires:
		return c.inquire(ctx, r)
	case reports:
		return c.report(ctx, r)
	case anchors, discloses, ends, holds, plans, rotates:
		return c.keep(ctx, r)
	case turns:
		c.offset.Store(int64(r.Offset))
		return answer{Outcome: "turned"}, nil
	case asks:
		if !c.Active() {
			return answer{Outcome: "stands by"}, nil
		}
		return answer{Outcome: "active"}, nil
	}
	return answer{}, fmt.Errorf("a request of kind %q", r.Kind)
}

// meta is the command's identity. Agencies' gateways give them, and an official those that concern the registry.
func (r request) meta() commands.Meta {
	if r.Kind == registers || r.Kind == publishes {
		return commands.Meta{Actor: event.Actor{Identity: "official", Role: "operator"}, ID: r.ID}
	}
	return meta(r.Agency, r.ID)
}

func meta(agency string, id uuid.UUID) commands.Meta {
	return commands.Meta{Actor: event.Actor{Identity: "gateway-" + agency, Role: "gateway", Agency: agency}, ID: id}
}

func (c *core) register(ctx context.Context, r request) (answer, error) {
	code, codeErr := agency.ParseCode(r.Agency)
	name, nameErr := agency.ParseName("見本 " + r.Agency)
	class, classErr := agency.ParseClass("市町村長")
	discloser, discloserErr := agency.ParseClass(commands.DisclosureClass)
	if err := errors.Join(codeErr, nameErr, classErr, discloserErr); err != nil {
		return answer{}, err
	}
	return answer{Outcome: "registered"}, c.Core.RegisterAgency(ctx, commands.RegisterAgency{Meta: r.meta(), Code: code, Name: name, Classes: []agency.Class{class, discloser}})
}

func (c *core) publish(ctx context.Context, r request) (answer, error) {
	rule, err := scope.ParseRow(scope.Row{ID: "R1", InquirerClass: "市町村長", Affair: affair, ProviderClass: "市町村長", Information: information,
		LegalBasis: "番号法19条8号・主務省令2条の表1の項", ValidFrom: "2024-05-27"})
	if err != nil {
		return answer{}, err
	}
	set, problems := scope.NewSet([]scope.Rule{rule})
	if len(problems) > 0 {
		return answer{}, fmt.Errorf("the rule: %s", problems[0])
	}
	return answer{Outcome: "published"}, c.Core.PublishScopeRules(ctx, commands.PublishScopeRules{Meta: r.meta(), Rules: set})
}

func (c *core) issue(ctx context.Context, id uuid.UUID, to string, person int) (commands.Issued, error) {
	code, err := agency.ParseCode(to)
	if err != nil {
		return commands.Issued{}, err
	}
	resident, err := symbol.WithCheckDigit(fmt.Appendf(nil, "%010d", person), symbol.Mod11)
	if err != nil {
		return commands.Issued{}, err
	}
	return c.Core.IssueSymbol(ctx, commands.IssueSymbol{Meta: meta(to, id), Agency: code, AcquisitionNumber: "A-1", Code: resident})
}

// symbolOf finds the agency's symbol as any gateway could that lost it: by giving the command that issued it again.
func (c *core) symbolOf(ctx context.Context, r request) (symbol.Agency, error) {
	if s, ok := c.symbols.Load(r.Issued); ok {
		return s.(symbol.Agency), nil
	}
	issued, err := c.issue(ctx, r.Issued, r.Agency, r.Person)
	if err != nil {
		return symbol.Agency{}, err
	}
	if issued.AlreadyAcquired {
		return symbol.Agency{}, errors.New("the command that issued a symbol now says that there was one already")
	}
	c.symbols.Store(r.Issued, issued.Symbol)
	return issued.Symbol, nil
}

func (c *core) inquire(ctx context.Context, r request) (answer, error) {
	s, err := c.symbolOf(ctx, r)
	if err != nil {
		return answer{}, err
	}
	inquirer, inquirerErr := agency.ParseCode(r.Agency)
	provider, providerErr := agency.ParseCode(r.Provider)
	m := marksOf(r.Mark)
	department, departmentErr := agency.ParseDepartment(m.Department)
	if err := errors.Join(inquirerErr, providerErr, departmentErr); err != nil {
		return answer{}, err
	}
	done, err := c.Core.SubmitInquiry(ctx, commands.SubmitInquiry{Meta: r.meta(), Symbol: s, Request: inquiry.Fields{
		Inquirer: inquirer, Department: department, Provider: provider,
		Affair: affair, Procedure: m.Procedure, Information: information, Items: []string{m.Item}, Validity: r.Validity}})
	if err != nil {
		return answer{}, err
	}
	if done.Refusal != 0 {
		return answer{Outcome: "refused: " + done.Refusal.Code(), Number: done.ProcessingNumber.String()}, nil
	}
	return answer{Outcome: "notified", Number: done.ProcessingNumber.String()}, nil
}

func (c *core) report(ctx context.Context, r request) (answer, error) {
	n, err := inquiry.ParseProcessingNumber(r.Number)
	if err != nil {
		return answer{}, err
	}
	return answer{Outcome: "reported"}, c.Core.ReportProvision(ctx, commands.ReportProvision{Meta: r.meta(), ProcessingNumber: n,
		Answer: inquiry.AnswerFields{Kind: inquiry.Provided, ProvidedAt: r.At, Items: []string{marksOf(r.Mark).Item}}})
}

// folder makes a folder of a core's own.
func folder(parts ...string) string {
	path := filepath.Join(parts...)
	_ = os.MkdirAll(path, 0o700) // whoever uses it will tell
	return path
}

// Package nodetest gives tests a whole core on its real parts: the event store over its wire, behind a network that can
// be harmed, and a SoftHSM token. It also plays the agencies.
package nodetest

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"iter"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"kiroku/adapters/eventstore"
	"kiroku/adapters/eventstore/embedded"
	"kiroku/adapters/eventstore/embedded/embeddedtest"
	"kiroku/adapters/eventstore/storetest"
	"kiroku/adapters/hsm"
	"kiroku/adapters/hsm/hsmtest"
	"kiroku/cmd/kiroku/internal/node"
	"kiroku/commands"
	"kiroku/domain/agency"
	"kiroku/domain/approval/approvaltest"
	"kiroku/domain/event"
	"kiroku/domain/inquiry"
	"kiroku/domain/ledger"
	"kiroku/domain/scope"
	"kiroku/domain/symbol"
)

// World is what outlives one core: the store's files, the token, the network between.
type World struct {
	TB     testing.TB
	Token  hsmtest.Token
	Files  *embeddedtest.Fixture
	Server *embedded.Server
	Proxy  *storetest.Proxy
	Dir    string
	Logs   *Log

	Authority *approvaltest.Authority // of officials; every core knows it, unless it is nil or configured otherwise
	officials []approvaltest.Official

	mu    sync.Mutex
	shift time.Duration // of the clock
	opens int
}

// New starts a store and makes a token.
func New(tb testing.TB) *World {
	tb.Helper()
	w := &World{TB: tb, Token: hsmtest.New(tb), Files: embeddedtest.New(tb), Dir: tb.TempDir(), Logs: &Log{}}
	w.Authority = approvaltest.NewAuthority(tb)
	for _, name := range []string{"First Official", "Second Official"} {
		w.officials = append(w.officials, w.Authority.Official(tb, name))
	}
	w.Server = w.Files.Open(tb)
	w.Proxy = storetest.NewProxy(tb, w.Server.Addr())
	return w
}

// WithoutOfficials has no core know of officials.
func (w *World) WithoutOfficials() *World {
	w.Authority = nil
	return w
}

// Now is the world's clock.
func (w *World) Now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Now().Add(w.shift)
}

// Turn moves the clock.
func (w *World) Turn(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.shift += d
}

// Core is one running core with its own client and views.
type Core struct {
	*node.Node
	W     *World
	HSM   *hsm.HSM
	Store *eventstore.Store
	once  sync.Once
}

// Open starts a core that stands by or leads. Its views lie in the folder named, so that a restart finds them.
func (w *World) Open(views string, change ...func(*node.Config)) *Core {
	w.TB.Helper()
	core, err := w.open(views, change...)
	if err != nil {
		w.TB.Fatal(err)
	}
	return core
}

// TryOpen returns why no core opens.
func (w *World) TryOpen(views string, change ...func(*node.Config)) error {
	w.TB.Helper()
	_, err := w.open(views, change...)
	return err
}

func (w *World) open(views string, change ...func(*node.Config)) (*Core, error) {
	w.TB.Helper()
	h := hsmtest.Reopen(w.TB, w.Token)
	store, err := eventstore.Open(eventstore.Config{ConnectionString: w.Proxy.Through(w.TB, w.Files.ConnectionString(w.Server))})
	if err != nil {
		w.TB.Fatal(err)
	}
	c := node.Config{Store: store, HSM: h, Views: filepath.Join(w.Dir, views), Anchors: filepath.Join(w.Dir, "anchors"),
		Shards: 2, VaultBuckets: 16, AnchorInterval: time.Hour, LapseInterval: 50 * time.Millisecond, RetentionInterval: -1,
		LeaseInterval: 100 * time.Millisecond, LeaseTimeout: 500 * time.Millisecond,
		Retry: 20 * time.Millisecond, Now: w.Now, MaxClockStep: -1, Log: slog.New(slog.NewTextHandler(w.Logs, nil))}
	if w.Authority != nil {
		c.Officials = w.Authority.Officials(w.TB)
	}
	for _, f := range change {
		f(&c)
	}
	n, err := node.Open(w.TB.Context(), c)
	if err != nil {
		_ = store.Close()
		return nil, err
	}
	core := &Core{Node: n, W: w, HSM: h, Store: store}
	w.TB.Cleanup(core.Stop)
	return core, nil
}

// Lead starts a core and waits until it is active.
func (w *World) Lead(views string, change ...func(*node.Config)) *Core {
	w.TB.Helper()
	c := w.Open(views, change...)
	c.WaitLead()
	return c
}

// WaitLead waits until the core is active.
func (c *Core) WaitLead() {
	c.W.TB.Helper()
	ctx, cancel := context.WithTimeout(c.W.TB.Context(), 2*time.Minute)
	defer cancel()
	if err := c.WaitActive(ctx); err != nil {
		c.W.TB.Fatalf("%v\n%s", err, c.W.Logs)
	}
	_ = c.Core.TakeConfigured(ctx) // as it does by itself before long; a test sees it always, or never
}

// Stop ends the core in order. It may be called more than once.
func (c *Core) Stop() {
	c.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := c.Close(ctx); err != nil {
			c.W.TB.Errorf("close the core: %v", err)
		}
		_ = c.Store.Close()
		_ = c.HSM.Close()
	})
}

// Verify proves the whole ledger as it is in the store and returns its events.
func (c *Core) Verify() []ledger.Event {
	c.W.TB.Helper()
	var all []ledger.Event
	for _, s := range event.Streams(c.Shards) {
		for e, err := range c.Events(c.W.TB.Context(), s) {
			if err != nil {
				c.W.TB.Fatal(err)
			}
			all = append(all, e)
		}
	}
	result, err := ledger.Verify(c.SigningKeys(), ledger.Options{}, Seq(all))
	if err != nil || !result.OK() {
		c.W.TB.Fatalf("the ledger does not verify: %v %v", err, result.Findings)
	}
	return all
}

// Seq yields events.
func Seq(events []ledger.Event) iter.Seq2[ledger.Event, error] {
	return func(yield func(ledger.Event, error) bool) {
		for _, e := range events {
			if !yield(e, nil) {
				return
			}
		}
	}
}

// Count counts events of a type.
func Count(events []ledger.Event, eventType string) int {
	n := 0
	for _, e := range events {
		if e.Type == eventType {
			n++
		}
	}
	return n
}

// Meta makes a fresh command, at the world's time, of an agency's gateway; of an operator for ""; of Juki-net for "juki".
func (w *World) Meta(agency string) commands.Meta {
	switch agency {
	case "":
		return w.MetaAs(commands.RoleOperator, "")
	case "juki":
		return w.MetaAs(commands.RoleJukiNet, "")
	}
	return w.MetaAs(commands.RoleGateway, agency)
}

// MetaAs is Meta in a role.
func (w *World) MetaAs(role, agency string) commands.Meta {
	return commands.Meta{Actor: event.Actor{Identity: role + "-" + agency, Role: role, Agency: agency}, ID: w.ID()}
}

// ID makes a UUIDv7 of the world's time.
func (w *World) ID() uuid.UUID {
	id := uuid.New()
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(w.Now().UnixMilli()))
	copy(id[:6], ms[2:])
	id[6] = id[6]&0x0f | 0x70
	return id
}

// AgencyCode parses a code.
func AgencyCode(tb testing.TB, code string) agency.Code {
	tb.Helper()
	c, err := agency.ParseCode(code)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// The affair and information that Rules permits, between any two agencies that Register registered.
const (
	Affair      = "児童手当の支給"
	Information = "住民票関係情報"
)

// Register registers agencies, all of class 市町村長 and fit to disclose records, and publishes the one rule.
func (c *Core) Register(codes ...string) {
	c.W.TB.Helper()
	ctx := c.W.TB.Context()
	var classes []agency.Class
	for _, name := range []string{"市町村長", commands.DisclosureClass} {
		class, err := agency.ParseClass(name)
		if err != nil {
			c.W.TB.Fatal(err)
		}
		classes = append(classes, class)
	}
	for _, code := range codes {
		name, err := agency.ParseName("見本 " + code)
		if err != nil {
			c.W.TB.Fatal(err)
		}
		err = c.Core.RegisterAgency(ctx, commands.RegisterAgency{Meta: c.W.Meta(""), Code: AgencyCode(c.W.TB, code), Name: name, Classes: classes})
		if err != nil {
			c.W.TB.Fatal(err)
		}
	}
	rule, err := scope.ParseRow(scope.Row{ID: "R1", InquirerClass: "市町村長", Affair: Affair, ProviderClass: "市町村長", Information: Information,
		LegalBasis: "番号法19条8号・主務省令2条の表1の項", ValidFrom: "2024-05-27"})
	if err != nil {
		c.W.TB.Fatal(err)
	}
	set, problems := scope.NewSet([]scope.Rule{rule})
	if len(problems) > 0 {
		c.W.TB.Fatal(problems)
	}
	if err := c.Core.PublishScopeRules(ctx, commands.PublishScopeRules{Meta: c.W.Meta(""), Rules: set}); err != nil {
		c.W.TB.Fatal(err)
	}
}

// Code makes the resident code of a made-up person.
func Code(tb testing.TB, person int) symbol.ResidentCode {
	tb.Helper()
	code, err := symbol.WithCheckDigit(fmt.Appendf(nil, "%010d", person), symbol.Mod11)
	if err != nil {
		tb.Fatal(err)
	}
	return code
}

// Issue asks for a symbol and fails the test if there is none.
func (c *Core) Issue(agency string, person int) symbol.Agency {
	c.W.TB.Helper()
	a, err := c.Core.IssueSymbol(c.W.TB.Context(), c.IssueCommand(agency, person))
	if err != nil || a.AlreadyAcquired {
		c.W.TB.Fatalf("issue to %s: %v, already acquired: %v", agency, err, a.AlreadyAcquired)
	}
	return a.Symbol
}

// IssueCommand makes a fresh request.
func (c *Core) IssueCommand(agency string, person int) commands.IssueSymbol {
	return commands.IssueSymbol{Meta: c.W.Meta(agency), Agency: AgencyCode(c.W.TB, agency), AcquisitionNumber: "A-1", Code: Code(c.W.TB, person)}
}

// Approve has two officials approve a proposal.
func (c *Core) Approve(p commands.Proposed) {
	c.W.TB.Helper()
	for _, by := range c.W.officials {
		order := commands.Approve{Meta: c.W.Meta(""), Proposal: p.Hash, Kind: p.Made.Kind, Given: by.Approve(c.W.TB, p.Hash)}
		if _, err := c.Core.Approve(c.W.TB.Context(), order); err != nil {
			c.W.TB.Fatal(err)
		}
	}
}

// Inquiry makes a fresh inquiry that the rule permits.
func (c *Core) Inquiry(inquirer, provider string, s symbol.Agency) commands.SubmitInquiry {
	c.W.TB.Helper()
	department, err := agency.ParseDepartment("福祉課")
	if err != nil {
		c.W.TB.Fatal(err)
	}
	return commands.SubmitInquiry{Meta: c.W.Meta(inquirer), Symbol: s, Request: inquiry.Fields{
		Inquirer: AgencyCode(c.W.TB, inquirer), Department: department, Provider: AgencyCode(c.W.TB, provider),
		Affair: Affair, Procedure: "認定", Information: Information, Items: []string{"世帯"}, Validity: time.Hour}}
}

// Log keeps what is logged, to be searched.
type Log struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write implements io.Writer.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

// String returns what was logged.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

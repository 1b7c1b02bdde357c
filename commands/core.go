// Package commands holds what may be asked of the core: one file per command. A command is
// checked by the domain's rules, decided on the stream that it changes, and answered when its one
// outcome is durable. The same command again gets the same answer and leaves no second event.
//
// Everything outside is reached through the small ports below.
package commands

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"kiroku/commands/sequencer"
	"kiroku/domain/agency"
	"kiroku/domain/approval"
	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/domain/keyring"
	"kiroku/domain/ledger"
	"kiroku/domain/register"
	"kiroku/domain/scope"
	"kiroku/domain/secret"
	"kiroku/domain/symbol"
)

// HSM makes what only the token can make.
type HSM interface {
	HMAC(ctx context.Context, label string, message []byte) (*secret.Bytes, error)
	EncryptBlocks(ctx context.Context, label string, blocks [][16]byte) error
	DecryptBlocks(ctx context.Context, label string, blocks [][16]byte) error
	EnsureDayKey(ctx context.Context, label string) error
}

// Registry answers from the registry of agencies and rules.
type Registry interface {
	Agency(code agency.Code) (agency.Agency, bool)
	Rules() scope.Set
	Violations() scope.Violations
	Command(id uuid.UUID) (register.Reference, bool, error)
	// LastAnchor returns the newest anchor, and false if there is none yet.
	LastAnchor() (register.Anchored, bool)
}

// Register answers from the issuance register (連携用符号発行管理ファイル).
type Register interface {
	ByManagement(register.Key) (register.Resolution, bool, error)
	ByLinkage(register.Key) (register.Holder, bool, error)
	Subject(register.SubjectID) (register.Sealed, bool, error)
	// People returns the headers of the events by which people came into the register, up to limit of them from a place on,
	// nil being the beginning, and the place to go on from: nil at the end.
	People(from []byte, limit int) (headers [][]byte, next []byte, err error)
	Command(id uuid.UUID) (register.Reference, bool, error)
}

// Inquiries answers how inquiries stand.
type Inquiries interface {
	Standing(processingNumber uuid.UUID) (register.Standing, bool, error)
	OpenFor(ctx context.Context, provider string, limit int) ([]register.Standing, error)
	Expired(now time.Time, limit int) ([]register.Standing, error)
	Command(id uuid.UUID) (register.Reference, bool, error)
}

// Records finds provision records (情報提供等記録) by the keyed index of a record symbol.
type Records interface {
	Records(key register.Key, from, to time.Time, limit int) ([]register.Sealed, error)
}

// Store reads single events back.
type Store interface {
	ReadForward(ctx context.Context, stream string, from uint64, limit int) ([]ledger.Event, error)
}

// Deps are what a Core is made of. All are required but Audit.
type Deps struct {
	HSM       HSM
	Keyring   *keyring.Keyring
	Store     Store
	Registry  Registry
	Register  Register
	Inquiries Inquiries
	Records   Records
	Retention Retention
	Officials approval.Officials // authorities of officials' certificates, as configured: the first set that is put in force
	Copies    []string           // names of the copies of the HSM's keys, as configured, sorted: to be declared
	Starter   string             // who runs this core; recorded with what it takes from the configuration
	// Development says that authorities for development count.
	Development bool
	// DayKey reports whether the HSM holds the key of a day. It MUST say no only if the token proved itself.
	DayKey func(ctx context.Context, day calendar.Day) (bool, error)
	Audit  func(id uuid.UUID) (register.Reference, bool, error) // commands seen in the audit stream
	Keys   func() ledger.KeySet                                 // verify events that are read back
	Now    func() time.Time
	Steady func() error            // says whether the clock was moved; nil: it is not watched
	Ended  func(calendar.Day) bool // whether the key of a day was destroyed; nil: none was
	// Opened reports whether the ledger, with all that was durable when the call began, has opened a day; nil: none is.
	Opened    func(ctx context.Context, day calendar.Day) (bool, error)
	Vault     VaultKeys                   // root keys of the vault; needed to rotate it
	Rotations func() []event.VaultRotated // that the registry says are done
	StandsBy  func() error                // why this process's last attempt to become the writer failed; nil: it did not
	Writer    uuid.UUID
	Shards    int // number of record streams, fixed at the first start
	// RegistryHas returns when the registry's view has everything below revision next.
	RegistryHas func(ctx context.Context, next uint64) error
	// RegistryNow returns when the registry's view has everything that was durable when the call began.
	RegistryNow func(ctx context.Context) error
	// RegisterHas returns when the register's view has everything of a stream, issuance or vault, below revision next.
	RegisterHas func(ctx context.Context, stream string, next uint64) error
	// RegisterCompact has the files of the register's view written anew, without the rows that it dropped.
	RegisterCompact func(ctx context.Context) error
	// NewSequencer makes the sequencer of a stream over an index.
	NewSequencer func(stream string, index sequencer.Index) *sequencer.Sequencer
}

// Core executes commands. It is safe for concurrent use.
type Core struct {
	d       Deps
	symbols *symbols

	registry *line
	vault    *line
	issuance *issuance
	audit    *line
	records  []*recordLine

	agencies *sequencer.Pending[string, bool]   // registered and not yet in the registry's view
	anchors  *sequencer.Pending[struct{}, bool] // written and not yet in the registry's view
	views    []func(uuid.UUID) (register.Reference, bool, error)
	claims   claims

	following follower      // of the vault
	opens     atomic.Int64  // the generation of the vault under which everybody was seen to be readable
	rotating  sync.Mutex    // held by the one rotation of the vault that somebody asked for
	vaultTurn chan struct{} // held by who adds a generation to the vault, or finishes it

	taking       atomic.Bool   // commands: every stream is this process's and the ledger is open
	configured   sync.Mutex    // held by who takes over what is configured
	daysMu       sync.Mutex    // serialises the opening of days, and guards lost
	lost         dayLoss       // the last one found
	registryTurn chan struct{} // held by the one call that writes a fact of the registry: each sees the one before it
}

// line is a stream with its writer and the commands that were seen in it.
type line struct {
	stream string
	seq    *sequencer.Sequencer
	refs   *sequencer.Pending[uuid.UUID, register.Reference]
	seen   func(uuid.UUID) (register.Reference, bool, error)
	taking func() bool // whether the core takes commands
}

// maxPending bounds the commands of a stream that a view has not caught up with.
const maxPending = 100_000

// New makes a core; its streams stand by until Takeover.
func New(d Deps) (*Core, error) {
	if d.Shards < 1 || d.Shards > event.MaxRecordShards {
		return nil, fmt.Errorf("%d record streams: 1 to %d are possible", d.Shards, event.MaxRecordShards)
	}
	if d.Steady == nil {
		d.Steady = func() error { return nil }
	}
	c := &Core{d: d, symbols: newSymbols(d.HSM), agencies: sequencer.NewPending[string, bool](), anchors: sequencer.NewPending[struct{}, bool](),
		claims: claims{by: map[uuid.UUID]*claim{}}, following: follower{chain: ledger.Chain{Stream: event.StreamVault}, generations: map[int]generation{}}, vaultTurn: make(chan struct{}, 1), registryTurn: make(chan struct{}, 1)}
	none := func(uuid.UUID) (register.Reference, bool, error) { return register.Reference{}, false, nil }
	if d.Audit == nil {
		d.Audit = none
	}
	c.views = []func(uuid.UUID) (register.Reference, bool, error){d.Registry.Command, d.Register.Command, d.Inquiries.Command, d.Audit}
	c.registry = c.newLine(event.StreamRegistry, d.Registry.Command, c.agencies, c.anchors)
	c.vault = c.newLine(event.StreamVault, none)
	c.audit = c.newLine(event.StreamAudit, d.Audit)
	c.issuance = c.newIssuance()
	for i := range d.Shards {
		c.records = append(c.records, c.newRecordLine(event.RecordStream(i)))
	}
	return c, nil
}

func (c *Core) newLine(stream string, seen func(uuid.UUID) (register.Reference, bool, error), more ...sequencer.Index) *line {
	l := &line{stream: stream, seen: seen, taking: c.taking.Load, refs: newRefs()}
	l.seq = c.d.NewSequencer(stream, append(sequencer.Indexes{l.refs}, more...))
	return l
}

// keptEntries is how long, in revisions, what was decided stays at hand after the view has it: longer than any
// call is under way.
const keptEntries = 4096

func newRefs() *sequencer.Pending[uuid.UUID, register.Reference] {
	return sequencer.NewPending[uuid.UUID, register.Reference]().Keeping(keptEntries)
}

// lines returns every stream, in the order of event.Streams.
func (c *Core) lines() []*line {
	out := []*line{c.registry, c.vault, &c.issuance.line, c.audit}
	for _, r := range c.records {
		out = append(out, &r.line)
	}
	return out
}

// Takeover makes this process the writer of every stream. It takes commands from the end of OpenLedger on: before, a
// decision on one stream could rest on what another does not have yet. With a clock that was moved while it stood by it
// takes over nothing (ErrClockMoved): epochs that begin in a time to come would keep every core with a right clock away.
func (c *Core) Takeover(ctx context.Context) error {
	if err := c.d.Steady(); err != nil {
		return fmt.Errorf("take over: %w", err)
	}
	lines := c.lines()
	errs := make([]error, len(lines))
	var wg sync.WaitGroup
	for i, l := range lines {
		wg.Go(func() { errs[i] = l.seq.Takeover(ctx) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Active reports whether this process writes every stream.
func (c *Core) Active() bool {
	for _, l := range c.lines() {
		if !l.seq.Active() {
			return false
		}
	}
	return true
}

// StandDown makes every stream stand by: another core took over one of them.
func (c *Core) StandDown() {
	c.taking.Store(false)
	for _, l := range c.lines() {
		l.seq.StandDown()
	}
}

// Sequencers returns the streams' sequencers, for health and metrics.
func (c *Core) Sequencers() map[string]*sequencer.Sequencer {
	out := map[string]*sequencer.Sequencer{}
	for _, l := range c.lines() {
		out[l.stream] = l.seq
	}
	return out
}

// Heads returns the durable heads of every stream that has events.
func (c *Core) Heads() []ledger.Head {
	var out []ledger.Head
	for _, l := range c.lines() {
		if h, ok := l.seq.Head(); ok && h.Count > 0 {
			out = append(out, h)
		}
	}
	return out
}

// Projected tells the core that a view has everything of a stream below revision next: what was
// pending until then is found in the view from now on.
func (c *Core) Projected(stream string, next uint64) {
	for _, r := range c.records {
		if r.stream == stream {
			r.refs.Projected(next)
			r.standings.Projected(next)
			return
		}
	}
	switch stream {
	case event.StreamRegistry:
		c.registry.refs.Projected(next)
		c.agencies.Projected(next)
		c.anchors.Projected(next)
	case event.StreamVault:
		c.vault.refs.Projected(next)
	case event.StreamAudit:
		c.audit.refs.Projected(next)
	case event.StreamIssuance:
		c.issuance.projected(next)
	}
}

// Close finishes what was taken and takes nothing more.
func (c *Core) Close(ctx context.Context) error {
	lines := c.lines()
	errs := make([]error, len(lines))
	var wg sync.WaitGroup
	for i, l := range lines {
		wg.Go(func() { errs[i] = l.seq.Close(ctx) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// writer refuses what is asked of a core that stands by: its views are behind, and so would be its answers.
func (c *Core) writer() error {
	if c.taking.Load() {
		return nil
	}
	if c.d.StandsBy != nil {
		if why := c.d.StandsBy(); why != nil {
			return fmt.Errorf("%w; this core tried to become active and could not: %w", sequencer.ErrNotWriter, why)
		}
	}
	return sequencer.ErrNotWriter
}

// refuse answers no because of what stands, or does not stand, in a stream: it gives that reason once this process is
// known to be the stream's writer still, and else the error that says so.
func (l *line) refuse(ctx context.Context, reason error) error {
	_, err := l.seq.Submit(ctx, func(uint64) ([]ledger.Draft, error) { return nil, reason })
	return err
}

func (c *Core) now() time.Time { return c.d.Now().UTC().Truncate(time.Microsecond) }

// digits is the policy for check digits; the official formula is set by notice.
var digits symbol.CheckDigit = symbol.Mod11

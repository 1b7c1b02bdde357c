// Package node puts one core together: the HSM, the client of the event store, the views, the projections that follow
// the ledger, the commands that extend it, and the election of the active core. The whole program, its
// demonstration and its benchmarks run this same wiring.
package node

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"kiroku/adapters/eventstore"
	"kiroku/adapters/hsm"
	"kiroku/adapters/views"
	"kiroku/cmd/kiroku/internal/freed"
	"kiroku/commands"
	"kiroku/commands/leadership"
	ends "kiroku/commands/retention"
	"kiroku/commands/sequencer"
	"kiroku/domain/approval"
	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/domain/keyring"
	"kiroku/domain/ledger"
	policy "kiroku/domain/retention"
	"kiroku/projections"
	"kiroku/projections/dedup"
	"kiroku/projections/disclosure"
	"kiroku/projections/mediation"
	"kiroku/projections/registry"
	"kiroku/projections/retention"
)

// Config is what a node is made of. Store, HSM, Views and Anchors are required.
type Config struct {
	Store   *eventstore.Store
	HSM     *hsm.HSM
	Name    string // of this core, where people ask which one is active: its machine and process
	Views   string // folder of the views; one process at a time
	Anchors string // folder of the newest anchor known outside the store

	Shards         int           // record streams of a new ledger; default 4
	VaultBuckets   int           // of a new ledger; default commands.DefaultVaultBuckets
	AnchorInterval time.Duration // default one minute
	LapseInterval  time.Duration // default one second
	LeaseInterval  time.Duration // default leadership.DefaultInterval
	LeaseTimeout   time.Duration // default leadership.DefaultTimeout

	Officials   approval.Officials // authorities of officials' certificates: the first set that is put in force
	Development bool               // whether authorities for development count
	Copies      []string           // names of the copies of the HSM's keys, to be declared
	Starter     string             // who runs this node, to be recorded; "": not known

	// Elsewhere names the projections that lie in other stores and are given to Follow: no certificate of a day's end is
	// written before they have dropped the day, also while they are not there.
	Elsewhere []string

	RetentionInterval time.Duration        // between two passes of the retention; default one hour, negative: none by itself
	RetentionPolicy   policy.Policy        // of tests; default policy.Statutory
	CommandPorts      func(*commands.Deps) // puts faults into the ports of the commands, in tests; nil: none
	RetentionPorts    func(*ends.Deps)     // puts faults into the ports of the retention, in tests; nil: none
	DayKeyLifetime    time.Duration        // of keys of days in memory, unused or without word of the ledger; default keyring.DefaultDayKeyLifetime
	Elapsed           func() time.Time     // the clock of that, which only goes on; default time.Now
	Release           func()               // frees memory when days have ended, before that is certified; default freed.Release

	FlushInterval    time.Duration      // between two flushes of the views; default views.DefaultFlushEvery
	Queue, Batch     int                // of each sequencer; 0: its defaults
	Retry            time.Duration      // of appends of open outcome; 0: the sequencer's default
	RotationInterval time.Duration      // between two looks for a rotation of the vault that was interrupted; default ten seconds
	VaultKeys        commands.VaultKeys // nil: those of HSM

	Now          func() time.Time
	MaxClockStep time.Duration // how far the clock may be moved while the node runs; default one minute, negative: not watched
	Log          *slog.Logger
	Metrics      projections.Metrics // nil: none
}

// Node is a running core.
type Node struct {
	Core    *commands.Core
	Runner  *projections.Runner
	Keyring *keyring.Keyring
	Ledger  string // leaf hash of the registry's first event
	Shards  int

	Registry   *registry.Registry
	Dedup      *dedup.Dedup
	Mediation  *mediation.Mediation
	Disclosure *disclosure.Disclosure
	Retention  *retention.Retention

	RetentionProcess *ends.Process // ends days, while this node is active

	c         Config
	store     store
	trust     *trust
	candidate *leadership.Candidate
	views     *views.DB
	writer    uuid.UUID
	begun     time.Time // of the ledger's first event
	stop      context.CancelFunc
	running   sync.WaitGroup

	rotationFailed atomic.Pointer[error]
	vaultAlarm     atomic.Pointer[error]
	dayKeysFailed  atomic.Pointer[error]
	takeoverFailed atomic.Pointer[error]

	releases  *time.Timer  // calls release
	releasing atomic.Int32 // how often it does so still

	followedMu sync.Mutex // guards followed
	followed   []*projections.Runner

	stopGiving context.CancelFunc
	giving     sync.WaitGroup // the commands that the node gives itself
	kept       sync.Mutex     // guards unkept
	unkept     *ledger.Anchor // written, and not yet kept outside the store
}

func (c Config) withDefaults() Config {
	if c.Shards == 0 {
		c.Shards = 4
	}
	if c.VaultBuckets == 0 {
		c.VaultBuckets = commands.DefaultVaultBuckets
	}
	if c.AnchorInterval == 0 {
		c.AnchorInterval = time.Minute
	}
	if c.LapseInterval == 0 {
		c.LapseInterval = time.Second
	}
	if c.RetentionInterval == 0 {
		c.RetentionInterval = time.Hour
	}
	if c.RotationInterval == 0 {
		c.RotationInterval = 10 * time.Second
	}
	if c.VaultKeys == nil {
		c.VaultKeys = vaultKeys{c.HSM}
	}
	if c.Release == nil {
		c.Release = freed.Release
	}
	if c.RetentionPolicy == (policy.Policy{}) {
		c.RetentionPolicy = policy.Statutory
	}
	if c.MaxClockStep == 0 {
		c.MaxClockStep = time.Minute
	}
	if c.DayKeyLifetime == 0 {
		c.DayKeyLifetime = keyring.DefaultDayKeyLifetime
	}
	if c.Elapsed == nil {
		c.Elapsed = time.Now
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// Open puts the node together and starts following the ledger. It stands by until it is elected; see Active.
func Open(ctx context.Context, c Config) (*Node, error) {
	n := &Node{c: c.withDefaults(), store: store{c.Store}, writer: uuid.New()}
	n.releases = time.AfterFunc(math.MaxInt64, n.release)
	if err := n.open(ctx); err != nil {
		return nil, errors.Join(err, n.closeViews())
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	n.stop = stop
	giving, stopGiving := context.WithCancel(running)
	n.stopGiving = stopGiving
	n.running.Go(func() { n.Runner.Run(running) })
	n.running.Go(func() { n.candidate.Run(running) })
	n.giving.Go(func() { n.whileActive(giving, n.c.AnchorInterval, "anchor", n.anchor) })
	n.giving.Go(func() { n.whileActive(giving, n.c.LapseInterval, "lapse inquiries", n.lapse) })
	if n.c.RetentionInterval > 0 {
		n.giving.Go(func() { n.daily(giving, "make day keys", n.makeDayKeys) })
		n.giving.Go(func() { n.daily(giving, "look for waiting deletions", n.tellWaiting) })
		n.giving.Go(func() {
			n.whileActive(giving, min(dayKeyLook, n.c.RetentionInterval), "look for the key of today", n.lookForDayKeys)
		})
		n.giving.Go(func() { n.daily(giving, "retention", n.endDays) })
	}
	n.giving.Go(func() { n.whileActive(giving, approvalInterval, "carry out approvals", n.Core.CarryOutApprovals) })
	n.giving.Go(func() { n.takeConfigured(giving) })
	n.giving.Go(func() {
		n.whileActive(giving, n.c.RotationInterval, "finish the rotation of the vault", n.resumeRotation)
	})
	n.running.Go(func() { n.followVault(running) })
	n.running.Go(func() { n.ageDayKeys(running) })
	return n, nil
}

func (n *Node) open(ctx context.Context) error {
	own, err := ownKey(ctx, n.c.HSM)
	if err != nil {
		return err
	}
	root, err := ledger.NewKeySet(own)
	if err != nil {
		return err
	}
	n.trust = &trust{own: own, root: root}
	first, err := n.genesis(ctx)
	if err != nil {
		return err
	}
	n.Ledger, n.begun = ledger.LedgerID(first.Leaf), first.Header.Time
	opened, err := n.ledgerOpened(ctx)
	if err != nil {
		return err
	}
	n.Shards = n.c.Shards
	if opened != nil {
		n.Shards = opened.RecordShards
		if err := n.sameToken(ctx, opened.Sentinel); err != nil {
			return err
		}
	}
	if err := n.checkKnownAnchor(ctx); err != nil {
		return err
	}
	n.Keyring, err = keyring.New(ctx, n.c.HSM, n.store, keyring.Options{KeyGone: func(err error) bool { return errors.Is(err, hsm.ErrNoKey) },
		Elapsed: n.c.Elapsed, DayKeyLifetime: n.c.DayKeyLifetime})
	if err != nil {
		return err
	}
	if err := n.openProjections(); err != nil {
		return err
	}
	if err := n.openCommands(ctx); err != nil {
		return err
	}
	n.candidate = leadership.New(leadership.Options{Lease: lease{n.store, n.c.Name}, Writer: n.writer, Interval: n.c.LeaseInterval, Timeout: n.c.LeaseTimeout,
		Acquire: n.acquire, StandDown: n.Core.StandDown, Logger: n.c.Log})
	return nil
}

func (n *Node) openProjections() (err error) {
	if n.views, err = views.Open(n.c.Views, views.Options{Ledger: n.Ledger, Logger: n.c.Log, FlushEvery: n.c.FlushInterval}); err != nil {
		return err
	}
	if n.Registry, err = registry.Open(n.views, n.trust.SigningKeys()); err != nil {
		return err
	}
	n.trust.registry = n.Registry
	if n.Dedup, err = dedup.Open(n.views, n.Keyring); err != nil {
		return err
	}
	if n.Mediation, err = mediation.Open(n.views); err != nil {
		return err
	}
	if n.Disclosure, err = disclosure.Open(n.views, n.Keyring); err != nil {
		return err
	}
	if n.Retention, err = retention.Open(n.views, n.forget); err != nil {
		return err
	}
	for _, d := range n.Retention.Snapshot().Days() { // what ended before this process began it is not told again
		if !d.Living() {
			n.Keyring.End(d.Day)
		}
	}
	n.Runner, err = projections.New(projections.Config{
		Source: n.store, Opener: n.Keyring, Trust: n.trust, Streams: event.Streams(n.Shards), Metrics: n.c.Metrics, Log: n.c.Log, Clock: n.c.Now,
		Projections: []projections.Projection{n.Registry, n.Dedup, n.Mediation, n.Disclosure, n.Retention},
	})
	return err
}

func (n *Node) openCommands(ctx context.Context) (err error) {
	ports := commands.Deps{
		HSM: n.c.HSM, Keyring: n.Keyring, Store: n.store, Registry: registryView{n.Registry}, Register: registerView{n.Dedup},
		Inquiries: inquiriesView{n.Mediation}, Records: recordsView{n.Disclosure}, Audit: commandView(n.Disclosure.Command).closing,
		Retention: retentionView{n.Retention}, Officials: n.c.Officials, Copies: slices.Sorted(slices.Values(n.c.Copies)), Starter: n.c.Starter, Development: n.c.Development, DayKey: n.dayKey, Opened: n.dayOpened,
		Ended: func(day calendar.Day) bool { return n.Retention.Snapshot().Destroyed(day) },
		Keys:  n.trust.SigningKeys, Steady: steady(n.c.Now, n.c.MaxClockStep), Now: n.c.Now, Writer: n.writer, Shards: n.Shards,
		RegistryHas: n.registryHas, RegistryNow: n.registryNow, RegisterHas: n.registerHas, Rotations: n.rotations, Vault: n.c.VaultKeys,
		NewSequencer: n.newSequencer,
		StandsBy:     n.TakeoverFailed, RegisterCompact: n.Dedup.Compact,
	}
	if n.c.CommandPorts != nil {
		n.c.CommandPorts(&ports)
	}
	n.Core, err = commands.New(ports)
	if err != nil {
		return err
	}
	for stream, name := range n.decisive() {
		if err := n.Runner.OnApplied(name, stream, func(next uint64) { n.Core.Projected(stream, next) }); err != nil {
			return err
		}
	}
	n.openRetention()
	return nil
}

// decisive names, for each stream, the projection on which its decisions run.
func (n *Node) decisive() map[string]string {
	by := map[string]string{event.StreamRegistry: registry.Name, event.StreamIssuance: dedup.Name, event.StreamVault: dedup.Name, event.StreamAudit: disclosure.Name}
	for _, s := range event.RecordStreams(n.Shards) {
		by[s] = mediation.Name
	}
	return by
}

func (n *Node) newSequencer(stream string, index sequencer.Index) *sequencer.Sequencer {
	projection, decides := n.decisive()[stream]
	o := sequencer.Options{Stream: stream, Store: n.store, Signer: signer{n.c.HSM, n.trust.own.ID}, Keys: n.trust.SigningKeys, Index: index,
		Writer: n.writer, Now: n.c.Now, Queue: n.c.Queue, Batch: n.c.Batch, Retry: n.c.Retry, Logger: n.c.Log,
		Lost: func(string) { n.candidate.Lost() }}
	if decides {
		o.CaughtUp = func(ctx context.Context, next uint64) error {
			if stream == event.StreamRegistry {
				return n.registryHas(ctx, next)
			}
			if err := n.dropsEnded(ctx, projection); err != nil {
				return err
			}
			return n.Runner.WaitFor(ctx, projection, stream, next)
		}
	}
	return sequencer.New(o)
}

// dropsEnded returns when a projection knows of every day that has ended up to now: an inquiry on a day that a hold keeps
// looks open in a view made anew until the view knows that the day of its answer has ended.
func (n *Node) dropsEnded(ctx context.Context, projection string) error {
	next, err := n.store.Count(ctx, event.StreamRegistry)
	if err != nil {
		return err
	}
	err = n.Runner.WaitFor(ctx, projection, event.StreamRegistry, next)
	if errors.Is(err, projections.ErrUnknownProjection) {
		return nil // it keeps nothing that ends with a day
	}
	return err
}

// Sequencer makes the writer of a further stream, which no projection follows, with the client and the signing key of this
// node. The caller closes it before the node.
func (n *Node) Sequencer(stream string) *sequencer.Sequencer {
	return n.newSequencer(stream, sequencer.Indexes{})
}

// acquire makes this node the writer, and keeps why it could not for those who give it commands.
func (n *Node) acquire(ctx context.Context) error {
	err := n.takeOver(ctx)
	n.takeoverFailed.Store(&err)
	return err
}

// TakeoverFailed returns why this node's last attempt to become active failed; nil if it did not, or was none.
func (n *Node) TakeoverFailed() error {
	if failed := n.takeoverFailed.Load(); failed != nil && !n.Active() {
		return *failed
	}
	return nil
}

// takeOver makes this node the writer of every stream and opens the ledger if it is new.
func (n *Node) takeOver(ctx context.Context) error {
	if err := n.Core.Takeover(ctx); err != nil {
		return err
	}
	sentinel, err := n.c.HSM.SentinelValue(ctx)
	if err != nil {
		return err
	}
	own := n.trust.own
	own.ValidFrom = n.begun.Truncate(time.Second)
	keys, err := ledger.NewKeySet(own)
	if err != nil {
		return err
	}
	return n.Core.OpenLedger(ctx, commands.Opening{VaultBuckets: n.c.VaultBuckets, Sentinel: sentinel, Keys: keys})
}

// Active reports whether this node decides commands.
func (n *Node) Active() bool { return n.candidate.Active() }

// ActiveCore returns the name of the core that was active last, as it calls itself; "" if it ended in order, or has none.
func (n *Node) ActiveCore(ctx context.Context) (string, error) {
	last, _, err := lease{s: n.store}.last(ctx)
	if err != nil || last.Released {
		return "", err
	}
	return last.Core, nil
}

// WaitActive returns when this node decides commands.
func (n *Node) WaitActive(ctx context.Context) error {
	for !n.Active() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait to become the active core: %w", context.Cause(ctx))
		case <-time.After(10 * time.Millisecond):
		}
	}
	return nil
}

// CaughtUp returns when every projection has everything that is durable now.
func (n *Node) CaughtUp(ctx context.Context) error { return n.CaughtUpWith(ctx, n.Runner) }

// Close drains the commands under way until ctx ends, anchors what they wrote, releases the lease and closes the views.
func (n *Node) Close(ctx context.Context) error {
	var errs []error
	n.stopGiving() // what the node does by itself must not hold up its end
	n.giving.Wait()
	if n.Active() {
		_, err := n.anchorNow(ctx)
		errs = append(errs, err)
	}
	errs = append(errs, n.Core.Close(ctx))
	n.stop()
	n.running.Wait()
	n.releases.Stop()
	return errors.Join(append(errs, n.closeViews())...)
}

func (n *Node) closeViews() error {
	if n.views == nil {
		return nil
	}
	return n.views.Close()
}

// SigningKeys returns the keys that this node trusts to have signed events.
func (n *Node) SigningKeys() ledger.KeySet { return n.trust.SigningKeys() }

var errStopped = errors.New("stopped")

// Events yields a stream from its beginning to its end as it is stored.
func (n *Node) Events(ctx context.Context, stream string) iter.Seq2[ledger.Event, error] {
	return func(yield func(ledger.Event, error) bool) {
		err := n.c.Store.Iterate(ctx, stream, 0, func(batch []ledger.Event) error {
			for _, e := range batch {
				if !yield(e, nil) {
					return errStopped
				}
			}
			return nil
		})
		if err != nil && !errors.Is(err, errStopped) && !errors.Is(err, eventstore.ErrNoStream) {
			yield(ledger.Event{}, err)
		}
	}
}

// ViewsFailed is closed when the views cannot be written any more: the process has to end, and another begins.
func (n *Node) ViewsFailed() <-chan struct{} { return n.views.Failed() }

// ViewsError says why, after ViewsFailed.
func (n *Node) ViewsError() error { return n.views.Err() }

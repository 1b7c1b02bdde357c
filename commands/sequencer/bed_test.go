package sequencer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"kiroku/commands/sequencer"
	"kiroku/domain/event"
	"kiroku/domain/ledger"
	"kiroku/domain/ledger/ledgertest"
)

const stream = "record-00"

// tester is what *testing.T and *rapid.T have in common.
type tester interface {
	Helper()
	Fatal(...any)
	Fatalf(string, ...any)
	Errorf(string, ...any)
}

// shelf is the log that all writers share: what the event store holds. It behaves as the store does,
// which compares ids only.
type shelf struct {
	mu     sync.Mutex
	events []ledger.Event
	late   []func() // appends given up by their senders, still on their way
}

func (s *shelf) put(next uint64, events []ledger.Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	have := uint64(len(s.events))
	if next == have {
		for _, e := range events {
			e.Data, e.Metadata = bytes.Clone(e.Data), bytes.Clone(e.Metadata)
			s.events = append(s.events, e)
		}
		return nil
	}
	for i, e := range events {
		if at := next + uint64(i); at >= have || s.events[at].ID != e.ID {
			return fmt.Errorf("expected %d, is at %d: %w", next, have, sequencer.ErrWrongRevision)
		}
	}
	return nil
}

// land lets everything arrive that is still on its way.
func (s *shelf) land() {
	s.mu.Lock()
	late := s.late
	s.late = nil
	s.mu.Unlock()
	for _, arrive := range late {
		arrive()
	}
}

func (s *shelf) all() []ledger.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.events)
}

// fault is what happens to one call of the store.
type fault int

const (
	none     fault = iota
	dropped        // not persisted, outcome open
	unheard        // persisted, the answer is lost
	delayed        // given up, lands when the shelf says so
	refused        // not persisted, and never will be
	noRoom         // not persisted: the store cannot write for now
	noAnswer       // neither persisted nor answered until the caller gives up
)

var errFault = errors.New("injected fault")

// door is one writer's way to the shelf, with faults of its own.
type door struct {
	*shelf
	mu       sync.Mutex
	append   func(next uint64, events []ledger.Event) fault // nil: none
	read     func() error                                   // nil: none
	gate     chan struct{}                                  // appends wait here for a value
	appends  int
	largest  int // events in one append
	heaviest int // bytes in one append
}

func (d *door) faults(f func(next uint64, events []ledger.Event) fault) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.append = f
}

func (d *door) readFaults(f func() error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.read = f
}

// inTurn makes the next appends meet these faults, and none after.
func (d *door) inTurn(faults ...fault) {
	d.faults(func(uint64, []ledger.Event) fault {
		if len(faults) == 0 {
			return none
		}
		f := faults[0]
		faults = faults[1:]
		return f
	})
}

// hold makes appends wait until release.
func (d *door) hold() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.gate = make(chan struct{})
}

func (d *door) release() {
	d.mu.Lock()
	defer d.mu.Unlock()
	close(d.gate)
	d.gate = nil
}

func (d *door) Append(ctx context.Context, name string, next uint64, events []ledger.Event) error {
	d.mu.Lock()
	gate, f := d.gate, none
	if d.append != nil {
		f = d.append(next, events)
	}
	d.appends++
	d.largest = max(d.largest, len(events))
	size := 0
	for _, e := range events {
		size += len(e.Data) + len(e.Metadata) + 2*len(e.Type)
	}
	d.heaviest = max(d.heaviest, size)
	d.mu.Unlock()
	if name != stream {
		return fmt.Errorf("stream %s: %w", name, sequencer.ErrRefused)
	}
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return fmt.Errorf("held: %w", ctx.Err())
		}
	}
	return d.perform(ctx, f, next, events)
}

func (d *door) perform(ctx context.Context, f fault, next uint64, events []ledger.Event) error {
	switch f {
	case dropped:
		return errFault
	case unheard:
		return errors.Join(errFault, errors.Unwrap(d.put(next, events))) // whatever came of it, nobody hears
	case delayed:
		d.shelf.mu.Lock()
		defer d.shelf.mu.Unlock()
		d.late = append(d.late, func() { _ = d.put(next, events) })
		return errFault
	case refused:
		return fmt.Errorf("%w: %w", sequencer.ErrRefused, errFault)
	case noRoom:
		return fmt.Errorf("%w: %w", sequencer.ErrUnavailable, errFault)
	case noAnswer:
		<-ctx.Done()
		return ctx.Err()
	}
	return d.put(next, events)
}

func (d *door) ReadForward(ctx context.Context, name string, from uint64, limit int) ([]ledger.Event, error) {
	if err := d.failRead(ctx); err != nil {
		return nil, err
	}
	all := d.all()
	from = min(from, uint64(len(all)))
	return all[from:min(from+uint64(limit), uint64(len(all)))], nil
}

func (d *door) ReadLast(ctx context.Context, name string) (ledger.Event, bool, error) {
	if err := d.failRead(ctx); err != nil {
		return ledger.Event{}, false, err
	}
	all := d.all()
	if len(all) == 0 {
		return ledger.Event{}, false, nil
	}
	return all[len(all)-1], true, nil
}

func (d *door) failRead(ctx context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.read != nil {
		return d.read()
	}
	return ctx.Err()
}

// signer is the HSM.
type signer struct {
	key ledgertest.Key
	mu  sync.Mutex
	err error
}

func (s *signer) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *signer) KeyID() string { return s.key.ID }

func (s *signer) Sign(_ context.Context, digest [32]byte) ([64]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return [64]byte{}, s.err
	}
	return s.key.Sign(digest)
}

// bed is a log under test with everything that its writers were told, to be proved at the end.
type bed struct {
	t     tester
	shelf *shelf
	key   ledgertest.Key
	keys  ledger.KeySet

	mu      sync.Mutex
	offset  time.Duration // of the clock
	desks   []*desk
	acked   map[uuid.UUID]acked // by command
	open    map[uuid.UUID]bool  // commands of which nobody knows
	refused map[uuid.UUID]error // commands that surely did nothing
}

type acked struct {
	first  uint64
	events int
}

func newBed(t tester) *bed {
	t.Helper()
	key, err := ledgertest.NewKey("sign/1")
	if err != nil {
		t.Fatal(err)
	}
	keys, err := key.KeySet()
	if err != nil {
		t.Fatal(err)
	}
	return &bed{t: t, shelf: &shelf{}, key: key, keys: keys,
		acked: map[uuid.UUID]acked{}, open: map[uuid.UUID]bool{}, refused: map[uuid.UUID]error{}}
}

// inBubble runs a test on fake time; it ends only when no goroutine is left.
func inBubble(t *testing.T, test func(t *testing.T, b *bed)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		test(t, b)
		b.prove()
	})
}

// now begins at a time at which the signing key is valid, also where time is fake.
func (b *bed) now() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return time.Now().UTC().AddDate(30, 0, 0).Add(b.offset).Truncate(time.Microsecond)
}

func (b *bed) turnClock(by time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.offset += by
}

// desk is one core's writer of the stream, with its index.
type desk struct {
	b       *bed
	seq     *sequencer.Sequencer
	door    *door
	hsm     *signer
	pending *sequencer.Pending[uuid.UUID, uint64]

	mu       sync.Mutex
	view     map[uuid.UUID]bool // event ids projected
	caughtUp error              // what CaughtUp says
	lost     int
}

func (b *bed) desk(change ...func(*sequencer.Options)) *desk {
	d := &desk{b: b, door: &door{shelf: b.shelf}, hsm: &signer{key: b.key}, view: map[uuid.UUID]bool{},
		pending: sequencer.NewPending[uuid.UUID, uint64]()}
	o := sequencer.Options{Stream: stream, Store: d.door, Signer: d.hsm, Keys: func() ledger.KeySet { return b.keys },
		Index: sequencer.Indexes{d.pending}, Writer: uuid.New(), Now: b.now, CaughtUp: d.catchUp, Retry: 10 * time.Millisecond,
		Lost: func(string) { d.mu.Lock(); d.lost++; d.mu.Unlock() }}
	for _, c := range change {
		c(&o)
	}
	d.seq = sequencer.New(o)
	b.mu.Lock()
	b.desks = append(b.desks, d)
	b.mu.Unlock()
	return d
}

// active makes a desk that writes.
func (b *bed) active(change ...func(*sequencer.Options)) *desk {
	b.t.Helper()
	d := b.desk(change...)
	if err := d.seq.Takeover(context.Background()); err != nil {
		b.t.Fatal(err)
	}
	return d
}

// catchUp projects everything below next.
func (d *desk) catchUp(_ context.Context, next uint64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.caughtUp != nil {
		return d.caughtUp
	}
	for _, e := range d.b.shelf.all()[:next] {
		d.view[e.ID] = true
	}
	d.pending.Projected(next)
	return nil
}

func (d *desk) losses() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.lost
}

var errRepeated = errors.New("the command was executed before")

// drafts makes n facts of a command.
func (b *bed) drafts(command uuid.UUID, n, size int) []ledger.Draft {
	out := make([]ledger.Draft, n)
	at := b.now()
	for i := range out {
		d, err := ledger.Plain(ledger.AAD{Stream: stream, ID: event.IDOf(command, i), Type: "fact-recorded", Time: at}, make([]byte, size))
		if err != nil {
			b.t.Fatal(err)
		}
		out[i] = d
	}
	return out
}

// do gives a command of n facts and notes what it was told. It may be repeated with the same id.
func (d *desk) do(ctx context.Context, command uuid.UUID, n int) error {
	return d.record(ctx, command, d.b.drafts(command, n, 100))
}

func (d *desk) record(ctx context.Context, command uuid.UUID, drafts []ledger.Draft) error {
	id := drafts[0].ID
	first, err := d.seq.Submit(ctx, func(next uint64) ([]ledger.Draft, error) {
		d.mu.Lock()
		known := d.view[id]
		d.mu.Unlock()
		if _, pending := d.pending.Get(id); pending || known {
			return nil, errRepeated
		}
		d.pending.Put(next, id, next)
		return drafts, nil
	})
	d.b.note(command, first, len(drafts), err)
	return err
}

func (b *bed) note(command uuid.UUID, first uint64, events int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case err == nil:
		if before, again := b.acked[command]; again {
			b.t.Errorf("command acknowledged at revision %d and again at %d", before.first, first)
		}
		b.acked[command] = acked{first, events}
	case errors.Is(err, errRepeated):
		if _, known := b.acked[command]; !known {
			b.open[command] = true
		}
	case errors.Is(err, sequencer.ErrOutcomeOpen):
		b.open[command] = true
	default:
		b.refused[command] = err
	}
}

// must gives fresh commands and expects them to be done.
func (d *desk) must(commands int) {
	d.b.t.Helper()
	for range commands {
		if err := d.do(context.Background(), uuid.New(), 1); err != nil {
			d.b.t.Fatalf("command: %v", err)
		}
	}
}

// prove closes all writers, lets everything land that is on its way, and holds the log against its format and
// against what was answered.
func (b *bed) prove() {
	b.t.Helper()
	for _, d := range b.desks {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		_ = d.seq.Close(ctx) // some tests leave it hanging on purpose
		cancel()
	}
	b.shelf.land()
	events := b.shelf.all()
	result, _ := ledger.Verify(b.keys, ledger.Options{}, each(events))
	for _, f := range result.Findings {
		b.t.Errorf("the log does not verify: %v", f.Error())
	}
	b.proveAnswers(events)
}

func (b *bed) proveAnswers(events []ledger.Event) {
	b.t.Helper()
	stands := map[uuid.UUID]uint64{}
	batch := map[uuid.UUID]uint64{} // first revision of the batch
	for _, e := range events {
		_, _, receipt, err := ledger.DecodeMetadata(e.Metadata)
		if err != nil {
			b.t.Errorf("%s@%d: %v", e.Stream, e.Revision, err)
		}
		batch[e.ID] = receipt.First
		if at, twice := stands[e.ID]; twice {
			b.t.Errorf("event %s stands at %d and at %d", e.ID, at, e.Revision)
		}
		stands[e.ID] = e.Revision
	}
	for command, a := range b.acked {
		for i := range a.events {
			if at, ok := stands[event.IDOf(command, i)]; !ok || at != a.first+uint64(i) {
				b.t.Errorf("command acknowledged at %d: its fact %d stands at %d (%v)", a.first, i, at, ok)
			}
			if batch[event.IDOf(command, i)] != batch[event.IDOf(command, 0)] {
				b.t.Errorf("command acknowledged at %d is torn into two appends", a.first)
			}
		}
	}
	for command, err := range b.refused {
		if _, done := b.acked[command]; done || b.open[command] {
			continue
		}
		if at, ok := stands[event.IDOf(command, 0)]; ok {
			b.t.Errorf("command failed with %q, and yet its fact stands at %d", err, at)
		}
	}
	known := map[uuid.UUID]bool{}
	for _, commands := range []iter.Seq[uuid.UUID]{maps.Keys(b.acked), maps.Keys(b.open)} {
		for c := range commands {
			for i := range 2000 {
				if _, ok := stands[event.IDOf(c, i)]; !ok {
					break
				}
				known[event.IDOf(c, i)] = true
			}
		}
	}
	for _, e := range events {
		if e.Type != event.TypeEpochStarted && !known[e.ID] {
			b.t.Errorf("%s@%d stands there, but no command that took effect made it", e.Type, e.Revision)
		}
	}
}

func each(events []ledger.Event) iter.Seq2[ledger.Event, error] {
	return func(yield func(ledger.Event, error) bool) {
		for _, e := range events {
			if !yield(e, nil) {
				return
			}
		}
	}
}

// epochs counts the writers' beginnings in the log.
func (b *bed) epochs() (n int) {
	for _, e := range b.shelf.all() {
		if e.Type == event.TypeEpochStarted {
			n++
		}
	}
	return n
}

// want fails unless err wraps the sentinel.
func want(t tester, err, sentinel error) {
	t.Helper()
	if !errors.Is(err, sentinel) {
		t.Fatalf("got %v, want %v", err, sentinel)
	}
}

// synctestOnly is inBubble for a test that spoils the log on purpose.
func synctestOnly(t *testing.T, test func(t *testing.T, b *bed)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, newBed(t)) })
}

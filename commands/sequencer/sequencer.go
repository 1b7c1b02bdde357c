// Package sequencer gives every stream of the ledger one writer that cannot fork it.
//
// It promises to commands: decisions run one after the other, each seeing every decision before it;
// an answer is given only when the facts it rests on are durable; a batch is appended whole or not at all,
// once; when another process takes the stream over, this one appends nothing more, and says so.
//
// It promises to the ledger: every batch continues the chain, carries one signature of the HSM,
// and is sent again byte for byte until the store's answer is known.
package sequencer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"kiroku/domain/ledger"
)

// Store is what the sequencer needs of the event store. Its methods MUST return soon after ctx ends.
type Store interface {
	// Append writes events so that the first gets revision next. It MUST return nil only when they are durable
	// (or equal ids already stand there), ErrWrongRevision only when they are not written and never will be
	// by this call, ErrRefused when this call wrote nothing and the same call again would not either, ErrUnavailable
	// when this call wrote nothing and the store says that it cannot write for now; any other error leaves the
	// outcome open.
	Append(ctx context.Context, stream string, next uint64, events []ledger.Event) error
	// ReadForward returns up to limit events from a revision on; none if the stream does not exist.
	ReadForward(ctx context.Context, stream string, from uint64, limit int) ([]ledger.Event, error)
	// ReadLast returns the last event of a stream, and false if the stream does not exist.
	ReadLast(ctx context.Context, stream string) (ledger.Event, bool, error)
}

// Signer signs batches. Sign MUST return soon after ctx ends.
type Signer interface {
	// KeyID names the signing key.
	KeyID() string
	// Sign returns the ECDSA P-256 signature r ‖ s, low s, of a SHA-256 digest.
	Sign(ctx context.Context, digest [32]byte) ([64]byte, error)
}

// Index is the state on which decisions run: what is projected, and what is pending. The sequencer tells
// it what became of the pending part. All calls come from the sequencer's goroutine.
type Index interface {
	// Durable: everything below revision next is durable.
	Durable(next uint64)
	// Rollback: what was pending at revision from and above will not be written.
	Rollback(from uint64)
}

// Errors that callers of Submit see.
var (
	// ErrWrongRevision: see Store.Append.
	ErrWrongRevision = errors.New("the stream has moved on")
	// ErrRefused: see Store.Append.
	ErrRefused = errors.New("the store refuses the append")
	// ErrOverloaded: the queue is full. Nothing was done; try again later.
	ErrOverloaded = errors.New("overloaded: the queue of the stream is full; try again later")
	// ErrNotWriter: this process does not write the stream. Nothing was done, or another writer's history stands; repeat the command at the active core with the same id.
	ErrNotWriter = errors.New("not the writer of the stream: another core is active, or none is yet; repeat the command with the same id")
	// ErrUnavailable: the HSM or the store could not serve. Nothing was done; repeat the command with the same id.
	ErrUnavailable = errors.New("unavailable: nothing was done; repeat the command with the same id")
	// ErrOutcomeOpen: the caller stopped waiting. The command may still take effect; repeat it with the same id to learn the outcome.
	ErrOutcomeOpen = errors.New("outcome open: repeat the command with the same id to learn it")
	// ErrClosed: the core is shutting down. Nothing was done.
	ErrClosed = errors.New("the core is shutting down; repeat the command with the same id")
	// ErrClockBack: the clock stands before the stream's last event by more than the tolerance.
	ErrClockBack = errors.New("the clock went back: it stands before the last event of the stream; check the time source")
	// ErrTooLarge: one command's facts exceed what one append may carry.
	ErrTooLarge = errors.New("the command's facts are too large for one append")
)

// Bounds and defaults.
const (
	DefaultQueue    = 4096             // commands waiting for a decision
	DefaultBatch    = 256              // events in one append
	MaxAppendBytes  = 1_000_000        // data, metadata and types of one append; the store refuses more than 1,048,576
	metadataReserve = 1024             // of one event: header, receipt of a full batch, key id at its longest
	ClockTolerance  = 30 * time.Second // how far an event's time may lie before that of the one before it
)

// Options of a sequencer. Stream, Store, Signer, Keys and Index are required.
type Options struct {
	Stream string
	Store  Store
	Signer Signer
	Keys   func() ledger.KeySet // verify the tail
	Index  Index
	Writer uuid.UUID // this process
	Now    func() time.Time
	Queue  int
	Batch  int
	Logger *slog.Logger
	// CaughtUp returns when the index has everything below revision next, or an error.
	CaughtUp func(ctx context.Context, next uint64) error
	// Lost is called, in a goroutine of its own, when another writer was found.
	Lost func(stream string)
	// Retry is the pause before an append of unknown outcome is sent again; doubled up to 32 times it. Default 50 ms.
	Retry time.Duration
}

// Decide runs on the sequencer's goroutine and returns the drafts of the facts that follow from a command;
// their first will get revision next. With an error, or without drafts, nothing is appended and the
// answer is given when everything decided before it is durable and the stream was seen to end there: also a refusal
// is an answer that no other writer's history contradicts.
type Decide func(next uint64) ([]ledger.Draft, error)

// Counters are read at any time.
type Counters struct {
	Appends, Events, Bytes, Retries, ReadBacks, Overloads, Takeovers atomic.Uint64
}

// Sequencer owns one stream's head. Submit, Takeover, Head and Close are safe for concurrent use;
// everything else belongs to the goroutine of run.
type Sequencer struct {
	o        Options
	inbox    chan *submission
	takeover chan *takeoverRequest
	down     chan struct{}
	done     chan struct{} // closed by run's end
	stop     context.CancelFunc
	draining context.Context // ended by Close
	drain    context.CancelFunc

	durable atomic.Pointer[ledger.Head] // durable head; nil while not writer
	active  atomic.Bool
	stalled atomic.Int64 // unix ns since when an append is being retried, 0 if none

	Counters Counters
}

type submission struct {
	decide Decide
	answer chan error // buffered 1
	first  uint64     // revision of its first draft, valid after a nil answer with drafts
}

type takeoverRequest struct {
	ctx    context.Context
	answer chan error
}

// New starts the goroutine of a stream. It stands by until Takeover.
func New(o Options) *Sequencer {
	if o.Queue <= 0 {
		o.Queue = DefaultQueue
	}
	if o.Batch <= 0 {
		o.Batch = DefaultBatch
	}
	if o.Retry <= 0 {
		o.Retry = 50 * time.Millisecond
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	ctx, stop := context.WithCancel(context.Background())
	draining, drain := context.WithCancel(ctx)
	s := &Sequencer{o: o, stop: stop, draining: draining, drain: drain,
		inbox:    make(chan *submission, o.Queue),
		takeover: make(chan *takeoverRequest),
		down:     make(chan struct{}),
		done:     make(chan struct{}),
	}
	go s.run(ctx)
	return s
}

// Submit hands a decision to the stream and waits until its outcome is durable. The returned revision is that of
// its first fact. A full queue is refused at once with ErrOverloaded. If ctx ends first, the outcome is open.
func (s *Sequencer) Submit(ctx context.Context, decide Decide) (first uint64, err error) {
	if s.draining.Err() != nil {
		return 0, fmt.Errorf("stream %s: %w", s.o.Stream, ErrClosed)
	}
	if !s.active.Load() {
		return 0, fmt.Errorf("stream %s: %w", s.o.Stream, ErrNotWriter)
	}
	sub := &submission{decide: decide, answer: make(chan error, 1)}
	select {
	case s.inbox <- sub:
	default:
		s.Counters.Overloads.Add(1)
		return 0, fmt.Errorf("stream %s: %w", s.o.Stream, ErrOverloaded)
	}
	select {
	case err = <-sub.answer:
		return sub.first, err
	case <-ctx.Done():
		select {
		case err = <-sub.answer: // both at once: the outcome is known
			return sub.first, err
		default:
		}
		return 0, fmt.Errorf("stream %s%s: %w: %w", s.o.Stream, s.stallNote(), ErrOutcomeOpen, context.Cause(ctx))
	case <-s.done:
		select {
		case err = <-sub.answer:
			return sub.first, err
		default: // entered the queue when run had ended: nobody decides it
			return 0, fmt.Errorf("stream %s: %w", s.o.Stream, ErrClosed)
		}
	}
}

func (s *Sequencer) stallNote() string {
	if at := s.stalled.Load(); at != 0 {
		return fmt.Sprintf(" (the store has not answered for %s)", time.Since(time.Unix(0, at)).Round(100*time.Millisecond))
	}
	return ""
}

// Stalled returns since when an append has been sent again and again, and false if none is.
func (s *Sequencer) Stalled() (time.Time, bool) {
	at := s.stalled.Load()
	return time.Unix(0, at), at != 0
}

// Head returns the durable head, and false while this process is not the writer.
func (s *Sequencer) Head() (ledger.Head, bool) {
	h := s.durable.Load()
	if h == nil || !s.active.Load() {
		return ledger.Head{}, false
	}
	return *h, true
}

// Active reports whether this process writes the stream.
func (s *Sequencer) Active() bool { return s.active.Load() }

// Queued returns how many commands wait for a decision.
func (s *Sequencer) Queued() int { return len(s.inbox) }

// Takeover makes this process the stream's writer: it verifies the tail, appends a new epoch, waits
// until the index has caught up, and only then decides anything.
func (s *Sequencer) Takeover(ctx context.Context) error {
	r := &takeoverRequest{ctx: ctx, answer: make(chan error, 1)}
	select {
	case s.takeover <- r:
	case <-ctx.Done():
		return ctx.Err()
	case <-s.done:
		return ErrClosed
	}
	select {
	case err := <-r.answer:
		return err
	case <-s.done:
		return ErrClosed
	}
}

// StandDown makes the stream stand by: what was not yet sent to the store is answered with ErrNotWriter.
func (s *Sequencer) StandDown() {
	select {
	case s.down <- struct{}{}:
	case <-s.done:
	}
}

// Close takes no new commands, finishes those it has until ctx ends, and returns. What is
// still open then gets ErrOutcomeOpen or ErrClosed. A takeover under way is given up at once.
func (s *Sequencer) Close(ctx context.Context) error {
	s.drain()
	select {
	case <-s.done:
		return nil
	case <-ctx.Done():
		s.stop()
		<-s.done
		return fmt.Errorf("drain stream %s: %w", s.o.Stream, ctx.Err())
	}
}

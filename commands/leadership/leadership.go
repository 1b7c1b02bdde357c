// Package leadership decides which of several cores on one ledger is active. It promises that a core which
// dies, hangs or is paused is replaced within the timeout, without anybody's help, and that a core which
// comes back stands by. It does not promise that only one believes itself active at any instant: that no
// second history can arise is the sequencers' promise, by the expected revisions of their appends.
//
// The active core writes beats to a stream of its own, outside the ledger. A core that stands by watches
// whether they go on, by its own monotonic clock: no two machines' clocks are ever compared.
package leadership

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
)

// Beat says who is active. Released says that they stopped in order.
type Beat struct {
	Writer   uuid.UUID
	Released bool
}

// Lease is where beats are written.
type Lease interface {
	// Last returns the newest beat and the revision for the next one (0 and a zero beat if there is none).
	Last(ctx context.Context) (last Beat, next uint64, err error)
	// Beat writes a beat at revision next. It MUST return ErrTaken if another beat stands there, and MUST be
	// repeatable after an error whose outcome is open.
	Beat(ctx context.Context, next uint64, b Beat) error
}

// ErrTaken: another core wrote a beat meanwhile.
var ErrTaken = errors.New("another core took the lease")

// Defaults.
const (
	DefaultInterval = 2 * time.Second
	DefaultTimeout  = 8 * time.Second // without a new beat until a core that stands by takes over
)

// Options of a Candidate. Lease, Writer, Acquire and StandDown are required.
type Options struct {
	Lease    Lease
	Writer   uuid.UUID
	Interval time.Duration
	Timeout  time.Duration
	// Acquire makes this core the writer of every stream. With an error it is not.
	Acquire func(ctx context.Context) error
	// StandDown ends that.
	StandDown func()
	Logger    *slog.Logger
}

// Candidate is one core's part in the election.
type Candidate struct {
	o      Options
	lost   chan struct{}
	active atomic.Bool
}

// New makes a candidate.
func New(o Options) *Candidate {
	if o.Interval <= 0 {
		o.Interval = DefaultInterval
	}
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Candidate{o: o, lost: make(chan struct{}, 1)}
}

// Active reports whether this core is the writer.
func (c *Candidate) Active() bool { return c.active.Load() }

// Lost tells the candidate that another writer was met in some stream.
func (c *Candidate) Lost() {
	select {
	case c.lost <- struct{}{}:
	default:
	}
}

// Run stands by and leads until ctx ends; then it releases the lease, so that the next core need not wait.
func (c *Candidate) Run(ctx context.Context) {
	next := uint64(0)
	for ctx.Err() == nil {
		var ok bool
		if next, ok = c.standBy(ctx); !ok {
			return
		}
		next = c.lead(ctx, next)
	}
	if c.active.Swap(false) {
		c.release(next)
	}
}

// standBy returns the next revision once the lease was taken and every stream acquired; false when ctx ended.
func (c *Candidate) standBy(ctx context.Context) (uint64, bool) {
	var seen uint64
	var since time.Time
	for wait := time.Duration(0); ; wait = c.o.Interval {
		if !sleep(ctx, wait) {
			return 0, false
		}
		last, next, err := c.o.Lease.Last(ctx)
		if err != nil {
			c.o.Logger.Warn("standing by: the lease cannot be read", "error", err)
			continue
		}
		if since.IsZero() || next != seen {
			seen, since = next, time.Now()
		}
		free := next == 0 || last.Released || last.Writer == c.o.Writer
		if !free && time.Since(since) < c.o.Timeout {
			continue
		}
		if c.take(ctx, next) {
			return next + 1, true
		}
		since = time.Time{}
	}
}

func (c *Candidate) take(ctx context.Context, next uint64) bool {
	if err := c.o.Lease.Beat(ctx, next, Beat{Writer: c.o.Writer}); err != nil {
		if !errors.Is(err, ErrTaken) {
			c.o.Logger.Warn("standing by: the lease cannot be taken", "error", err)
		}
		return false
	}
	select { // a loss noticed before this attempt is no loss of it
	case <-c.lost:
	default:
	}
	if err := c.o.Acquire(ctx); err != nil {
		if ctx.Err() == nil {
			c.o.Logger.Error("taking over failed; standing by", "error", err)
		}
		c.o.StandDown()
		return false
	}
	c.active.Store(true)
	c.o.Logger.Info("active: this core writes the ledger")
	return true
}

// lead beats until the lease or a stream is lost, or ctx ends. It returns the next revision of the lease.
func (c *Candidate) lead(ctx context.Context, next uint64) uint64 {
	for {
		select {
		case <-ctx.Done():
			return next
		case <-c.lost:
			c.step("another writer was met in the ledger")
			return next
		case <-time.After(c.o.Interval):
		}
		err := c.o.Lease.Beat(ctx, next, Beat{Writer: c.o.Writer})
		switch {
		case err == nil:
			next++
		case errors.Is(err, ErrTaken):
			c.step("another core took the lease")
			return next
		case ctx.Err() == nil:
			c.o.Logger.Warn("the lease cannot be renewed; going on, for the ledger itself admits one writer only", "error", err)
		}
	}
}

func (c *Candidate) step(why string) {
	c.active.Store(false)
	c.o.StandDown()
	c.o.Logger.Warn("standing by", "why", why)
}

const releaseWithin = 3 * time.Second

func (c *Candidate) release(next uint64) {
	ctx, cancel := context.WithTimeout(context.Background(), releaseWithin)
	defer cancel()
	if err := c.o.Lease.Beat(ctx, next, Beat{Writer: c.o.Writer, Released: true}); err != nil {
		c.o.Logger.Warn("the lease was not released; the next core waits for its timeout", "error", err)
	}
}

// sleep reports false when ctx ended.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

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
	// DefaultAcquireTimeout is long enough to read what was written since the views were last current. A core that
	// has more to read goes on reading while it stands by.
	DefaultAcquireTimeout = 2 * time.Minute
)

// Options of a Candidate. Lease, Writer, Acquire and StandDown are required.
type Options struct {
	Lease    Lease
	Writer   uuid.UUID
	Interval time.Duration
	Timeout  time.Duration
	// Acquire makes this core the writer of every stream. With an error it is not. It MUST return soon after ctx ends.
	Acquire func(ctx context.Context) error
	// AcquireTimeout bounds Acquire: beats go on meanwhile, and a core that hangs in it must not keep others waiting.
	AcquireTimeout time.Duration
	// StandDown ends that. It is also called after an Acquire that failed in part.
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
	if o.AcquireTimeout <= 0 {
		o.AcquireTimeout = DefaultAcquireTimeout
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

// Run stands by and leads until ctx ends; then it stands down and releases the lease, so that the next core need not wait.
func (c *Candidate) Run(ctx context.Context) {
	for ctx.Err() == nil {
		next, ok := c.standBy(ctx)
		if !ok {
			return
		}
		c.lead(ctx, next)
	}
}

// standBy returns the next revision once the lease was taken and every stream acquired; false when ctx ended.
func (c *Candidate) standBy(ctx context.Context) (uint64, bool) {
	var seen uint64
	var since time.Time // when seen was first seen; zero: look anew
	var yield time.Time // others first until then
	for wait := time.Duration(0); ; wait = c.o.Interval {
		if !sleep(ctx, wait) {
			return 0, false
		}
		last, next, err := c.o.Lease.Last(ctx)
		if err != nil {
			if ctx.Err() == nil {
				c.o.Logger.Warn("standing by: the lease cannot be read", "error", err)
			}
			continue
		}
		if since.IsZero() || next != seen {
			seen, since = next, time.Now()
		}
		free := next == 0 || last.Released || last.Writer == c.o.Writer
		if !free && time.Since(since) < c.o.Timeout || time.Now().Before(yield) {
			continue
		}
		var ok, held bool
		if next, ok, held = c.take(ctx, next); ok {
			return next, true
		}
		if held { // it was free for us and we could not use it: every other core looks once before we try again
			yield = time.Now().Add(2 * c.o.Interval)
		}
		since = time.Time{}
	}
}

// take writes a beat and acquires every stream. It returns the next revision of the lease, whether this core leads
// now, and whether it held the lease at least for a while.
func (c *Candidate) take(ctx context.Context, next uint64) (uint64, bool, bool) {
	if err := c.o.Lease.Beat(ctx, next, Beat{Writer: c.o.Writer}); err != nil {
		if !errors.Is(err, ErrTaken) && ctx.Err() == nil {
			c.o.Logger.Warn("standing by: the lease cannot be taken", "error", err)
		}
		return next, false, false
	}
	select { // a loss noticed before this attempt is no loss of it
	case <-c.lost:
	default:
	}
	next, err := c.acquire(ctx, next+1)
	if err != nil {
		if ctx.Err() == nil {
			c.o.Logger.Error("taking over failed; standing by", "error", err)
		}
		c.o.StandDown()
		if !errors.Is(err, ErrTaken) {
			c.release(next)
		}
		return next, false, true
	}
	c.active.Store(true)
	c.o.Logger.Info("active: this core writes the ledger")
	return next, true, true
}

// acquire acquires every stream. Beats go on meanwhile: it may take longer than the others wait for one, and two
// cores that take the streams from each other while neither is ready would never end.
func (c *Candidate) acquire(ctx context.Context, next uint64) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, c.o.AcquireTimeout)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- c.o.Acquire(ctx) }()
	for {
		select {
		case err := <-done:
			return next, err
		case <-time.After(c.o.Interval):
		}
		switch err := c.o.Lease.Beat(ctx, next, Beat{Writer: c.o.Writer}); {
		case err == nil:
			next++
		case errors.Is(err, ErrTaken):
			cancel()
			<-done // whatever came of it: others lead
			return next, err
		case ctx.Err() == nil:
			c.o.Logger.Warn("taking over: the lease cannot be renewed", "error", err)
		}
	}
}

// lead beats until the lease or a stream is lost, or ctx ends.
func (c *Candidate) lead(ctx context.Context, next uint64) {
	for {
		select {
		case <-ctx.Done():
			c.resign(next)
			return
		case <-c.lost:
			c.step("another writer was met in the ledger")
			return
		case <-time.After(c.o.Interval):
		}
		err := c.o.Lease.Beat(ctx, next, Beat{Writer: c.o.Writer})
		switch {
		case err == nil:
			next++
		case errors.Is(err, ErrTaken):
			c.step("another core took the lease")
			return
		case ctx.Err() == nil:
			c.o.Logger.Warn("the lease cannot be renewed; going on, for the ledger itself admits one writer only", "error", err)
		}
	}
}

// resign ends in order.
func (c *Candidate) resign(next uint64) {
	c.active.Store(false)
	c.o.StandDown()
	c.release(next)
}

func (c *Candidate) step(why string) {
	c.active.Store(false)
	c.o.StandDown()
	c.o.Logger.Warn("standing by", "why", why)
}

const releaseWithin = 3 * time.Second

// release tells the others that they need not wait. If this core's own beat of open outcome stands where
// the release belongs, that goes behind it.
func (c *Candidate) release(next uint64) {
	ctx, cancel := context.WithTimeout(context.Background(), releaseWithin)
	defer cancel()
	released := Beat{Writer: c.o.Writer, Released: true}
	err := c.o.Lease.Beat(ctx, next, released)
	if errors.Is(err, ErrTaken) {
		last, behind, lastErr := c.o.Lease.Last(ctx)
		if lastErr == nil && last != (Beat{Writer: c.o.Writer}) {
			return // released, or another's
		}
		if err = lastErr; err == nil {
			err = c.o.Lease.Beat(ctx, behind, released)
		}
	}
	if err != nil {
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

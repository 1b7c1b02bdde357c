package projections

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"time"
)

// Config is what a Runner needs. The fields of the first block must be set.
type Config struct {
	Source      Source
	Opener      Opener
	Trust       Trust
	Streams     []string // every stream of the ledger
	Projections []Projection

	Metrics Metrics          // default: none
	Log     *slog.Logger     // default: none
	Clock   func() time.Time // default: time.Now
	Limits
}

// Limits are the measures of a Runner; 0 stands for the default.
type Limits struct {
	BatchSize  int           // events applied in one commit at most, about; DefaultBatchSize
	Workers    int           // goroutines that verify and open, over all streams; GOMAXPROCS
	MinBackoff time.Duration // first wait after a failure, doubling from there; DefaultMinBackoff
	MaxBackoff time.Duration // longest wait after a failure; DefaultMaxBackoff
	Patience   time.Duration // how long a key that the registry does not show yet is waited for; DefaultPatience
}

// Defaults of Limits.
const (
	DefaultBatchSize  = 2000
	DefaultMinBackoff = 100 * time.Millisecond
	DefaultMaxBackoff = 8 * time.Second // with its jitter, whoever reads the log sees what lasts every 10 s
	DefaultPatience   = 30 * time.Second
)

// Metrics counts what happens. Lag is not pushed: ask Status for it.
type Metrics interface {
	// Applied: a projection committed events of a stream, so many of them unreadable.
	Applied(projection, stream string, events, unreadable int)
	// Retried: following a stream failed and is tried again.
	Retried(stream string)
	// Halted: a stream is not followed any further. This is an alarm.
	Halted(stream string)
}

type noMetrics struct{}

func (noMetrics) Applied(string, string, int, int) {}
func (noMetrics) Retried(string)                   {}
func (noMetrics) Halted(string)                    {}

// settings is a Config with its defaults and what the followers share.
type settings struct {
	Config
	slots chan struct{} // one for each job being worked on
}

// Runner keeps projections up to date. Projections that must not wait for each
// other, because they lie in different stores, belong to different runners.
type Runner struct {
	*settings
	members   map[string]*member
	followers map[string]*follower // by stream
	rebuild   sync.Mutex           // held by the one rebuild under way
}

// ErrUnknownProjection is wrapped where a name, or a stream of a projection, is not known.
var ErrUnknownProjection = errors.New("unknown projection or stream")

// New makes a Runner. It follows nothing before Run.
func New(c Config) (*Runner, error) {
	if c.Source == nil || c.Opener == nil || c.Trust == nil || len(c.Projections) == 0 {
		return nil, errors.New("make a runner: source, opener, trust and at least one projection are needed")
	}
	r := &Runner{settings: c.complete(), members: map[string]*member{}, followers: map[string]*follower{}}
	for _, p := range c.Projections {
		if r.members[p.Name()] != nil {
			return nil, fmt.Errorf("make a runner: two projections are named %s", p.Name())
		}
		r.members[p.Name()] = newMember(p, c.Streams)
	}
	for _, s := range c.Streams {
		var wanting []*member
		for _, p := range c.Projections {
			if p.Wants(s) {
				wanting = append(wanting, r.members[p.Name()])
			}
		}
		if len(wanting) > 0 && r.followers[s] == nil {
			r.followers[s] = newFollower(r.settings, s, wanting)
		}
	}
	return r, nil
}

func (c Config) complete() *settings {
	if c.Metrics == nil {
		c.Metrics = noMetrics{}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	set(&c.BatchSize, DefaultBatchSize)
	set(&c.Workers, runtime.GOMAXPROCS(0))
	set(&c.MinBackoff, DefaultMinBackoff)
	set(&c.MaxBackoff, DefaultMaxBackoff)
	set(&c.Patience, DefaultPatience)
	c.Streams = slices.Clone(c.Streams)
	return &settings{Config: c, slots: make(chan struct{}, c.Workers)}
}

func set[T int | time.Duration](v *T, otherwise T) {
	if *v <= 0 {
		*v = otherwise
	}
}

// Run follows all streams until ctx ends, and returns when every batch under
// way is committed or given up. It may be called once. A stream that fails is
// tried again, one that must not be trusted is halted; the others go on.
func (r *Runner) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for _, f := range r.followers {
		wg.Go(func() { f.follow(ctx) })
	}
	if counter, ok := r.Source.(Counter); ok {
		wg.Go(func() { r.count(ctx, counter) })
	}
	wg.Wait()
}

// countEvery is how often the length of the streams is asked for.
const countEvery = 5 * time.Second

// count keeps the lag known while followers are far behind.
func (r *Runner) count(ctx context.Context, counter Counter) {
	ticker := time.NewTicker(countEvery)
	defer ticker.Stop()
	for {
		for _, f := range r.followers {
			if next, err := counter.Count(ctx, f.stream); err == nil {
				f.see(next)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// find returns the member and the follower of a projection's stream.
func (r *Runner) find(name, stream string) (*member, *follower, error) {
	m, f := r.members[name], r.followers[stream]
	if m == nil || f == nil || m.positions[stream] == nil {
		return nil, nil, fmt.Errorf("%s of %s: %w", stream, name, ErrUnknownProjection)
	}
	return m, f, nil
}

// OnApplied has f called with the revision that the named projection expects
// next in a stream: at once, and after every commit, in order, from the
// goroutine that applies. f must be quick and must not wait for the runner.
func (r *Runner) OnApplied(name, stream string, f func(next uint64)) error {
	m, _, err := r.find(name, stream)
	if err != nil {
		return err
	}
	m.hook(stream, f)
	return nil
}

// WaitFor returns when the named projection has applied every event of a stream
// below next. It fails with a *HaltError if the stream is halted before, and
// with ctx's error if that ends first.
func (r *Runner) WaitFor(ctx context.Context, name, stream string, next uint64) error {
	m, f, err := r.find(name, stream)
	if err != nil {
		return err
	}
	for {
		at, _, changed := m.at(stream)
		if at >= next {
			return nil
		}
		if halt := f.halted(); halt != nil {
			return halt
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("wait for %s to reach %s@%d, now at %d: %w", name, stream, next, at, ctx.Err())
		}
	}
}

package bench

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"kiroku/adapters/eventstore"
	"kiroku/adapters/hsm"
	"kiroku/cmd/kiroku/internal/node"
)

// Parts is what the benchmarks run on: an active core on a ledger of its own, which they fill.
type Parts struct {
	Dir     string // on the disk that is measured; may be written to
	Node    *node.Node
	Store   *eventstore.Store
	HSM     *hsm.HSM
	StoreIs string // in words
	TokenIs string // in words
	// StoreUsed tells what the store's process has used since it started.
	StoreUsed func(context.Context) (StoreUsed, error)
	// Afresh closes the node and opens it again, on empty views where those are to be rebuilt.
	Afresh func(ctx context.Context, emptyViews bool) (*node.Node, error)
	// Work is called around what is measured, for profiles; it may be nil.
	Work func(running bool)
}

// StoreUsed is what a store has used.
type StoreUsed struct {
	Syncs uint64        // of its disk
	CPU   time.Duration // processor time
}

// meter stands between the beginning and the end of a measure.
type meter struct {
	p     Parts
	began time.Time
	calls hsm.Calls
	stats eventstore.Stats
	store StoreUsed
	cpu   time.Duration // of this process
}

func (p Parts) start(ctx context.Context) (meter, error) {
	used, err := p.StoreUsed(ctx)
	if err != nil {
		return meter{}, err
	}
	p.work(true)
	return meter{p: p, calls: p.HSM.Calls(), stats: p.Store.Stats(), store: used, cpu: cpuTime(), began: time.Now()}, nil
}

func (p Parts) work(running bool) {
	if p.Work != nil {
		p.Work(running)
	}
}

// stop makes the measure of what happened since start.
func (m meter) stop(ctx context.Context, name, unit string, units int, waited []time.Duration) (Measure, error) {
	took, cpu := time.Since(m.began), cpuTime()-m.cpu
	m.p.work(false)
	made, now := m.p.HSM.Calls().Sub(m.calls), m.p.Store.Stats()
	used, err := m.p.StoreUsed(ctx)
	if err != nil {
		return Measure{}, err
	}
	bytes := now.AppendedBytes - m.stats.AppendedBytes
	return Measure{
		Name: name, Unit: unit, Units: units, Seconds: took.Seconds(), Rate: float64(units) / took.Seconds(), Waiting: waiting(waited),
		Cost: &Cost{Bytes: bytes, Appends: now.Appends - m.stats.Appends, Syncs: used.Syncs - m.store.Syncs, HSM: tokenCalls(made),
			CPUPerUnit: micros(cpu, units), StoreCPUPerUnit: micros(used.CPU-m.store.CPU, units),
			HSMPerUnit: float64(made.Crypto()) / float64(units), BytesPerUnit: float64(bytes) / float64(units)},
	}, nil
}

// cpuTime is the processor time that this process has used.
func cpuTime() time.Duration {
	var used unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &used) != nil {
		return 0
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

func micros(d time.Duration, units int) float64 {
	return float64(d) / float64(time.Microsecond) / float64(units)
}

// together has callers do work items 0 to total−1 as fast as they are answered, and returns how long each waited. The first
// error ends it.
func together(ctx context.Context, callers, total int, do func(ctx context.Context, item int) error) ([]time.Duration, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	waited := make([]time.Duration, total)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(callers, total) {
		wg.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= total {
					return
				}
				at := time.Now()
				if err := do(ctx, i); err != nil {
					cancel(fmt.Errorf("item %d: %w", i, err))
					return
				}
				waited[i] = time.Since(at)
			}
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return waited, nil
}

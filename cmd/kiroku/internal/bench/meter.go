package bench

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

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
	// Syncs counts the disk syncs of the store since it started.
	Syncs func(context.Context) (uint64, error)
	// Afresh closes the node and opens it again, on empty views where those are to be rebuilt.
	Afresh func(ctx context.Context, emptyViews bool) (*node.Node, error)
	// Work is called around what is measured, for profiles; it may be nil.
	Work func(running bool)
}

// meter stands between the beginning and the end of a measure.
type meter struct {
	p     Parts
	began time.Time
	calls hsm.Calls
	stats eventstore.Stats
	syncs uint64
}

func (p Parts) start(ctx context.Context) (meter, error) {
	syncs, err := p.Syncs(ctx)
	if err != nil {
		return meter{}, err
	}
	p.work(true)
	return meter{p: p, calls: p.HSM.Calls(), stats: p.Store.Stats(), syncs: syncs, began: time.Now()}, nil
}

func (p Parts) work(running bool) {
	if p.Work != nil {
		p.Work(running)
	}
}

// stop makes the measure of what happened since start.
func (m meter) stop(ctx context.Context, name, unit string, units int, waited []time.Duration) (Measure, error) {
	took := time.Since(m.began)
	m.p.work(false)
	made, now := m.p.HSM.Calls().Sub(m.calls), m.p.Store.Stats()
	syncs, err := m.p.Syncs(ctx)
	if err != nil {
		return Measure{}, err
	}
	bytes := now.AppendedBytes - m.stats.AppendedBytes
	return Measure{
		Name: name, Unit: unit, Units: units, Seconds: took.Seconds(), Rate: float64(units) / took.Seconds(), Waiting: waiting(waited),
		Cost: &Cost{Bytes: bytes, Appends: now.Appends - m.stats.Appends, Syncs: syncs - m.syncs, HSM: tokenCalls(made),
			HSMPerUnit: float64(made.Crypto()) / float64(units), BytesPerUnit: float64(bytes) / float64(units)},
	}, nil
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

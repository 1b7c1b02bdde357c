package bench

import (
	"context"
	"fmt"
	"sync"
	"time"

	"kiroku/domain/event"
)

// ReplayOptions say how much.
type ReplayOptions struct {
	People    int // each gets a symbol at two agencies
	Inquiries int
}

// Replay measures how fast all views are made again from the ledger and the token alone.
func Replay(ctx context.Context, p Parts, o ReplayOptions) (Report, error) {
	r := newReport("replay", p)
	if _, err := fill(ctx, p, o.People, o.Inquiries); err != nil {
		return r, err
	}
	n, bare, err := bareRead(ctx, p)
	if err != nil {
		return r, err
	}
	began, err := p.start(ctx)
	if err != nil {
		return r, err
	}
	if p.Node, err = p.Afresh(ctx, true); err != nil {
		return r, err
	}
	if err := p.Node.CaughtUp(ctx); err != nil {
		return r, err
	}
	m, err := began.stop(ctx, "all views made again from nothing", "events", n, nil)
	if err != nil {
		return r, err
	}
	m.Acknowledged = "every event verified, opened and applied to every view that wants it, and committed there"
	again, bareAfter, err := bareRead(ctx, p)
	if err != nil {
		return r, err
	}
	m.against(Floor{What: "bare reading of the same streams by the same client, one reader for each stream",
		Rate: max(float64(n)/bare.Seconds(), float64(again)/bareAfter.Seconds())})
	m.atLeast("share of the floor", 0.60, m.Ratio)
	r.Measures = append(r.Measures, m)
	return r, nil
}

// fill makes a ledger of issuances and inquiries.
func fill(ctx context.Context, p Parts, people, inquiries int) ([]*office, error) {
	offices, err := populate(ctx, p, 2, people)
	if err != nil {
		return nil, err
	}
	_, err = together(ctx, 256, inquiries, func(ctx context.Context, i int) error {
		return offices[0].inquire(ctx, p, offices[1], i%people)
	})
	if err != nil {
		return nil, fmt.Errorf("fill the ledger with inquiries: %w", err)
	}
	return offices, p.Node.CaughtUp(ctx)
}

// bareRead reads every stream of the ledger and does nothing with it.
func bareRead(ctx context.Context, p Parts) (events int, took time.Duration, err error) {
	streams := event.Streams(p.Node.Shards)
	counts, errs := make([]int, len(streams)), make([]error, len(streams))
	began := time.Now()
	var wg sync.WaitGroup
	for i, s := range streams {
		wg.Go(func() {
			for _, err := range p.Node.Events(ctx, s) {
				if err != nil {
					errs[i] = err
					return
				}
				counts[i]++
			}
		})
	}
	wg.Wait()
	took = time.Since(began)
	for i := range streams {
		if errs[i] != nil {
			return 0, 0, fmt.Errorf("read stream %s: %w", streams[i], errs[i])
		}
		events += counts[i]
	}
	return events, took, nil
}

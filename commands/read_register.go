package commands

import (
	"context"
	"fmt"
	"runtime"
	"sync"

	"kiroku/domain/event"
	"kiroku/domain/ledger"
)

const registerPage = 1024 // events or people

// page is a part of something long, or why there is none.
type page[T any] struct {
	items []T
	err   error
}

// readRegister shows look the header of every event of the register up to a head of it, on several goroutines, and returns
// nil only if these were the events that were written, all of them: each follows the one before it, from the first on, and
// the last is the one that the head names. What look made of them before MUST count for nothing otherwise.
func (c *Core) readRegister(ctx context.Context, end ledger.Head, look func(*ledger.Header) error, tell func(done uint64)) error {
	chain := ledger.Chain{Stream: event.StreamIssuance}
	read := func(ctx context.Context, hand func(page[ledger.Event]) bool) {
		for next := uint64(0); next < end.Count; {
			events, err := c.d.Store.ReadForward(ctx, event.StreamIssuance, next, int(min(registerPage, end.Count-next)))
			if err == nil && (len(events) == 0 || uint64(len(events)) > end.Count-next) {
				err = fmt.Errorf("the store gives %d events from %s@%d on, where %d are written; run `kiroku verify`", len(events), event.StreamIssuance, next, end.Count-next)
			}
			if !hand(page[ledger.Event]{events, err}) {
				return
			}
			next += uint64(len(events))
		}
	}
	err := ahead(ctx, read, func(events []ledger.Event) error {
		links := make([]ledger.Link, len(events))
		if err := inParallel(len(events), func(i int) (err error) {
			links[i], err = ledger.Examine(events[i])
			return err
		}); err != nil {
			return err
		}
		for i := range links {
			if err := chain.Follow(&links[i]); err != nil {
				return err
			}
		}
		// The last of them is signed, and names the one before it: a forged page is found here and not only at the end.
		if _, err := ledger.CheckEvent(events[len(events)-1], c.d.Keys()); err != nil {
			return err
		}
		err := inParallel(len(links), func(i int) error {
			if err := look(&links[i].Header); err != nil {
				return fmt.Errorf("%s@%d: %w", event.StreamIssuance, links[i].Header.Revision, err)
			}
			return nil
		})
		tell(chain.Next())
		return err
	})
	if err == nil {
		err = chain.Ends(end)
	}
	if err != nil {
		return fmt.Errorf("read the register: %w", err)
	}
	return nil
}

// eachPerson shows do, on several goroutines, the key id of the event by which each person came into the register, as its
// view knows them.
func (c *Core) eachPerson(ctx context.Context, do func(keyID string) error, tell func(done uint64)) error {
	read := func(_ context.Context, hand func(page[[]byte]) bool) {
		var from []byte
		for more := true; more; more = from != nil {
			var p page[[]byte]
			p.items, from, p.err = c.d.Register.People(from, registerPage)
			if !hand(p) {
				return
			}
		}
	}
	done := uint64(0)
	return ahead(ctx, read, func(headers [][]byte) error {
		err := inParallel(len(headers), func(i int) error {
			h, err := ledger.DecodeHeader(headers[i])
			if err != nil {
				return fmt.Errorf("a person's first event in the register's view: %w", err)
			}
			if err := do(h.KeyID); err != nil {
				return fmt.Errorf("%s@%d: %w", h.Stream, h.Revision, err)
			}
			return nil
		})
		done += uint64(len(headers))
		tell(done)
		return err
	})
}

// ahead takes pages one after the other, the next ones being read meanwhile. read ends when hand returns false.
func ahead[T any](ctx context.Context, read func(ctx context.Context, hand func(page[T]) bool), take func([]T) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	pages := make(chan page[T], 2)
	go func() {
		defer close(pages)
		read(ctx, func(p page[T]) bool {
			select {
			case pages <- p:
				return p.err == nil
			case <-ctx.Done():
				return false
			}
		})
	}()
	for p := range pages {
		if p.err != nil {
			return p.err
		}
		if err := take(p.items); err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}

// inParallel does n things on several goroutines, few where n is small. It may leave out some once one has failed.
func inParallel(n int, do func(i int) error) error {
	workers := min(runtime.GOMAXPROCS(0), 1+n/128)
	errs := make([]error, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := w; i < n && errs[w] == nil; i += workers {
				errs[w] = do(i)
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

package commands

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"kiroku/commands/sequencer"
	"kiroku/domain/agency"
	"kiroku/domain/event"
	"kiroku/domain/symbol"
)

// IssueSymbols asks for many persons' symbols at one agency, as a stream. Item i is the command
// UUIDv5(ID, i): the whole may be repeated from the start, and each item is answered singly.
type IssueSymbols struct {
	Meta
	Agency   agency.Code
	Requests iter.Seq2[SymbolRequest, error] // a delivery that breaks off ends with its error
}

// SymbolRequest is one item. The core destroys Code.
type SymbolRequest struct {
	AcquisitionNumber symbol.AcquisitionNumber
	Code              symbol.ResidentCode
	Err               error // what is wrong with this one request; it is its answer, and the others go on
}

// ItemIssued answers one item. Items are answered in any order.
type ItemIssued struct {
	Index uint64 // position of the request in the stream, from 0
	Issued
	Err error
}

// bulkWorkers is how many items are under way at once: enough for several appends to fill while one is on its way.
const bulkWorkers = 1024

// IssueSymbols calls answer for every item, one call at a time. It returns the error that ended the stream of
// requests, if any; the errors of items are in their answers. A full queue slows it down and is no error.
func (c *Core) IssueSymbols(ctx context.Context, cmd IssueSymbols, answer func(ItemIssued)) error {
	if err := c.check(cmd.Meta); err != nil {
		return err
	}
	if err := mustActFor(cmd.Actor, cmd.Agency); err != nil {
		return err
	}
	if _, ok := c.d.Registry.Agency(cmd.Agency); !ok { // suspended or not is for each item to say: some may have been answered before
		return c.registry.refuse(ctx, fmt.Errorf("agency %s: %w", cmd.Agency, ErrUnknownAgency))
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type item struct {
		index uint64
		SymbolRequest
	}
	items := make(chan item, bulkWorkers)
	var wg sync.WaitGroup
	var mu sync.Mutex // one answer at a time
	for range bulkWorkers {
		wg.Go(func() {
			for it := range items {
				out, err := c.issueItem(ctx, cmd, it.index, it.SymbolRequest)
				mu.Lock()
				answer(ItemIssued{Index: it.index, Issued: out, Err: err})
				mu.Unlock()
			}
		})
	}
	var failed error
	index := uint64(0)
	for r, err := range cmd.Requests {
		if err != nil {
			failed = err
			break
		}
		if ctx.Err() != nil {
			if r.Err == nil {
				r.Code.Destroy()
			}
			failed = ctx.Err()
			break
		}
		items <- item{index, r}
		index++
	}
	close(items)
	wg.Wait()
	return failed
}

func (c *Core) issueItem(ctx context.Context, cmd IssueSymbols, index uint64, r SymbolRequest) (Issued, error) {
	if r.Err != nil {
		return Issued{AcquisitionNumber: r.AcquisitionNumber}, r.Err
	}
	defer r.Code.Destroy()
	meta := cmd.Meta
	meta.ID = event.ItemID(cmd.ID, index)
	for {
		out, err := c.issue(ctx, IssueSymbol{Meta: meta, Agency: cmd.Agency, AcquisitionNumber: r.AcquisitionNumber, Code: r.Code})
		if !errors.Is(err, sequencer.ErrOverloaded) {
			return out, err
		}
		select {
		case <-ctx.Done():
			return out, err
		case <-time.After(5 * time.Millisecond):
		}
	}
}

package retention

import (
	"time"

	"kiroku/domain/event"
	"kiroku/domain/ledger"
)

// A receipt names the last leaf of its batch, and the leaf before its first: so one event of each batch makes a chain.

// links reports whether the batch of b is that of a, or follows it without anything between.
func links(a, b proven) bool {
	r, n := a.Receipt, b.Receipt
	if r.First == n.First {
		return a.Root == b.Root && r.Size == n.Size
	}
	return r.First+r.Size == n.First && r.Last == n.Prev
}

// next returns an event of the batch after that of p.
func (c *Checker) next(p proven) (proven, bool) {
	end := p.Receipt.First + p.Receipt.Size
	for at := end; ; at++ {
		n, ok := c.registry[at]
		if ok {
			return n, n.Receipt.First == end && links(p, n)
		}
		if at >= end+ledger.MaxBatch {
			return proven{}, false
		}
	}
}

// walk visits the chain from the batch of p on, for as long as there is one, until visit returns false.
func (c *Checker) walk(p proven, visit func(proven) bool) {
	for ok := true; ok && visit(p); {
		p, ok = c.next(p)
	}
}

// anchoredAt returns the time of the first anchor to which the chain leads from p; zero if to none.
func (c *Checker) anchoredAt(p proven) (at time.Time) {
	c.walk(p, func(n proven) bool {
		for _, a := range c.anchors {
			if a.revision() > p.revision() && a.Receipt.First == n.Receipt.First && links(n, a.proven) {
				at = a.Header.Time
				return false
			}
		}
		return true
	})
	return at
}

func (c *Checker) anchorAfter(revision uint64) bool {
	return len(c.anchors) > 0 && c.anchors[len(c.anchors)-1].revision() > revision
}

// compareHeads holds the registry's heads that were written down outside against the batches that are there.
func (c *Checker) compareHeads(heads []ledger.Heads) {
	ends := map[uint64]ledger.Hash{}
	for _, p := range c.registry {
		ends[p.Receipt.First+p.Receipt.Size] = p.Receipt.Last
		ends[p.Receipt.First] = p.Receipt.Prev
	}
	for _, h := range heads {
		if c.out.Ledger != "" && h.Ledger != c.out.Ledger {
			c.out.Flaws = append(c.out.Flaws, "the heads of "+h.Time.UTC().Format(time.RFC3339)+" are those of another ledger")
			continue
		}
		for _, s := range h.Heads {
			if s.Stream != event.StreamRegistry {
				continue
			}
			leaf, there := ends[s.Count]
			switch {
			case !there:
			case leaf != s.Leaf:
				c.out.Flaws = append(c.out.Flaws, "the registry is not the one whose head was written down on "+h.Time.UTC().Format(time.RFC3339))
			default:
				c.out.Heads++
			}
		}
	}
}

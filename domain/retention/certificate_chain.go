package retention

import (
	"fmt"
	"slices"
	"sort"
	"time"

	"kiroku/domain/event"
	"kiroku/domain/ledger"
)

// mostBreaks is how many places at which the registry's chain does not hold are named.
const mostBreaks = 1000

// enchain takes the next event of the registry into its chain.
func (c *Checker) enchain(e ledger.Event, p proven) {
	if c.chain == nil {
		c.chain = ledger.NewVerifier(c.keys, ledger.Options{MaxFindings: mostBreaks})
	}
	c.chain.Add(e)
	c.places[e.Revision] = p.leaf
	c.next = max(c.next, e.Revision+1)
}

// checkChain reports where the registry's chain does not hold, from its first event to its last, and what its anchors say
// of itself that is not so. What anchors say of other streams is for a verification of the whole ledger.
func (c *Checker) checkChain() {
	if c.chain == nil {
		c.out.Flaws = append(c.out.Flaws, "no event of the registry is there")
		return
	}
	result := c.chain.Finish()
	c.out.Ledger = result.Ledger
	named := uint64(0)
	for _, f := range result.Findings {
		if f.Stream != event.StreamRegistry {
			continue
		}
		named++
		c.breaks = append(c.breaks, f.Revision)
		c.out.Flaws = append(c.out.Flaws, fmt.Sprintf("%s@%d: %s: %s", f.Stream, f.Revision, f.Kind, f.Detail))
	}
	slices.Sort(c.breaks)
	if len(result.Findings) == mostBreaks {
		c.out.Flaws = append(c.out.Flaws, fmt.Sprintf("the registry: more than %d places do not follow", mostBreaks))
	}
	if named == 0 {
		c.out.Registry = c.next
	}
}

// follows reports whether the chain holds from an event up to another.
func (c *Checker) follows(from, to uint64) bool {
	i := sort.Search(len(c.breaks), func(i int) bool { return c.breaks[i] >= from })
	return i == len(c.breaks) || c.breaks[i] > to
}

// checkPlace looks whether the chain leads from the registry's first event to the certificate, and on to an anchor.
func (d *checkedDay) checkPlace(certificate proven) {
	c, at := d.c, certificate.revision()
	d.out.Placed = c.out.Ledger != "" && c.follows(0, at)
	i := c.clock.holding(at)
	if i == len(c.clock.ticks) {
		return // too new
	}
	if anchor := c.clock.ticks[i]; c.follows(at+1, anchor.revision) {
		d.out.Anchored = time.UnixMicro(anchor.at).UTC()
	} else {
		d.flaw("no chain of events leads from its certificate to the next anchor")
	}
}

package retention

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"kiroku/domain/event"
	"kiroku/domain/ledger"
)

// end is where a stream ends or ended.
type end struct {
	stream string
	count  uint64
}

// knownHead is a head that was written down outside the ledger.
type knownHead struct {
	ledger.AnchoredHead
	by      string // the heads it belongs to, for a person
	met     bool   // what stands in its place is there
	differs string // and is something else
}

// knownHeads are the heads to be compared. The zero value has none.
type knownHeads struct {
	files  []ledger.Heads
	all    [][]*knownHead // of each file
	at     map[end][]*knownHead
	latest ledger.Anchor // the registry's last
}

// Expect says which heads were written down outside the ledger. Each of the registry has to be met by the event at its
// place; each of another stream by its event, or by what an anchor or a truncation says of that place, as far as these are
// there. Of each file at least one has to be met.
func (c *Checker) Expect(files ...ledger.Heads) {
	k := &c.heads
	if k.at == nil {
		k.at = map[end][]*knownHead{}
	}
	for _, file := range files {
		var heads []*knownHead
		for _, h := range file.Heads {
			known := &knownHead{AnchoredHead: h, by: "the heads of " + file.Time.UTC().Format(time.RFC3339)}
			heads = append(heads, known)
			k.at[end{h.Stream, h.Count}] = append(k.at[end{h.Stream, h.Count}], known)
		}
		k.files, k.all = append(k.files, file), append(k.all, heads)
		c.out.Given += len(heads)
	}
}

// name reports whether a head names a place.
func (k *knownHeads) name(stream string, count uint64) bool { return len(k.at[end{stream, count}]) > 0 }

// meet compares an event with the heads that name its place.
func (k *knownHeads) meet(c ledger.Checked) {
	at := end{c.Header.Stream, c.Header.Revision + 1}
	for _, h := range k.at[at] {
		if !c.EndsBatch() {
			h.met, h.differs = true, "no batch ends there"
		}
	}
	k.claim(at.stream, at.count, c.Leaf)
}

// claim compares what stands at the end of so many events of a stream with the heads that name it.
func (k *knownHeads) claim(stream string, count uint64, leaf ledger.Hash) {
	for _, h := range k.at[end{stream, count}] {
		if h.met = true; h.Leaf != leaf && h.differs == "" {
			h.differs = "another event stands there"
		}
	}
}

// anchored compares what an anchor says of other streams. The registry's own heads are met by its events alone.
func (k *knownHeads) anchored(a ledger.Anchor) {
	k.latest = a
	for _, h := range a.Heads {
		if h.Stream != event.StreamRegistry {
			k.claim(h.Stream, h.Count, h.Leaf)
		}
	}
}

// checkHeads reports the heads that are not met, and which were not compared.
func (c *Checker) checkHeads() {
	for i, file := range c.heads.files {
		by := "the heads of " + file.Time.UTC().Format(time.RFC3339)
		switch {
		case c.out.Ledger == "":
			c.out.Flaws = append(c.out.Flaws, by+" were not compared: the registry's first event, which tells the ledger, is not there")
			continue
		case file.Ledger != c.out.Ledger:
			c.out.Flaws = append(c.out.Flaws, by+" are those of another ledger")
			continue
		}
		compared := c.out.Heads
		var given, absent []string
		for _, h := range c.heads.all[i] {
			switch why := c.checkHead(file, h); {
			case h.differs != "":
				c.out.Flaws = append(c.out.Flaws, fmt.Sprintf("%s@%d, which is the last event by %s: %s", h.Stream, h.Count-1, by, h.differs))
			case h.met:
				c.out.Heads++
			case why != "":
				c.out.Flaws = append(c.out.Flaws, why)
			case h.Count < c.truncated[h.Stream].First:
				given = append(given, fmt.Sprintf("%s@%d", h.Stream, h.Count-1))
			default:
				absent = append(absent, fmt.Sprintf("%s@%d", h.Stream, h.Count-1))
			}
		}
		c.skip(by, given, "the registry gave them up before (stream-truncated)")
		c.skip(by, absent, "they are not in what is verified; verify the store, or a dump that has these streams")
		if c.out.Heads == compared {
			c.out.Flaws = append(c.out.Flaws, "none of "+by+" was compared")
		}
	}
}

// checkHead says what is wrong about a head that nothing met; nothing where it cannot be compared.
func (c *Checker) checkHead(file ledger.Heads, h *knownHead) string {
	registry, count := h.Stream == event.StreamRegistry, h.Count
	switch {
	case h.met:
		return ""
	case registry && count > c.next:
		return fmt.Sprintf("the registry ends after %d events, and by %s it had %d: what followed is missing", c.next, h.by, count)
	case registry:
		return fmt.Sprintf("registry@%d, which was its last event by %s, is not there", count-1, h.by)
	case c.whole && count >= c.truncated[h.Stream].First:
		return fmt.Sprintf("%s@%d, which was its last event by %s, is not there, and the registry did not give it up", h.Stream, count-1, h.by)
	case c.regressed(file, h):
		return fmt.Sprintf("the last anchor knows fewer events of %s than the %d that it had by %s before", h.Stream, count, h.by)
	}
	return ""
}

// regressed reports whether an anchor that is clearly later than the heads, by the clock and by its place, knows less.
func (c *Checker) regressed(file ledger.Heads, h *knownHead) bool {
	last := c.heads.latest
	placed := slices.ContainsFunc(file.Heads, func(r ledger.AnchoredHead) bool {
		return r.Stream == event.StreamRegistry && r.Count > c.clock.last().revision
	})
	if placed || last.Time.Sub(file.Time) <= clockSkew {
		return false
	}
	return !slices.ContainsFunc(last.Heads, func(a ledger.AnchoredHead) bool { return a.Stream == h.Stream && a.Count >= h.Count })
}

func (c *Checker) skip(by string, heads []string, why string) {
	if len(heads) > 0 {
		c.out.NotChecked = append(c.out.NotChecked, fmt.Sprintf("of %s: %s: %s", by, strings.Join(heads, ", "), why))
	}
}

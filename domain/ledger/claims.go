package ledger

import (
	"fmt"
	"slices"
)

// batchEnd is a head the stream once had: after a batch.
type batchEnd struct {
	count uint64
	leaf  Hash
}

// claim is a head that somebody wrote down.
type claim struct {
	count uint64
	leaf  Hash
	by    string // who, for a person
}

// claims of one source about one stream, by rising count. Claims already
// settled are removed from the front.
type claims struct {
	waiting []claim
	settled uint64 // highest count settled; later claims are not below it
}

const (
	byHeadsFiles = iota
	byAnchors
)

// addHeads takes over what the heads files say.
func (b *book) addHeads(files []Heads) {
	for _, file := range files {
		b.ledgers = append(b.ledgers, file.Ledger)
		by := "heads file of " + file.Time.UTC().Format(timeLayout)
		for _, h := range file.Heads {
			c := &b.stream(h.Stream).known[byHeadsFiles]
			c.waiting = append(c.waiting, claim{h.Count, h.Leaf, by})
		}
	}
	for _, s := range b.streams {
		slices.SortStableFunc(s.known[byHeadsFiles].waiting, func(x, y claim) int {
			switch {
			case x.count < y.count:
				return -1
			case x.count > y.count:
				return 1
			}
			return 0
		})
	}
}

// settle compares the claims that the stream has reached with its batch ends,
// and forgets the ends that no later claim can be about.
func (b *book) settle(s *streamState) {
	for i := range s.known {
		c := &s.known[i]
		for len(c.waiting) > 0 && c.waiting[0].count <= s.next {
			b.compareClaim(s, &c.waiting[0])
			c.settled = c.waiting[0].count
			c.waiting = c.waiting[1:]
		}
	}
	s.forgetEnds()
}

func (s *streamState) forgetEnds() {
	needed := s.known[byAnchors].settled
	if w := s.known[byAnchors].waiting; len(w) > 0 {
		needed = w[0].count
	}
	if w := s.known[byHeadsFiles].waiting; len(w) > 0 {
		needed = min(needed, w[0].count)
	}
	n := 0
	for n < len(s.ends) && s.ends[n].count < needed {
		n++
	}
	s.ends = s.ends[n:]
}

// compareClaim looks up a head that lies at or before where the stream has got
// to.
func (b *book) compareClaim(s *streamState, c *claim) {
	revision := c.count - 1
	if c.count < s.first || s.lost(revision) {
		b.result.HeadsUnchecked++
		return
	}
	if c.count == s.first {
		b.compareBeginning(s, c)
		return
	}
	i, found := slices.BinarySearchFunc(s.ends, c.count, func(e batchEnd, count uint64) int {
		switch {
		case e.count < count:
			return -1
		case e.count > count:
			return 1
		}
		return 0
	})
	switch {
	case !found:
		b.reportf(s.name, revision, KindHeadMismatch, "%s names it as a head, but no batch ends here", c.by)
	case s.ends[i].leaf != c.leaf:
		b.reportf(s.name, revision, KindHeadMismatch, "%s gives the leaf hash %s, but here it is %s", c.by, c.leaf, s.ends[i].leaf)
	default:
		b.result.HeadsChecked++
	}
}

// compareBeginning checks a claim about the event just before the first one.
func (b *book) compareBeginning(s *streamState, c *claim) {
	switch {
	case !s.started:
		b.result.HeadsUnchecked++
	case s.firstPrev != c.leaf:
		b.reportf(s.name, c.count-1, KindHeadMismatch, "%s gives the leaf hash %s, but the stream's first event follows %s", c.by, c.leaf, s.firstPrev)
	default:
		b.result.HeadsChecked++
	}
}

// lost reports whether the event at the revision is missing or bad.
func (s *streamState) lost(revision uint64) bool {
	_, found := slices.BinarySearchFunc(s.holes, revision, func(h interval, revision uint64) int {
		switch {
		case h.to <= revision:
			return -1
		case h.from > revision:
			return 1
		}
		return 0
	})
	return found
}

// closeClaims reports, once for a stream, that it does not reach a head it is
// known to have had. A tail that is checked alone may lack whole streams.
func (b *book) closeClaims(s *streamState) {
	if !s.seen {
		if b.anyStart {
			return
		}
		s.beginTruncated()
	}
	b.settle(s)
	var furthest *claim
	for i := range s.known {
		if n := len(s.known[i].waiting); n > 0 {
			if last := &s.known[i].waiting[n-1]; furthest == nil || last.count > furthest.count {
				furthest = last
			}
		}
	}
	if furthest != nil {
		b.reportf(s.name, s.next, KindTailMissing, "%s knows %d events", furthest.by, furthest.count)
	}
}

// beginTruncated treats a stream of which nothing is left as one that ends
// where the furthest rightful truncation lets it begin.
func (s *streamState) beginTruncated() {
	for _, start := range s.starts {
		if start.First > s.next {
			s.first, s.next = start.First, start.First
			s.started, s.firstPrev = true, start.Prev
		}
	}
}

// checkLedger compares the first event of the registry with the ledger that
// the heads files were made for.
func (b *book) checkLedger() {
	if b.result.Ledger == "" {
		return
	}
	for _, id := range b.ledgers {
		if id != b.result.Ledger {
			b.reportf(RegistryStream, 0, KindOtherLedger, "heads file is for ledger %s, this is %s", id, b.result.Ledger)
		}
	}
}

// anchorChain is what the registry has said so far.
type anchorChain struct {
	unknown bool // an anchor may be missing or bad since last was set
	last    Hash // leaf hash of the last anchor, zero before the first
	heads   map[string]AnchoredHead
}

// record takes in a good event of the registry.
func (b *book) record(e *Event, v *verdict) {
	if e.Revision == 0 {
		b.result.Ledger = LedgerID(v.leaf)
	}
	var err error
	switch e.Type {
	case TypeAnchor:
		if err = b.recordAnchor(e, v); err != nil {
			b.anchors.unknown = true
		}
	case TypeStreamTruncated:
		err = b.recordTruncation(e, v)
	}
	if err != nil {
		b.reportf(e.Stream, e.Revision, KindRecordInvalid, "%s", err)
	}
}

func (b *book) recordTruncation(e *Event, v *verdict) error {
	if v.sealed {
		return fmt.Errorf("truncation is not signed plaintext: %w", ErrRecord)
	}
	t, err := DecodeTruncation(e.Data)
	if err != nil {
		return err
	}
	s := b.stream(t.Stream)
	s.starts = append(s.starts, TrustedStart(t))
	return nil
}

func (b *book) recordAnchor(e *Event, v *verdict) error {
	if v.sealed {
		return fmt.Errorf("anchor is not signed plaintext: %w", ErrRecord)
	}
	a, err := DecodeAnchor(e.Data)
	if err != nil {
		return err
	}
	for _, h := range a.Heads {
		if h.Stream == RegistryStream && h.Count > e.Revision {
			return fmt.Errorf("anchor at revision %d names %d events of its own stream: %w", e.Revision, h.Count, ErrRecord)
		}
	}
	b.result.Anchors++
	b.compareAnchor(e.Revision, &a)
	b.anchors.unknown, b.anchors.last = false, v.leaf
	by := fmt.Sprintf("anchor at revision %d of the registry", e.Revision)
	for _, h := range a.Heads {
		b.claimHead(e.Revision, by, h)
	}
	return nil
}

// compareAnchor checks that the anchor continues the one before it, unless
// there may have been one in between that is missing or bad.
func (b *book) compareAnchor(revision uint64, a *Anchor) {
	if !b.anchors.unknown && a.Previous != b.anchors.last {
		b.reportf(RegistryStream, revision, KindAnchorChain, "names %s as the anchor before it, which has %s", a.Previous, b.anchors.last)
	}
	for _, name := range b.anchors.absent(a.Heads) {
		b.reportf(RegistryStream, revision, KindAnchorRegressed, "does not name stream %s, which the anchor before it does", name)
	}
}

// absent returns, sorted, the streams that an earlier anchor named and heads do
// not.
func (c *anchorChain) absent(heads []AnchoredHead) []string {
	var names []string
	for name := range c.heads {
		if !slices.ContainsFunc(heads, func(h AnchoredHead) bool { return h.Stream == name }) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// claimHead notes what an anchor says about one stream, to be compared when
// the stream gets there, or at once.
func (b *book) claimHead(revision uint64, by string, h AnchoredHead) {
	if b.anchors.heads == nil {
		b.anchors.heads = map[string]AnchoredHead{}
	}
	before := b.anchors.heads[h.Stream]
	if h.Count < before.Count || h.Count == before.Count && h.Leaf != before.Leaf {
		b.reportf(RegistryStream, revision, KindAnchorRegressed, "names %d events of stream %s after an anchor that names %d", h.Count, h.Stream, before.Count)
		return
	}
	if h == before {
		return
	}
	b.anchors.heads[h.Stream] = h
	s := b.stream(h.Stream)
	s.known[byAnchors].waiting = append(s.known[byAnchors].waiting, claim{h.Count, h.Leaf, by})
	b.settle(s)
}

package ledger

import (
	"fmt"
	"slices"
	"strings"
)

// book is the serial part of a verification: the order of events in their
// streams and what anchors say about them. It belongs to one goroutine.
type book struct {
	streams     map[string]*streamState
	anchors     anchorChain
	anyStart    bool
	ledgers     []string // ids that heads files name
	maxFindings int
	reported    map[place]bool
	result      Result
}

// streamState is how far one stream has been followed.
type streamState struct {
	name  string
	seen  bool
	first uint64 // first revision that was there
	next  uint64 // revision expected next

	// What is known of the event before next. After a missing or a bad event
	// nothing is, and the next good event is taken as it comes: the damage has
	// been reported once.
	follows bool
	leaf    Hash
	epoch   uint64 // highest seen; exact if follows
	index   uint64
	batch   statement

	started bool // firstPrev is known, first having been a good event
	// firstPrev is the leaf hash that the first event follows.
	firstPrev Hash

	head   Head // of the last good event
	starts []TrustedStart
	holes  []interval
	ends   []batchEnd // batch ends that may still be spoken of, by count
	known  [2]claims  // by heads files; by anchors
}

// interval of revisions, to exclusive.
type interval struct{ from, to uint64 }

// maxKnownFindings bounds memory; above it a finding found again counts again.
const maxKnownFindings = 1 << 20

// place is what makes a finding one.
type place struct {
	stream   string
	revision uint64
	kind     Kind
}

func newBook(options Options) *book {
	b := &book{streams: map[string]*streamState{}, reported: map[place]bool{}, anyStart: options.AnyStart, maxFindings: options.MaxFindings}
	if b.maxFindings <= 0 {
		b.maxFindings = DefaultFindings
	}
	for _, start := range options.Starts {
		s := b.stream(start.Stream)
		s.starts = append(s.starts, start)
	}
	b.addHeads(options.Heads)
	return b
}

func (b *book) stream(name string) *streamState {
	s := b.streams[name]
	if s == nil {
		s = &streamState{name: name}
		b.streams[name] = s
	}
	return s
}

// report enters a finding once: findings are a set. What is kept to know them again is bounded.
func (b *book) report(f Finding) {
	same := place{f.Stream, f.Revision, f.Kind}
	if b.reported[same] {
		return
	}
	if len(b.reported) < maxKnownFindings {
		b.reported[same] = true
	}
	b.result.FindingsTotal++
	if len(b.result.Findings) < b.maxFindings {
		b.result.Findings = append(b.result.Findings, f)
	}
}

func (b *book) reportf(stream string, revision uint64, kind Kind, format string, args ...any) {
	b.report(Finding{Stream: stream, Revision: revision, Kind: kind, Detail: fmt.Sprintf(format, args...)})
}

// enter follows the stream of one event by that event.
func (b *book) enter(e *Event, v *verdict) {
	b.result.Events++
	if v.finding != nil {
		b.report(*v.finding)
	}
	s := b.stream(e.Stream)
	if !b.place(s, e.Revision) {
		return
	}
	s.next = e.Revision + 1
	if v.finding != nil {
		s.lose(e.Revision, s.next)
	}
	if e.Stream == RegistryStream && !s.follows {
		b.anchors.unknown = true
	}
	if v.finding != nil {
		return
	}
	b.follow(s, v)
	if v.index == v.batch.Size-1 {
		s.ends = append(s.ends, batchEnd{s.next, v.leaf})
	}
	if e.Stream == RegistryStream {
		b.record(e, v)
	}
	b.settle(s)
}

// place reports whether the revision may come now.
func (b *book) place(s *streamState, revision uint64) bool {
	switch {
	case !s.seen:
		s.seen, s.first, s.follows = true, revision, revision == 0
	case revision < s.next:
		b.reportf(s.name, revision, KindOutOfOrder, "after revision %d", s.next-1)
		return false
	case revision > s.next:
		b.reportf(s.name, s.next, KindMissing, "next is revision %d", revision)
		s.lose(s.next, revision)
	}
	return true
}

// lose notes that the revisions are not there as they were written.
func (s *streamState) lose(from, to uint64) {
	s.follows = false
	if n := len(s.holes); n > 0 && s.holes[n-1].to == from {
		s.holes[n-1].to = to
		return
	}
	s.holes = append(s.holes, interval{from, to})
}

// follow compares a good event with the one before it and moves on to it.
func (b *book) follow(s *streamState, v *verdict) {
	revision := v.head.Count - 1
	if revision == s.first {
		s.started, s.firstPrev = true, v.prev
	}
	if kind, detail := s.compare(revision, v); kind != "" {
		b.reportf(s.name, revision, kind, "%s", detail)
	}
	if v.index == 0 || !s.follows || s.batch != v.batch {
		b.result.Batches++
	}
	s.follows, s.leaf, s.index, s.batch = true, v.leaf, v.index, v.batch
	s.epoch = max(s.epoch, v.head.Epoch)
	s.head = v.head
}

func (s *streamState) compare(revision uint64, v *verdict) (Kind, string) {
	if s.follows && v.prev != s.leaf {
		return KindChainBreak, fmt.Sprintf("follows an event with leaf hash %s, but the event before it has %s", v.prev, s.leaf)
	}
	if s.follows && !s.continues(revision, v) {
		return KindBatchBreak, fmt.Sprintf("is number %d of a batch of %d, which does not continue the event before it", v.index, v.batch.Size)
	}
	return s.compareEpoch(revision, v)
}

// continues reports whether the event is the next of the open batch, or the
// first of a batch where none is open.
func (s *streamState) continues(revision uint64, v *verdict) bool {
	if revision == 0 || s.index == s.batch.Size-1 {
		return v.index == 0
	}
	return v.batch == s.batch && v.index == s.index+1
}

func (s *streamState) compareEpoch(revision uint64, v *verdict) (Kind, string) {
	epoch, starts := v.head.Epoch, v.starts
	switch {
	case epoch < s.epoch:
		return KindEpochOrder, fmt.Sprintf("epoch %d after epoch %d", epoch, s.epoch)
	case starts && epoch == s.epoch:
		return KindEpochOrder, fmt.Sprintf("epoch %d started again", epoch)
	case s.follows && !starts && epoch > s.epoch:
		return KindEpochOrder, fmt.Sprintf("epoch rose from %d to %d without an %s event", s.epoch, epoch, TypeEpochStarted)
	}
	return "", ""
}

// sortedStreams returns the names of the streams seen or spoken of, bytewise.
func (b *book) sortedStreams() []*streamState {
	all := make([]*streamState, 0, len(b.streams))
	for _, s := range b.streams {
		all = append(all, s)
	}
	slices.SortFunc(all, func(x, y *streamState) int { return strings.Compare(x.name, y.name) })
	return all
}

// close makes the checks that need all events.
func (b *book) close() {
	for _, s := range b.sortedStreams() {
		if s.seen {
			b.checkStart(s)
			b.checkEnd(s)
			if s.head.Count > 0 {
				b.result.Streams = append(b.result.Streams, s.head)
			}
		}
		b.closeClaims(s)
	}
	b.checkLedger()
}

func (b *book) checkStart(s *streamState) {
	if s.first == 0 || b.anyStart || s.mayStart() {
		return
	}
	b.reportf(s.name, s.first, KindStartNotTrusted, "nothing authorises the stream to begin here")
}

// mayStart reports whether a truncation, or the caller, names the beginning. A
// first event that is bad has been reported and hides what it follows.
func (s *streamState) mayStart() bool {
	for _, start := range s.starts {
		if start.First == s.first && (!s.started || start.Prev == s.firstPrev) {
			return true
		}
	}
	return false
}

func (b *book) checkEnd(s *streamState) {
	if s.follows && s.index != s.batch.Size-1 {
		b.reportf(s.name, s.next, KindBatchIncomplete, "the batch from revision %d has %d events", s.batch.First, s.batch.Size)
	}
}

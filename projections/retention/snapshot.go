package retention

import (
	"slices"
	"sort"
	"strings"
	"time"

	"kiroku/domain/approval"
	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/domain/ledger"
	"kiroku/domain/retention"
)

// Day is how far one day has come. Revisions are of the registry; none of its facts ever stands at 0, which is none.
type Day struct {
	Day calendar.Day
	// Streams is what each stream holds of the day, sorted by stream: as the headers say while the key lives, as the
	// registry says afterwards. A stream that holds nothing of it is not there.
	Streams []event.DayStream

	Announced     Announcement
	Summary       Summary
	Decided       uint64 // revision of destruction-decided
	Destroyed     Destruction
	Certified     uint64 // revision of day-certified
	Unrecoverable uint64 // revision of day-unrecoverable
	Acknowledged  uint64 // revision of key-loss-acknowledged
}

// Announcement is the last announcement of a day's destruction.
type Announcement struct {
	Revision uint64
	At       time.Time
	Anchor   uint64    // revision of the first anchor that holds it
	Anchored time.Time // the time of that anchor; zero: none yet
	proven   time.Duration
}

// Summary is where the parts of a day's summary stand in the registry.
type Summary struct {
	Revision uint64 // of the first part
	Parts    int    // there are
	Seen     int    // of them so far
}

// Complete reports whether every part is there.
func (s Summary) Complete() bool { return s.Revision > 0 && s.Seen == s.Parts }

// Destruction is where the registry says that the day's key is destroyed.
type Destruction struct {
	Revision uint64
	Leaf     ledger.Hash
	Fact     event.DayKeyDestroyed
}

// Living reports whether the day's key is not known to be destroyed.
func (d *Day) Living() bool { return d.Destroyed.Revision == 0 }

// Lost reports whether the day ended because its key was found missing.
func (d *Day) Lost() bool { return !d.Living() && d.Destroyed.Fact.Lost }

// Noticed reports whether notice of the day's destruction counts: its key lives, or was lost, so that it may return and
// what it sealed is kept for as long as that of any other day.
func (d *Day) Noticed() bool { return d.Living() || d.Lost() }

// Events is the number of revisions between the first and the last of the day, of all streams.
func (d *Day) Events() (n uint64) {
	for _, s := range d.Streams {
		n += s.Next - s.First
	}
	return n
}

// Proposal is a proposal with its approvals.
type Proposal struct {
	approval.Standing
	Done uint64 // revision of the fact that carried it out; 0: none yet
}

// Truncation is where a stream may begin.
type Truncation struct {
	ledger.Truncation
	Revision uint64
}

// Rotation is a rotation of the vault.
type Rotation struct {
	Revision uint64
	Fact     event.VaultRotated
}

// Refused is a fact of the registry, or a part of one, that needs two officials' approval and stands there without it.
type Refused struct {
	Revision uint64
	Type     string
}

// anchor is the first anchor of a day.
type anchor struct {
	revision uint64
	at       time.Time
	heads    []storedHead // of streams that die with days
	proven   time.Duration
	step     time.Duration // of it since the anchor before, also one of the same day
}

// hold is a legal hold with the first anchor that holds it; without anchored there is none.
type hold struct {
	retention.Hold
	revision uint64
	anchored time.Time
	proven   time.Duration
}

// count is how many events of a stream the anchor holds.
func (a *anchor) count(stream string) uint64 {
	for _, h := range a.heads {
		if h.Stream == stream {
			return h.Count
		}
	}
	return 0
}

// Snapshot is the retention at one moment. It never changes; change nothing that it returns.
type Snapshot struct {
	days        []*Day // rising
	holds       []hold
	proposals   []*Proposal
	anchors     []anchor       // in the order of the ledger, the first of each day; later ones may share the array
	unanchored  []calendar.Day // announced, and no anchor since
	truncations map[string]Truncation
	rotations   []Rotation
	terms       approval.Terms
	copies      retention.Copies
	refused     []Refused // in the order of the registry
	next        map[string]uint64
	clock       retention.Clock
}

// Days returns every day of which there is anything, rising: living and ended, also days that only have a key.
func (s *Snapshot) Days() []Day {
	days := make([]Day, len(s.days))
	for i, d := range s.days {
		days[i] = *d
	}
	return days
}

// Day returns one day, and false if there is nothing of it.
func (s *Snapshot) Day(day calendar.Day) (Day, bool) {
	if i, found := s.find(day); found {
		return *s.days[i], true
	}
	return Day{Day: day}, false
}

func (s *Snapshot) find(day calendar.Day) (int, bool) {
	return slices.BinarySearchFunc(s.days, day, func(d *Day, day calendar.Day) int { return d.Day.Compare(day) })
}

// Destroyed reports whether the registry says that the key of the day is destroyed.
func (s *Snapshot) Destroyed(day calendar.Day) bool {
	d, found := s.Day(day)
	return found && !d.Living()
}

// Holds returns every legal hold in the order in which they were added, ended ones included, as they stand by the last
// anchor.
func (s *Snapshot) Holds() []retention.Hold { return s.holdsBy(s.clock.Proven) }

func (s *Snapshot) holdsBy(proven time.Duration) []retention.Hold {
	if len(s.holds) == 0 {
		return nil
	}
	all := make([]retention.Hold, len(s.holds))
	for i, h := range s.holds {
		all[i] = h.Hold
		if !h.anchored.IsZero() {
			all[i].Shown = h.anchored.Add(proven - h.proven)
		}
	}
	return all
}

// Proposals returns every proposal in the order in which they were made.
func (s *Snapshot) Proposals() []Proposal {
	all := make([]Proposal, len(s.proposals))
	for i, p := range s.proposals {
		all[i] = *p
		all[i].Terms = s.terms
	}
	return all
}

// Proposal returns the proposal with that hash.
func (s *Snapshot) Proposal(hash approval.Hash) (Proposal, bool) {
	for _, p := range s.proposals {
		if p.Hash == hash {
			found := *p
			found.Terms = s.terms
			return found, true
		}
	}
	return Proposal{}, false
}

// Anchors returns the times of the anchors at or after since, one for each day, in the order of the ledger.
func (s *Snapshot) Anchors(since time.Time) []time.Time {
	var all []time.Time
	for _, a := range s.anchors {
		if !a.at.Before(since) {
			all = append(all, a.at)
		}
	}
	return all
}

// Rotations returns the rotations of the vault in order.
func (s *Snapshot) Rotations() []Rotation { return slices.Clone(s.rotations) }

// Authorities returns which authorities of officials are in force when.
func (s *Snapshot) Authorities() approval.Terms { return slices.Clone(s.terms) }

// Copies returns which copies of the HSM's keys there are when.
func (s *Snapshot) Copies() retention.Copies { return slices.Clone(s.copies) }

// Refused returns the facts that stand in the registry though two officials did not approve them, in order. Nothing else
// that a Snapshot says comes of them.
func (s *Snapshot) Refused() []Refused { return slices.Clone(s.refused) }

// Truncated returns the last authorised beginning of a stream.
func (s *Snapshot) Truncated(stream string) (Truncation, bool) {
	t, found := s.truncations[stream]
	return t, found
}

// Next returns how far a stream was followed: the revision expected next.
func (s *Snapshot) Next(stream string) uint64 { return s.next[stream] }

// Expendable returns the first revision of a stream that has to stay: everything before it belongs to days that are
// certified, or to no day. It is 0 if nothing may go. A certified day whose key was lost stays unless goes says that it may
// go too; nil says so of none.
func (s *Snapshot) Expendable(stream string, goes func(calendar.Day) bool) uint64 {
	var first, stays uint64
	held := false
	for _, d := range s.days {
		i, found := findStream(d.Streams, stream)
		if !found {
			continue
		}
		switch span := d.Streams[i]; {
		case d.Certified > 0 && (!d.Lost() || goes != nil && goes(d.Day)):
			first = max(first, span.Next)
		case !held || span.First < stays:
			stays, held = span.First, true
		}
	}
	if held {
		first = min(first, stays)
	}
	return first
}

// Evidence returns what is known of a day, for the policy to judge. now has the epoch of the registry in which whoever asks
// writes it with a clock that was not moved, 0 if he does not. What the anchors show is left out as long as the day is not
// even to be announced: nothing could make it ready, and most days are such.
func (s *Snapshot) Evidence(p retention.Policy, day calendar.Day, now retention.Moment) retention.Evidence {
	proven := s.clock.Proven + s.clock.Step(now)
	e := retention.Evidence{Now: now.At, Holds: s.holdsBy(proven)}
	if calendar.DayOf(now.At).Before(p.AnnounceFrom(day)) {
		return e
	}
	d, _ := s.Day(day)
	if d.Announced.Anchor > 0 {
		e.Announced, e.Proven = d.Announced.Anchored, proven-d.Announced.proven
		since := sort.Search(len(s.anchors), func(i int) bool { return s.anchors[i].revision > d.Announced.Anchor })
		e.Anchors = times(s.anchors[since:])
	}
	e.Lived = s.lived(&d, proven)
	return e
}

// lived is the proven time since the end of a day. Where the anchor that first holds all its facts came later, the time
// from the end to it counts as far as the step that led to it does; where it came earlier, the time to the end does not.
func (s *Snapshot) lived(d *Day, proven time.Duration) time.Duration {
	i := s.held(d)
	if i == len(s.anchors) {
		return 0
	}
	first := s.anchors[i]
	return proven - first.proven + min(first.at.Sub(d.Day.End()), max(0, first.step))
}

// held returns the first anchor that holds all facts of a day. Of a day without any, the clock has to do.
func (s *Snapshot) held(d *Day) int {
	if len(d.Streams) == 0 {
		i := slices.IndexFunc(s.anchors, func(a anchor) bool { return !a.at.Before(d.Day.End()) })
		if i < 0 {
			return len(s.anchors)
		}
		return i
	}
	return sort.Search(len(s.anchors), func(i int) bool {
		return !slices.ContainsFunc(d.Streams, func(span event.DayStream) bool { return s.anchors[i].count(span.Stream) < span.Next })
	})
}

func times(anchors []anchor) []time.Time {
	all := make([]time.Time, len(anchors))
	for i, a := range anchors {
		all[i] = a.at
	}
	return all
}

func findStream(spans []event.DayStream, stream string) (int, bool) {
	return slices.BinarySearchFunc(spans, stream, func(s event.DayStream, stream string) int {
		return strings.Compare(s.Stream, stream)
	})
}

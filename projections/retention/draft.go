package retention

import (
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"

	"kiroku/domain/approval"
	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/domain/ledger"
	"kiroku/domain/retention"
)

// draft is a Snapshot in the making. What it has in common with the one before is not changed but replaced.
type draft struct {
	Snapshot
	ownDays bool
	touched map[calendar.Day]bool // days that are the draft's own
	forget  func(calendar.Day)
}

func newDraft(from *Snapshot, forget func(calendar.Day)) *draft {
	return &draft{Snapshot: *from, touched: map[calendar.Day]bool{}, forget: forget}
}

// change returns a day to be changed, new if there was nothing of it.
func (d *draft) change(day calendar.Day) *Day {
	if !d.ownDays {
		d.days, d.ownDays = slices.Clone(d.days), true
	}
	i, found := d.find(day)
	switch {
	case !found:
		d.days = slices.Insert(d.days, i, &Day{Day: day})
	case !d.touched[day]:
		clone := *d.days[i]
		clone.Streams = slices.Clone(clone.Streams)
		d.days[i] = &clone
	}
	d.touched[day] = true
	return d.days[i]
}

// dead reports whether the key of the day is destroyed.
func (d *draft) dead(day calendar.Day) bool { return d.Destroyed(day) }

// stream returns what a stream holds of a day, to be changed.
func (d *Day) stream(name string) *event.DayStream {
	i, found := findStream(d.Streams, name)
	if !found {
		d.Streams = slices.Insert(d.Streams, i, event.DayStream{Stream: name})
	}
	return &d.Streams[i]
}

func (d *draft) reached(stream string, next uint64) {
	d.next = maps.Clone(d.next)
	if d.next == nil {
		d.next = map[string]uint64{}
	}
	d.next[stream] = max(d.next[stream], next)
}

// passed moves the clock of the ledger on to an anchor, and returns the time that this proves to have passed.
func (d *draft) passed(to retention.Moment) (step time.Duration) {
	step = d.clock.Step(to)
	d.clock = d.clock.Pass(to)
	return step
}

func (d *draft) setHold(h hold) {
	d.holds = append(slices.Clip(d.holds), h)
}

// release marks a hold, and reports whether there is such a hold that was not released before.
func (d *draft) release(id uuid.UUID) bool {
	i := slices.IndexFunc(d.holds, func(h hold) bool { return h.ID == id && !h.Released })
	if i >= 0 {
		d.holds = slices.Clone(d.holds)
		d.holds[i].Released = true
	}
	return i >= 0
}

func (d *draft) hold(id uuid.UUID) bool {
	return slices.ContainsFunc(d.holds, func(h hold) bool { return h.ID == id })
}

// proposal returns a proposal to be changed, nil if there is none with that hash.
func (d *draft) proposal(hash []byte) *Proposal {
	if len(hash) != len(approval.Hash{}) {
		return nil
	}
	i := slices.IndexFunc(d.proposals, func(p *Proposal) bool { return p.Hash == approval.Hash(hash) })
	if i < 0 {
		return nil
	}
	clone := *d.proposals[i]
	clone.Approvals = slices.Clip(clone.Approvals)
	d.proposals = slices.Clone(d.proposals)
	d.proposals[i] = &clone
	return &clone
}

func (d *draft) setProposal(p Proposal) { d.proposals = append(slices.Clip(d.proposals), &p) }

func (d *draft) setRotation(r Rotation) { d.rotations = append(slices.Clip(d.rotations), r) }

// setAuthorities puts a set into force, unless it was approved by nobody.
func (d *draft) setAuthorities(p event.AuthoritiesSet, revision uint64) error {
	terms, err := d.terms.Next(p, revision, d.standing(p.Proposal))
	d.terms = terms
	return err
}

// setCopies puts a list into force, unless it leaves out what nobody approved to leave out.
func (d *draft) setCopies(p event.CopiesDeclared, revision uint64) error {
	copies, err := d.copies.Next(p, revision, d.standing(p.Proposal))
	d.copies = copies
	return err
}

// attested reports whether some of the proposals attest a day for every copy that may hold its key; of a day that no copy
// was declared for, nobody can know.
func (d *draft) attested(day *Day, proposals [][]byte) bool {
	copies := d.copies.Of(day.Destroyed.Revision)
	for _, name := range copies {
		if !slices.ContainsFunc(proposals, func(hash []byte) bool { return d.copies.Attested(d.standing(hash), name, day.Day) }) {
			return false
		}
	}
	return len(copies) > 0
}

func (d *draft) standing(hash []byte) *approval.Standing {
	if len(hash) != len(approval.Hash{}) {
		return nil
	}
	if p, found := d.Proposal(approval.Hash(hash)); found {
		return &p.Standing
	}
	return nil
}

func (d *draft) setTruncation(t Truncation) {
	d.truncations = maps.Clone(d.truncations)
	if d.truncations == nil {
		d.truncations = map[string]Truncation{}
	}
	d.truncations[t.Stream] = t
}

// setAnchor keeps the first anchor of each day, in the order of the ledger. Snapshots share the array: what lies beyond
// the end of an older one it never sees.
func (d *draft) setAnchor(a anchor) (kept bool) {
	if n := len(d.anchors); n > 0 && calendar.DayOf(d.anchors[n-1].at) == calendar.DayOf(a.at) {
		return false
	}
	d.anchors = append(d.anchors, a)
	return true
}

// announced makes a day wait for its anchor.
func (d *draft) announced(day calendar.Day) {
	if !slices.Contains(d.unanchored, day) {
		d.unanchored = append(slices.Clip(d.unanchored), day)
	}
}

func registryCount(heads []ledger.AnchoredHead) uint64 {
	for _, h := range heads {
		if h.Stream == event.StreamRegistry {
			return h.Count
		}
	}
	return 0
}

package retention

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"kiroku/domain/approval"
	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/domain/ledger"
	"kiroku/domain/retention"
	"kiroku/projections"
)

// change makes one fact's rows and its difference in the snapshot.
type change func(*draft, *projections.Batch, *projections.Opened) error

type fact = projections.Fact[change]

// facts are the types of event of the registry that concern the retention.
var facts = map[string]func(payload []byte) (change, error){
	event.TypeAnchor:               of(ledger.DecodeAnchor, anchored),
	ledger.TypeStreamTruncated:     of(ledger.DecodeTruncation, truncated),
	event.TypeDestructionAnnounced: of(event.Decode[event.DestructionAnnounced], announced),
	event.TypeDaySummarised:        of(event.Decode[event.DaySummarised], summarised),
	event.TypeDestructionDecided:   of(event.Decode[event.DestructionDecided], decided),
	event.TypeDayKeyDestroyed:      of(event.Decode[event.DayKeyDestroyed], destroyed),
	event.TypeDayCertified:         of(event.Decode[event.DayCertified], certified),
	event.TypeDayUnrecoverable:     of(event.Decode[event.DayUnrecoverable], unrecoverable),
	event.TypeHoldAdded:            of(event.Decode[event.HoldAdded], holdAdded),
	event.TypeHoldReleased:         of(event.Decode[event.HoldReleased], holdReleased),
	event.TypeProposalMade:         of(event.Decode[event.ProposalMade], proposalMade),
	event.TypeProposalApproved:     of(event.Decode[event.ProposalApproved], proposalApproved),
	event.TypeVaultRotated:         of(event.Decode[event.VaultRotated], vaultRotated),
	event.TypeAuthoritiesSet:       of(event.Decode[event.AuthoritiesSet], authoritiesSet),
	event.TypeCopiesDeclared:       of(event.Decode[event.CopiesDeclared], copiesDeclared),
	event.TypeLossAcknowledged:     of(event.Decode[event.LossAcknowledged], lossAcknowledged),
}

func of[T any](decode func([]byte) (T, error), rows func(T) change) func([]byte) (change, error) {
	return func(payload []byte) (change, error) {
		p, err := decode(payload)
		return rows(p), malformed(err)
	}
}

func readFact(o *projections.Opened) (fact, error) {
	read, concerns := facts[o.Event.Type]
	if !concerns {
		return fact{Skip: true}, nil
	}
	c, err := read(o.Payload)
	return fact{Rows: c}, err
}

// malformed marks an error as one that no repetition mends.
func malformed(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", event.ErrMalformed, err)
}

func set(b *projections.Batch, t projections.Table, key []byte, row any) error {
	value, err := event.Encode(row)
	if err == nil {
		b.Set(t, key, value)
	}
	return err
}

func revisionKey(revision uint64) []byte { return binary.BigEndian.AppendUint64(nil, revision) }

func anchored(a ledger.Anchor) change {
	return func(d *draft, b *projections.Batch, o *projections.Opened) error {
		step := d.passed(retention.Moment{At: a.Time, Epoch: o.Header.Epoch})
		row := anchor{revision: o.Event.Revision, at: a.Time, proven: d.clock.Proven, step: step}
		if err := set(b, tableClock, nil, storedClock{row.at.UnixMicro(), d.clock.Epoch, row.proven.Microseconds(), d.clock.Spent.Nanoseconds()}); err != nil {
			return err
		}
		for _, h := range a.Heads {
			if retention.DiesWithDay(h.Stream) {
				row.heads = append(row.heads, storedHead{h.Stream, h.Count})
			}
		}
		if d.setAnchor(row) {
			if err := set(b, tableAnchor, revisionKey(row.revision), storedAnchor{row.at.UnixMicro(), row.heads, row.proven.Microseconds(), step.Microseconds()}); err != nil {
				return err
			}
		}
		if err := anchorHolds(d, b, row, registryCount(a.Heads)); err != nil {
			return err
		}
		return anchorAnnouncements(d, b, row, registryCount(a.Heads))
	}
}

// anchorHolds notes the anchor on every hold that it is the first to hold.
func anchorHolds(d *draft, b *projections.Batch, a anchor, holds uint64) error {
	for i, h := range d.holds {
		if !h.anchored.IsZero() || h.revision >= holds {
			continue
		}
		d.holds = slices.Clone(d.holds)
		d.holds[i].anchored, d.holds[i].proven = a.at, a.proven
		err := changeHold(b, h.ID, func(row *storedHold) { row.Anchored, row.Proven = micros(a.at), a.proven.Microseconds() })
		if err != nil {
			return err
		}
	}
	return nil
}

func changeHold(b *projections.Batch, id uuid.UUID, change func(*storedHold)) error {
	value, _, err := b.Get(tableHold, id[:])
	if err != nil {
		return err
	}
	row, err := event.Decode[storedHold](value)
	if err != nil {
		return projections.ErrDamaged
	}
	change(&row)
	return set(b, tableHold, id[:], row)
}

// anchorAnnouncements notes the anchor on every day whose announcement it is the first to hold.
func anchorAnnouncements(d *draft, b *projections.Batch, a anchor, holds uint64) error {
	var waiting []calendar.Day
	for _, day := range d.unanchored {
		if at := d.revisionAnnounced(day); at >= holds {
			waiting = append(waiting, day)
			continue
		}
		changed := d.change(day)
		changed.Announced.Anchor, changed.Announced.Anchored, changed.Announced.proven = a.revision, a.at, a.proven
		if err := changed.store(b); err != nil {
			return err
		}
	}
	d.unanchored = waiting
	return nil
}

func (s *Snapshot) revisionAnnounced(day calendar.Day) uint64 {
	d, _ := s.Day(day)
	return d.Announced.Revision
}

func truncated(t ledger.Truncation) change {
	return func(d *draft, b *projections.Batch, o *projections.Opened) error {
		if before, found := d.Truncated(t.Stream); found && before.First >= t.First {
			return nil
		}
		d.setTruncation(Truncation{t, o.Event.Revision})
		return set(b, tableTruncation, []byte(t.Stream), storedTruncation{o.Event.Revision, t.First, t.Prev[:]})
	}
}

func announced(p event.DestructionAnnounced) change {
	return func(d *draft, b *projections.Batch, o *projections.Opened) error {
		for _, text := range p.Days {
			day, err := calendar.Parse(text)
			if err != nil {
				return malformed(err)
			}
			if before, _ := d.Day(day); !before.Noticed() {
				continue
			}
			changed := d.change(day)
			changed.Announced = Announcement{Revision: o.Event.Revision, At: o.Header.Time}
			d.announced(day)
			if err := changed.store(b); err != nil {
				return err
			}
		}
		return nil
	}
}

func summarised(p event.DaySummarised) change {
	return func(d *draft, b *projections.Batch, o *projections.Opened) error {
		day, err := calendar.Parse(p.Day)
		if err != nil {
			return malformed(err)
		}
		if p.Parts < 1 || p.Part < 0 || p.Part >= p.Parts {
			return fmt.Errorf("part %d of %d of the summary of %s: %w", p.Part, p.Parts, p.Day, event.ErrMalformed)
		}
		if d.dead(day) {
			return nil
		}
		changed := d.change(day)
		if p.Part == 0 {
			changed.Summary = Summary{Revision: o.Event.Revision, Parts: p.Parts}
		}
		if p.Part != changed.Summary.Seen || p.Parts != changed.Summary.Parts {
			return nil // no part of a summary that began
		}
		changed.Summary.Seen++
		return changed.store(b)
	}
}

// decided notes that a day's key is being destroyed. Without a summary there is nothing to be decided.
func decided(p event.DestructionDecided) change {
	return func(d *draft, b *projections.Batch, o *projections.Opened) error {
		day, err := calendar.Parse(p.Day)
		if err != nil {
			return malformed(err)
		}
		if before, _ := d.Day(day); !before.Living() || before.Decided > 0 || !before.Summary.Complete() {
			return nil
		}
		changed := d.change(day)
		changed.Decided = o.Event.Revision
		return changed.store(b)
	}
}

func destroyed(p event.DayKeyDestroyed) change {
	return func(d *draft, b *projections.Batch, o *projections.Opened) error {
		day, err := calendar.Parse(p.Day)
		if err != nil {
			return malformed(err)
		}
		if p.Lost && !d.dead(day) && !d.standing(p.Proposal).Loses(p.Day, time.UnixMicro(p.At)) {
			return d.refuse(b, o)
		}
		if before, _ := d.Day(day); !p.Lost && before.Living() && before.Decided == 0 {
			return d.refuse(b, o)
		}
		d.forget(day) // before the commit: nobody who sees the fact applied still finds a key
		if d.dead(day) {
			return nil
		}
		changed := d.change(day)
		for _, s := range changed.Streams {
			b.Delete(tableLiving, livingKey(day, s.Stream))
		}
		if !p.Lost {
			d.unanchored = slices.DeleteFunc(slices.Clone(d.unanchored), func(other calendar.Day) bool { return other == day })
		}
		slices.SortFunc(p.Streams, func(x, y event.DayStream) int { return strings.Compare(x.Stream, y.Stream) })
		changed.Destroyed = Destruction{Revision: o.Event.Revision, Leaf: ledger.LeafHash(o.HeaderBytes), Fact: p}
		changed.Streams = p.Streams
		if err := changed.store(b); err != nil {
			return err
		}
		return d.done(b, o, p.Proposal)
	}
}

// lossAcknowledged ends the alarm of a loss. Of a day that is not lost there is nothing to acknowledge.
func lossAcknowledged(p event.LossAcknowledged) change {
	return func(d *draft, b *projections.Batch, o *projections.Opened) error {
		day, err := calendar.Parse(p.Day)
		if err != nil {
			return malformed(err)
		}
		if before, _ := d.Day(day); !before.Lost() || before.Acknowledged > 0 {
			return nil
		}
		changed := d.change(day)
		changed.Acknowledged = o.Event.Revision
		return changed.store(b)
	}
}

func certified(p event.DayCertified) change {
	return func(d *draft, b *projections.Batch, o *projections.Opened) error {
		day, err := calendar.Parse(p.Day)
		if err != nil {
			return malformed(err)
		}
		// A certificate of what is not destroyed, or was certified, certifies nothing.
		if before, _ := d.Day(day); before.Living() || before.Certified > 0 {
			return nil
		}
		changed := d.change(day)
		changed.Certified = o.Event.Revision
		return changed.store(b)
	}
}

// unrecoverable notes the second stage of days. Of a day that two officials did not attest for each copy it is none.
func unrecoverable(p event.DayUnrecoverable) change {
	return func(d *draft, b *projections.Batch, o *projections.Opened) error {
		from, err := calendar.Parse(p.From)
		if err != nil {
			return malformed(err)
		}
		to, err := calendar.Parse(p.To)
		if err != nil {
			return malformed(err)
		}
		var carriedOut [][]byte
		for _, before := range d.days {
			if before.Day.Before(from) || before.Day.After(to) || before.Certified == 0 || before.Unrecoverable > 0 {
				continue
			}
			if !d.attested(before, p.Proposals) {
				if err := d.refuse(b, o); err != nil {
					return err
				}
				continue
			}
			changed := d.change(before.Day)
			changed.Unrecoverable = o.Event.Revision
			if err := changed.store(b); err != nil {
				return err
			}
			carriedOut = p.Proposals
		}
		return d.done(b, o, carriedOut...)
	}
}

func holdAdded(p event.HoldAdded) change {
	return func(d *draft, b *projections.Batch, o *projections.Opened) error {
		h, err := holdOf(p)
		if err != nil {
			return malformed(err)
		}
		if d.hold(h.ID) {
			return nil
		}
		d.setHold(hold{Hold: h, revision: o.Event.Revision})
		return set(b, tableHold, h.ID[:], storedHold{Revision: o.Event.Revision, Added: p})
	}
}

func holdOf(p event.HoldAdded) (h retention.Hold, err error) {
	h = retention.Hold{ID: p.Hold, Reason: p.Reason, Authority: p.Authority}
	if h.From, err = calendar.Parse(p.From); err != nil {
		return h, err
	}
	if h.To, err = calendar.Parse(p.To); err != nil {
		return h, err
	}
	if h.Until, err = calendar.Parse(p.Until); err != nil {
		return h, err
	}
	return retention.NewHold(h)
}

// holdReleased ends a hold. An end that two officials did not approve is none, whoever wrote it.
func holdReleased(p event.HoldReleased) change {
	return func(d *draft, b *projections.Batch, o *projections.Opened) error {
		if !d.standing(p.Proposal).Releases(p.Hold) {
			return d.refuse(b, o)
		}
		if !d.release(p.Hold) {
			return d.done(b, o, p.Proposal)
		}
		if err := changeHold(b, p.Hold, func(row *storedHold) { row.Released = o.Event.Revision }); err != nil {
			return err
		}
		return d.done(b, o, p.Proposal)
	}
}

func proposalMade(p event.ProposalMade) change {
	return func(d *draft, b *projections.Batch, o *projections.Opened) error {
		hash := approval.HashOf(o.Payload)
		if d.proposal(hash[:]) != nil {
			return nil
		}
		made := Proposal{Standing: approval.Standing{Hash: hash, Revision: o.Event.Revision, Made: p}}
		d.setProposal(made)
		return made.store(b)
	}
}

// proposalApproved keeps every approval of a known proposal; which of them count is for approval.Standing to say.
func proposalApproved(p event.ProposalApproved) change {
	return func(d *draft, b *projections.Batch, _ *projections.Opened) error {
		changed := d.proposal(p.Proposal)
		if changed == nil {
			return nil
		}
		changed.Approvals = append(changed.Approvals, p)
		return changed.store(b)
	}
}

// vaultRotated keeps a rotation, whoever approved it: the root key is gone. A deletion that two officials did not approve is
// none that it carried out: it stays to be carried out, if they do.
func vaultRotated(p event.VaultRotated) change {
	return func(d *draft, b *projections.Batch, o *projections.Opened) error {
		named := len(p.Proposals) + len(p.Rotations)
		p.Proposals = slices.DeleteFunc(slices.Clone(p.Proposals), func(hash []byte) bool { return !d.standing(hash).Deletes() })
		p.Rotations = slices.DeleteFunc(slices.Clone(p.Rotations), func(hash []byte) bool { return !d.standing(hash).Rotates() })
		approved := slices.Concat(p.Proposals, p.Rotations)
		if len(approved) < named || named == 0 {
			if err := d.refuse(b, o); err != nil {
				return err
			}
		}
		d.setRotation(Rotation{o.Event.Revision, p})
		if err := set(b, tableRotation, revisionKey(o.Event.Revision), p); err != nil {
			return err
		}
		return d.done(b, o, approved...)
	}
}

// authoritiesSet puts authorities into force. A set that the officials before it did not approve is none, whoever wrote it.
func authoritiesSet(p event.AuthoritiesSet) change {
	return func(d *draft, b *projections.Batch, o *projections.Opened) error {
		if d.setAuthorities(p, o.Event.Revision) != nil {
			return d.refuse(b, o)
		}
		if err := set(b, tableAuthorities, revisionKey(o.Event.Revision), p); err != nil {
			return err
		}
		return d.done(b, o, p.Proposal)
	}
}

// copiesDeclared puts a list of copies into force, likewise.
func copiesDeclared(p event.CopiesDeclared) change {
	return func(d *draft, b *projections.Batch, o *projections.Opened) error {
		if d.setCopies(p, o.Event.Revision) != nil {
			return d.refuse(b, o)
		}
		if err := set(b, tableCopies, revisionKey(o.Event.Revision), p); err != nil {
			return err
		}
		return d.done(b, o, p.Proposal)
	}
}

// done notes that proposals were carried out.
func (d *draft) done(b *projections.Batch, o *projections.Opened, hashes ...[]byte) error {
	for _, hash := range hashes {
		changed := d.proposal(hash)
		if changed == nil || changed.Done > 0 {
			continue
		}
		changed.Done = o.Event.Revision
		if err := changed.store(b); err != nil {
			return err
		}
	}
	return nil
}

// refuse notes a fact that needs two officials' approval and stands there without it. Nothing else comes of it.
func (d *draft) refuse(b *projections.Batch, o *projections.Opened) error {
	r := Refused{o.Event.Revision, o.Event.Type}
	if n := len(d.refused); n > 0 && d.refused[n-1] == r {
		return nil
	}
	d.refused = append(slices.Clip(d.refused), r)
	return set(b, tableRefused, revisionKey(r.Revision), storedRefused{r.Type})
}

func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

package retention

import (
	"fmt"
	"slices"
	"time"

	"kiroku/domain/approval"
	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/domain/ledger"
)

// What is proven of a day.
const (
	StageDestroyed     = "destroyed"     // the key is gone, and there is no certificate
	StageCertified     = "certified"     // so is everything that the core derived from the day
	StageUnrecoverable = "unrecoverable" // and every known copy of the key, as officials attested
)

// Certificate is what a bundle says of the end of one day.
type Certificate struct {
	Day       calendar.Day `json:"day"`
	Stage     string       `json:"stage"`
	Events    uint64       `json:"events"`
	Destroyed time.Time    `json:"destroyed,omitzero"`
	Certified time.Time    `json:"certified,omitzero"`
	Token     event.Token  `json:"token"`             // that destroyed the key, or was found to lack it
	Revision  uint64       `json:"revision"`          // of day-certified in the registry, or else of day-key-destroyed
	Anchored  time.Time    `json:"anchored,omitzero"` // time of the first anchor that follows it by a chain; zero: none

	Lost      bool   `json:"lost,omitempty"`      // the key was not destroyed but found missing, at the time of Destroyed
	Premature bool   `json:"premature,omitempty"` // that was before the day was due
	Proposal  string `json:"proposal,omitempty"`  // of a loss: hash of what two officials approved, in hexadecimal digits

	Commitments int `json:"commitments"` // that it names
	Compared    int `json:"compared"`    // of them, with the events that they come from

	Flaws []string `json:"flaws,omitempty"` // what is wrong with it; none: nothing
}

// Certificates is what a bundle, or a dump, says of the ends of days.
type Certificates struct {
	Ledger string        `json:"ledger,omitempty"` // its id; empty: the registry's first event is not there
	Days   []Certificate `json:"days"`             // rising
	Flaws  []string      `json:"flaws,omitempty"`  // of events that belong to no day, or to which is not known
	Heads  int           `json:"heads_compared"`   // registry heads from outside that were found in place
}

// OK reports whether nothing is wrong.
func (c Certificates) OK() bool {
	return len(c.Flaws) == 0 && !slices.ContainsFunc(c.Days, func(d Certificate) bool { return len(d.Flaws) > 0 })
}

// proven is an event that a trusted key signed for the place at which it stands.
type proven struct {
	ledger.Checked
	data []byte
}

func (p proven) revision() uint64 { return p.Header.Revision }

// fact is an event with what it says.
type fact[T any] struct {
	proven
	says T
}

// Checker proves certificates from the events of a bundle or a dump, which are added in any order, without the core and
// without an HSM. It believes no event that none of the keys signed for its place, and reports each.
type Checker struct {
	policy Policy
	keys   ledger.KeySet
	out    Certificates

	registry   map[uint64]proven
	announced  map[uint64]fact[event.DestructionAnnounced]
	summaries  map[uint64]fact[event.DaySummarised]
	destroyed  map[calendar.Day][]fact[event.DayKeyDestroyed]
	certified  map[calendar.Day][]fact[event.DayCertified]
	final      []fact[event.DayUnrecoverable]
	holds      []fact[event.HoldAdded]
	proposals  map[approval.Hash]*approval.Standing
	approvals  []event.ProposalApproved
	sets       []fact[event.AuthoritiesSet]
	declared   []fact[event.CopiesDeclared]
	copies     Copies
	anchors    []fact[ledger.Anchor]
	opened     map[calendar.Day][]fact[ledger.DayOpened]
	unreadable map[calendar.Day][]string // flaws of events that are not believed, by the day they name
}

// NewChecker checks certificates made under a policy and signed by one of the keys.
func NewChecker(p Policy, keys ledger.KeySet) *Checker {
	return &Checker{policy: p, keys: keys, registry: map[uint64]proven{}, announced: map[uint64]fact[event.DestructionAnnounced]{},
		summaries: map[uint64]fact[event.DaySummarised]{}, destroyed: map[calendar.Day][]fact[event.DayKeyDestroyed]{},
		certified: map[calendar.Day][]fact[event.DayCertified]{}, proposals: map[approval.Hash]*approval.Standing{},
		opened: map[calendar.Day][]fact[ledger.DayOpened]{}, unreadable: map[calendar.Day][]string{}}
}

// Add takes an event. Those of other streams than the registry count if they open a day.
func (c *Checker) Add(e ledger.Event) {
	if e.Stream != event.StreamRegistry && e.Type != ledger.TypeDayOpened {
		return
	}
	checked, err := ledger.CheckEvent(e, c.keys)
	if err != nil {
		c.disbelieve(e, err.Error())
		return
	}
	p := proven{checked, e.Data}
	if e.Stream != event.StreamRegistry {
		c.addOpened(e, p)
		return
	}
	if before, twice := c.registry[e.Revision]; twice {
		if before.Leaf != p.Leaf {
			c.disbelieve(e, fmt.Sprintf("%s@%d (%s): another event was signed for the same place", e.Stream, e.Revision, e.Type))
		}
		return
	}
	c.registry[e.Revision] = p
	if err := c.read(e.Type, p); err != nil {
		c.disbelieve(e, fmt.Sprintf("%s@%d (%s): %s", e.Stream, e.Revision, e.Type, err))
	}
}

// disbelieve reports an event by the day that it names, if that can be made out.
func (c *Checker) disbelieve(e ledger.Event, flaw string) {
	day := namedDay(e)
	if day.IsZero() {
		c.out.Flaws = append(c.out.Flaws, flaw)
		return
	}
	c.unreadable[day] = append(c.unreadable[day], flaw)
}

func namedDay(e ledger.Event) calendar.Day {
	var text string
	switch e.Type {
	case event.TypeDayKeyDestroyed:
		f, _ := event.Decode[event.DayKeyDestroyed](e.Data)
		text = f.Day
	case event.TypeDayCertified:
		f, _ := event.Decode[event.DayCertified](e.Data)
		text = f.Day
	case event.TypeDaySummarised:
		f, _ := event.Decode[event.DaySummarised](e.Data)
		text = f.Day
	case ledger.TypeDayOpened:
		f, _ := ledger.DecodeDayOpened(e.Data)
		text = f.Day
	}
	day, err := calendar.Parse(text)
	if err != nil {
		return calendar.Day{}
	}
	return day
}

func (c *Checker) addOpened(e ledger.Event, p proven) {
	o, err := ledger.DecodeDayOpened(e.Data)
	day, bad := calendar.Parse(o.Day)
	if err != nil || bad != nil {
		c.disbelieve(e, fmt.Sprintf("%s@%d (%s): malformed", e.Stream, e.Revision, e.Type))
		return
	}
	c.opened[day] = append(c.opened[day], fact[ledger.DayOpened]{p, o})
}

// read enters what an event of the registry says.
func (c *Checker) read(eventType string, p proven) (err error) {
	switch eventType {
	case event.TypeDestructionAnnounced:
		err = enter(p, c.announced)
	case event.TypeDaySummarised:
		err = enter(p, c.summaries)
	case event.TypeDayKeyDestroyed:
		err = enterDay(p, c.destroyed, func(f event.DayKeyDestroyed) string { return f.Day })
	case event.TypeDayCertified:
		err = enterDay(p, c.certified, func(f event.DayCertified) string { return f.Day })
	case event.TypeDayUnrecoverable:
		err = gather(p, &c.final)
	case event.TypeAuthoritiesSet:
		err = gather(p, &c.sets)
	case event.TypeCopiesDeclared:
		err = gather(p, &c.declared)
	case event.TypeHoldAdded:
		err = gather(p, &c.holds)
	case event.TypeProposalMade:
		made, failed := event.Decode[event.ProposalMade](p.data)
		hash := approval.HashOf(p.data)
		err, c.proposals[hash] = failed, &approval.Standing{Hash: hash, Revision: p.revision(), Made: made}
	case event.TypeProposalApproved:
		a, failed := event.Decode[event.ProposalApproved](p.data)
		err, c.approvals = failed, append(c.approvals, a)
	case ledger.TypeAnchor:
		a, failed := ledger.DecodeAnchor(p.data)
		err, c.anchors = failed, append(c.anchors, fact[ledger.Anchor]{p, a})
	}
	return err
}

func enter[T any](p proven, to map[uint64]fact[T]) error {
	says, err := event.Decode[T](p.data)
	if err == nil {
		to[p.revision()] = fact[T]{p, says}
	}
	return err
}

func gather[T any](p proven, to *[]fact[T]) error {
	says, err := event.Decode[T](p.data)
	if err == nil {
		*to = append(*to, fact[T]{p, says})
	}
	return err
}

func enterDay[T any](p proven, to map[calendar.Day][]fact[T], of func(T) string) error {
	says, err := event.Decode[T](p.data)
	if err != nil {
		return err
	}
	day, err := calendar.Parse(of(says))
	if err == nil {
		to[day] = append(to[day], fact[T]{p, says})
	}
	return err
}

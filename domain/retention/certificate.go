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

// Certificate is what the registry says of the end of one day.
type Certificate struct {
	Day       calendar.Day `json:"day"`
	Stage     string       `json:"stage"`
	Events    uint64       `json:"events"`
	Destroyed time.Time    `json:"destroyed,omitzero"`
	Certified time.Time    `json:"certified,omitzero"`
	Token     event.Token  `json:"token"`             // that destroyed the key, or was found to lack it
	Revision  uint64       `json:"revision"`          // of day-certified in the registry, or else of day-key-destroyed
	Placed    bool         `json:"placed"`            // the chain leads from the registry's first event to that revision, without a gap
	Anchored  time.Time    `json:"anchored,omitzero"` // time of the first anchor that holds it by the chain; zero: none

	Lost      bool   `json:"lost,omitempty"`      // the key was not destroyed but found missing, at the time of Destroyed
	Premature bool   `json:"premature,omitempty"` // that was before the day was due
	Proposal  string `json:"proposal,omitempty"`  // of a loss: hash of what two officials approved, in hexadecimal digits

	Commitments int `json:"commitments"` // that it names
	Compared    int `json:"compared"`    // of them, with the events that they come from

	Flaws []string `json:"flaws,omitempty"` // what is wrong with it; none: nothing
}

// Certificates is what a bundle, a dump or a store says of the ends of days, and how much of it was held against something
// else. What was not is named in NotChecked: a check that had nothing to compare with is not passed but left out.
type Certificates struct {
	Ledger string        `json:"ledger,omitempty"` // its id; empty: the registry's first event is not there
	Days   []Certificate `json:"days"`             // rising
	Flaws  []string      `json:"flaws,omitempty"`  // of events that belong to no day, or to which is not known

	Registry  uint64 `json:"registry_events"`    // chained from its first to its last
	Certified int    `json:"certificates"`       // first stage or later
	Positions int    `json:"positions_compared"` // of them, with the chain from the registry's first event
	Given     int    `json:"heads_given"`        // heads from outside, of all streams
	Heads     int    `json:"heads_compared"`     // of them
	Rotations int    `json:"rotations_checked"`  // of the vault, with what two officials approved
	Approvals int    `json:"approvals_checked"`  // whose signature is that of the key that they name, over their proposal
	Officials int    `json:"officials_checked"`  // of them, whose key an official's certificate has, which the authority issued

	NotChecked []string `json:"not_checked,omitempty"` // in words
}

// OK reports whether nothing is wrong with what was checked.
func (c Certificates) OK() bool {
	return len(c.Flaws) == 0 && !slices.ContainsFunc(c.Days, func(d Certificate) bool { return len(d.Flaws) > 0 })
}

// proven is an event that a trusted key signed for the place at which it stands.
type proven struct {
	stream, kind string
	place        uint64 // its revision
	epoch        uint64
	at           time.Time // at which it was recorded
	leaf         ledger.Hash
	data         []byte
}

func provenOf(c ledger.Checked, data []byte) proven {
	h := c.Header
	return proven{h.Stream, h.Type, h.Revision, h.Epoch, h.Time, c.Leaf, data}
}

func (p proven) revision() uint64 { return p.place }

func (p proven) String() string { return fmt.Sprintf("%s@%d (%s)", p.stream, p.place, p.kind) }

// fact is an event with what it says.
type fact[T any] struct {
	proven
	says T
}

// Checker proves certificates from the registry and from whatever else is at hand, without the core and without an HSM. It
// believes no event that none of the keys signed for its place, and reports each. The registry has to be whole, from its
// first event to its last, and is added in its order: what is missing, or does not follow, is reported. Events that were
// added before are passed over. Other events come in any order.
//
// What Expect, Trust and Whole say is said before the first event. Check has to be called in the end.
type Checker struct {
	policy Policy
	keys   ledger.KeySet
	out    Certificates
	whole  bool

	chain       *ledger.Verifier // of the registry
	places      map[uint64]ledger.Hash
	next        uint64   // after the registry's last event
	breaks      []uint64 // rising: where the chain does not hold
	heads       knownHeads
	clock       timeline
	officials   outsideOfficials
	announced   map[uint64]fact[event.DestructionAnnounced]
	summaries   map[uint64]fact[event.DaySummarised]
	decided     map[calendar.Day][]fact[event.DestructionDecided]
	destroyed   map[calendar.Day][]fact[event.DayKeyDestroyed]
	certified   map[calendar.Day][]fact[event.DayCertified]
	final       []fact[event.DayUnrecoverable]
	holds       []fact[event.HoldAdded]
	releases    []fact[event.HoldReleased]
	orders      []order // what the two before say
	proposals   map[approval.Hash]*approval.Standing
	approvals   []fact[event.ProposalApproved]
	sets        []fact[event.AuthoritiesSet]
	terms       approval.Terms
	declared    []fact[event.CopiesDeclared]
	copies      Copies
	rotated     []fact[event.VaultRotated]
	generations []fact[event.VaultOpened]
	truncated   map[string]ledger.Truncation // the last of each stream
	opened      map[calendar.Day][]fact[ledger.DayOpened]
	unreadable  map[calendar.Day][]string // flaws of events that are not believed, by the day they name
}

// NewChecker checks certificates made under a policy and signed by one of the keys.
func NewChecker(p Policy, keys ledger.KeySet) *Checker {
	return &Checker{policy: p, keys: keys, places: map[uint64]ledger.Hash{}, announced: map[uint64]fact[event.DestructionAnnounced]{},
		summaries: map[uint64]fact[event.DaySummarised]{}, decided: map[calendar.Day][]fact[event.DestructionDecided]{}, destroyed: map[calendar.Day][]fact[event.DayKeyDestroyed]{},
		certified: map[calendar.Day][]fact[event.DayCertified]{}, proposals: map[approval.Hash]*approval.Standing{},
		truncated: map[string]ledger.Truncation{}, opened: map[calendar.Day][]fact[ledger.DayOpened]{}, unreadable: map[calendar.Day][]string{}}
}

// Whole says that the events come from where the whole ledger stands: each that a head names is among them, unless the
// registry gave it up, or it is missing.
func (c *Checker) Whole() { c.whole = true }

// Wants reports whether an event is of use: all of the registry, what opened a day or a generation of the vault, and what
// Expect named.
func (c *Checker) Wants(e ledger.Event) bool {
	return e.Stream == event.StreamRegistry || e.Type == ledger.TypeDayOpened || e.Type == event.TypeVaultOpened || c.heads.name(e.Stream, e.Revision+1)
}

// Add takes an event.
func (c *Checker) Add(e ledger.Event) {
	if !c.Wants(e) {
		return
	}
	checked, err := ledger.CheckEvent(e, c.keys)
	if err != nil {
		c.disbelieve(e, err.Error())
		return
	}
	c.heads.meet(checked)
	p := provenOf(checked, e.Data)
	if e.Stream != event.StreamRegistry {
		switch e.Type {
		case ledger.TypeDayOpened:
			c.addOpened(e, p)
		case event.TypeVaultOpened:
			c.addGeneration(e, p)
		}
		return
	}
	if before, twice := c.places[e.Revision]; twice {
		if before != p.leaf {
			c.disbelieve(e, fmt.Sprintf("%s: another event was signed for the same place", p))
		}
		return
	}
	c.enchain(e, p)
	if err := c.read(e.Type, p); err != nil {
		c.disbelieve(e, fmt.Sprintf("%s: %s", p, err))
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
	case event.TypeDestructionDecided:
		f, _ := event.Decode[event.DestructionDecided](e.Data)
		text = f.Day
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
	case event.TypeDestructionDecided:
		err = enterDay(p, c.decided, func(f event.DestructionDecided) string { return f.Day })
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
	case event.TypeHoldReleased:
		err = gather(p, &c.releases)
	case event.TypeVaultRotated:
		err = gather(p, &c.rotated)
	case event.TypeProposalApproved:
		err = gather(p, &c.approvals)
	case event.TypeProposalMade:
		made, failed := event.Decode[event.ProposalMade](p.data)
		hash := approval.HashOf(p.data)
		if err = failed; err == nil && c.proposals[hash] == nil {
			c.proposals[hash] = &approval.Standing{Hash: hash, Revision: p.revision(), Made: made}
		}
	case ledger.TypeStreamTruncated:
		t, failed := ledger.DecodeTruncation(p.data)
		if err = failed; err == nil && t.First > c.truncated[t.Stream].First {
			c.truncated[t.Stream] = t
			c.heads.claim(t.Stream, t.First, t.Prev)
		}
	case ledger.TypeAnchor:
		a, failed := ledger.DecodeAnchor(p.data)
		if err = failed; err == nil && a.Time.Sub(p.at).Abs() > clockSkew {
			err = fmt.Errorf("it says that it was at %s, and was recorded at %s", a.Time.Format(time.RFC3339), p.at.UTC().Format(time.RFC3339))
		}
		if err == nil {
			c.clock.add(p, a)
			c.heads.anchored(a)
		}
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

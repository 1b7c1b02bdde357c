package retention

import (
	"kiroku/domain/event"
	"kiroku/domain/ledger"
)

// bundled are the types of event in the registry that a bundle of certificates consists of.
var bundled = map[string]bool{
	event.TypeDestructionAnnounced: true, event.TypeDaySummarised: true,
	event.TypeDestructionDecided: true, event.TypeDayKeyDestroyed: true,
	event.TypeDayCertified: true, event.TypeDayUnrecoverable: true, event.TypeHoldAdded: true, event.TypeHoldReleased: true,
	event.TypeProposalMade: true, event.TypeProposalApproved: true, event.TypeAuthoritiesSet: true, event.TypeCopiesDeclared: true,
}

// Selector picks, from the registry as it streams by, what a bundle needs to prove certificates by itself: the events of
// the ends of days, of holds, of officials and of attestations, the ledger's first event and its signing keys, and after each of the
// former everything up to the next anchor, so that a chain leads to it. The zero Selector is at the registry's beginning.
type Selector struct {
	open bool // until the next anchor
}

// Wants reports whether the registry's next event belongs to the bundle.
func (s *Selector) Wants(e ledger.Event) bool {
	switch {
	case bundled[e.Type]:
		s.open = true
		return true
	case s.open:
		s.open = e.Type != ledger.TypeAnchor
		return true
	}
	return e.Revision == 0 || e.Type == event.TypeSigningKeyPublished
}

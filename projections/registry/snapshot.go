package registry

import (
	"cmp"
	"maps"
	"slices"

	"kiroku/domain/agency"
	"kiroku/domain/event"
	"kiroku/domain/ledger"
	"kiroku/domain/register"
	"kiroku/domain/scope"
)

// Snapshot is the registry at one moment. It never changes.
type Snapshot struct {
	ledger     event.LedgerOpened
	opened     bool
	agencies   map[agency.Code]agency.Agency
	rules      scope.Set
	violations map[file]scope.Violation
	violated   scope.Violations // of violations
	published  map[string]ledger.PublicKey
	keys       ledger.KeySet // published, and those trusted from outside
	starts     map[start]ledger.Hash
	anchor     register.Anchored
	anchored   bool
}

// file names a violation: a later fact with the same agency, file and first
// day takes the place of the earlier one, and so can end it.
type file struct{ agency, name, from string }

type start struct {
	stream string
	first  uint64
}

// Ledger returns what can never change in the ledger, and false before it was opened.
func (s *Snapshot) Ledger() (event.LedgerOpened, bool) { return s.ledger, s.opened }

// Agency finds a registered agency, suspended or not.
func (s *Snapshot) Agency(code agency.Code) (agency.Agency, bool) {
	a, ok := s.agencies[code]
	return a, ok
}

// Agencies returns every agency, sorted by code.
func (s *Snapshot) Agencies() []agency.Agency {
	return slices.SortedFunc(maps.Values(s.agencies), func(a, b agency.Agency) int {
		return cmp.Compare(a.Code().String(), b.Code().String())
	})
}

// Rules returns the rule set in force, which is empty before the first.
func (s *Snapshot) Rules() scope.Set { return s.rules }

// Violations returns every recorded violation, ended ones included.
func (s *Snapshot) Violations() scope.Violations { return s.violated }

// SigningKeys returns the published keys and those trusted from outside. Where
// both speak of one key, what was published about its validity counts; where
// they name different keys by one id, the one from outside does.
func (s *Snapshot) SigningKeys() ledger.KeySet { return s.keys }

// Truncated returns the leaf hash before revision first of a stream, if the
// stream may begin there.
func (s *Snapshot) Truncated(stream string, first uint64) (ledger.Hash, bool) {
	prev, ok := s.starts[start{stream, first}]
	return prev, ok
}

// LastAnchor returns the newest anchor, and false if there is none yet.
func (s *Snapshot) LastAnchor() (register.Anchored, bool) { return s.anchor, s.anchored }

// draft is a Snapshot in the making. Maps are shared with the one before until
// they change.
type draft struct {
	Snapshot
	own struct{ agencies, violations, published, starts bool }
}

func owned[K comparable, V any](m *map[K]V, own *bool) map[K]V {
	if !*own {
		*own = true
		if *m = maps.Clone(*m); *m == nil {
			*m = map[K]V{}
		}
	}
	return *m
}

func (d *draft) setAgency(a agency.Agency) { owned(&d.agencies, &d.own.agencies)[a.Code()] = a }

func (d *draft) setViolation(v scope.Violation) {
	owned(&d.violations, &d.own.violations)[fileOf(v)] = v
}

func fileOf(v scope.Violation) file { return file{v.Agency.String(), v.File, v.From.String()} }

func (d *draft) setKey(k ledger.PublicKey) { owned(&d.published, &d.own.published)[k.ID] = k }

func (d *draft) setStart(t ledger.Truncation) {
	owned(&d.starts, &d.own.starts)[start{t.Stream, t.First}] = t.Prev
}

func (d *draft) setLedger(o event.LedgerOpened) { d.ledger, d.opened = o, true }

func (d *draft) setAnchor(a register.Anchored) { d.anchor, d.anchored = a, true }

// finish derives what is derived.
func (d *draft) finish(outside ledger.KeySet) (*Snapshot, error) {
	if d.own.violations {
		d.violated = scope.NewViolations(slices.SortedFunc(maps.Values(d.violations), func(a, b scope.Violation) int {
			x, y := fileOf(a), fileOf(b)
			return cmp.Or(cmp.Compare(x.agency, y.agency), cmp.Compare(x.name, y.name), cmp.Compare(x.from, y.from))
		}))
	}
	if d.own.published || d.keys.All() == nil {
		var err error
		if d.keys, err = merge(outside, d.published); err != nil {
			return nil, err
		}
	}
	s := d.Snapshot
	return &s, nil
}

func merge(outside ledger.KeySet, published map[string]ledger.PublicKey) (ledger.KeySet, error) {
	all := maps.Clone(published)
	if all == nil {
		all = map[string]ledger.PublicKey{}
	}
	for _, k := range outside.All() {
		if p, ok := all[k.ID]; !ok || !p.Key.Equal(k.Key) {
			all[k.ID] = k
		}
	}
	return ledger.NewKeySet(slices.Collect(maps.Values(all))...)
}

package registry

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"time"

	"kiroku/domain/agency"
	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/domain/ledger"
	"kiroku/domain/register"
	"kiroku/domain/scope"
	"kiroku/projections"
)

const (
	tableLedger     = projections.FirstTable + iota // → ledger-opened
	tableAgency                                     // code → storedAgency
	tableRules                                      // set hash, part → scope-rules-published
	tableInForce                                    // → set hash
	tableViolation                                  // agency, file, first day → pia-violation-recorded
	tableKey                                        // key id → signing-key-published
	tableTruncation                                 // stream, revision → stream-truncated
	tableAnchor                                     // → storedAnchor
)

// storedAgency is an agency in a row.
type storedAgency struct {
	Registered event.AgencyRegistered `cbor:"registered"`
	Suspended  bool                   `cbor:"suspended"`
}

type storedAnchor struct {
	Revision uint64 `cbor:"revision"`
	Leaf     []byte `cbor:"leaf"`
	Anchor   []byte `cbor:"anchor"`
}

// change makes one event's rows and its difference in the snapshot.
type change func(*draft, *projections.Batch, *projections.Opened) error

type fact = projections.Fact[change]

func read(o *projections.Opened) (fact, error) {
	switch o.Event.Type {
	case event.TypeLedgerOpened:
		p, err := event.Decode[event.LedgerOpened](o.Payload)
		return fact{Rows: ledgerOpened(p)}, err
	case event.TypeSigningKeyPublished:
		p, err := event.Decode[event.SigningKeyPublished](o.Payload)
		return fact{Rows: keyPublished(p)}, err
	case event.TypeAgencyRegistered:
		p, err := event.Decode[event.AgencyRegistered](o.Payload)
		return fact{Rows: agencyRegistered(p), Command: &p.Command}, err
	case event.TypeAgencyStatusChanged:
		p, err := event.Decode[event.AgencyStatusChanged](o.Payload)
		return fact{Rows: statusChanged(p), Command: &p.Command}, err
	case event.TypeScopeRulesPublished:
		p, err := event.Decode[event.ScopeRulesPublished](o.Payload)
		return fact{Rows: rulesPublished(p), Command: &p.Command}, err
	case event.TypePIAViolation:
		p, err := event.Decode[event.PIAViolation](o.Payload)
		return fact{Rows: violationRecorded(p), Command: &p.Command}, err
	case event.TypeHoldAdded:
		return commandOnly(o, func(p event.HoldAdded) event.Command { return p.Command })
	case event.TypeLossAcknowledged:
		return commandOnly(o, func(p event.LossAcknowledged) event.Command { return p.Command })
	case event.TypeProposalMade:
		return commandOnly(o, func(p event.ProposalMade) event.Command { return p.Command })
	case event.TypeProposalApproved:
		return commandOnly(o, func(p event.ProposalApproved) event.Command { return p.Command })
	case event.TypeAuthoritiesSet:
		return commandIfAny(o, func(p event.AuthoritiesSet) *event.Command { return p.Command })
	case event.TypeCopiesDeclared:
		return commandIfAny(o, func(p event.CopiesDeclared) *event.Command { return p.Command })
	case event.TypeAnchor:
		a, err := ledger.DecodeAnchor(o.Payload)
		return fact{Rows: anchored(a)}, malformed(err)
	case ledger.TypeStreamTruncated:
		t, err := ledger.DecodeTruncation(o.Payload)
		return fact{Rows: truncated(t)}, malformed(err)
	}
	return fact{Skip: true}, nil
}

// commandOnly remembers the command of a fact of which another projection makes its rows.
func commandOnly[T any](o *projections.Opened, of func(T) event.Command) (fact, error) {
	p, err := event.Decode[T](o.Payload)
	command := of(p)
	return fact{Skip: true, Command: &command}, err
}

// commandIfAny is commandOnly of a fact that the core may also state by itself.
func commandIfAny[T any](o *projections.Opened, of func(T) *event.Command) (fact, error) {
	p, err := event.Decode[T](o.Payload)
	return fact{Skip: true, Command: of(p)}, err
}

// malformed marks an error of a constructor of the domain as one that no
// repetition mends.
func malformed(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", event.ErrMalformed, err)
}

// set keeps a payload as a row. The payload is plaintext, and public.
func set(b *projections.Batch, t projections.Table, key []byte, payload any) error {
	value, err := event.Encode(payload)
	if err == nil {
		b.Set(t, key, value)
	}
	return err
}

func ledgerOpened(p event.LedgerOpened) change {
	return func(d *draft, b *projections.Batch, _ *projections.Opened) error {
		d.setLedger(p)
		return set(b, tableLedger, nil, p)
	}
}

func keyPublished(p event.SigningKeyPublished) change {
	return func(d *draft, b *projections.Batch, _ *projections.Opened) error {
		k, err := publicKey(p)
		if err != nil {
			return malformed(err)
		}
		d.setKey(k)
		return set(b, tableKey, []byte(p.KeyID), p)
	}
}

// publicKey rounds the validity outwards to whole seconds, which is what a key set has.
func publicKey(p event.SigningKeyPublished) (ledger.PublicKey, error) {
	parsed, err := x509.ParsePKIXPublicKey(p.SPKI)
	if err != nil {
		return ledger.PublicKey{}, fmt.Errorf("signing key %s: %w", p.KeyID, err)
	}
	key, ok := parsed.(*ecdsa.PublicKey)
	if !ok {
		return ledger.PublicKey{}, fmt.Errorf("signing key %s is a %T", p.KeyID, parsed)
	}
	k := ledger.PublicKey{ID: p.KeyID, Key: key, ValidFrom: time.UnixMicro(p.ValidFrom).UTC().Truncate(time.Second)}
	if p.ValidTo != 0 {
		k.ValidTo = time.UnixMicro(p.ValidTo + 999_999).UTC().Truncate(time.Second)
	}
	_, err = ledger.NewKeySet(k)
	return k, err
}

func agencyRegistered(p event.AgencyRegistered) change {
	return func(d *draft, b *projections.Batch, _ *projections.Opened) error {
		stored := storedAgency{Registered: p}
		if code, err := agency.ParseCode(p.Code); err == nil {
			if _, known := d.Agency(code); known {
				return nil // an agency is registered once: its parameter makes the symbols that it holds
			}
		}
		return setAgency(d, b, stored)
	}
}

func statusChanged(p event.AgencyStatusChanged) change {
	return func(d *draft, b *projections.Batch, _ *projections.Opened) error {
		value, found, err := b.Get(tableAgency, []byte(p.Code))
		if err != nil {
			return err
		}
		if !found {
			return fmt.Errorf("status of agency %s, which is not registered: %w", p.Code, event.ErrMalformed)
		}
		stored, err := event.Decode[storedAgency](value)
		if err != nil {
			return projections.ErrDamaged
		}
		stored.Suspended = p.Suspended
		return setAgency(d, b, stored)
	}
}

func setAgency(d *draft, b *projections.Batch, s storedAgency) error {
	a, err := s.agency()
	if err != nil {
		return malformed(err)
	}
	d.setAgency(a)
	return set(b, tableAgency, []byte(s.Registered.Code), s)
}

func (s storedAgency) agency() (agency.Agency, error) {
	f := agency.Fields{Status: agency.Active}
	if s.Suspended {
		f.Status = agency.Suspended
	}
	var err error
	if f.Code, err = agency.ParseCode(s.Registered.Code); err != nil {
		return agency.Agency{}, err
	}
	if f.Name, err = agency.ParseName(s.Registered.Name); err != nil {
		return agency.Agency{}, err
	}
	for _, name := range s.Registered.Classes {
		c, err := agency.ParseClass(name)
		if err != nil {
			return agency.Agency{}, err
		}
		f.Classes = append(f.Classes, c)
	}
	if copy(f.Parameter[:], s.Registered.Parameter) != len(s.Registered.Parameter) {
		return agency.Agency{}, fmt.Errorf("agency %s has a parameter of %d octets", f.Code, len(s.Registered.Parameter))
	}
	return agency.New(f)
}

func ruleKey(hash []byte, part int) []byte {
	return binary.BigEndian.AppendUint32(append([]byte(nil), hash...), uint32(part))
}

func rulesPublished(p event.ScopeRulesPublished) change {
	return func(d *draft, b *projections.Batch, _ *projections.Opened) error {
		if len(p.SetHash) != len(scope.Hash{}) || p.Part < 0 || p.Part >= p.Parts {
			return fmt.Errorf("part %d of %d of a rule set: %w", p.Part, p.Parts, event.ErrMalformed)
		}
		if err := set(b, tableRules, ruleKey(p.SetHash, p.Part), p); err != nil || p.Part < p.Parts-1 {
			return err
		}
		rules, err := assemble(b.Get, p.SetHash)
		if err != nil {
			return err
		}
		d.rules = rules
		b.Set(tableInForce, nil, p.SetHash)
		return nil
	}
}

type get func(t projections.Table, key []byte) ([]byte, bool, error)

// assemble puts the parts of a rule set together and holds it to its hash.
func assemble(get get, hash []byte) (scope.Set, error) {
	var rules []scope.Rule
	for part, parts := 0, 1; part < parts; part++ {
		value, found, err := get(tableRules, ruleKey(hash, part))
		if err != nil {
			return scope.Set{}, err
		}
		if !found {
			return scope.Set{}, fmt.Errorf("part %d of a rule set is missing: %w", part, event.ErrMalformed)
		}
		p, err := event.Decode[event.ScopeRulesPublished](value)
		if err != nil {
			return scope.Set{}, err
		}
		parts = p.Parts
		for _, row := range p.Rules {
			r, err := scope.ParseRow(scope.Row(row))
			if err != nil {
				return scope.Set{}, malformed(err)
			}
			rules = append(rules, r)
		}
	}
	s, problems := scope.NewSet(rules)
	if len(problems) > 0 {
		return scope.Set{}, fmt.Errorf("rule set: %s: %w", problems[0], event.ErrMalformed)
	}
	if s.Hash() != scope.Hash(hash) {
		return scope.Set{}, fmt.Errorf("rule set has another hash than it was published with: %w", event.ErrMalformed)
	}
	return s, nil
}

func violationRecorded(p event.PIAViolation) change {
	return func(d *draft, b *projections.Batch, _ *projections.Opened) error {
		v, err := violation(p)
		if err != nil {
			return malformed(err)
		}
		d.setViolation(v)
		return set(b, tableViolation, fmt.Appendf(nil, "%s\x00%s\x00%s", p.Agency, v.File, p.From), p)
	}
}

func violation(p event.PIAViolation) (scope.Violation, error) {
	v := scope.Violation{File: p.File, Reason: p.Reason}
	var err error
	if v.Agency, err = agency.ParseCode(p.Agency); err != nil {
		return v, err
	}
	if v.From, err = calendar.Parse(p.From); err != nil {
		return v, err
	}
	if p.To != "" {
		if v.To, err = calendar.Parse(p.To); err != nil {
			return v, err
		}
	}
	return scope.NewViolation(v)
}

func anchored(a ledger.Anchor) change {
	return func(d *draft, b *projections.Batch, o *projections.Opened) error {
		leaf := ledger.LeafHash(o.HeaderBytes)
		d.setAnchor(register.Anchored{Revision: o.Event.Revision, Leaf: leaf, Anchor: a})
		return set(b, tableAnchor, nil, storedAnchor{Revision: o.Event.Revision, Leaf: leaf[:], Anchor: o.Event.Data})
	}
}

func truncated(t ledger.Truncation) change {
	return func(d *draft, b *projections.Batch, o *projections.Opened) error {
		d.setStart(t)
		b.Set(tableTruncation, fmt.Appendf(nil, "%s@%020d", t.Stream, t.First), append([]byte(nil), o.Event.Data...))
		return nil
	}
}

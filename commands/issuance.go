package commands

import (
	"context"
	"errors"
	"fmt"

	"kiroku/commands/sequencer"
	"kiroku/domain/agency"
	"kiroku/domain/event"
	"kiroku/domain/keyring"
	"kiroku/domain/ledger"
	"kiroku/domain/register"
	"kiroku/domain/symbol"
)

// Errors of the issuance register.
var (
	// ErrUnknownAgency: no such agency is registered.
	ErrUnknownAgency = errors.New("unknown agency (未登録の機関)")
	// ErrSuspended: the agency may not take part at present.
	ErrSuspended = errors.New("suspended agency (利用停止中の機関)")
	// ErrSuperseded: the resident code was replaced; the person's new code has to be used.
	ErrSuperseded = errors.New("superseded resident code (変更前の住民票コード): use the person's new code")
	// ErrUnknownPerson: the resident code or the symbol names nobody in the register.
	ErrUnknownPerson = errors.New("unknown person: no symbol was ever issued for them")
)

// errStale says that the register changed between preparing a call and deciding it: prepare it again.
var errStale = errors.New("the register changed meanwhile")

// attempts bounds how often a call is prepared; each repetition means that another call on the same
// person was decided in between.
const attempts = 16

// issuance is the line of the issuance register with what is decided and not yet projected.
type issuance struct {
	line
	register    Register
	sealsNow    func(keyID string) bool
	resolutions *sequencer.Pending[register.Key, register.Resolution]
	persons     *sequencer.Pending[register.Key, register.SubjectID] // by linkage
	holdings    *sequencer.Pending[holding, int]                     // to the scheme version
	subjects    *sequencer.Pending[register.SubjectID, sealedEvent]
}

type holding struct {
	linkage register.Key
	agency  string
}

// sealedEvent is a draft as it can be opened again.
type sealedEvent struct {
	header ledger.Header
	data   []byte
}

func sealedDraft(d ledger.Draft) sealedEvent {
	return sealedEvent{data: d.Data, header: ledger.Header{Stream: d.Stream, Type: d.Type, ID: d.ID, Time: d.Time, KeyID: d.KeyID, Nonce: d.Nonce, Digest: d.Digest}}
}

func (c *Core) newIssuance() *issuance {
	i := &issuance{register: c.d.Register, sealsNow: c.d.Keyring.SealsNow,
		resolutions: sequencer.NewPending[register.Key, register.Resolution]().Keeping(keptEntries),
		persons:     sequencer.NewPending[register.Key, register.SubjectID]().Keeping(keptEntries),
		holdings:    sequencer.NewPending[holding, int]().Keeping(keptEntries),
		subjects:    sequencer.NewPending[register.SubjectID, sealedEvent](),
	}
	i.line = line{stream: event.StreamIssuance, seen: c.d.Register.Command, taking: c.taking.Load, refs: newRefs()}
	i.seq = c.d.NewSequencer(event.StreamIssuance, sequencer.Indexes{i.refs, i.resolutions, i.persons, i.holdings, i.subjects})
	return i
}

func (i *issuance) projected(next uint64) {
	i.refs.Projected(next)
	i.resolutions.Projected(next)
	i.persons.Projected(next)
	i.holdings.Projected(next)
	i.subjects.Projected(next)
}

// expire has every answer of the view asked again: people were deleted.
func (i *issuance) expire() {
	i.refs.Expire()
	i.resolutions.Expire()
	i.persons.Expire()
	i.holdings.Expire()
	i.subjects.Expire()
}

// submit is line.submit. What an older generation of the vault sealed is prepared again: a rotation that has come so far
// does not look for it any more.
func (i *issuance) submit(ctx context.Context, x call, compose func(next uint64) ([]ledger.Draft, error)) (uint64, error) {
	return i.line.submit(ctx, x, func(next uint64) ([]ledger.Draft, error) {
		drafts, err := compose(next)
		for _, d := range drafts {
			if err == nil && !i.sealsNow(d.KeyID) {
				err = errStale
			}
		}
		return drafts, err
	})
}

// resolve finds whom a management information stands for, pending decisions included.
func (i *issuance) resolve(k register.Key) (register.Resolution, bool, error) {
	if r, ok := i.resolutions.Get(k); ok {
		return r, true, nil
	}
	return i.register.ByManagement(k)
}

// reading looks into the register for one call, first when it is prepared and again when it is decided. What the view
// answered the first time is not asked again, unless it may have changed in a way that the pending decisions do not show.
type reading struct {
	*issuance
	resolution answer[register.Resolution]
	person     answer[register.Holder] // as far as it concerns who is known
	holder     answer[register.Holder] // as far as it concerns who holds what
}

// answer is what a view said about a key, and when.
type answer[V any] struct {
	key      register.Key
	value    V
	ok, set  bool
	position uint64
}

// overlay is the part of a sequencer.Pending that tells whether an answer still holds.
type overlay interface {
	Position() uint64
	Covers(position uint64) bool
}

func (a *answer[V]) get(p overlay, k register.Key, ask func(register.Key) (V, bool, error)) (V, bool, error) {
	if a.set && a.key == k && p.Covers(a.position) {
		return a.value, a.ok, nil
	}
	position := p.Position()
	v, ok, err := ask(k)
	*a = answer[V]{key: k, value: v, ok: ok, set: err == nil, position: position}
	return v, ok, err
}

// resolve is issuance.resolve.
func (r *reading) resolve(k register.Key) (register.Resolution, bool, error) {
	if found, ok := r.resolutions.Get(k); ok {
		return found, true, nil
	}
	return r.resolution.get(r.resolutions, k, r.register.ByManagement)
}

// holds reports whether an agency was issued the symbol of a person, pending decisions included.
func (r *reading) holds(k register.Key, agency string) (bool, error) {
	if _, ok := r.holdings.Get(holding{k, agency}); ok {
		return true, nil
	}
	h, ok, err := r.holder.get(r.holdings, k, r.register.ByLinkage)
	return ok && h.Holds(agency), err
}

// known reports whether a linkage symbol is anybody's, pending decisions included.
func (r *reading) known(k register.Key) (bool, error) {
	if _, ok := r.persons.Get(k); ok {
		return true, nil
	}
	_, ok, err := r.person.get(r.persons, k, r.register.ByLinkage)
	return ok, err
}

// holder finds a person by linkage symbol for readers outside the stream: only what is durable.
func (i *issuance) holder(k register.Key, agencies ...string) (register.Holder, bool, error) {
	// What is pending first, the view after it: what leaves the one in between is in the other.
	subject, pending := i.persons.GetDurable(k)
	var held []register.Holding
	for _, a := range agencies {
		if scheme, ok := i.holdings.GetDurable(holding{k, a}); ok {
			held = append(held, register.Holding{Agency: a, Scheme: scheme})
		}
	}
	h, ok, err := i.register.ByLinkage(k)
	if err != nil || !ok && !pending {
		return h, false, err
	}
	if !ok {
		h.Subject = subject
	}
	for _, x := range held {
		if !h.Holds(x.Agency) {
			h.Holdings = append(h.Holdings[:len(h.Holdings):len(h.Holdings)], x)
		}
	}
	return h, true, nil
}

// person is somebody of the register with the key that seals what concerns them. Destroy it after use.
type person struct {
	key        *keyring.Subject
	linkage    symbol.Linkage
	management event.Protected
	index      register.Key // of the linkage symbol
}

func (p *person) destroy() { p.key.Destroy() }

// person reads a person's first issuance again. errBeingDeleted for somebody who is, or was.
func (c *Core) person(ctx context.Context, id register.SubjectID) (*person, error) {
	if c.d.Keyring.Deleted(id) {
		return nil, errBeingDeleted
	}
	s, err := c.sealedSubject(id)
	if err != nil {
		return nil, err
	}
	plain, err := c.d.Keyring.Open(ctx, s.header, s.data)
	if err != nil {
		return nil, fmt.Errorf("open the person's register entry: %w", err)
	}
	defer clear(plain)
	e, err := event.Decode[event.SymbolIssued](plain)
	if err != nil {
		return nil, fmt.Errorf("person's register entry: %w", err)
	}
	if found, ok := register.SubjectIDFrom(e.Subject.ID); !ok || found != id {
		return nil, fmt.Errorf("person's register entry is another person's: %w", keyring.ErrWrongKey)
	}
	linkage, err := symbol.LinkageFromBytes(e.Subject.Linkage)
	if err != nil {
		return nil, fmt.Errorf("person's register entry: %w", err)
	}
	key, err := c.d.Keyring.SubjectOf(s.header.KeyID)
	if err != nil {
		return nil, fmt.Errorf("key of the person's register entry: %w", err)
	}
	return &person{key: key, linkage: linkage, management: e.Subject.Management, index: c.linkageIndex(linkage)}, nil
}

func (c *Core) sealedSubject(id register.SubjectID) (sealedEvent, error) {
	if s, ok := c.issuance.subjects.Get(id); ok {
		return s, nil
	}
	s, ok, err := c.issuance.register.Subject(id)
	if err != nil {
		return sealedEvent{}, fmt.Errorf("find the person's register entry: %w", err)
	}
	if !ok {
		return sealedEvent{}, fmt.Errorf("the person's register entry is missing from the dedup view: rebuild it with `kiroku projections rebuild dedup`")
	}
	h, err := ledger.DecodeHeader(s.Header)
	if err != nil {
		return sealedEvent{}, fmt.Errorf("person's register entry: %w", err)
	}
	return sealedEvent{header: h, data: s.Data}, nil
}

func (c *Core) linkageIndex(l symbol.Linkage) register.Key {
	b := l.Expose()
	defer clear(b[:])
	return c.d.Keyring.Index(keyring.IndexLinkage, b[:])
}

func (c *Core) managementIndex(m symbol.ManagementInfo) register.Key {
	b := m.Expose()
	defer clear(b[:])
	return c.d.Keyring.Index(keyring.IndexManagement, b[:])
}

func (c *Core) activeAgency(ctx context.Context, code agency.Code) (agency.Agency, error) {
	a, ok := c.d.Registry.Agency(code)
	if !ok {
		return a, c.registry.refuse(ctx, fmt.Errorf("agency %s: %w", code, ErrUnknownAgency))
	}
	if !a.IsActive() {
		return a, c.registry.refuse(ctx, fmt.Errorf("agency %s: %w", code, ErrSuspended))
	}
	return a, nil
}

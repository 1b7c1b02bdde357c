package commands

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"kiroku/domain/agency"
	"kiroku/domain/event"
	"kiroku/domain/keyring"
	"kiroku/domain/ledger"
	"kiroku/domain/register"
	"kiroku/domain/symbol"
)

// IssueSymbol asks for a person's symbol at an agency (Order 27). The core destroys
// Code as soon as the linkage symbol exists, whatever the outcome.
type IssueSymbol struct {
	Meta
	Agency            agency.Code
	AcquisitionNumber symbol.AcquisitionNumber // 取得番号; answered back and not kept (Act 21-2(3))
	Code              symbol.ResidentCode
}

// Issued answers IssueSymbol.
type Issued struct {
	AcquisitionNumber symbol.AcquisitionNumber
	AlreadyAcquired   bool          // the agency has this person's symbol; nothing new was issued (Ordinance 44(2))
	Symbol            symbol.Agency // zero where already acquired
}

// IssueSymbol issues a symbol, once for each person and agency.
// Errors: ErrInvalid, ErrUnknownAgency, ErrSuspended, ErrSuperseded, ErrConflict, ErrTooOld, and those of the sequencer.
func (c *Core) IssueSymbol(ctx context.Context, cmd IssueSymbol) (Issued, error) {
	defer cmd.Code.Destroy()
	if err := c.check(cmd.Meta); err != nil {
		return Issued{}, err
	}
	if err := mustActFor(cmd.Actor, cmd.Agency); err != nil {
		return Issued{}, err
	}
	return c.issue(ctx, cmd)
}

// issue is IssueSymbol without the check of the id, which for an item of a bulk command is that of the bulk.
func (c *Core) issue(ctx context.Context, cmd IssueSymbol) (Issued, error) {
	if _, err := symbol.ParseAcquisitionNumber(string(cmd.AcquisitionNumber)); err != nil {
		return Issued{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	management, err := c.symbols.management(ctx, cmd.Code)
	if err != nil {
		return Issued{}, err
	}
	x := newCall(cmd.Meta, c.digestOfIssue(cmd, management))
	release, err := c.claim(x, &c.issuance.line)
	if err != nil {
		return Issued{}, err
	}
	defer release()
	out, err := c.issueTo(ctx, x, cmd.Agency, cmd.Code, management)
	var again *repeated
	if errors.As(err, &again) {
		out, err = c.issuedBefore(ctx, x, cmd.Agency, again.ref)
	}
	out.AcquisitionNumber = cmd.AcquisitionNumber
	return out, err
}

// digestOfIssue goes by the management information, as digestOfChange does.
func (c *Core) digestOfIssue(cmd IssueSymbol, m symbol.ManagementInfo) [16]byte {
	b := m.Expose()
	defer clear(b[:])
	return c.d.Keyring.Digest("issue-symbol", []byte(cmd.Agency.String()), []byte(cmd.AcquisitionNumber), b[:])
}

func (c *Core) issueTo(ctx context.Context, x call, to agency.Code, code symbol.ResidentCode, management symbol.ManagementInfo) (Issued, error) {
	if err := c.issuance.confirm(ctx, x); err != nil { // before the agency: what it was answered once it is answered again, also while suspended
		return Issued{}, err
	}
	a, err := c.activeAgency(ctx, to)
	if err != nil {
		return Issued{}, err
	}
	index := c.managementIndex(management)
	for range attempts {
		out, err := c.tryIssue(ctx, x, a, code, management, index)
		if !errors.Is(err, errStale) {
			return out, err
		}
	}
	return Issued{}, unavailable("issue the symbol", errStale)
}

// tryIssue prepares the outcome that the register suggests now, and lets the stream decide whether it still holds.
func (c *Core) tryIssue(ctx context.Context, x call, a agency.Agency, code symbol.ResidentCode, m symbol.ManagementInfo, index register.Key) (Issued, error) {
	at := c.now()
	reg := &reading{issuance: c.issuance}
	r, known, err := reg.resolve(index)
	switch {
	case err != nil:
		return Issued{}, fmt.Errorf("resolve the resident code: %w", err)
	case !known:
		return c.issueToNewPerson(ctx, x, reg, a, code, m, index, at)
	case r.Superseded:
		_, err = c.issuance.submit(ctx, x, func(uint64) ([]ledger.Draft, error) {
			if now, _, err := reg.resolve(index); err != nil || now != r {
				return nil, errors.Join(err, errStale)
			}
			return nil, ErrSuperseded
		})
		return Issued{}, err
	}
	p, err := c.person(ctx, r.Subject)
	if err != nil {
		return Issued{}, err
	}
	defer p.destroy()
	held, err := reg.holds(p.index, a.Code().String())
	if err != nil {
		return Issued{}, fmt.Errorf("look up the agency's symbols: %w", err)
	}
	if held {
		return Issued{AlreadyAcquired: true}, c.recordAlreadyAcquired(ctx, x, reg, a, p, index, at)
	}
	return c.issueToKnownPerson(ctx, x, reg, a, p, index, at)
}

func (c *Core) issueToNewPerson(ctx context.Context, x call, reg *reading, a agency.Agency, code symbol.ResidentCode, m symbol.ManagementInfo, index register.Key, at time.Time) (Issued, error) {
	key := c.d.Keyring.NewSubject()
	p := &person{key: key}
	defer p.destroy()
	var salt [symbol.SaltSize]byte
	defer clear(salt[:])
	for { // drawn again should it be another's: in practice never
		_, _ = rand.Read(salt[:])
		var err error
		if p.linkage, err = c.symbols.linkage(ctx, code, salt[:]); err != nil {
			return Issued{}, err
		}
		p.index = c.linkageIndex(p.linkage)
		taken, err := reg.known(p.index)
		if err != nil {
			return Issued{}, fmt.Errorf("check the linkage symbol against all issued: %w", err)
		}
		if !taken {
			break
		}
	}
	syms, err := c.symbols.agency(ctx, a.Parameter(), p.linkage)
	if err != nil {
		return Issued{}, err
	}
	mb := m.Expose()
	p.management = mb[:]
	defer clear(mb[:])
	e := c.symbolIssued(x, a, p, at)
	e.NewPerson, e.Subject.Salt = true, salt[:]
	draft, err := c.sealFor(p, x.aad(c.issuance.stream, event.TypeSymbolIssued, 0, at), e)
	if err != nil {
		return Issued{}, err
	}
	_, err = c.issuance.submit(ctx, x, func(next uint64) ([]ledger.Draft, error) {
		if _, known, err := reg.resolve(index); err != nil || known {
			return nil, errors.Join(err, errStale)
		}
		if taken, err := reg.known(p.index); err != nil || taken {
			return nil, errors.Join(err, errStale)
		}
		c.issuance.resolutions.Put(next, index, register.Resolution{Subject: p.key.ID})
		c.issuance.persons.Put(next, p.index, p.key.ID)
		c.issuance.subjects.Put(next, p.key.ID, sealedDraft(draft))
		c.issuance.holdings.Put(next, holding{p.index, a.Code().String()}, schemeVersion)
		return []ledger.Draft{draft}, nil
	})
	return Issued{Symbol: syms[0]}, err
}

func (c *Core) issueToKnownPerson(ctx context.Context, x call, reg *reading, a agency.Agency, p *person, index register.Key, at time.Time) (Issued, error) {
	syms, err := c.symbols.agency(ctx, a.Parameter(), p.linkage)
	if err != nil {
		return Issued{}, err
	}
	draft, err := c.sealFor(p, x.aad(c.issuance.stream, event.TypeSymbolIssued, 0, at), c.symbolIssued(x, a, p, at))
	if err != nil {
		return Issued{}, err
	}
	id := p.key.ID
	_, err = c.issuance.submit(ctx, x, func(next uint64) ([]ledger.Draft, error) {
		if held, err := reg.stillHolds(index, id, p.index, a); err != nil || held {
			return nil, errors.Join(err, errStale)
		}
		c.issuance.holdings.Put(next, holding{p.index, a.Code().String()}, schemeVersion)
		return []ledger.Draft{draft}, nil
	})
	return Issued{Symbol: syms[0]}, err
}

func (c *Core) recordAlreadyAcquired(ctx context.Context, x call, reg *reading, a agency.Agency, p *person, index register.Key, at time.Time) error {
	e := event.SymbolAlreadyAcquired{Command: x.command(), Subject: p.key.ID.Protected(), Issuance: issuanceOf(a, at)}
	draft, err := c.sealFor(p, x.aad(c.issuance.stream, event.TypeSymbolAlreadyAcquired, 0, at), e)
	if err != nil {
		return err
	}
	id := p.key.ID
	_, err = c.issuance.submit(ctx, x, func(uint64) ([]ledger.Draft, error) {
		if held, err := reg.stillHolds(index, id, p.index, a); err != nil || !held {
			return nil, errors.Join(err, errStale)
		}
		return []ledger.Draft{draft}, nil
	})
	return err
}

// stillHolds reports whether the code still resolves to the person and the agency holds their symbol;
// errStale where the code no longer does.
func (r *reading) stillHolds(index register.Key, id register.SubjectID, linkage register.Key, a agency.Agency) (bool, error) {
	found, ok, err := r.resolve(index)
	if err != nil {
		return false, err
	}
	if !ok || found.Superseded || found.Subject != id {
		return false, errStale
	}
	return r.holds(linkage, a.Code().String())
}

func (c *Core) symbolIssued(x call, a agency.Agency, p *person, at time.Time) event.SymbolIssued {
	l := p.linkage.Expose()
	return event.SymbolIssued{
		Command: x.command(),
		Subject: event.Subject{ID: p.key.ID.Protected(), Linkage: l[:], LinkageVersion: linkageVersion,
			Management: p.management, IndexVersion: indexVersion},
		Issuance: issuanceOf(a, at),
	}
}

func issuanceOf(a agency.Agency, at time.Time) event.Issuance {
	p := a.Parameter()
	return event.Issuance{Agency: a.Code().String(), Parameter: p[:], Scheme: schemeVersion, At: at.UnixMicro()}
}

// sealFor seals a payload under a person's key and wipes the plaintext.
func (c *Core) sealFor(p *person, a ledger.AAD, payload any) (ledger.Draft, error) {
	plain, err := event.Encode(payload)
	if err != nil {
		return ledger.Draft{}, err
	}
	defer clear(plain)
	d, err := c.d.Keyring.SealSubject(p.key, a, plain)
	if errors.Is(err, keyring.ErrDeleted) {
		err = errBeingDeleted
	}
	return d, err
}

// issuedBefore derives the answer of a repeated call again.
func (c *Core) issuedBefore(ctx context.Context, x call, to agency.Code, ref register.Reference) (Issued, error) {
	if ref.Type == event.TypeSymbolAlreadyAcquired {
		return Issued{AlreadyAcquired: true}, nil
	}
	e, err := replay[event.SymbolIssued](ctx, c, x, ref)
	if errors.Is(err, keyring.ErrShredded) {
		err = errBeingDeleted
	}
	if err != nil {
		return Issued{}, err
	}
	l, err := symbol.LinkageFromBytes(e.Subject.Linkage)
	if err != nil {
		return Issued{}, fmt.Errorf("outcome of the repeated command: %w", err)
	}
	a, ok := c.d.Registry.Agency(to)
	if !ok {
		return Issued{}, c.registry.refuse(ctx, fmt.Errorf("agency %s: %w", to, ErrUnknownAgency))
	}
	syms, err := c.symbols.agency(ctx, a.Parameter(), l)
	if err != nil {
		return Issued{}, err
	}
	return Issued{Symbol: syms[0]}, nil
}

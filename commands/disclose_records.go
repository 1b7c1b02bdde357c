package commands

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"kiroku/commands/sequencer"
	"kiroku/domain/agency"
	"kiroku/domain/event"
	"kiroku/domain/inquiry"
	"kiroku/domain/keyring"
	"kiroku/domain/ledger"
	"kiroku/domain/record"
	"kiroku/domain/register"
	"kiroku/domain/symbol"
)

// Audience says to whom records are shown.
type Audience string

// The audiences (Act 23, 35(1), 19(13)).
const (
	AudiencePerson         Audience = "person"         // 本人
	AudienceRepresentative Audience = "representative" // 法定代理人・任意代理人
	AudienceCommission     Audience = "commission"     // 個人情報保護委員会
)

// DiscloseRecords asks, through the disclosure system (情報提供等記録開示システム), for what was asked and
// provided about a person.
type DiscloseRecords struct {
	Meta
	Symbol   symbol.Agency // the disclosure system's own symbol of the person
	Receipt  string        // receipt number of the request, 1 to 64 characters
	Audience Audience
	From, To time.Time // interval of the times of request, half-open; zero: unbounded
}

// Disclosed is what is shown. One of the two is set, by the audience.
type Disclosed struct {
	Person     []record.PersonEntry
	Commission []record.CommissionEntry
}

// MaxDisclosed bounds the records that one disclosure reads: so many can be named in its event.
const MaxDisclosed = 20_000

// ErrTooMany: more records than one disclosure reads.
var ErrTooMany = errors.New("too many records for one disclosure")

// DiscloseRecords shows records and records that it did, who asked, on what receipt and what was given (domain rule
// Records 4): nothing is shown unless that stands in the ledger. A repeated command shows what it showed. What became
// durable in the last moment may not be in it yet. Errors: ErrInvalid, ErrNotAllowed, ErrUnknownPerson, ErrTooMany,
// ErrUnknownAgency, ErrSuspended, ErrConflict, ErrTooOld, and those of the sequencer.
func (c *Core) DiscloseRecords(ctx context.Context, cmd DiscloseRecords) (Disclosed, error) {
	if err := c.check(cmd.Meta); err != nil {
		return Disclosed{}, err
	}
	if err := cmd.valid(); err != nil {
		return Disclosed{}, err
	}
	asking, err := c.disclosureSystem(ctx, cmd.Actor)
	if err != nil {
		return Disclosed{}, err
	}
	sym := cmd.Symbol.Expose()
	defer clear(sym[:])
	x := newCall(cmd.Meta, c.d.Keyring.Digest("disclose-records", sym[:], []byte(cmd.Receipt), []byte(cmd.Audience), timeBytes(cmd.From), timeBytes(cmd.To)))
	release, err := c.claim(x, c.audit)
	if err != nil {
		return Disclosed{}, err
	}
	defer release()
	_, l, ok, err := c.byAgencySymbol(ctx, asking, cmd.Symbol)
	if err != nil {
		return Disclosed{}, err
	}
	if !ok {
		return Disclosed{}, c.issuance.refuse(ctx, ErrUnknownPerson)
	}
	rec, err := c.symbols.record(ctx, l)
	if err != nil {
		return Disclosed{}, err
	}
	found, err := c.recordsOf(ctx, rec)
	if err != nil {
		return Disclosed{}, err
	}
	err = c.audit.confirm(ctx, x)
	if err == nil {
		given := found.shownTo(cmd)
		if err = c.recordDisclosure(ctx, x, cmd, rec, given); err == nil {
			return given.show(cmd), nil
		}
	}
	var again *repeated
	if !errors.As(err, &again) {
		return Disclosed{}, err
	}
	e, err := replay[event.RecordsDisclosed](ctx, c, x, again.ref)
	if err != nil {
		return Disclosed{}, err
	}
	return found.only(e.Given).show(cmd), nil
}

func (cmd DiscloseRecords) valid() error {
	if n := utf8.RuneCountInString(cmd.Receipt); n < 1 || n > 64 {
		return fmt.Errorf("receipt number of %d characters, allowed are 1 to 64: %w", n, ErrInvalid)
	}
	switch cmd.Audience {
	case AudiencePerson, AudienceRepresentative:
		return mustBe(cmd.Actor, RoleDisclosure)
	case AudienceCommission:
		return mustBe(cmd.Actor, RoleCommission)
	}
	return fmt.Errorf("audience is not person, representative or commission: %w", ErrInvalid)
}

// disclosureSystem is the actor's agency, which must be the one kind that records are disclosed through.
func (c *Core) disclosureSystem(ctx context.Context, actor event.Actor) (agency.Agency, error) {
	code, err := agency.ParseCode(actor.Agency)
	if err != nil {
		return agency.Agency{}, fmt.Errorf("actor's agency: %w: %w", ErrNotAllowed, err)
	}
	a, err := c.activeAgency(ctx, code)
	if err != nil {
		return a, err
	}
	for _, class := range a.Classes() {
		if class.String() == DisclosureClass {
			return a, nil
		}
	}
	return a, fmt.Errorf("agency %s is not of class %s: %w", code, DisclosureClass, ErrNotAllowed)
}

// dossier is the records of one person, each with the digest by which a disclosure names it.
type dossier struct {
	records []record.ProvisionRecord
	digests [][8]byte
}

// recordsOf opens every record of a person. What has been destroyed is not there.
func (c *Core) recordsOf(ctx context.Context, rec symbol.Record) (dossier, error) {
	b := rec.Expose()
	defer clear(b[:])
	sealed, err := c.d.Records.Records(c.d.Keyring.Index(keyring.IndexRecord, b[:]), time.Time{}, time.Time{}, MaxDisclosed+1)
	if err != nil {
		return dossier{}, fmt.Errorf("find the records: %w", err)
	}
	if len(sealed) > MaxDisclosed {
		return dossier{}, fmt.Errorf("more than %d: %w", MaxDisclosed, ErrTooMany)
	}
	var k dossier
	for _, s := range sealed {
		r, err := c.provisionRecord(ctx, s)
		if errors.Is(err, keyring.ErrShredded) {
			continue
		}
		if err != nil {
			return dossier{}, err
		}
		sum := sha256.Sum256(s.Header)
		k.records, k.digests = append(k.records, r), append(k.digests, [8]byte(sum[:8]))
	}
	return k, nil
}

// only keeps the records that an earlier disclosure named.
func (k dossier) only(given [][]byte) dossier {
	named := map[[8]byte]bool{}
	for _, g := range given {
		if len(g) == 8 {
			named[[8]byte(g)] = true
		}
	}
	return k.where(func(i int) bool { return named[k.digests[i]] })
}

func (k dossier) where(holds func(i int) bool) dossier {
	var out dossier
	for i := range k.records {
		if holds(i) {
			out.records, out.digests = append(out.records, k.records[i]), append(out.digests, k.digests[i])
		}
	}
	return out
}

// shownTo keeps the records of the inquiries of which the audience is shown anything.
func (k dossier) shownTo(cmd DiscloseRecords) dossier {
	shown := map[string]bool{}
	d := k.show(cmd)
	for _, e := range d.Person {
		shown[e.Number] = true
	}
	for _, e := range d.Commission {
		shown[e.Number] = true
	}
	return k.where(func(i int) bool { return shown[k.records[i].Number().String()] })
}

// show makes the view of the audience, limited to the interval asked for.
func (k dossier) show(cmd DiscloseRecords) Disclosed {
	within := func(t time.Time) bool {
		return (cmd.From.IsZero() || !t.Before(cmd.From)) && (cmd.To.IsZero() || t.Before(cmd.To))
	}
	if cmd.Audience == AudienceCommission {
		out := Disclosed{Commission: []record.CommissionEntry{}}
		for _, e := range record.CommissionView(k.records) {
			if within(e.RequestedAt) {
				out.Commission = append(out.Commission, e)
			}
		}
		return out
	}
	out := Disclosed{Person: []record.PersonEntry{}}
	for _, e := range record.PersonView(k.records) {
		if within(e.RequestedAt) {
			out.Person = append(out.Person, e)
		}
	}
	return out
}

func (c *Core) recordDisclosure(ctx context.Context, x call, cmd DiscloseRecords, rec symbol.Record, given dossier) error {
	s := rec.Expose()
	defer clear(s[:])
	e := event.RecordsDisclosed{Command: x.command(), Symbol: s[:], Receipt: cmd.Receipt, Audience: string(cmd.Audience),
		From: unixMicro(cmd.From), To: unixMicro(cmd.To)}
	d := given.show(cmd)
	e.Count = len(d.Person) + len(d.Commission)
	for _, g := range given.digests {
		e.Given = append(e.Given, g[:])
	}
	draft, err := c.sealRecord(ctx, c.audit, x, func(at time.Time) (string, any) {
		e.At = at.UnixMicro()
		return event.TypeRecordsDisclosed, e
	})
	if err != nil {
		return err
	}
	_, err = c.audit.submit(ctx, x, func(uint64) ([]ledger.Draft, error) { return []ledger.Draft{draft}, nil })
	return err
}

// provisionRecord opens an event of class record as the record that the law knows.
func (c *Core) provisionRecord(ctx context.Context, s register.Sealed) (record.ProvisionRecord, error) {
	h, err := ledger.DecodeHeader(s.Header)
	if err != nil {
		return record.ProvisionRecord{}, fmt.Errorf("stored record: %w", err)
	}
	plain, err := c.d.Keyring.Open(ctx, h, s.Data)
	if err != nil {
		return record.ProvisionRecord{}, notOpened(err, sequencer.ErrUnavailable)
	}
	defer clear(plain)
	r, err := recordOf(h.Type, plain)
	if err != nil {
		return record.ProvisionRecord{}, fmt.Errorf("%s@%d: %w", h.Stream, h.Revision, err)
	}
	return lawfulRecord(factOf(h.Type, r), h.Time, r)
}

func factOf(eventType string, r event.Record) record.Fact {
	switch eventType {
	case event.TypeInquiryNotified:
		return record.Requested
	case event.TypeInquiryRefused:
		return record.Refused
	case event.TypeInquiryLapsed:
		return record.Lapsed
	}
	if r.ProvidedAt != 0 {
		return record.Provided
	}
	return record.NotProvided
}

// lawfulRecord turns what an event repeats into the record with the fields of 別添2.
func lawfulRecord(fact record.Fact, at time.Time, r event.Record) (record.ProvisionRecord, error) {
	f := record.Fields{Fact: fact, RecordedAt: at, Affair: r.Affair, Procedure: r.Procedure,
		RequestedAt: micros(r.RequestedAt), Information: r.Information, Items: r.Items,
		RequestNonDisclosed: r.WithheldRequest, ProvisionNonDisclosed: r.WithheldProvision,
		AmendmentReason: r.AmendmentReason, Article21: r.Article21}
	if r.ProvidedAt != 0 {
		f.ProvidedAt = micros(r.ProvidedAt)
	}
	var errs [7]error
	f.Number, errs[0] = inquiry.ProcessingNumberFromBytes(r.ProcessingNumber)
	f.Branch, errs[1] = inquiry.NewBranchNumber(r.Branch)
	f.Inquirer, errs[2] = party(r.Inquirer, r.InquirerName)
	f.Provider, errs[3] = party(r.Provider, r.ProviderName)
	f.Department, errs[4] = agency.ParseDepartment(r.Department)
	if len(r.Symbol) > 0 {
		f.Symbol, errs[5] = symbol.RecordFromBytes(r.Symbol)
	}
	if err := errors.Join(errs[:]...); err != nil {
		return record.ProvisionRecord{}, fmt.Errorf("stored record: %w", err)
	}
	return record.New(f)
}

func party(code, name string) (p record.Party, err error) {
	if p.Code, err = agency.ParseCode(code); err != nil || name == "" {
		return p, err
	}
	p.Name, err = agency.ParseName(name)
	return p, err
}

func unixMicro(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func timeBytes(t time.Time) []byte { return binary.BigEndian.AppendUint64(nil, uint64(unixMicro(t))) }

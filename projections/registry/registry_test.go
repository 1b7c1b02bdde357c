package registry_test

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"kiroku/domain/agency"
	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/domain/ledger"
	"kiroku/domain/ledger/ledgertest"
	"kiroku/domain/scope"
	"kiroku/projections"
	"kiroku/projections/projectiontest"
	"kiroku/projections/registry"
)

// desk is a ledger with a registry and the projection under test.
type desk struct {
	t        testing.TB
	ledger   *projectiontest.Ledger
	view     *projectiontest.Memory
	registry *registry.Registry
	at       time.Time
}

func newDesk(t testing.TB) *desk {
	l, err := projectiontest.New()
	check(t, err)
	d := &desk{t: t, ledger: l, view: &projectiontest.Memory{}, at: projectiontest.Begin}
	d.registry = d.reopened()
	return d
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (d *desk) reopened() *registry.Registry {
	d.t.Helper()
	r, err := registry.Open(d.view, d.ledger.SigningKeys())
	check(d.t, err)
	return r
}

func fact(eventType string, payload any) projectiontest.Fact {
	return projectiontest.Fact{Type: eventType, Time: projectiontest.Begin, Payload: payload}
}

// happens appends facts as one batch and applies what is there.
func (d *desk) happens(facts ...projectiontest.Fact) error {
	d.t.Helper()
	check(d.t, d.ledger.Append(event.StreamRegistry, facts...))
	c, err := projectiontest.Read(d.t.Context(), d.ledger, event.StreamRegistry)
	check(d.t, err)
	return c.ApplyAll(d.registry)
}

func (d *desk) must(facts ...projectiontest.Fact) {
	d.t.Helper()
	check(d.t, d.happens(facts...))
}

func command(n byte) event.Command {
	return event.Command{ID: uuid.UUID{n}, Actor: event.Actor{Identity: "a"}, Digest: bytes.Repeat([]byte{n}, 16)}
}

func registered(code, name string, classes ...string) projectiontest.Fact {
	return fact(event.TypeAgencyRegistered, event.AgencyRegistered{
		Command: command(1), Code: code, Name: name, Classes: classes, Parameter: bytes.Repeat([]byte{7}, 16),
	})
}

func status(code string, suspended bool) projectiontest.Fact {
	return fact(event.TypeAgencyStatusChanged, event.AgencyStatusChanged{Command: command(2), Code: code, Suspended: suspended, Reason: "届出"})
}

func codeOf(t testing.TB, s string) agency.Code {
	t.Helper()
	c, err := agency.ParseCode(s)
	check(t, err)
	return c
}

func TestAgencies(t *testing.T) {
	d := newDesk(t)
	d.must(registered("C-2", "北市", "市町村長"), registered("C-1", "南市", "市町村長", "医療保険者"))
	a, found := d.registry.Agency(codeOf(t, "C-1"))
	if !found || a.Name().String() != "南市" || len(a.Classes()) != 2 || !a.IsActive() || a.Parameter()[0] != 7 {
		t.Errorf("C-1: %v %+v", found, a)
	}
	before := d.registry.Snapshot()
	d.must(status("C-1", true))
	if a, _ := d.registry.Agency(codeOf(t, "C-1")); a.IsActive() {
		t.Error("a suspended agency is active")
	}
	if a, _ := before.Agency(codeOf(t, "C-1")); !a.IsActive() {
		t.Error("an earlier snapshot changed")
	}
	d.must(registered("C-1", "南町", "市町村長"))
	if a, _ := d.registry.Agency(codeOf(t, "C-1")); a.IsActive() || a.Name().String() != "南市" {
		t.Error("a second registration changed an agency, whose parameter makes the symbols that it holds")
	}
	d.must(status("C-1", false))
	if a, _ := d.reopened().Agency(codeOf(t, "C-1")); !a.IsActive() {
		t.Error("a reinstated agency is not active after a restart")
	}
	all := d.registry.Snapshot().Agencies()
	if len(all) != 2 || all[0].Code().String() != "C-1" || all[1].Code().String() != "C-2" {
		t.Errorf("agencies %v", all)
	}
}

func rules(t testing.TB, affairs ...string) (scope.Set, []event.RuleRow) {
	t.Helper()
	var parsed []scope.Rule
	var rows []event.RuleRow
	for i, affair := range affairs {
		row := scope.Row{ID: fmt.Sprint("r-", i), InquirerClass: "市町村長", Affair: affair, ProviderClass: "市町村長", Information: "住民票関係情報",
			LegalBasis: "番号法19条8号・主務省令2条の表1の項", ValidFrom: "2024-05-27"}
		r, err := scope.ParseRow(row)
		check(t, err)
		parsed, rows = append(parsed, r), append(rows, event.RuleRow(r.Row()))
	}
	s, problems := scope.NewSet(parsed)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return s, rows
}

func published(s scope.Set, part, parts int, rows ...event.RuleRow) projectiontest.Fact {
	hash := s.Hash()
	return fact(event.TypeScopeRulesPublished, event.ScopeRulesPublished{Command: command(3), SetHash: hash[:], Part: part, Parts: parts, Rules: rows})
}

// TestRulesComeWhole: the set before stays in force until the last part of the new one is there.
func TestRulesComeWhole(t *testing.T) {
	d := newDesk(t)
	if d.registry.Rules().Len() != 0 {
		t.Error("rules before the first set")
	}
	first, rows := rules(t, "児童手当の支給")
	d.must(published(first, 0, 1, rows...))
	second, rows := rules(t, "児童手当の支給", "生活保護の決定", "介護保険給付の支給")
	d.must(published(second, 0, 2, rows[:2]...))
	if d.registry.Rules().Hash() != first.Hash() || d.reopened().Rules().Hash() != first.Hash() {
		t.Error("half a set is in force")
	}
	d.must(published(second, 1, 2, rows[2:]...))
	if d.registry.Rules().Hash() != second.Hash() || d.reopened().Rules().Hash() != second.Hash() || d.registry.Rules().Len() != 3 {
		t.Error("the complete set is not in force")
	}
}

func TestViolations(t *testing.T) {
	d := newDesk(t)
	violation := func(file, to string) projectiontest.Fact {
		return fact(event.TypePIAViolation, event.PIAViolation{Command: command(4), Agency: "C-1", File: file, From: "2026-01-01", To: to, Reason: "未公表"})
	}
	holds := func(r *registry.Registry, day string) bool {
		parsed, err := calendar.Parse(day)
		check(t, err)
		_, found := r.Violations().Of(codeOf(t, "C-1"), "住民票関係情報", parsed)
		return found
	}
	d.must(violation("住民票関係情報", ""))
	if holds(d.registry, "2025-12-31") || !holds(d.registry, "2026-11-22") || !holds(d.reopened(), "2026-11-22") {
		t.Error("an open violation does not hold from its first day on")
	}
	d.must(violation("住民票関係情報", "2026-06-30"))
	if !holds(d.registry, "2026-06-30") || holds(d.registry, "2026-07-01") || holds(d.reopened(), "2026-07-01") {
		t.Error("an ended violation does not end")
	}
}

func TestLedgerAnchorAndTruncation(t *testing.T) {
	d := newDesk(t)
	s := d.registry.Snapshot()
	if _, ok := s.Ledger(); ok {
		t.Error("a ledger before it was opened")
	}
	if _, ok := d.registry.LastAnchor(); ok {
		t.Error("an anchor before the first")
	}
	opened := event.LedgerOpened{LedgerID: uuid.UUID{5}, RecordShards: 4, VaultBuckets: 16, Sentinel: bytes.Repeat([]byte{1}, 32)}
	anchor := ledger.Anchor{Time: projectiontest.Begin, Heads: []ledger.AnchoredHead{{Stream: "audit", Count: 3, Leaf: ledger.Hash{9}}}}
	payload, err := anchor.Encode()
	check(t, err)
	start, err := ledger.Truncation{Stream: "audit", First: 2, Prev: ledger.Hash{8}}.Encode()
	check(t, err)
	d.must(fact(event.TypeLedgerOpened, opened), fact(event.TypeAnchor, payload), fact(ledger.TypeStreamTruncated, start))
	_, header, _, err := ledger.DecodeMetadata(d.ledger.Events(event.StreamRegistry)[2].Metadata)
	check(t, err)
	for what, r := range map[string]*registry.Registry{"applied": d.registry, "reopened": d.reopened()} {
		if o, ok := r.Snapshot().Ledger(); !ok || o.RecordShards != 4 || o.LedgerID != opened.LedgerID {
			t.Errorf("%s: ledger %v %+v", what, ok, o)
		}
		a, ok := r.LastAnchor()
		if !ok || a.Revision != 2 || a.Leaf != ledger.LeafHash(header) || len(a.Anchor.Heads) != 1 || a.Anchor.Heads[0] != anchor.Heads[0] {
			t.Errorf("%s: anchor %v %+v", what, ok, a)
		}
		if prev, ok := r.Truncated("audit", 2); !ok || prev != (ledger.Hash{8}) {
			t.Errorf("%s: the truncation is not known", what)
		}
		if _, ok := r.Truncated("audit", 3); ok {
			t.Errorf("%s: a truncation that nobody authorised", what)
		}
	}
}

func key(t testing.TB, id, seed string, from, to int64) projectiontest.Fact {
	t.Helper()
	k, err := ledgertest.NewKey(seed)
	check(t, err)
	spki, err := x509.MarshalPKIXPublicKey(k.Public().Key)
	check(t, err)
	return fact(event.TypeSigningKeyPublished, event.SigningKeyPublished{KeyID: id, SPKI: spki, ValidFrom: from, ValidTo: to})
}

// TestSigningKeys: published keys join the ones from outside, and may end their validity, but cannot take their place.
func TestSigningKeys(t *testing.T) {
	d := newDesk(t)
	outside := d.ledger.SigningKeys().All()[0]
	if _, found := d.registry.SigningKeys().Lookup(outside.ID); !found {
		t.Fatal("the key from outside is not trusted")
	}
	const ended = 1_800_000_000_500_000 // half a second past a whole one
	d.must(key(t, "next", "next", 1_700_000_000_900_000, 0), key(t, outside.ID, "impostor", 1_700_000_000_000_000, 0))
	for what, r := range map[string]*registry.Registry{"applied": d.registry, "reopened": d.reopened()} {
		k, found := r.SigningKeys().Lookup("next")
		if !found || !k.ValidFrom.Equal(time.Unix(1_700_000_000, 0)) {
			t.Errorf("%s: published key %v from %s", what, found, k.ValidFrom)
		}
		if k, _ := r.SigningKeys().Lookup(outside.ID); !k.Key.Equal(outside.Key) {
			t.Errorf("%s: another key took the place of the one from outside", what)
		}
	}
	d.must(key(t, outside.ID, "projectiontest", outside.ValidFrom.UnixMicro(), ended))
	if k, _ := d.registry.SigningKeys().Lookup(outside.ID); !k.ValidTo.Equal(time.Unix(1_800_000_001, 0)) {
		t.Errorf("the key's validity ends %s", k.ValidTo)
	}
}

func TestCommands(t *testing.T) {
	d := newDesk(t)
	f := registered("C-1", "南市", "市町村長")
	f.ID = uuid.UUID{0xc}
	d.must(f)
	ref, found, err := d.registry.Command(uuid.UUID{0xc})
	if err != nil || !found || ref.Revision != 1 || ref.Type != event.TypeAgencyRegistered || ref.Digest[0] != 1 {
		t.Errorf("%+v, %v, %v", ref, found, err)
	}
	if _, found, err := d.registry.Command(uuid.UUID{0xd}); found || err != nil {
		t.Errorf("an unknown command: %v, %v", found, err)
	}
}

// TestImpossibleFacts: what the domain refuses is refused here too, and changes nothing.
func TestImpossibleFacts(t *testing.T) {
	set, rows := rules(t, "児童手当の支給")
	other, _ := rules(t, "生活保護の決定")
	for name, f := range map[string]projectiontest.Fact{
		"agency without a class":           registered("C-9", "西市"),
		"agency code with a space":         registered("C 9", "西市", "市町村長"),
		"status of an unknown agency":      status("C-9", true),
		"rules under another hash":         published(other, 0, 1, rows...),
		"last part of rules alone":         published(set, 1, 2, rows...),
		"part beyond the last":             published(set, 2, 2, rows...),
		"violation on no day":              fact(event.TypePIAViolation, event.PIAViolation{Agency: "C-1", From: "2026-02-30", Reason: "x"}),
		"signing key that is none":         fact(event.TypeSigningKeyPublished, event.SigningKeyPublished{KeyID: "k", SPKI: []byte{1}}),
		"anchor that is none":              fact(event.TypeAnchor, []byte{0xa0}),
		"agency with an unknown member":    fact(event.TypeAgencyRegistered, []byte{0xa1, 0x61, 'x', 1}),
		"agency parameter of 17 octets":    fact(event.TypeAgencyRegistered, event.AgencyRegistered{Code: "C-9", Name: "西市", Classes: []string{"市町村長"}, Parameter: make([]byte, 17)}),
		"agency parameter that is missing": fact(event.TypeAgencyRegistered, event.AgencyRegistered{Code: "C-9", Name: "西市", Classes: []string{"市町村長"}}),
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			d.must(registered("C-1", "南市", "市町村長"))
			before := rowsOf(t, d.registry)
			if err := d.happens(registered("C-2", "北市", "市町村長"), f); !errors.Is(err, event.ErrMalformed) {
				t.Fatalf("got %v, want a malformed payload", err)
			}
			if rowsOf(t, d.registry) != before || len(d.registry.Snapshot().Agencies()) != 1 {
				t.Error("a batch that was refused changed something")
			}
		})
	}
}

func rowsOf(t testing.TB, r *registry.Registry) string {
	t.Helper()
	text, err := projectiontest.Dump(r.Rows())
	check(t, err)
	return text
}

// TestRegistryConverges is the convergence of the other projections, with the snapshot compared too.
func TestRegistryConverges(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		choose := func(n int) int { return rapid.IntRange(0, n-1).Draw(rt, "choice") }
		d := newDesk(t)
		for range 1 + choose(40) {
			check(t, d.ledger.Append(event.StreamRegistry, d.chosen(choose)...))
		}
		c, err := projectiontest.Read(t.Context(), d.ledger, event.StreamRegistry)
		check(t, err)
		check(t, c.ApplyAll(d.registry))
		_, p, err := c.Wander(choose, &projectiontest.Memory{}, func(v projections.View) (projections.Projection, error) {
			return registry.Open(v, d.ledger.SigningKeys())
		})
		check(t, err)
		wandered := p.(*registry.Registry)
		shadow, err := wandered.Shadow()
		check(t, err)
		check(t, c.ApplyAll(shadow))
		for what, r := range map[string]*registry.Registry{"piece by piece": wandered, "reopened": d.reopened(), "rebuilt": shadow.(*registry.Registry)} {
			if describe(r) != describe(d.registry) {
				rt.Fatalf("%s:\n%s\nat once:\n%s", what, describe(r), describe(d.registry))
			}
		}
		if rowsOf(t, wandered) != rowsOf(t, d.registry) {
			rt.Fatal("the rows differ")
		}
		check(t, wandered.Promote(shadow))
		if rowsOf(t, wandered) != rowsOf(t, d.registry) || describe(wandered) != describe(d.registry) {
			rt.Fatal("promoted, the rows differ")
		}
	})
}

// chosen is one registry command's facts.
func (d *desk) chosen(choose func(int) int) []projectiontest.Fact {
	d.at = d.at.Add(time.Duration(choose(40)) * time.Hour)
	code := fmt.Sprint("C-", choose(3))
	var facts []projectiontest.Fact
	switch choose(5) {
	case 0:
		facts = []projectiontest.Fact{registered(code, "市", "市町村長")}
	case 1:
		facts = []projectiontest.Fact{registered(code, "町", "市町村長"), status(code, choose(2) == 0)}
	case 2:
		set, rows := rules(d.t, []string{"児童手当の支給", "生活保護の決定", "介護保険給付の支給"}[:1+choose(3)]...)
		for i, row := range rows {
			facts = append(facts, published(set, i, len(rows), row))
		}
	case 3:
		facts = []projectiontest.Fact{fact(event.TypePIAViolation, event.PIAViolation{
			Agency: code, From: fmt.Sprintf("2026-0%d-01", 1+choose(9)), To: []string{"", "2026-12-31"}[choose(2)], Reason: "未公表"})}
	case 4:
		payload, err := ledger.Anchor{Time: d.at, Heads: []ledger.AnchoredHead{{Stream: "audit", Count: uint64(1 + choose(9))}}}.Encode()
		check(d.t, err)
		facts = []projectiontest.Fact{fact(event.TypeAnchor, payload)}
	}
	for i := range facts {
		facts[i].Time = d.at
	}
	return facts
}

// describe writes down all that a snapshot answers.
func describe(r *registry.Registry) string {
	s := r.Snapshot()
	var b strings.Builder
	for _, a := range s.Agencies() {
		fmt.Fprintln(&b, a.Fields())
	}
	fmt.Fprintln(&b, s.Rules().Len(), s.Rules().Hash())
	anchor, ok := s.LastAnchor()
	fmt.Fprintln(&b, anchor, ok, len(s.SigningKeys().All()))
	for month := time.January; month <= time.December; month++ {
		for n := range 3 {
			code, _ := agency.ParseCode(fmt.Sprint("C-", n))
			v, ok := s.Violations().Of(code, "x", calendar.Of(2026, month, 15))
			fmt.Fprintln(&b, v, ok)
		}
	}
	return b.String()
}

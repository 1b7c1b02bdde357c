package approval_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"kiroku/domain/approval"
	"kiroku/domain/approval/approvaltest"
	"kiroku/domain/event"
)

var (
	made = time.Date(2026, time.April, 1, 0, 0, 0, 0, time.UTC)
	then = made.Add(time.Hour)
)

func proposal(t testing.TB, reason string) approval.Standing {
	t.Helper()
	p := event.ProposalMade{Kind: event.ProposalHoldRelease, Hold: make([]byte, 16), Reason: reason, At: made.UnixMicro(), Until: made.Add(24 * time.Hour).UnixMicro()}
	payload, err := event.Encode(p)
	if err != nil {
		t.Fatal(err)
	}
	return approval.Standing{Hash: approval.HashOf(payload), Made: p}
}

// record is an approval as the registry has it.
func record(t testing.TB, officials approval.Officials, h approval.Hash, g approval.Given, at time.Time) event.ProposalApproved {
	t.Helper()
	s, err := officials.Verify(h, g, at)
	if err != nil {
		t.Fatal(err)
	}
	return event.ProposalApproved{Proposal: h[:], Official: fmt.Sprintf("%x", []byte(s.Subject)), Certificate: s.Certificate[:], SPKI: s.SPKI,
		Authority: s.Authority[:], Signature: g.Signature, At: at.UnixMicro()}
}

func TestTwoOfficialsApprove(t *testing.T) {
	authority := approvaltest.NewAuthority(t)
	officials := authority.Officials(t)
	p := proposal(t, "order withdrawn")
	p.Terms = since(t, officials, made)
	for i, name := range []string{"Official 1", "Official 2"} {
		if p.Approved() {
			t.Fatalf("approved by %d", i)
		}
		o := authority.Official(t, name)
		a := record(t, officials, p.Hash, o.Approve(t, p.Hash), then)
		if err := p.Admit(a.Official, a.SPKI, then); err != nil {
			t.Fatal(err)
		}
		if a.Certificate[0] != sumOf(o.Certificate)[0] || a.Authority[0] != sumOf(authority.Certificate.Raw)[0] {
			t.Error("the certificate and its authority are not named by their hashes")
		}
		p.Approvals = append(p.Approvals, a)
	}
	if !p.Approved() {
		t.Error("not approved by two")
	}
	if err := p.Admit("another", nil, then); !errors.Is(err, approval.ErrApproved) {
		t.Errorf("a third: %v", err)
	}
}

// since is that some authorities are in force from a time on.
func since(t testing.TB, o approval.Officials, at time.Time) approval.Terms {
	t.Helper()
	terms, err := approval.Terms{}.Next(event.AuthoritiesSet{Authorities: o.Certificates(), At: at.UnixMicro()}, 7, nil)
	if err != nil {
		t.Fatal(err)
	}
	return terms
}

func sumOf(b []byte) [32]byte { return sha256.Sum256(b) }

// TestWhoMayNotApprove: every certificate or signature that is not an official's over this very proposal is refused, by
// a reason and without a name.
func TestWhoMayNotApprove(t *testing.T) {
	authority, stranger := approvaltest.NewAuthority(t), approvaltest.NewAuthority(t)
	officials := authority.Officials(t)
	p, other := proposal(t, "order withdrawn"), proposal(t, "another order withdrawn")
	const name = "Name Of An Official"
	good := authority.Official(t, name)
	change := func(f approvaltest.Change) approval.Given { return authority.Official(t, name, f).Approve(t, p.Hash) }
	altered := func(f func(*approval.Given)) approval.Given {
		g := good.Approve(t, p.Hash)
		f(&g)
		return g
	}
	for what, c := range map[string]struct {
		given approval.Given
		at    time.Time
		want  error
		says  string
	}{
		"issued by another authority":         {given: stranger.Official(t, name).Approve(t, p.Hash), want: approval.ErrCertificate, says: "none of the known authorities"},
		"signed by itself":                    {given: selfSigned(t, name, p.Hash), want: approval.ErrCertificate, says: "none of the known authorities"},
		"the authority's own":                 {given: approval.Given{Certificate: authority.Certificate.Raw, Signature: make([]byte, 64)}, want: approval.ErrCertificate, says: "an authority's"},
		"expired":                             {given: change(func(c *x509.Certificate) { c.NotAfter = then.Add(-time.Second) }), want: approval.ErrCertificate, says: "not valid at 2026-04-01T01:00:00Z"},
		"not valid yet":                       {given: change(func(c *x509.Certificate) { c.NotBefore = then.Add(time.Second) }), want: approval.ErrCertificate, says: "not valid at"},
		"after its authority's end":           {given: good.Approve(t, p.Hash), at: approvaltest.To.Add(time.Hour), want: approval.ErrCertificate, says: "not valid at"},
		"at no time":                          {given: good.Approve(t, p.Hash), at: time.Time{}.Add(-1), want: approval.ErrCertificate},
		"not for documents":                   {given: change(func(c *x509.Certificate) { c.UnknownExtKeyUsage = nil }), want: approval.ErrCertificate, says: "extended key usage"},
		"for signing in":                      {given: change(forSigningIn), want: approval.ErrCertificate, says: "extended key usage"},
		"for anything":                        {given: change(forAnything), want: approval.ErrCertificate, says: "extended key usage"},
		"for agreeing on keys":                {given: change(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyAgreement }), want: approval.ErrCertificate, says: "key usage"},
		"an authority below, not for signing": {given: narrow(t, authority, name, p.Hash), want: approval.ErrCertificate, says: "may not issue"},
		"without the authority below":         {given: alone(authority.Below(t).Official(t, name).Approve(t, p.Hash)), want: approval.ErrCertificate, says: "none of the known authorities"},
		"of nobody":                           {given: change(func(c *x509.Certificate) { c.Subject = pkix.Name{} }), want: approval.ErrCertificate, says: "no serialNumber"},
		"no certificate":                      {given: altered(func(g *approval.Given) { g.Certificate = nil }), want: approval.ErrCertificate},
		"half a certificate":                  {given: altered(func(g *approval.Given) { g.Certificate = g.Certificate[:100] }), want: approval.ErrCertificate},
		"a huge certificate":                  {given: altered(func(g *approval.Given) { g.Certificate = make([]byte, 1<<20) }), want: approval.ErrCertificate},
		"too long a chain":                    {given: altered(func(g *approval.Given) { g.Chain = make([]event.Protected, 5) }), want: approval.ErrCertificate},
		"an RSA key":                          {given: approval.Given{Certificate: rsaCertificate(t), Signature: make([]byte, 64)}, want: approval.ErrCertificate, says: "P-256"},
		"over another proposal":               {given: good.Approve(t, other.Hash), want: approval.ErrSignature},
		"by another key":                      {given: altered(func(g *approval.Given) { g.Signature = authority.Official(t, name).Approve(t, p.Hash).Signature }), want: approval.ErrSignature},
		"no signature":                        {given: altered(func(g *approval.Given) { g.Signature = nil }), want: approval.ErrSignature},
		"a signature of zeros":                {given: altered(func(g *approval.Given) { g.Signature = make([]byte, 64) }), want: approval.ErrSignature},
		"a flipped bit":                       {given: altered(func(g *approval.Given) { g.Signature[40] ^= 1 }), want: approval.ErrSignature},
		"the signature's other form":          {given: altered(func(g *approval.Given) { highS(g.Signature) }), want: approval.ErrSignature},
		"the signature in another encoding":   {given: altered(func(g *approval.Given) { g.Signature = der(g.Signature) }), want: approval.ErrSignature},
	} {
		at := c.at
		if at.IsZero() {
			at = then
		}
		if what == "at no time" {
			at = time.Time{}
		}
		_, err := officials.Verify(p.Hash, c.given, at)
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %v with %q", what, err, c.want, c.says)
		}
		if err != nil && (strings.Contains(err.Error(), name) || strings.Contains(err.Error(), "Authority")) {
			t.Errorf("%s: the error names somebody: %v", what, err)
		}
	}
	if _, err := (approval.Officials{}).Verify(p.Hash, good.Approve(t, p.Hash), then); !errors.Is(err, approval.ErrNoAuthorities) {
		t.Errorf("without authorities: %v", err)
	}
	if _, err := officials.Verify(p.Hash, authority.Below(t).Below(t).Official(t, name).Approve(t, p.Hash), then); err != nil {
		t.Errorf("two authorities below: %v", err)
	}
}

func forSigningIn(c *x509.Certificate) {
	c.ExtKeyUsage, c.UnknownExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageEmailProtection}, nil
}

func forAnything(c *x509.Certificate) {
	c.ExtKeyUsage, c.UnknownExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny}, nil
}

func alone(g approval.Given) approval.Given { g.Chain = nil; return g }

func narrow(t testing.TB, a *approvaltest.Authority, name string, h approval.Hash) approval.Given {
	return a.Below(t, forSigningIn).Official(t, name).Approve(t, h)
}

func selfSigned(t testing.TB, name string, h approval.Hash) approval.Given {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: approvaltest.From, NotAfter: approvaltest.To, KeyUsage: x509.KeyUsageDigitalSignature,
		Subject: pkix.Name{CommonName: name}, UnknownExtKeyUsage: []asn1.ObjectIdentifier{approval.DocumentSigning}}
	raw, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return approvaltest.Official{Certificate: raw, Key: key}.Approve(t, h)
}

func rsaCertificate(t testing.TB) []byte {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "x"}}
	raw, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func highS(signature []byte) {
	s := new(big.Int).SetBytes(signature[32:])
	s.Sub(elliptic.P256().Params().N, s).FillBytes(signature[32:])
}

func der(signature []byte) []byte {
	b, _ := asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])})
	return b
}

// TestOneOfficialDoesNotCountTwice: not with another key, not by a name that is written another way, not with the key of
// another official.
func TestOneOfficialDoesNotCountTwice(t *testing.T) {
	authority := approvaltest.NewAuthority(t)
	officials := authority.Officials(t)
	p := proposal(t, "order withdrawn")
	p.Terms = since(t, officials, made)
	first := authority.Official(t, "Official 1")
	p.Approvals = append(p.Approvals, record(t, officials, p.Hash, first.Approve(t, p.Hash), then))
	for what, c := range map[string]struct {
		second approvaltest.Official
		want   error
	}{
		"again":                       {first, approval.ErrSameOfficial},
		"another key":                 {authority.Official(t, "Official 1"), approval.ErrSameOfficial},
		"other case and spaces":       {authority.Official(t, "  OFFICIAL   1 "), approval.ErrSameOfficial},
		"wide letters":                {authority.Official(t, "Ｏｆｆｉｃｉａｌ　１"), approval.ErrSameOfficial},
		"another kind of string":      {authority.Official(t, "", utf8Subject("Official 1")), approval.ErrSameOfficial},
		"another authority below":     {authority.Below(t).Official(t, "Official 1"), approval.ErrSameOfficial},
		"another name, same key":      {authority.Certify(t, first.Key, "Official 2"), approval.ErrSameKey},
		"another order of attributes": {authority.Official(t, "Official 1", turned), approval.ErrSameOfficial},
		"another name":                {authority.Official(t, "Official 1", func(c *x509.Certificate) { c.Subject.CommonName = "Official One" }), approval.ErrSameOfficial},
		"a character that is hidden":  {authority.Official(t, "Offi\u00adcial\u200b 1"), approval.ErrSameOfficial},
		"another official":            {authority.Official(t, "Official 2"), nil},
		"the same in another ministry": {authority.Official(t, "Official 1", func(c *x509.Certificate) {
			c.Subject.Organization = []string{"another ministry"}
		}), approval.ErrSameOfficial},
	} {
		a := record(t, officials, p.Hash, c.second.Approve(t, p.Hash), then)
		if err := p.Admit(a.Official, a.SPKI, then); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", what, err, c.want)
		}
		s := p
		s.Approvals = append(s.Approvals[:1:1], a)
		if s.Approved() != (c.want == nil) {
			t.Errorf("%s, recorded nevertheless: approved %v", what, s.Approved())
		}
	}
}

// turned has the subject's attributes in another order.
func turned(c *x509.Certificate) {
	sequence := c.Subject.ToRDNSequence()
	slices.Reverse(sequence)
	c.RawSubject, _ = asn1.Marshal(sequence)
}

// utf8Subject writes a subject in UTF8Strings, where the library takes PrintableString.
func utf8Subject(name string) approvaltest.Change {
	return func(c *x509.Certificate) {
		text := func(s string) asn1.RawValue {
			return asn1.RawValue{Tag: asn1.TagUTF8String, Bytes: []byte(s)}
		}
		type attribute struct {
			Type  asn1.ObjectIdentifier
			Value asn1.RawValue
		}
		type set []attribute
		c.RawSubject, _ = asn1.Marshal([]struct {
			Set set `asn1:"set"`
		}{})
		var out []asn1.RawValue
		for _, a := range []attribute{{asn1.ObjectIdentifier{2, 5, 4, 6}, text("JP")}, {asn1.ObjectIdentifier{2, 5, 4, 5}, text(name)}} {
			b, _ := asn1.MarshalWithParams(set{a}, "set")
			out = append(out, asn1.RawValue{FullBytes: b})
		}
		c.RawSubject, _ = asn1.Marshal(out)
	}
}

// TestWhatWasRecordedWronglyDoesNotCount: the rule does not rest on who wrote the registry.
func TestWhatWasRecordedWronglyDoesNotCount(t *testing.T) {
	authority := approvaltest.NewAuthority(t)
	officials := authority.Officials(t)
	p, other := proposal(t, "order withdrawn"), proposal(t, "another order withdrawn")
	p.Terms = since(t, officials, made)
	one, two := authority.Official(t, "Official 1"), authority.Official(t, "Official 2")
	first := record(t, officials, p.Hash, one.Approve(t, p.Hash), then)
	second := func(f func(*event.ProposalApproved)) event.ProposalApproved {
		a := record(t, officials, p.Hash, two.Approve(t, p.Hash), then)
		f(&a)
		return a
	}
	elsewhere := record(t, officials, other.Hash, two.Approve(t, other.Hash), then)
	until := time.UnixMicro(p.Made.Until)
	for what, c := range map[string]struct {
		second   event.ProposalApproved
		approved bool
	}{
		"as it was given":             {second(func(*event.ProposalApproved) {}), true},
		"in the last moment":          {second(func(a *event.ProposalApproved) { a.At = until.UnixMicro() }), true},
		"after that":                  {second(func(a *event.ProposalApproved) { a.At = until.UnixMicro() + 1 }), false},
		"before the proposal":         {second(func(a *event.ProposalApproved) { a.At = made.UnixMicro() - 1 }), false},
		"another proposal's":          {elsewhere, false},
		"another proposal's, renamed": {func() event.ProposalApproved { a := elsewhere; a.Proposal = p.Hash[:]; return a }(), false},
		"with no proposal":            {second(func(a *event.ProposalApproved) { a.Proposal = nil }), false},
		"another key":                 {second(func(a *event.ProposalApproved) { a.SPKI = first.SPKI }), false},
		"no key":                      {second(func(a *event.ProposalApproved) { a.SPKI = []byte{1} }), false},
		"no signature":                {second(func(a *event.ProposalApproved) { a.Signature = nil }), false},
		"the same official":           {second(func(a *event.ProposalApproved) { a.Official = first.Official }), false},
	} {
		s := p
		s.Approvals = []event.ProposalApproved{first, c.second}
		if s.Approved() != c.approved {
			t.Errorf("%s: approved %v", what, s.Approved())
		}
	}
	changed := p
	changed.Made.Reason = "something else"
	payload, err := event.Encode(changed.Made)
	if err != nil {
		t.Fatal(err)
	}
	changed.Hash, changed.Approvals = approval.HashOf(payload), []event.ProposalApproved{first, second(func(*event.ProposalApproved) {})}
	if changed.Approved() {
		t.Error("a changed proposal is approved by the approvals of another")
	}
}

func TestAKeySignsInTheSameWayAgain(t *testing.T) {
	p := proposal(t, "order withdrawn")
	o := approvaltest.NewAuthority(t).Official(t, "Official 1")
	if first, again := o.Approve(t, p.Hash), o.Approve(t, p.Hash); !bytes.Equal(first.Signature, again.Signature) {
		t.Error("the same approval is another command")
	}
}

func TestAProposalExpires(t *testing.T) {
	p := proposal(t, "order withdrawn")
	until := time.UnixMicro(p.Made.Until)
	if p.Expired(until) || p.Admit("official", nil, until) != nil {
		t.Error("expired in its last moment")
	}
	if err := p.Admit("official", nil, until.Add(time.Microsecond)); !errors.Is(err, approval.ErrExpired) || !strings.Contains(err.Error(), "2026-04-02") {
		t.Errorf("after it: %v", err)
	}
}

func TestAuthoritiesFiles(t *testing.T) {
	authority := approvaltest.NewAuthority(t)
	official := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authority.Official(t, "Official 1").Certificate})
	key := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("x")})
	for what, c := range map[string]struct {
		text []byte
		says string
	}{
		"nothing":              {nil, "no certificate"},
		"no PEM":               {[]byte("hello"), "no certificate"},
		"an official's":        {append(authority.PEM(), official...), "certificate 2 is not an authority's"},
		"a key among them":     {append(authority.PEM(), key...), "something else than certificates"},
		"something behind":     {append(authority.PEM(), "hello"...), "follows certificate 1"},
		"broken":               {pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}), "certificate 1 cannot be read"},
		"sixty-five":           {bytes.Repeat(authority.PEM(), 65), "more than 64"},
		"two, and blank lines": {append(append([]byte("\n"), authority.PEM()...), append([]byte("\n\n"), approvaltest.NewAuthority(t).PEM()...)...), ""},
	} {
		o, err := approval.ParseOfficials(c.text)
		if c.says == "" && (err != nil || !o.Known()) || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says) || o.Known()) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestHashesAreWrittenOneWay(t *testing.T) {
	p := proposal(t, "order withdrawn")
	text, err := json.Marshal(map[string]approval.Hash{"hash": p.Hash})
	if err != nil {
		t.Fatal(err)
	}
	var back map[string]approval.Hash
	if err := json.Unmarshal(text, &back); err != nil || back["hash"] != p.Hash {
		t.Errorf("%s: %v", text, err)
	}
	for _, wrong := range []string{"", "12", p.Hash.String() + "00", p.Hash.String()[:62] + "zz", " " + p.Hash.String()} {
		if _, err := approval.ParseHash(wrong); !errors.Is(err, approval.ErrHash) {
			t.Errorf("%q: %v", wrong, err)
		}
	}
}

// TestNobodyIsPrinted: a certificate names its official, wherever it is carried.
func TestNobodyIsPrinted(t *testing.T) {
	authority := approvaltest.NewAuthority(t)
	p := proposal(t, "order withdrawn")
	g := authority.Official(t, "Official 1").Approve(t, p.Hash)
	s, err := authority.Officials(t).Verify(p.Hash, g, then)
	if err != nil {
		t.Fatal(err)
	}
	for _, shown := range []string{fmt.Sprintf("%v %+v %#v %s %x %d", g, g, g, g, g, g), fmt.Sprintf("%v %+v %#v %s %x %d", s, s, s, s, s, s)} {
		if strings.Contains(strings.ToLower(shown), "official 1") || strings.Contains(shown, fmt.Sprintf("%x", []byte("official 1"))) || strings.Contains(shown, fmt.Sprintf("%x", []byte(g.Certificate[:8]))) {
			t.Errorf("shown: %s", shown)
		}
	}
	for _, v := range []any{g, s} {
		if text, err := json.Marshal(v); err != nil || bytes.Contains(text, []byte("MII")) {
			t.Errorf("%v: %s", err, text)
		}
	}
}

// TestApprovalNeedsTwoDifferent holds the rule to its words, over any approvals in any order.
func TestApprovalNeedsTwoDifferent(t *testing.T) {
	authority := approvaltest.NewAuthority(t)
	officials := authority.Officials(t)
	p := proposal(t, "order withdrawn")
	p.Terms = since(t, officials, made)
	var pool []event.ProposalApproved
	var who []int // -1: does not count
	for i := range 3 {
		for range 2 {
			a := record(t, officials, p.Hash, authority.Official(t, fmt.Sprint("Official ", i)).Approve(t, p.Hash), then)
			late := a
			late.At = p.Made.Until + 1
			pool, who = append(pool, a, late), append(who, i, -1)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		s, different := p, map[int]bool{}
		for _, i := range rapid.SliceOfN(rapid.IntRange(0, len(pool)-1), 0, 6).Draw(t, "approvals") {
			s.Approvals = append(s.Approvals, pool[i])
			if who[i] >= 0 {
				different[who[i]] = true
			}
		}
		if s.Approved() != (len(different) >= approval.Needed) {
			t.Fatalf("%d different officials: approved %v", len(different), s.Approved())
		}
	})
}

// FuzzVerify looks for a certificate or a signature that ends in a panic, or is taken though it is another.
func FuzzVerify(f *testing.F) {
	authority := approvaltest.NewAuthority(f)
	officials := authority.Officials(f)
	h := proposal(f, "order withdrawn").Hash
	g := authority.Official(f, "Official 1").Approve(f, h)
	below := authority.Below(f)
	f.Add([]byte(g.Certificate), []byte(below.Certificate.Raw), g.Signature)
	f.Add([]byte(g.Certificate[:40]), []byte(nil), g.Signature[:63])
	f.Fuzz(func(t *testing.T, certificate, between, signature []byte) {
		_, err := officials.Verify(h, approval.Given{Certificate: certificate, Chain: []event.Protected{between}, Signature: signature}, then)
		if err == nil && (!bytes.Equal(certificate, g.Certificate) || !bytes.Equal(signature, g.Signature)) {
			t.Errorf("taken: %x, signed %x", certificate, signature)
		}
	})
}

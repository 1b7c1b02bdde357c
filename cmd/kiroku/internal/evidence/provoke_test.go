package evidence_test

import (
	"bytes"
	"context"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"iter"
	"os"
	"path/filepath"
	"testing"
	"time"

	"kiroku/adapters/datadir"
	"kiroku/adapters/eventstore"
	"kiroku/adapters/hsm"
	"kiroku/adapters/hsm/hsmtest"
	"kiroku/adapters/jukinet"
	"kiroku/cmd/kiroku/internal/node/nodetest"
	"kiroku/commands"
	"kiroku/commands/sequencer"
	"kiroku/domain/event"
	"kiroku/domain/inquiry"
	"kiroku/domain/ledger"
	"kiroku/domain/symbol"
)

// refused notes an error in every way it could be shown. It fails the test where there is none.
func (d *day) refused(t *testing.T, what string, err error) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: nothing was refused", what)
		return
	}
	d.note("errors", "%s: %v | %+v | %#v | %q", what, err, err, err, err)
	var chain func(error)
	chain = func(err error) {
		d.note("errors", "  %T %+v", err, err)
		switch u := err.(type) {
		case interface{ Unwrap() error }:
			if u.Unwrap() != nil {
				chain(u.Unwrap())
			}
		case interface{ Unwrap() []error }:
			for _, e := range u.Unwrap() {
				chain(e)
			}
		}
	}
	chain(err)
}

func (d *day) refusedAs(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
	d.refused(t, what, err)
}

func errorOf[T any](_ T, err error) error { return err }

// provoke makes the core fail in every way it can, with the secrets of persons who are in the ledger.
func (d *day) provoke(t *testing.T) {
	d.core.Register("a", "b", "c")
	a, b := d.core.Issue("a", firstExtra), d.core.Issue("b", firstExtra)
	d.core.Issue("a", firstExtra+1)
	d.malformed(t, a)
	d.issuing(t)
	d.changing(t)
	d.inquiring(t, a, b)
	d.disclosing(t, a)
	d.delivering(t)
	d.opening(t)
	d.connecting(t)
	d.unavailable(t, a)
}

// bytesOf are the digits of a made-up person.
func bytesOf(t *testing.T, person int) []byte {
	c := nodetest.Code(t, person)
	defer c.Destroy()
	return bytes.Clone(c.Expose())
}

// malformed gives texts that nearly are what they should be.
func (d *day) malformed(t *testing.T, s symbol.Agency) {
	code := bytesOf(t, firstExtra)
	for name, text := range map[string][]byte{"long": append(bytes.Clone(code), '0'), "spaced": append([]byte(" "), code...), "twice": append(bytes.Clone(code), code...)} {
		d.refused(t, "code, "+name, errorOf(symbol.ParseResidentCode(bytes.Clone(text), symbol.Mod11)))
		d.refused(t, "ten digits, "+name, errorOf(symbol.WithCheckDigit(text, symbol.Mod11)))
	}
	d.refused(t, "check digit", errorOf(symbol.ParseResidentCode(bytes.Clone(code), symbol.CheckDigit(func([]byte) byte { return 'x' }))))
	text, raw := s.Encode(), s.Expose()
	for _, bad := range []string{text + "=", "!" + text, text[:22] + "!", text + text, " " + text[1:]} {
		d.refused(t, "agency symbol", errorOf(symbol.DecodeAgency(bad)))
	}
	d.refused(t, "agency symbol of 18 bytes", errorOf(symbol.AgencyFromBytes(append(raw[:], 0))))
	d.refused(t, "linkage symbol", errorOf(symbol.LinkageFromBytes(raw[:])))
	d.refused(t, "record symbol", errorOf(symbol.RecordFromBytes(raw[:])))
	d.refused(t, "management information", errorOf(symbol.ManagementInfoFrom(raw[:])))
	d.refused(t, "tweak", errorOf(symbol.TweakFrom(raw[:])))
	d.refused(t, "message for a linkage symbol", errorOf(symbol.LinkageInput(nodetest.Code(t, firstExtra), raw[:])))
	d.refused(t, "acquisition number", errorOf(symbol.ParseAcquisitionNumber(string(code)+"\n"+text)))
	d.refused(t, "processing number", errorOf(inquiry.ParseProcessingNumber(text)))
}

func (d *day) issuing(t *testing.T) {
	issue := func(what string, want error, change func(*commands.IssueSymbol)) {
		t.Helper()
		cmd := d.core.IssueCommand("a", firstExtra)
		change(&cmd)
		answer, err := d.core.Core.IssueSymbol(t.Context(), cmd)
		d.refusedAs(t, "issue, "+what, err, want)
		d.note("answers", "%v %+v %#v", answer, answer, answer)
	}
	issue("no id", commands.ErrInvalid, func(c *commands.IssueSymbol) { clear(c.ID[:]) })
	issue("unknown agency", commands.ErrUnknownAgency, func(c *commands.IssueSymbol) {
		c.Meta, c.Agency = d.Meta("nobody"), nodetest.AgencyCode(t, "nobody")
	})
	issue("acquisition number", commands.ErrInvalid, func(c *commands.IssueSymbol) {
		c.AcquisitionNumber = symbol.AcquisitionNumber(bytesOf(t, firstExtra)) + " "
	})
	issue("too old", commands.ErrTooOld, func(c *commands.IssueSymbol) { clear(c.ID[:6]) })
	first := d.core.IssueCommand("b", firstExtra+2)
	if _, err := d.core.Core.IssueSymbol(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	issue("conflict", commands.ErrConflict, func(c *commands.IssueSymbol) {
		c.Meta, c.Agency = first.Meta, first.Agency
	})
	issue("in another's name", commands.ErrNotAllowed, func(c *commands.IssueSymbol) { c.Meta = first.Meta })
	issue("destroyed code", symbol.ErrInput, func(c *commands.IssueSymbol) {
		c.Meta, c.Agency, c.Code = d.Meta("c"), nodetest.AgencyCode(t, "c"), symbol.ResidentCode{}
	})
	suspend := commands.ChangeAgencyStatus{Meta: d.Meta(""), Code: nodetest.AgencyCode(t, "c"), Suspended: true, Reason: "検査"}
	if err := d.core.Core.ChangeAgencyStatus(t.Context(), suspend); err != nil {
		t.Fatal(err)
	}
	issue("suspended agency", commands.ErrSuspended, func(c *commands.IssueSymbol) {
		c.Meta, c.Agency = d.Meta("c"), nodetest.AgencyCode(t, "c")
	})
	again, err := d.core.Core.IssueSymbol(t.Context(), d.core.IssueCommand("a", firstExtra))
	if err != nil || !again.AlreadyAcquired {
		t.Errorf("already acquired: %v", err)
	}
	d.note("answers", "%+v", again)
}

func (d *day) changing(t *testing.T) {
	change := func(from, to int) error {
		cmd := commands.ChangeResidentCode{Meta: d.Meta("juki"), Old: nodetest.Code(t, firstExtra+from), New: nodetest.Code(t, firstExtra+to)}
		d.note("commands", "%v %+v %#v", cmd, cmd, cmd)
		return d.core.Core.ChangeResidentCode(t.Context(), cmd)
	}
	d.refusedAs(t, "change to the same", change(0, 0), commands.ErrInvalid)
	d.refusedAs(t, "change of nobody's", change(4, 5), commands.ErrUnknownPerson)
	d.refusedAs(t, "change to another's", change(0, 1), commands.ErrCodeTaken)
	if err := change(2, 3); err != nil {
		t.Fatal(err)
	}
	d.refusedAs(t, "change of a former code", change(2, 4), commands.ErrSuperseded)
	d.refusedAs(t, "issue for a former code", errorOf(d.core.Core.IssueSymbol(t.Context(), d.core.IssueCommand("a", firstExtra+2))), commands.ErrSuperseded)
}

func (d *day) inquiring(t *testing.T, a, b symbol.Agency) {
	ctx := t.Context()
	inquire := func(what string, want error, change func(*commands.SubmitInquiry)) commands.Inquired {
		t.Helper()
		cmd := d.core.Inquiry("a", "b", a)
		d.note("commands", "%v %+v %#v", cmd, cmd, cmd)
		change(&cmd)
		answer, err := d.core.Core.SubmitInquiry(ctx, cmd)
		if want == nil && err != nil {
			t.Fatal(err)
		}
		if want != nil {
			d.refusedAs(t, "inquire, "+what, err, want)
		}
		d.note("answers", "%+v", answer)
		return answer
	}
	inquire("in another's name", commands.ErrNotAllowed, func(c *commands.SubmitInquiry) { c.Meta = d.Meta("b") })
	inquire("without an affair", inquiry.ErrInvalid, func(c *commands.SubmitInquiry) { c.Request.Affair = "" })
	inquire("with a code as an affair", inquiry.ErrInvalid, func(c *commands.SubmitInquiry) {
		c.Request.Affair = string(bytes.Repeat(bytesOf(t, firstExtra), 100))
	})
	inquire("with a symbol as an item", inquiry.ErrInvalid, func(c *commands.SubmitInquiry) { c.Request.Items = []string{a.Encode() + "\x00"} })
	if r := inquire("with another agency's symbol", nil, func(c *commands.SubmitInquiry) { c.Symbol = b }); r.Refusal != inquiry.UnknownPerson {
		t.Errorf("another agency's symbol: %v", r.Refusal)
	}
	open := inquire("permitted", nil, func(*commands.SubmitInquiry) {})
	if err := d.core.CaughtUp(ctx); err != nil {
		t.Fatal(err)
	}
	notes, err := d.core.Core.TakeNotifications(ctx, d.Meta("b").Actor, 10)
	if err != nil || len(notes) == 0 {
		t.Fatalf("%d notifications: %v", len(notes), err)
	}
	d.note("answers", "%v %+v %#v", notes, notes, notes)
	d.refusedAs(t, "notifications of nobody", errorOf(d.core.Core.TakeNotifications(ctx, event.Actor{Identity: "x", Role: "y"}, 10)), commands.ErrNotAllowed)
	report := func(by string, n inquiry.ProcessingNumber, items ...string) error {
		return d.core.Core.ReportProvision(ctx, commands.ReportProvision{Meta: d.Meta(by), ProcessingNumber: n,
			Answer: inquiry.AnswerFields{Kind: inquiry.Provided, ProvidedAt: d.Now(), Items: items}})
	}
	d.refusedAs(t, "report by another", report("a", open.ProcessingNumber, "世帯"), commands.ErrNotAllowed)
	d.refusedAs(t, "report on nothing", report("b", inquiry.ProcessingNumber{1, 2, 3}, "世帯"), commands.ErrNotFound)
	d.refused(t, "report of what was not asked", report("b", open.ProcessingNumber, b.Encode()))
	if err := report("b", open.ProcessingNumber, "世帯"); err != nil {
		t.Fatal(err)
	}
	d.refusedAs(t, "report twice", report("b", open.ProcessingNumber, "世帯"), inquiry.ErrAnswered)
}

func (d *day) disclosing(t *testing.T, a symbol.Agency) {
	disclose := func(change func(*commands.DiscloseRecords)) (commands.Disclosed, error) {
		cmd := commands.DiscloseRecords{Meta: d.MetaAs(commands.RoleDisclosure, "a"), Symbol: a, Receipt: "R-1", Audience: commands.AudiencePerson}
		d.note("commands", "%v %+v %#v", cmd, cmd, cmd)
		change(&cmd)
		return d.core.Core.DiscloseRecords(t.Context(), cmd)
	}
	d.refusedAs(t, "disclose on a symbol as a receipt", errorOf(disclose(func(c *commands.DiscloseRecords) {
		c.Receipt = string(bytes.Repeat([]byte(a.Encode()), 5))
	})), commands.ErrInvalid)
	d.refusedAs(t, "disclose to a symbol", errorOf(disclose(func(c *commands.DiscloseRecords) { c.Audience = commands.Audience(a.Encode()) })), commands.ErrInvalid)
	d.refusedAs(t, "disclose another agency's", errorOf(disclose(func(c *commands.DiscloseRecords) {
		c.Meta = d.MetaAs(commands.RoleDisclosure, "b")
	})), commands.ErrUnknownPerson)
	d.refusedAs(t, "disclose to a gateway", errorOf(disclose(func(c *commands.DiscloseRecords) { c.Meta = d.Meta("a") })), commands.ErrNotAllowed)
	for role, to := range map[string]commands.Audience{commands.RoleDisclosure: commands.AudiencePerson, commands.RoleCommission: commands.AudienceCommission} {
		shown, err := disclose(func(c *commands.DiscloseRecords) { c.Meta, c.Audience = d.MetaAs(role, "a"), to })
		if err != nil || len(shown.Person)+len(shown.Commission) == 0 {
			t.Fatalf("nothing was disclosed: %v", err)
		}
		d.note("answers", "%v %+v %#v", shown, shown, shown)
	}
}

// delivering spoils messages of Juki-net.
func (d *day) delivering(t *testing.T) {
	part, err := d.core.HSM.ExportPublic(t.Context(), hsm.LabelJuki) // made for the demonstration
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.ParsePKIXPublicKey(part.SPKI)
	if err != nil {
		t.Fatal(err)
	}
	var message bytes.Buffer
	var one iter.Seq[jukinet.Delivery] = func(yield func(jukinet.Delivery) bool) {
		for n := range 3 {
			if !yield(jukinet.Delivery{AcquisitionNumber: "A-1", Code: nodetest.Code(t, firstExtra+n)}) {
				return
			}
		}
	}
	if err := jukinet.Seal(&message, public.(*rsa.PublicKey), 1, one); err != nil {
		t.Fatal(err)
	}
	read := func(text []byte, policy symbol.CheckDigit) (failed error) {
		for delivery, err := range jukinet.Open(t.Context(), d.core.HSM, bytes.NewReader(text), policy) {
			d.note("answers", "%v %+v %#v", delivery, delivery, delivery)
			delivery.Code.Destroy()
			failed = errors.Join(failed, err)
		}
		return failed
	}
	whole := message.Bytes()
	for at := 0; at < len(whole); at += 37 {
		spoilt := bytes.Clone(whole)
		spoilt[at] ^= 1
		d.refused(t, "a spoilt message", read(spoilt, nil))
		d.refused(t, "a message cut short", read(whole[:at], nil))
	}
	d.refused(t, "codes with other check digits", read(whole, func([]byte) byte { return 'x' }))
}

// opening opens payloads with wrong keys and decodes what is no payload.
func (d *day) opening(t *testing.T) {
	events := d.core.Verify()
	k := learn(t, d.core.HSM, events, [][]byte{bytesOf(t, firstExtra)})
	for i, e := range events {
		plain, sealed := k.opened[place(e)]
		if !sealed || i%7 > 0 {
			continue
		}
		h := header(t, e)
		d.refused(t, "a payload under another's key", errorOf(ledger.Open(bytes.Repeat([]byte{7}, 32), h, e.Data)))
		h.Type = event.TypeAnchor
		d.refused(t, "a payload as another event's", errorOf(k.keyring.Open(t.Context(), h, e.Data)))
		h.KeyID += "x"
		d.refused(t, "a key that is not there", errorOf(k.keyring.Open(t.Context(), h, e.Data)))
		for _, text := range []string{plain[1:], plain[:len(plain)-1], plain + plain, plain + "\x00"} {
			d.refused(t, "a payload cut", errorOf(event.Decode[event.SymbolIssued]([]byte(text))))
			d.refused(t, "a payload of another type", errorOf(event.Decode[event.RecordsDisclosed]([]byte(text))))
		}
	}
}

// connecting gives credentials where they do not fit.
func (d *day) connecting(t *testing.T) {
	password := string(passwordIn(t, d.Files).Value)
	host := d.Server.Addr()
	for what, connection := range map[string]string{
		"no scheme": "admin:" + password + "@" + host, "another scheme": "https://admin:" + password + "@" + host,
		"a password that breaks the address": "esdb://admin:" + password + "?" + password + "@" + host,
		"a parameter":                        "esdb://" + host + "?password=" + password,
		"percent":                            "esdb://admin:" + password + "%zz@" + host, "port": "esdb://" + host + ":" + password,
		"fragment": "esdb://admin:" + password + "#" + password + "@" + host,
		"other CA": "esdb://admin:" + password + "@" + host + "?tls=true",
		"no TLS":   "esdb://admin:" + password + "@" + host + "?tls=false",
	} {
		store, err := eventstore.Open(eventstore.Config{ConnectionString: connection, Logger: d.lines, Patience: 100 * time.Millisecond, ReadTimeout: 300 * time.Millisecond})
		if err == nil {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			err = store.Ping(ctx)
			cancel()
			_ = store.Close()
		}
		d.refused(t, "connect, "+what, err)
	}
	dir := datadir.Dir(t.TempDir())
	if err := os.MkdirAll(dir.Run(), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"torn": `{"passwords":{"admin":"` + password, "odd": `{"passwords":"` + password + `"}`, "bare": password} {
		if err := os.WriteFile(filepath.Join(dir.Run(), name+".json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		d.refused(t, "endpoint file, "+name, errorOf(dir.Find(name)))
	}
	other := hsmtest.New(t) // nobody is logged in to it
	pin := private(t, "pin", other.Config.Token.PINFile)
	d.pins = append(d.pins, pin)
	wrong := other.Config
	wrong.Token.PINFile = filepath.Join(string(dir), "wrong.pin")
	if err := os.WriteFile(wrong.Token.PINFile, append(pin.Value, 'x'), 0o600); err != nil {
		t.Fatal(err)
	}
	d.refused(t, "a wrong PIN", errorOf(hsm.Open(t.Context(), wrong)))
	if err := os.Chmod(wrong.Token.PINFile, 0o644); err != nil {
		t.Fatal(err)
	}
	d.refused(t, "a PIN that all can read", errorOf(hsm.Open(t.Context(), wrong)))
	d.refused(t, "a secret that all can read", errorOf(datadir.ReadSecret(wrong.Token.PINFile)))
}

// unavailable takes the store and the token away.
func (d *day) unavailable(t *testing.T, a symbol.Agency) {
	d.Proxy.Refuse(true)
	d.Proxy.Cut()
	within := func(do func(context.Context) error) error {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		return do(ctx)
	}
	d.refusedAs(t, "issue without a store", within(func(ctx context.Context) error {
		return errorOf(d.core.Core.IssueSymbol(ctx, d.core.IssueCommand("b", firstExtra+1)))
	}), sequencer.ErrOutcomeOpen)
	d.refusedAs(t, "inquire without a store", within(func(ctx context.Context) error {
		return errorOf(d.core.Core.SubmitInquiry(ctx, d.core.Inquiry("a", "b", a)))
	}), sequencer.ErrOutcomeOpen)
	d.Proxy.Refuse(false)
	d.core.WaitLead()
	if err := d.core.CaughtUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	folder, away := d.Token.Dir(), filepath.Join(t.TempDir(), "away")
	if err := os.Rename(folder, away); err != nil {
		t.Fatal(err)
	}
	d.until(t, "the token is missed", func() bool {
		checked := d.core.HSM.Check(t.Context())
		_, err := d.core.Core.IssueSymbol(t.Context(), d.core.IssueCommand("b", firstExtra+4))
		if err != nil {
			d.refused(t, "examine no token", checked)
			d.refusedAs(t, "issue without a token", err, sequencer.ErrUnavailable)
		}
		return err != nil
	})
	d.refused(t, "change without a token", d.core.Core.ChangeResidentCode(t.Context(),
		commands.ChangeResidentCode{Meta: d.Meta("juki"), Old: nodetest.Code(t, firstExtra), New: nodetest.Code(t, firstExtra+5)}))
	d.refused(t, "inquire without a token", errorOf(d.core.Core.SubmitInquiry(t.Context(), d.core.Inquiry("a", "b", a))))
	if err := os.Rename(away, folder); err != nil {
		t.Fatal(err)
	}
	d.until(t, "the token is back", func() bool {
		_, err := d.core.Core.SubmitInquiry(t.Context(), d.core.Inquiry("a", "b", a))
		return err == nil
	})
}

func (d *day) until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

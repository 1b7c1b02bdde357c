package evidence_test

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/google/uuid"

	"kiroku/adapters/jukinet"
	"kiroku/cmd/kiroku/internal/node/nodetest"
	"kiroku/commands"
	"kiroku/domain/event"
	"kiroku/domain/inquiry"
	"kiroku/domain/ledger"
	"kiroku/domain/record"
	"kiroku/domain/register"
	"kiroku/domain/secret/secrettest"
	"kiroku/domain/symbol"
)

// What no printer may show of the values below.
var (
	needleBlock = []byte("one person's 16b")
	needleWide  = append([]byte("second half of ."), needleBlock...)
	needleDigit = "4821390557"
)

func agencySymbol(t *testing.T) symbol.Agency {
	t.Helper()
	s, err := symbol.AgencyFromBytes(append([]byte{1}, needleBlock...))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func residentCode(t *testing.T) symbol.ResidentCode {
	t.Helper()
	c, err := symbol.WithCheckDigit([]byte(needleDigit), symbol.Mod11)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Destroy)
	return c
}

// TestNoCommandOrAnswerPrintsASecret gives every command, answer and view of the core to every printer, logger and encoder.
func TestNoCommandOrAnswerPrintsASecret(t *testing.T) {
	w := &nodetest.World{TB: t}
	s, code := agencySymbol(t), residentCode(t)
	recordSymbol := symbol.RecordFromBlock([16]byte(needleBlock))
	c := nodetest.Core{W: w}
	cmd := c.Inquiry("a", "b", s)
	issue := c.IssueCommand("a", 1)
	issue.Code = code
	fields := record.Fields{Symbol: recordSymbol}
	for name, leaks := range map[string][]string{
		"IssueSymbol":         shown(issue),
		"Issued":              shown(commands.Issued{AcquisitionNumber: "A-1", Symbol: s}),
		"SymbolRequest":       shown(commands.SymbolRequest{AcquisitionNumber: "A-1", Code: code}),
		"ItemIssued":          shown(commands.ItemIssued{Issued: commands.Issued{Symbol: s}}),
		"ChangeResidentCode":  shown(commands.ChangeResidentCode{Old: code, New: code}),
		"SubmitInquiry":       shown(cmd),
		"Notification":        shown(commands.Notification{ProcessingNumber: inquiry.ProcessingNumber{1}, Symbol: s}),
		"DiscloseRecords":     shown(commands.DiscloseRecords{Symbol: s, Receipt: "R-1"}),
		"Disclosed":           shown(commands.Disclosed{Person: record.PersonView(nil), Commission: record.CommissionView(nil)}),
		"record fields":       shown(fields),
		"delivery of codes":   shown(jukinet.Delivery{AcquisitionNumber: "A-1", Code: code}),
		"Holder":              shown(register.Holder{Subject: subjectID(t)}),
		"Resolution":          shown(register.Resolution{Subject: subjectID(t)}),
		"subject id":          shown(subjectID(t)),
		"subject id in a map": shown(map[register.SubjectID]int{subjectID(t): 1}),
	} {
		if len(leaks) > 0 {
			t.Errorf("%s is shown by %v", name, leaks)
		}
	}
}

// shown are the ways in which a printer, a logger or an encoder shows what v holds.
func shown[T any](v T) []string {
	return append(secrettest.Leaks(v, needleBlock), secrettest.Leaks(v, []byte(needleDigit))...)
}

func subjectID(t *testing.T) register.SubjectID {
	t.Helper()
	id, ok := register.SubjectIDFrom(needleBlock)
	if !ok {
		t.Fatal("no subject id")
	}
	return id
}

// payloads is every payload with everything in it filled, so that a field added later is looked at too.
func payloads(t *testing.T) (all []any) {
	for _, empty := range []any{
		&event.LedgerOpened{}, &event.EpochStarted{}, &event.SigningKeyPublished{}, &event.AgencyRegistered{}, &event.AgencyStatusChanged{},
		&event.ScopeRulesPublished{}, &event.PIAViolation{}, &event.VaultOpened{}, &event.BucketKeysStored{}, &event.SymbolIssued{},
		&event.SymbolAlreadyAcquired{}, &event.ResidentCodeChanged{}, &event.ResidentCodeChangeRefused{}, &event.InquiryNotified{},
		&event.InquiryRefused{}, &event.ProvisionReported{}, &event.InquiryLapsed{}, &event.RecordsDisclosed{}, &event.OperationRecorded{}, &ledger.DayOpened{}, &ledger.Anchor{},
	} {
		fill(t, reflect.ValueOf(empty).Elem())
		all = append(all, reflect.ValueOf(empty).Elem().Interface())
	}
	return all
}

// fill puts the needle into everything that is declared to be protected, and something harmless into the rest.
func fill(t *testing.T, v reflect.Value) {
	t.Helper()
	switch x := v.Addr().Interface().(type) {
	case *event.Protected:
		*x = protected(needleWide)
		return
	case *uuid.UUID:
		*x = uuid.New()
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				fill(t, v.Field(i))
			}
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(t, v.Index(0))
	case reflect.String:
		v.SetString("x")
	case reflect.Int, reflect.Int64:
		v.SetInt(1)
	case reflect.Uint64:
		v.SetUint(1)
	case reflect.Bool:
		v.SetBool(true)
	}
}

func protected(b []byte) event.Protected { return bytes.Clone(b) }

// sealedOnly are the ways in which a payload shows what it holds: CBOR, which is its own encoding and is sealed; and fmt,
// where it comes upon the bytes by reflection, in an unexported field or with a verb that calls no method. Nothing of
// the core prints such a thing: what it does print is searched by the other tests.
func sealedOnly(way string) bool {
	for _, inside := range []string{" of unexported field", " of pointer to field", " of field of any", " of nested", " of error"} {
		if strings.HasSuffix(way, inside) {
			return true
		}
	}
	return strings.HasPrefix(way, "CBOR") || strings.HasPrefix(way, "fmt %p ")
}

// TestNoPayloadPrintsASecret gives every payload of the ledger to every printer, logger and encoder, by itself, in exported
// fields, in lists and in errors.
func TestNoPayloadPrintsASecret(t *testing.T) {
	personal := 0
	for _, p := range payloads(t) {
		name := reflect.TypeOf(p).Name()
		for _, way := range append(secrettest.Leaks(p, needleBlock), secrettest.Leaks(p, needleWide[:16])...) {
			if !sealedOnly(way) {
				t.Errorf("%s is shown by %s", name, way)
			}
		}
		said := fmt.Sprint(fmt.Errorf("doing: %w", fmt.Errorf("%v %+v %#v %s %x %q", p, p, p, p, p, p)))
		if secrettest.Shows([]byte(said), needleBlock) {
			t.Errorf("%s is shown by an error", name)
		}
		if plain, err := event.Encode(p); err == nil && secrettest.Shows(plain, needleWide) {
			personal++
		}
	}
	if personal != 10 { // among them operation-recorded: an approval comes with its official's certificate
		t.Errorf("%d kinds of payload hold anything of a person", personal)
	}
}

package symbol

import (
	"errors"
	"fmt"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"kiroku/domain/secret"
	"kiroku/domain/secret/secrettest"
)

var block = [Size]byte([]byte("a person's block"))

func TestNoPrinterLoggerOrEncoderShowsASymbol(t *testing.T) {
	code := must(WithCheckDigit([]byte("4821390557"), nil))(t)
	defer code.Destroy()
	linkage := must(LinkageFromBytes(block[:]))(t)
	agency := must(AgencyFromBytes(append([]byte{1}, block[:]...)))(t)
	agencyBytes := agency.Expose()
	wide := append(block[:], "second half ----"...)
	for name, found := range map[string][]string{
		"resident code":             secrettest.Leaks(code, code.Expose()),
		"linkage symbol":            secrettest.Leaks(linkage, block[:]),
		"record symbol":             secrettest.Leaks(RecordFromBlock(block), block[:]),
		"agency symbol":             secrettest.Leaks(agency, block[:]),
		"agency symbol, encoded":    secrettest.Leaks(agency, agencyBytes[:]),
		"agency symbol, as text":    secrettest.Leaks(agency, []byte(agency.Encode())),
		"tweak":                     secrettest.Leaks(must(TweakFrom(wide))(t), block[:]),
		"management information":    secrettest.Leaks(must(ManagementInfoFrom(wide))(t), block[:]),
		"management information, b": secrettest.Leaks(must(ManagementInfoFrom(wide))(t), wide[Size:]),
		"error of a wrong text":     secrettest.Leaks(errorOf(DecodeAgency("!"+agency.Encode()[1:])), []byte(agency.Encode()[1:])),
	} {
		if len(found) > 0 {
			t.Errorf("%s is shown by %v", name, found)
		}
	}
}

func errorOf[T any](_ T, err error) error { return err }

// The scan finds what an unveiled symbol would show.
func TestTheScanFindsAnUnveiledSymbol(t *testing.T) {
	type unveiled struct {
		secret.Redaction
		block [Size]byte
	}
	type person struct{ symbol unveiled }
	if len(secrettest.Leaks(person{unveiled{block: block}}, block[:])) == 0 {
		t.Error("a symbol in an unexported field prints, and the scan does not see it")
	}
}

func TestSymbolsSayRedacted(t *testing.T) {
	linkage := must(LinkageFromBytes(block[:]))(t)
	if got := fmt.Sprintf("%v %x %+v", linkage, RecordFromBlock(block), struct{ L Linkage }{linkage}); got != "[redacted] [redacted] {L:[redacted]}" {
		t.Errorf("printed %q", got)
	}
	if _, err := cbor.Marshal(linkage); !errors.Is(err, secret.ErrNotEncodable) {
		t.Errorf("CBOR: %v", err)
	}
}

func TestSymbolsKeepTheirBytes(t *testing.T) {
	linkage, again := must(LinkageFromBytes(block[:]))(t), must(LinkageFromBytes(block[:]))(t)
	if linkage != again || linkage.Expose() != block || linkage.IsZero() || !(Linkage{}).IsZero() {
		t.Error("a linkage symbol is not its bytes")
	}
	if r := must(RecordFromBytes(block[:]))(t); r != RecordFromBlock(block) || r.Expose() != block || r.IsZero() || !(Record{}).IsZero() {
		t.Error("a record symbol is not its bytes")
	}
	wide := [32]byte(append(block[:], block[:]...))
	if m := must(ManagementInfoFrom(wide[:]))(t); m.Expose() != wide || m.IsZero() || !(ManagementInfo{}).IsZero() {
		t.Error("a management information is not its bytes")
	}
	if !(Agency{}).IsZero() {
		t.Error("no agency symbol is one")
	}
}

func TestDecodeAgencyRefusesOtherForms(t *testing.T) {
	text := must(AgencyFromBytes(append([]byte{1}, block[:]...)))(t).Encode()
	if len(text) != AgencyTextSize {
		t.Fatalf("%d characters", len(text))
	}
	zero := must(AgencyFromBytes(append([]byte{1}, make([]byte, 16)...)))(t).Encode()
	for _, bad := range []string{
		"", text[1:], text + "A", text + "=", " " + text[1:], "+" + text[1:], text[:11] + "\n" + text[12:],
		"A" + zero[1:2] + zero[2:22] + "B", // bits beyond the 17 bytes: a second form of the same symbol
		"AAAAAAAAAAAAAAAAAAAAAAA",          // version 0
	} {
		if a, err := DecodeAgency(bad); !errors.Is(err, ErrSymbol) || !a.IsZero() {
			t.Errorf("%q is read, %v", bad, err)
		}
	}
}

func FuzzDecodeAgency(f *testing.F) {
	f.Add("AQIDBAUGBwgJCgsMDQ4PEBE")
	f.Add("AAAAAAAAAAAAAAAAAAAAAAA")
	f.Fuzz(func(t *testing.T, text string) {
		if a, err := DecodeAgency(text); err == nil && a.Encode() != text {
			t.Error("two texts name one symbol")
		}
	})
}

package symbol

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"testing"

	"pgregory.net/rapid"

	"kiroku/domain/secret"
)

// token answers as the HSM would, with keys of the test's.
type token struct {
	linkage1, linkage2, index1, index2, tweak []byte
	agency, record                            cipher.Block
}

func newToken() token {
	key := func(name string) []byte { k := sha256.Sum256([]byte(name)); return k[:] }
	agency, _ := aes.NewCipher(key("agency"))
	record, _ := aes.NewCipher(key("record"))
	return token{key("linkage 1"), key("linkage 2"), key("index 1"), key("index 2"), key("tweak"), agency, record}
}

func mac(key, message []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(message)
	return h.Sum(nil)
}

type fataler interface{ Fatal(...any) }

func must[T any](v T, err error) func(fataler) T {
	return func(t fataler) T {
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func (k token) linkage(t fataler, code ResidentCode, salt []byte) Linkage {
	message := must(LinkageInput(code, salt))(t)
	defer message.Destroy()
	return must(LinkageFrom(mac(k.linkage1, message.Expose())))(t)
}

func (k token) tweakOf(t fataler, parameter [16]byte, version uint8) Tweak {
	return must(TweakFrom(mac(k.tweak, TweakInput(parameter, version))))(t)
}

func (k token) agencySymbol(l Linkage, tweak Tweak, version uint8) Agency {
	block := l.Masked(tweak)
	k.agency.Encrypt(block[:], block[:])
	return AgencyFrom(block, tweak, version)
}

func (k token) invert(a Agency, tweak Tweak) Linkage {
	block := a.Masked(tweak)
	k.agency.Decrypt(block[:], block[:])
	return LinkageFromBlock(block, tweak)
}

func anyCode(t *rapid.T, name string) ResidentCode {
	return must(WithCheckDigit([]byte(rapid.StringMatching(`[0-9]{10}`).Draw(t, name)), nil))(t)
}

func bytes16(t *rapid.T, name string) [16]byte {
	return [16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, name))
}

// Each derivation is what the package comment says, byte by byte. A change here would orphan every issued symbol.
func TestDerivationsAreThoseOfTheSpecification(t *testing.T) {
	k := newToken()
	digits := "12345678901"
	digits = digits[:10] + string(Mod11([]byte(digits[:10])))
	code := must(ParseResidentCode([]byte(digits), nil))(t)
	defer code.Destroy()
	salt := []byte("0123456789abcdef")
	parameter := [16]byte([]byte("agency parameter"))

	first := mac(k.linkage1, []byte("linkage/1"+digits+string(salt)))[:16]
	second := mac(k.linkage2, first)[:16]
	index := mac(k.index1, []byte(digits))
	index2 := mac(k.index2, index)
	delta := mac(k.tweak, append([]byte("agency\x10agency parameter"), 3))[:16]
	block := make([]byte, 16)
	for i := range block {
		block[i] = first[i] ^ delta[i]
	}
	k.agency.Encrypt(block, block)
	agency := []byte{3}
	for i := range block {
		agency = append(agency, block[i]^delta[i])
	}
	record := make([]byte, 16)
	k.record.Encrypt(record, first)

	l := k.linkage(t, code, salt)
	next := NextLinkageInput(l)
	l2 := must(LinkageFrom(mac(k.linkage2, next.Expose())))(t)
	message := must(IndexInput(code))(t)
	m := must(ManagementInfoFrom(mac(k.index1, message.Expose())))(t)
	m2 := must(ManagementInfoFrom(mac(k.index2, NextIndexInput(m).Expose())))(t)
	a := k.agencySymbol(l, k.tweakOf(t, parameter, 3), 3)
	recordBlock := l.Expose()
	k.record.Encrypt(recordBlock[:], recordBlock[:])
	r := RecordFromBlock(recordBlock)

	gotL, gotL2, gotM, gotM2, gotA, gotR := l.Expose(), l2.Expose(), m.Expose(), m2.Expose(), a.Expose(), r.Expose()
	for _, row := range []struct {
		name      string
		got, want []byte
	}{
		{"linkage symbol 1", gotL[:], first},
		{"linkage symbol 2", gotL2[:], second},
		{"management information 1", gotM[:], index},
		{"management information 2", gotM2[:], index2},
		{"agency symbol", gotA[:], agency},
		{"record symbol", gotR[:], record},
	} {
		if !bytes.Equal(row.got, row.want) {
			t.Errorf("%s is %x, want %x", row.name, row.got, row.want)
		}
	}
	if got := hex.EncodeToString(TweakInput(parameter, 3)); got != "6167656e63791061"+hex.EncodeToString([]byte("gency parameter"))+"03" {
		t.Errorf("tweak message %s", got)
	}
}

func TestAnAgencySymbolInvertsForItsAgencyOnly(t *testing.T) {
	k := newToken()
	rapid.Check(t, func(t *rapid.T) {
		code := anyCode(t, "code")
		defer code.Destroy()
		salt := bytes16(t, "salt")
		l := k.linkage(t, code, salt[:])
		mine, other := bytes16(t, "mine"), bytes16(t, "other")
		version := rapid.Uint8Range(1, 255).Draw(t, "version")
		a := k.agencySymbol(l, k.tweakOf(t, mine, version), version)
		if k.invert(a, k.tweakOf(t, mine, version)) != l {
			t.Fatal("the agency's own symbol does not invert to the person")
		}
		if mine != other && k.invert(a, k.tweakOf(t, other, version)) == l {
			t.Fatal("the symbol inverts to the person under another agency's parameter")
		}
		if older := version - 1; k.invert(a, k.tweakOf(t, mine, older)) == l {
			t.Fatal("the symbol inverts to the person under another scheme version")
		}
		if again := must(DecodeAgency(a.Encode()))(t); again != a || again.Version() != version {
			t.Fatal("the symbol does not survive its way to the gateway and back")
		}
	})
}

// Order 27(5): different from every other symbol of that agency, and from the person's symbol at every other.
func TestSymbolsDiffer(t *testing.T) {
	k := newToken()
	rapid.Check(t, func(t *rapid.T) {
		codes := rapid.SliceOfNDistinct(rapid.StringMatching(`[0-9]{10}`), 2, 12, rapid.ID).Draw(t, "codes")
		agencies := rapid.SliceOfNDistinct(rapid.SliceOfN(rapid.Byte(), 16, 16), 2, 6, func(b []byte) string { return string(b) }).Draw(t, "agencies")
		salt := bytes16(t, "salt")
		linkages, symbols, records := map[Linkage]bool{}, map[Agency]bool{}, map[Record]bool{}
		for _, digits := range codes {
			code := must(WithCheckDigit([]byte(digits), nil))(t)
			l := k.linkage(t, code, salt[:])
			code.Destroy()
			linkages[l] = true
			block := l.Expose()
			k.record.Encrypt(block[:], block[:])
			records[RecordFromBlock(block)] = true
			for _, parameter := range agencies {
				symbols[k.agencySymbol(l, k.tweakOf(t, [16]byte(parameter), 1), 1)] = true
			}
		}
		if len(linkages) != len(codes) || len(records) != len(codes) || len(symbols) != len(codes)*len(agencies) {
			t.Fatalf("%d persons at %d agencies share symbols: %d linkage, %d record, %d agency", len(codes), len(agencies), len(linkages), len(records), len(symbols))
		}
	})
}

// The salt makes a symbol that cannot come back once it is deleted, and lets one that is another's be drawn again.
func TestAnotherSaltMakesAnotherSymbol(t *testing.T) {
	k := newToken()
	rapid.Check(t, func(t *rapid.T) {
		code := anyCode(t, "code")
		defer code.Destroy()
		one, two := bytes16(t, "one"), bytes16(t, "two")
		if (k.linkage(t, code, one[:]) == k.linkage(t, code, two[:])) != (one == two) {
			t.Fatal("the symbol does not follow the salt")
		}
	})
}

func TestDerivationsRefuseWhatIsMissing(t *testing.T) {
	code := must(WithCheckDigit([]byte("1234567890"), nil))(t)
	if _, err := LinkageInput(code, make([]byte, SaltSize-1)); !errors.Is(err, ErrInput) {
		t.Errorf("short salt: %v", err)
	}
	code.Destroy()
	if _, err := LinkageInput(code, make([]byte, SaltSize)); !errors.Is(err, ErrInput) {
		t.Errorf("destroyed code: %v", err)
	}
	if _, err := IndexInput(code); !errors.Is(err, ErrInput) {
		t.Errorf("destroyed code: %v", err)
	}
	gone := secret.New(32)
	gone.Destroy()
	for name, answer := range map[string][]byte{"destroyed": gone.Expose(), "short": make([]byte, 16), "long": make([]byte, 33)} {
		if _, err := LinkageFrom(answer); !errors.Is(err, ErrMAC) {
			t.Errorf("%s answer as a linkage symbol: %v", name, err)
		}
		if _, err := TweakFrom(answer); !errors.Is(err, ErrMAC) {
			t.Errorf("%s answer as a tweak: %v", name, err)
		}
		if _, err := ManagementInfoFrom(answer); !errors.Is(err, ErrMAC) {
			t.Errorf("%s answer as a management information: %v", name, err)
		}
	}
	for _, n := range []int{0, 15, 17} {
		if _, err := LinkageFromBytes(make([]byte, n)); !errors.Is(err, ErrSymbol) {
			t.Errorf("linkage symbol of %d bytes: %v", n, err)
		}
		if _, err := RecordFromBytes(make([]byte, n)); !errors.Is(err, ErrSymbol) {
			t.Errorf("record symbol of %d bytes: %v", n, err)
		}
	}
}

// The messages that hold a code lie in secret memory and are wiped with it.
func TestMessagesAreWiped(t *testing.T) {
	code := must(WithCheckDigit([]byte("1234567890"), nil))(t)
	defer code.Destroy()
	for name, message := range map[string]*secret.Bytes{
		"linkage": must(LinkageInput(code, make([]byte, SaltSize)))(t),
		"index":   must(IndexInput(code))(t),
		"next":    NextLinkageInput(must(LinkageFromBytes([]byte("0123456789abcdef")))(t)),
	} {
		kept := message.Expose()
		message.Destroy()
		if !bytes.Equal(kept, make([]byte, len(kept))) {
			t.Errorf("%s message is still in memory", name)
		}
	}
}

// The software half of an issuance: everything but the HSM's calls.
func BenchmarkIssuanceWithoutTheHSM(b *testing.B) {
	answer, salt := make([]byte, 32), make([]byte, SaltSize)
	tweak := must(TweakFrom(answer))(b)
	for b.Loop() {
		code := must(ParseResidentCode([]byte("12345678903"), nil))(b)
		message := must(LinkageInput(code, salt))(b)
		index := must(IndexInput(code))(b)
		l := must(LinkageFrom(answer))(b)
		m := must(ManagementInfoFrom(answer))(b)
		_, _ = m.Expose(), AgencyFrom(l.Masked(tweak), tweak, 1).Encode()
		index.Destroy()
		message.Destroy()
		code.Destroy()
	}
}

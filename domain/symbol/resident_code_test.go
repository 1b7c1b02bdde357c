package symbol

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestParseResidentCode(t *testing.T) {
	for _, row := range []struct {
		in   string
		want error
	}{
		{"12345678903", nil}, // 5+8+9+8+35+36+35+32+27+0 = 195, 195 mod 11 = 8
		{"00000000000", nil}, // sum 0
		{"1234567890", ErrResidentCode},
		{"123456789012", ErrResidentCode},
		{"", ErrResidentCode},
		{"1234567890x", ErrResidentCode},
		{"1234 678903", ErrResidentCode},
		{"１２３４", ErrResidentCode},
	} {
		in := []byte(row.in)
		code, err := ParseResidentCode(in, nil)
		if !errors.Is(err, row.want) {
			t.Errorf("%q: %v, want %v", row.in, err, row.want)
		}
		if !bytes.Equal(in, make([]byte, len(in))) {
			t.Errorf("%q is still in the caller's buffer", row.in)
		}
		if err == nil && string(code.Expose()) != row.in {
			t.Errorf("%q is read as another", row.in)
		}
		code.Destroy()
		if code.Expose() != nil {
			t.Errorf("%q is there after Destroy", row.in)
		}
	}
}

func TestMod11(t *testing.T) {
	for _, row := range []struct {
		digits string
		want   byte
	}{
		{"0000000000", '0'}, // r = 0
		{"0000000001", '9'}, // r = 2
		{"0000000010", '8'}, // r = 3
		{"0000010000", '5'}, // weight 6
		{"0000100000", '4'}, // weight 7
		{"0001000000", '9'}, // weight 2 again
		{"1000000000", '6'}, // weight 5
		{"0000000006", '0'}, // r = 1
		{"9999999999", '5'}, // 9·41 = 369, r = 6
	} {
		if got := Mod11([]byte(row.digits)); got != row.want {
			t.Errorf("check digit of %s is %c, want %c", row.digits, got, row.want)
		}
	}
}

// An error names neither the digits nor the right check digit.
func TestAWrongCheckDigitIsRefusedWithoutShowingTheCode(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		digits := rapid.StringMatching(`[0-9]{10}`).Draw(t, "digits")
		right := Mod11([]byte(digits))
		wrong := rapid.SampledFrom([]byte("0123456789")).Filter(func(c byte) bool { return c != right }).Draw(t, "wrong")
		in := []byte(digits + string(wrong))
		code, err := ParseResidentCode(in, nil)
		if !errors.Is(err, ErrCheckDigit) || code.Expose() != nil {
			t.Fatalf("%v", err)
		}
		if strings.ContainsAny(err.Error(), "0123456789") || !bytes.Equal(in, make([]byte, ResidentCodeSize)) {
			t.Fatalf("the refusal keeps digits: %v", err)
		}
	})
}

// Every error in one digit is detected, except between the remainders 0 and 1, which share the check digit 0.
func TestOneDigitErrorsAreDetected(t *testing.T) {
	remainder := func(digits []byte) int {
		sum := 0
		for i, weight := range []int{5, 4, 3, 2, 7, 6, 5, 4, 3, 2} {
			sum += weight * int(digits[i]-'0')
		}
		return sum % 11
	}
	rapid.Check(t, func(t *rapid.T) {
		digits := []byte(rapid.StringMatching(`[0-9]{10}`).Draw(t, "digits"))
		code := append(bytes.Clone(digits), Mod11(digits))
		at := rapid.IntRange(0, ResidentCodeSize-1).Draw(t, "at")
		altered := bytes.Clone(code)
		altered[at] = rapid.SampledFrom([]byte("0123456789")).Filter(func(c byte) bool { return c != code[at] }).Draw(t, "digit")
		undetectable := at < 10 && remainder(digits) <= 1 && remainder(altered[:10]) <= 1
		parsed, err := ParseResidentCode(bytes.Clone(altered), nil)
		parsed.Destroy()
		if detected := errors.Is(err, ErrCheckDigit); detected == undetectable {
			t.Fatalf("%s for %s: detected %v", altered, code, detected)
		}
	})
}

func TestAnotherCheckDigitPolicy(t *testing.T) {
	always7 := func([]byte) byte { return '7' }
	code := must(WithCheckDigit([]byte("1234567890"), always7))(t)
	defer code.Destroy()
	if string(code.Expose()) != "12345678907" {
		t.Error("the policy's digit is not appended")
	}
	if _, err := ParseResidentCode([]byte("12345678906"), always7); !errors.Is(err, ErrCheckDigit) {
		t.Errorf("wrong by the policy: %v", err)
	}
	parsed := must(ParseResidentCode([]byte("12345678907"), always7))(t)
	parsed.Destroy()
}

func TestWithCheckDigitMakesWhatParseReads(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		code := anyCode(t, "code")
		again := must(ParseResidentCode(bytes.Clone(code.Expose()), nil))(t)
		code.Destroy()
		again.Destroy()
	})
	for _, bad := range []string{"", "123456789", "12345678901", "12345x7890"} {
		if _, err := WithCheckDigit([]byte(bad), nil); !errors.Is(err, ErrResidentCode) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func FuzzParseResidentCode(f *testing.F) {
	for _, s := range []string{"12345678903", "00000000000", "", "1234567890x"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		kept := bytes.Clone(in)
		code, err := ParseResidentCode(in, nil)
		defer code.Destroy()
		if err == nil && !bytes.Equal(code.Expose(), kept) {
			t.Error("read as another code")
		}
		if err == nil {
			return
		}
		if told := err.Error(); told != fmt.Sprintf("reading %d bytes: %v", len(kept), ErrResidentCode) && told != "reading a resident code: "+ErrCheckDigit.Error() {
			t.Errorf("the refusal says more than it may: %v", err)
		}
	})
}

package text

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestLine(t *testing.T) {
	for _, c := range []struct {
		name, in, want, refusal string
	}{
		{"plain", "国民健康保険", "国民健康保険", ""},
		{"decomposed", "か\u3099", "が", ""},
		{"space inside", "大阪市 北区", "大阪市 北区", ""},
		{"variation selector", "葛\U000e0100城市", "葛\U000e0100城市", ""},
		{"as long as allowed", strings.Repeat("市", 10), strings.Repeat("市", 10), ""},
		{"too long", strings.Repeat("市", 11), "", "11 characters, the limit is 10"},
		{"far too long", strings.Repeat("市", 1000), "", "longer than 10"},
		{"empty", "", "", "is empty"},
		{"Shift_JIS", "\x8e\x73", "", "not UTF-8"},
		{"line end", "市\n長", "", "character 2 of name is an invisible one (U+000A)"},
		{"right-to-left override", "市\u202e長", "", "U+202E"},
		{"line separator", "市\u2028", "", "U+2028"},
		{"private use", "\ue000市", "", "外字"},
		{"replacement", "市\ufffd", "", "lost"},
		{"wide space before", "\u3000市", "", "begins or ends"},
		{"space behind", "市 ", "", "begins or ends"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Line("name", c.in, 10)
			if got != c.want {
				t.Errorf("Line gives %q, want %q", got, c.want)
			}
			if c.refusal == "" && err != nil || c.refusal != "" && (err == nil || !strings.Contains(err.Error(), c.refusal)) {
				t.Errorf("error %v, want one with %q", err, c.refusal)
			}
			if err != nil && !errors.Is(err, ErrInvalid) {
				t.Errorf("%v is not ErrInvalid", err)
			}
		})
	}
}

func TestOptionalLineTakesNothing(t *testing.T) {
	if s, err := OptionalLine("reason", "", 10); s != "" || err != nil {
		t.Errorf("OptionalLine gives %q, %v", s, err)
	}
}

func TestALineThatPassedPassesAgainUnchanged(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := rapid.String().Draw(t, "in")
		once, err := Line("name", in, 50)
		if err != nil {
			return
		}
		if twice, err := Line("name", once, 50); twice != once || err != nil {
			t.Fatalf("second time %q, %v; first time %q", twice, err, once)
		}
		if utf8.RuneCountInString(once) > 50 {
			t.Fatalf("%d characters passed", utf8.RuneCountInString(once))
		}
	})
}

package leaktest

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
)

// Form is a way of writing a secret.
type Form struct {
	Name  string
	Bytes []byte
}

// Forms returns the ways of writing b that a scan looks for. In base64 these are the characters that depend on b alone,
// at each of the three places where b may begin in what is encoded. Text, such as digits or a password, is also
// looked for in UTF-16, and a decimal number as an integer.
func Forms(b []byte) []Form {
	digits := strings.Trim(fmt.Sprint(b), "[]")
	forms := []Form{
		{"raw", b},
		{"hexadecimal", []byte(hex.EncodeToString(b))},
		{"hexadecimal, capitals", []byte(strings.ToUpper(hex.EncodeToString(b)))},
		{"hexadecimal, spaced", fmt.Appendf(nil, "% x", b)},
		{"hexadecimal, spaced, capitals", fmt.Appendf(nil, "% X", b)},
		{"list of numbers", []byte(digits)},
		{"list of numbers, commas", []byte(strings.ReplaceAll(digits, " ", ","))},
		{"list of numbers, commas and spaces", []byte(strings.ReplaceAll(digits, " ", ", "))},
		{"Go syntax", []byte(strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%#v", b), "[]byte{"), "}"))},
		{"quoted", unquoted(strconv.Quote(string(b)))},
		{"quoted, ASCII", unquoted(strconv.QuoteToASCII(string(b)))},
	}
	for shift := range 3 {
		forms = append(forms,
			Form{fmt.Sprintf("base64, %d octets on", shift), aligned(base64.RawStdEncoding, b, shift)},
			Form{fmt.Sprintf("base64url, %d octets on", shift), aligned(base64.RawURLEncoding, b, shift)})
	}
	return append(forms, textForms(b)...)
}

func unquoted(s string) []byte { return []byte(s[1 : len(s)-1]) }

// aligned encodes b as it stands after shift unknown octets, without the characters that others have a part in.
func aligned(e *base64.Encoding, b []byte, shift int) []byte {
	text := e.EncodeToString(append(make([]byte, shift), b...))
	from := (shift*8 + 5) / 6
	to := (shift + len(b)) * 8 / 6
	return []byte(text[from:to])
}

func textForms(b []byte) []Form {
	for _, c := range b {
		if c < ' ' || c > '~' {
			return nil
		}
	}
	var little, big []byte
	for _, u := range utf16.Encode([]rune(string(b))) {
		little = binary.LittleEndian.AppendUint16(little, u)
		big = binary.BigEndian.AppendUint16(big, u)
	}
	forms := []Form{{"UTF-16LE", little}, {"UTF-16BE", big}}
	if n, err := strconv.ParseUint(string(b), 10, 64); err == nil {
		forms = append(forms, Form{"integer, big-endian", binary.BigEndian.AppendUint64(nil, n)},
			Form{"integer, little-endian", binary.LittleEndian.AppendUint64(nil, n)})
	}
	return forms
}

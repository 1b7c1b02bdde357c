package clickhouse

import (
	"fmt"
	"strings"
	"unicode"

	"golang.org/x/text/width"
)

// Text is a value of a Table as people read it. What would move a cursor or change a terminal is written as what it is.
func Text(value any) string {
	if value == nil {
		return "–"
	}
	text := fmt.Sprint(value)
	if strings.IndexFunc(text, dangerous) < 0 {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if dangerous(r) {
			fmt.Fprintf(&b, `\u%04x`, r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// dangerous are control characters, and those that turn the direction of writing or are not seen.
func dangerous(r rune) bool { return unicode.Is(unicode.C, r) || r == '\u2028' || r == '\u2029' }

// Width is how many columns a text takes where Japanese characters take two.
func Width(text string) (columns int) {
	for _, r := range text {
		switch kind := width.LookupRune(r).Kind(); {
		case unicode.Is(unicode.Mn, r) || unicode.Is(unicode.Me, r):
		case kind == width.EastAsianWide || kind == width.EastAsianFullwidth:
			columns += 2
		default:
			columns++
		}
	}
	return columns
}

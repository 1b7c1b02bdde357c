// Package text checks the single lines of official text that the core is
// given: names of agencies, affairs, items, reasons. It promises to the rest
// of the domain that a line it returned can be compared byte for byte, put in
// a table cell or a log line, and read by a person without surprises.
package text

import (
	"errors"
	"fmt"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// ErrInvalid is wrapped by every error of this package.
var ErrInvalid = errors.New("invalid text")

// Line returns s in Unicode normalisation form C, so that a が typed as one
// character and one typed as か with a mark are the same name. what names the
// field in the error; the text itself is never in the error.
//
// It refuses: the empty line; more than limit characters after normalisation;
// bytes that are not UTF-8; control, format (such as right-to-left override),
// line and paragraph separator, private-use (外字: another letter on every
// machine) and replacement characters; space, also the wide one, at either
// end.
func Line(what, s string, limit int) (string, error) {
	// A character is at most four bytes and normalisation form C never makes a
	// text more than three times as long; a cheap bound before any work.
	if len(s) > 12*limit {
		return "", fmt.Errorf("%w: %s is longer than %d characters", ErrInvalid, what, limit)
	}
	if !utf8.ValidString(s) {
		return "", fmt.Errorf("%w: %s is not UTF-8", ErrInvalid, what)
	}
	s = norm.NFC.String(s)
	if s == "" {
		return "", fmt.Errorf("%w: %s is empty", ErrInvalid, what)
	}
	if n := utf8.RuneCountInString(s); n > limit {
		return "", fmt.Errorf("%w: %s has %d characters, the limit is %d", ErrInvalid, what, n, limit)
	}
	if err := characters(what, s); err != nil {
		return "", err
	}
	return s, nil
}

// OptionalLine is Line for a field that may be empty.
func OptionalLine(what, s string, limit int) (string, error) {
	if s == "" {
		return "", nil
	}
	return Line(what, s, limit)
}

func characters(what, s string) error {
	n, position := utf8.RuneCountInString(s), 0
	for _, r := range s {
		position++
		switch {
		case unicode.IsControl(r), unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp):
			return fmt.Errorf("%w: character %d of %s is an invisible one (U+%04X); remove it", ErrInvalid, position, what, r)
		case unicode.Is(unicode.Co, r):
			return fmt.Errorf("%w: character %d of %s is a private-use one (外字, U+%04X); write it with a standard character", ErrInvalid, position, what, r)
		case r == utf8.RuneError:
			return fmt.Errorf("%w: character %d of %s is a replacement for one that was lost", ErrInvalid, position, what)
		case unicode.IsSpace(r) && (position == 1 || position == n):
			return fmt.Errorf("%w: %s begins or ends with a space; remove it", ErrInvalid, what)
		}
	}
	return nil
}

package symbol

import (
	"errors"
	"strings"
	"testing"
)

func TestParseAcquisitionNumber(t *testing.T) {
	for text, good := range map[string]bool{
		"1": true, "2026-11/000123": true, strings.Repeat("9", 64): true, "~!": true,
		"": false, strings.Repeat("9", 65): false, "12 3": false, "12\n": false, "１２": false, "12\x00": false, "\x7f": false, "\xff": false,
	} {
		n, err := ParseAcquisitionNumber(text)
		if good && (err != nil || string(n) != text) || !good && (!errors.Is(err, ErrAcquisitionNumber) || n != "") {
			t.Errorf("%q is read as %q, %v", text, n, err)
		}
	}
}

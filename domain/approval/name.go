package approval

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"fmt"
	"strings"
	"unicode"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// serialNumber is the attribute of a subject that tells those of one name apart (X.520 §6.2.9, RFC 5280 §4.1.2.4).
var serialNumber = asn1.ObjectIdentifier{2, 5, 4, 5}

// officialOf gives all certificates of one official one form: the serialNumber of the subject alone says who it is,
// whichever office, name or authority, so that an official does not become two by a new post. A subject without one is
// refused: by names nobody can tell whether one person stands behind two.
func officialOf(der []byte) ([]byte, error) {
	var name pkix.RDNSequence
	if rest, err := asn1.Unmarshal(der, &name); err != nil || len(rest) > 0 {
		return nil, fmt.Errorf("%w: its subject cannot be read", ErrCertificate)
	}
	var serials []string
	for _, set := range name {
		for _, a := range set {
			if !a.Type.Equal(serialNumber) {
				continue
			}
			value, _ := a.Value.(string) // what is no text is nothing
			serials = append(serials, prepared(value))
		}
	}
	switch {
	case len(serials) == 0:
		return nil, fmt.Errorf("%w: its subject has no serialNumber, by which one official is told from another", ErrCertificate)
	case len(serials) > 1 || serials[0] == "":
		return nil, fmt.Errorf("%w: its subject has an empty serialNumber, or several", ErrCertificate)
	case strings.Trim(serials[0], printable) != "":
		return nil, fmt.Errorf("%w: the serialNumber of its subject has other characters than a PrintableString may have", ErrCertificate)
	}
	return prefixed([]byte("serialNumber"), serials[0]), nil
}

// printable are the characters of a PrintableString (X.680 §41.4), which a serialNumber is, as prepared leaves them.
const printable = "abcdefghijklmnopqrstuvwxyz0123456789 '()+,-./:=?"

// prepared brings a text into the form in which RFC 4518 §2 compares texts: what nobody sees is dropped, and of case, width
// and spaces no difference is left. Of what may be dropped Unicode says more today than the RFC did; all of it is. The form
// is final where only characters of printable are left, and of no other use.
func prepared(text string) string {
	text = strings.Map(seen, norm.NFKC.String(strings.Map(seen, text)))
	text = norm.NFKC.String(cases.Fold().String(text))
	return strings.Join(strings.Fields(strings.Map(seen, text)), " ")
}

// seen drops a character that is not shown, and takes every kind of space for one.
func seen(r rune) rune {
	switch {
	case unicode.IsSpace(r):
		return ' '
	case unicode.In(r, unicode.Cc, unicode.Cf, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point), r == '\uFFFC':
		return -1
	}
	return r
}

// prefixed appends a text with its length before it.
func prefixed(to []byte, text string) []byte {
	return append(binary.BigEndian.AppendUint32(to, uint32(len(text))), text...)
}

package approval

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// serialNumber is the attribute of a subject that tells those of one name apart (X.520 §6.2.9, RFC 5280 §4.1.2.4).
var serialNumber = asn1.ObjectIdentifier{2, 5, 4, 5}

// officialOf gives all certificates of one official one form. Where the subject has a serialNumber, that alone says who it
// is, whichever office or authority: an official does not become two by a new post. Elsewhere the whole name does, as RFC
// 5280 §7.1 compares names, and in any order: the kind of string does not matter, nor case, width, how much space there
// is, and where an attribute stands.
func officialOf(der []byte) ([]byte, error) {
	var name pkix.RDNSequence
	if rest, err := asn1.Unmarshal(der, &name); err != nil || len(rest) > 0 {
		return nil, fmt.Errorf("%w: its subject cannot be read", ErrCertificate)
	}
	var sets, serials []string
	for _, set := range name {
		var attributes []string
		for _, a := range set {
			value, ok := a.Value.(string)
			if !ok {
				return nil, fmt.Errorf("%w: its subject has an attribute that is no text", ErrCertificate)
			}
			if a.Type.Equal(serialNumber) {
				serials = append(serials, fold(value))
			}
			attributes = append(attributes, string(prefixed(prefixed(nil, a.Type.String()), fold(value))))
		}
		slices.Sort(attributes)
		sets = append(sets, strings.Join(attributes, ""))
	}
	slices.Sort(sets)
	switch {
	case len(name) == 0:
		return nil, fmt.Errorf("%w: it names nobody", ErrCertificate)
	case len(serials) > 1 || len(serials) == 1 && serials[0] == "":
		return nil, fmt.Errorf("%w: its subject has an empty serialNumber, or several", ErrCertificate)
	case len(serials) == 1:
		return prefixed([]byte("serialNumber"), serials[0]), nil
	}
	out := []byte("name")
	for _, set := range sets {
		out = prefixed(out, set)
	}
	return out, nil
}

// prefixed appends a text with its length before it, so that no two lists of texts look alike.
func prefixed(to []byte, text string) []byte {
	return append(binary.BigEndian.AppendUint32(to, uint32(len(text))), text...)
}

func fold(text string) string {
	folded := cases.Fold().String(norm.NFKC.String(text))
	return strings.Join(strings.Fields(norm.NFKC.String(folded)), " ")
}

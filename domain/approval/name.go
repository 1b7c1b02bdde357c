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

// canonicalName gives all spellings of a distinguished name one form, as RFC 5280 §7.1 compares names: the kind of string
// does not matter, nor case, width, how much space there is, and the order within a set. So one official does not become
// two by a certificate that spells the name another way.
func canonicalName(der []byte) ([]byte, error) {
	var name pkix.RDNSequence
	if rest, err := asn1.Unmarshal(der, &name); err != nil || len(rest) > 0 {
		return nil, fmt.Errorf("%w: its subject cannot be read", ErrCertificate)
	}
	if len(name) == 0 {
		return nil, fmt.Errorf("%w: it names nobody", ErrCertificate)
	}
	var out []byte
	for _, set := range name {
		var attributes []string
		for _, a := range set {
			value, ok := a.Value.(string)
			if !ok {
				return nil, fmt.Errorf("%w: its subject has an attribute that is no text", ErrCertificate)
			}
			attributes = append(attributes, string(prefixed(prefixed(nil, a.Type.String()), fold(value))))
		}
		slices.Sort(attributes)
		out = prefixed(out, strings.Join(attributes, ""))
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

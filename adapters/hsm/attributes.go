package hsm

import (
	"bytes"
	"fmt"

	"github.com/miekg/pkcs11"
)

// p256 is the DER object identifier of the curve P-256 (RFC 5480, 2.1.1.1).
var p256 = []byte{0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07}

const (
	macKeyBytes = 32
	aesKeyBytes = 32
)

// flag is an attribute that is true or false.
type flag struct {
	name string
	typ  uint
}

var (
	flagToken       = flag{"token", pkcs11.CKA_TOKEN}
	flagPrivate     = flag{"private", pkcs11.CKA_PRIVATE}
	flagSensitive   = flag{"sensitive", pkcs11.CKA_SENSITIVE}
	flagExtractable = flag{"extractable", pkcs11.CKA_EXTRACTABLE}
	flagModifiable  = flag{"modifiable", pkcs11.CKA_MODIFIABLE}
	flagSign        = flag{"sign", pkcs11.CKA_SIGN}
	flagVerify      = flag{"verify", pkcs11.CKA_VERIFY}
	flagEncrypt     = flag{"encrypt", pkcs11.CKA_ENCRYPT}
	flagDecrypt     = flag{"decrypt", pkcs11.CKA_DECRYPT}
	flagWrap        = flag{"wrap", pkcs11.CKA_WRAP}
	flagUnwrap      = flag{"unwrap", pkcs11.CKA_UNWRAP}
	flagDerive      = flag{"derive", pkcs11.CKA_DERIVE}
	flagSignRecover = flag{"sign-recover", pkcs11.CKA_SIGN_RECOVER}

	// The token itself sets these when it makes a key.
	flagAlwaysSensitive  = flag{"always-sensitive", pkcs11.CKA_ALWAYS_SENSITIVE}
	flagNeverExtractable = flag{"never-extractable", pkcs11.CKA_NEVER_EXTRACTABLE}
	flagLocal            = flag{"local", pkcs11.CKA_LOCAL}
)

// rule is a flag and the value it must have.
type rule struct {
	flag  flag
	value bool
}

// guards are what every key is, whatever its use. The last three are read only.
var guards = []rule{
	{flagToken, true}, {flagPrivate, true}, {flagSensitive, true},
	{flagExtractable, false}, {flagModifiable, false},
}

var history = []rule{{flagAlwaysSensitive, true}, {flagNeverExtractable, true}, {flagLocal, true}}

var secretUses = []flag{flagSign, flagVerify, flagEncrypt, flagDecrypt, flagWrap, flagUnwrap, flagDerive}

var privateUses = []flag{flagSign, flagSignRecover, flagDecrypt, flagUnwrap, flagDerive}

// shape is everything a kind of key is made of and held to.
type shape struct {
	class      uint
	keyType    uint
	generate   uint // mechanism that makes it
	mechanism  uint // the one it is used with
	uses       []flag
	possible   []flag // all uses a key of this class could have
	size       int    // bytes of a secret key
	parameters []byte // curve of an EC key
}

var shapes = map[kind]shape{
	kindMAC: {class: pkcs11.CKO_SECRET_KEY, keyType: pkcs11.CKK_GENERIC_SECRET,
		generate: pkcs11.CKM_GENERIC_SECRET_KEY_GEN, mechanism: pkcs11.CKM_SHA256_HMAC,
		uses: []flag{flagSign}, possible: secretUses, size: macKeyBytes},
	kindEncrypt: {class: pkcs11.CKO_SECRET_KEY, keyType: pkcs11.CKK_AES,
		generate: pkcs11.CKM_AES_KEY_GEN, mechanism: pkcs11.CKM_AES_ECB,
		uses: []flag{flagEncrypt}, possible: secretUses, size: aesKeyBytes},
	// Both directions: an agency symbol has to be inverted where an agency
	// names a person by it (番号法施行令 26条6項), and it is stored nowhere.
	kindPair: {class: pkcs11.CKO_SECRET_KEY, keyType: pkcs11.CKK_AES,
		generate: pkcs11.CKM_AES_KEY_GEN, mechanism: pkcs11.CKM_AES_ECB,
		uses: []flag{flagEncrypt, flagDecrypt}, possible: secretUses, size: aesKeyBytes},
	kindSign: {class: pkcs11.CKO_PRIVATE_KEY, keyType: pkcs11.CKK_EC,
		generate: pkcs11.CKM_EC_KEY_PAIR_GEN, mechanism: pkcs11.CKM_ECDSA,
		uses: []flag{flagSign}, possible: privateUses, parameters: p256},
	kindOpen: {class: pkcs11.CKO_PRIVATE_KEY, keyType: pkcs11.CKK_RSA,
		generate: pkcs11.CKM_RSA_PKCS_KEY_PAIR_GEN, mechanism: pkcs11.CKM_RSA_PKCS_OAEP,
		uses: []flag{flagDecrypt}, possible: privateUses},
}

func (s shape) pair() bool { return s.class == pkcs11.CKO_PRIVATE_KEY }

// rules are all flags a key of this shape must show.
func (s shape) rules() []rule {
	rules := append([]rule(nil), guards...)
	for _, use := range s.possible {
		rules = append(rules, rule{use, s.uses[0] == use || len(s.uses) > 1 && s.uses[1] == use})
	}
	return append(rules, history...)
}

// template is what a new key is asked to be.
func (s shape) template(label string) []*pkcs11.Attribute {
	t := []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_LABEL, label),
		pkcs11.NewAttribute(pkcs11.CKA_ID, []byte(label)),
		pkcs11.NewAttribute(pkcs11.CKA_ALLOWED_MECHANISMS, ulong(s.mechanism)),
	}
	rules := s.rules()
	for _, r := range rules[:len(rules)-len(history)] {
		t = append(t, pkcs11.NewAttribute(r.flag.typ, r.value))
	}
	if s.size > 0 {
		t = append(t, pkcs11.NewAttribute(pkcs11.CKA_VALUE_LEN, s.size))
	}
	return t
}

// publicTemplate is the public half of a pair; rsaBits is for RSA.
func (s shape) publicTemplate(label string, rsaBits int) []*pkcs11.Attribute {
	t := []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_LABEL, label),
		pkcs11.NewAttribute(pkcs11.CKA_ID, []byte(label)),
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true),
		pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, false),
		pkcs11.NewAttribute(pkcs11.CKA_MODIFIABLE, false),
		pkcs11.NewAttribute(pkcs11.CKA_VERIFY, s.keyType == pkcs11.CKK_EC),
		pkcs11.NewAttribute(pkcs11.CKA_ENCRYPT, s.keyType == pkcs11.CKK_RSA),
		pkcs11.NewAttribute(pkcs11.CKA_WRAP, false),
	}
	if s.keyType == pkcs11.CKK_RSA {
		return append(t,
			pkcs11.NewAttribute(pkcs11.CKA_MODULUS_BITS, rsaBits),
			pkcs11.NewAttribute(pkcs11.CKA_PUBLIC_EXPONENT, []byte{1, 0, 1}))
	}
	return append(t, pkcs11.NewAttribute(pkcs11.CKA_EC_PARAMS, s.parameters))
}

// ulong is a number in the C representation that attributes have.
func ulong(n uint) []byte { return pkcs11.NewAttribute(0, n).Value }

// queries are the attributes to read for examine.
func (s shape) queries() []*pkcs11.Attribute {
	var q []*pkcs11.Attribute
	for _, r := range s.rules() {
		q = append(q, pkcs11.NewAttribute(r.flag.typ, nil))
	}
	q = append(q, pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, nil), pkcs11.NewAttribute(pkcs11.CKA_ALLOWED_MECHANISMS, nil))
	if s.size > 0 {
		q = append(q, pkcs11.NewAttribute(pkcs11.CKA_VALUE_LEN, nil))
	}
	if s.parameters != nil {
		q = append(q, pkcs11.NewAttribute(pkcs11.CKA_EC_PARAMS, nil))
	}
	return q
}

// examine compares what the token says of a key with what it must be.
func (s shape) examine(label string, found []*pkcs11.Attribute) (map[string]bool, error) {
	values := make(map[uint][]byte, len(found))
	for _, a := range found {
		values[a.Type] = a.Value
	}
	flags := make(map[string]bool)
	for _, r := range s.rules() {
		v := values[r.flag.typ]
		if len(v) != 1 || (v[0] != 0) != r.value {
			return nil, fmt.Errorf("%w: key %q: %s is not %t; take the key out of use and make a new version of it",
				ErrAttributes, label, r.flag.name, r.value)
		}
		flags[r.flag.name] = v[0] != 0
	}
	if !bytes.Equal(values[pkcs11.CKA_KEY_TYPE], ulong(s.keyType)) {
		return nil, fmt.Errorf("%w: key %q: key type is not %d", ErrAttributes, label, s.keyType)
	}
	// Tokens that know no list of allowed mechanisms report an empty one.
	if m := values[pkcs11.CKA_ALLOWED_MECHANISMS]; len(m) > 0 && !bytes.Equal(m, ulong(s.mechanism)) {
		return nil, fmt.Errorf("%w: key %q: allowed mechanisms are not %#x alone", ErrAttributes, label, s.mechanism)
	}
	if s.size > 0 && !bytes.Equal(values[pkcs11.CKA_VALUE_LEN], ulong(uint(s.size))) {
		return nil, fmt.Errorf("%w: key %q: length is not %d bytes", ErrAttributes, label, s.size)
	}
	if s.parameters != nil && !bytes.Equal(values[pkcs11.CKA_EC_PARAMS], s.parameters) {
		return nil, fmt.Errorf("%w: key %q: curve is not P-256", ErrAttributes, label)
	}
	return flags, nil
}

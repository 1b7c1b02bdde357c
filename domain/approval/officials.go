package approval

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"kiroku/domain/event"
	"kiroku/domain/secret"
)

// DocumentSigning is the extended key usage that an official's certificate must have (RFC 9336 §3.1): a certificate for
// signing in, or of a server, approves nothing.
var DocumentSigning = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 36}

const (
	maxCertificate  = 16 << 10 // octets
	maxChain        = 4        // certificates between the official's and an authority
	maxAuthorities  = 64
	pemCertificates = "CERTIFICATE"
)

// Officials are the authorities whose word counts on who is an official. It never changes. It does not ask whether a
// certificate was revoked: an official who is none any more is kept out by a change of the authorities.
type Officials struct{ roots []*x509.Certificate }

// ParseOfficials reads the certificates of authorities in PEM. Each must be one that can certify an official: basic
// constraints CA and key usage certificate signing (RFC 5280 §4.2.1.3, §4.2.1.9), any extended key usages those of
// documents, a key that this program proves signatures of, and nothing critical that it does not know. Anything else in
// the text is refused.
func ParseOfficials(text []byte) (Officials, error) {
	ders, err := DecodePEM(text)
	if err != nil {
		return Officials{}, fmt.Errorf("authorities of officials: %w", err)
	}
	o, err := officialsOf(ders)
	if err != nil {
		return Officials{}, fmt.Errorf("authorities of officials: %w", err)
	}
	return o, nil
}

func officialsOf(ders [][]byte) (Officials, error) {
	if len(ders) > maxAuthorities {
		return Officials{}, fmt.Errorf("more than %d", maxAuthorities)
	}
	var o Officials
	for i, der := range ders {
		c, err := x509.ParseCertificate(der)
		switch {
		case err != nil:
			return Officials{}, fmt.Errorf("certificate %d cannot be read", i+1)
		case len(der) > maxCertificate:
			return Officials{}, fmt.Errorf("certificate %d is longer than %d octets", i+1, maxCertificate)
		case !c.BasicConstraintsValid || !c.IsCA || c.KeyUsage&x509.KeyUsageCertSign == 0:
			return Officials{}, fmt.Errorf("certificate %d is not an authority's (basic constraints CA, key usage certificate signing)", i+1)
		}
		if err := mayCertify(c); err != nil {
			return Officials{}, fmt.Errorf("certificate %d could certify no official: %w", i+1, err)
		}
		o.roots = append(o.roots, c)
	}
	return o, nil
}

// mayCertify refuses an authority under which no certificate could be used for an approval.
func mayCertify(c *x509.Certificate) error {
	switch {
	case !provable(c.PublicKey):
		return errors.New("its key is none of P-256, P-384, P-521, Ed25519, or RSA of 2048 to 8192 bits")
	case len(c.UnhandledCriticalExtensions) > 0:
		return fmt.Errorf("its critical extension %s is not known", c.UnhandledCriticalExtensions[0])
	case !allForDocuments([]*x509.Certificate{c}):
		return fmt.Errorf("its extended key usages leave out signing documents (%s, RFC 9336)", DocumentSigning)
	}
	return nil
}

func provable(key any) bool {
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		return k.Curve == elliptic.P256() || k.Curve == elliptic.P384() || k.Curve == elliptic.P521()
	case *rsa.PublicKey:
		return k.N.BitLen() >= 2048 && k.N.BitLen() <= 8192
	case ed25519.PublicKey:
		return true
	}
	return false
}

// Known reports whether there is any authority.
func (o Officials) Known() bool { return len(o.roots) > 0 }

// DecodePEM returns the certificates in a text, one at least, as DER. It refuses a text that holds anything else in PEM:
// a private key does not belong there.
func DecodePEM(text []byte) ([][]byte, error) {
	var ders [][]byte
	for {
		var block *pem.Block
		block, text = pem.Decode(text)
		switch {
		case block == nil && len(ders) == 0:
			return nil, errors.New("no certificate in PEM found")
		case block == nil && len(bytes.TrimSpace(text)) > 0:
			return nil, fmt.Errorf("something that is no PEM follows certificate %d", len(ders))
		case block == nil:
			return ders, nil
		case block.Type != pemCertificates:
			return nil, errors.New("something else than certificates is in the text")
		}
		ders = append(ders, block.Bytes)
	}
}

// Given is an approval as an official gives it. It prints as redacted: a certificate names its official.
type Given struct {
	secret.Redaction
	Certificate event.Protected   // X.509, DER; it names the official
	Chain       []event.Protected // between it and an authority, in any order; none where that issued it
	Signature   []byte            // as Sign makes it
}

// Certified is an official's certificate with those above it. It prints as redacted: a certificate names its official.
type Certified struct {
	secret.Redaction
	Certificate event.Protected   // X.509, DER
	Chain       []event.Protected // between it and an authority, in any order; none where that issued it
}

// Signer is who gave an approval. It prints as redacted.
type Signer struct {
	secret.Redaction
	Subject     event.Protected   // one form for all certificates of one official
	Certificate [sha256.Size]byte // SHA-256 of it
	SPKI        []byte
	Authority   [sha256.Size]byte // SHA-256 of the certificate of the authority of Officials at the end of its path
}

// Verify proves an approval of a proposal as of a time, which must not be zero: the certificate is for signing documents,
// valid at that time like all those up to an authority of o, and its key made the signature. Errors: ErrNoAuthorities,
// ErrCertificate, ErrSignature.
func (o Officials) Verify(h Hash, g Given, at time.Time) (Signer, error) {
	signer, err := o.Certified(Certified{Certificate: g.Certificate, Chain: g.Chain}, at)
	if err != nil {
		return Signer{}, err
	}
	if err := verify(signer.SPKI, h, g.Signature); err != nil {
		return Signer{}, err
	}
	return signer, nil
}

// Certified proves that a certificate could be used for an approval at a time, which must not be zero: it is for signing
// documents, and valid then like all those up to an authority of o. Errors: ErrNoAuthorities, ErrCertificate.
func (o Officials) Certified(c Certified, at time.Time) (Signer, error) {
	if !o.Known() {
		return Signer{}, ErrNoAuthorities
	}
	leaf, err := parse(c.Certificate)
	if err != nil {
		return Signer{}, err
	}
	if err := mayApprove(leaf); err != nil {
		return Signer{}, err
	}
	authority, err := o.authority(leaf, c.Chain, at)
	if err != nil {
		return Signer{}, err
	}
	subject, err := officialOf(leaf.RawSubject)
	if err != nil {
		return Signer{}, err
	}
	return Signer{Subject: subject, Certificate: sha256.Sum256(leaf.Raw), SPKI: leaf.RawSubjectPublicKeyInfo, Authority: sha256.Sum256(authority.Raw)}, nil
}

// Shown refuses authorities of which it is not shown that they certify officials: at the time given, certificates of as many
// different officials, each with a key of their own, as an approval needs. That somebody holds the officials' keys it does
// not show. Errors: ErrNobodyShown, ErrNoAuthorities, ErrCertificate.
func (o Officials) Shown(certificates []Certified, at time.Time) error {
	var shown []event.ProposalApproved
	for i, c := range certificates {
		signer, err := o.Certified(c, at)
		if err != nil {
			return fmt.Errorf("official %d of the new authorities: %w", i+1, err)
		}
		if differs(shown, string(signer.Subject), signer.SPKI) == nil {
			shown = append(shown, event.ProposalApproved{Official: string(signer.Subject), SPKI: signer.SPKI})
		}
	}
	if len(shown) < Needed {
		return ErrNobodyShown
	}
	return nil
}

func parse(der []byte) (*x509.Certificate, error) {
	if len(der) > maxCertificate {
		return nil, fmt.Errorf("%w: it is longer than %d octets", ErrCertificate, maxCertificate)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("%w: it cannot be read", ErrCertificate) // the parser's error may quote it
	}
	return c, nil
}

// mayApprove looks at what the certificate itself says that it is for.
func mayApprove(c *x509.Certificate) error {
	key, ok := c.PublicKey.(*ecdsa.PublicKey)
	switch {
	case !ok || key.Curve != elliptic.P256():
		return fmt.Errorf("%w: %w", ErrCertificate, errNotP256)
	case c.IsCA:
		return fmt.Errorf("%w: it is an authority's, not an official's", ErrCertificate)
	case c.KeyUsage&(x509.KeyUsageDigitalSignature|x509.KeyUsageContentCommitment) == 0:
		return fmt.Errorf("%w: its key usage is not signing", ErrCertificate)
	case !forDocuments(c):
		return fmt.Errorf("%w: its extended key usage is not signing documents (%s, RFC 9336)", ErrCertificate, DocumentSigning)
	}
	return nil
}

func forDocuments(c *x509.Certificate) bool {
	for _, usage := range c.UnknownExtKeyUsage {
		if usage.Equal(DocumentSigning) {
			return true
		}
	}
	return false
}

// authority finds a valid path to an authority and returns that.
func (o Officials) authority(leaf *x509.Certificate, chain []event.Protected, at time.Time) (*x509.Certificate, error) {
	if at.IsZero() {
		return nil, fmt.Errorf("%w: no time to check it at", ErrCertificate)
	}
	if len(chain) > maxChain {
		return nil, fmt.Errorf("%w: more than %d certificates between it and an authority", ErrCertificate, maxChain)
	}
	between := x509.NewCertPool()
	for _, der := range chain {
		c, err := parse(der)
		if err != nil {
			return nil, err
		}
		between.AddCert(c)
	}
	roots := x509.NewCertPool()
	for _, c := range o.roots {
		roots.AddCert(c)
	}
	paths, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	if err != nil {
		return nil, unfit(err, at)
	}
	for _, path := range paths {
		if len(path) > 1 && allForDocuments(path[1:]) {
			return path[len(path)-1], nil
		}
	}
	return nil, fmt.Errorf("%w: an authority on its path may not issue certificates for signing documents", ErrCertificate)
}

// allForDocuments: an authority that names extended key usages allows no others below it.
func allForDocuments(path []*x509.Certificate) bool {
	for _, c := range path {
		if len(c.ExtKeyUsage)+len(c.UnknownExtKeyUsage) > 0 && !forDocuments(c) && !forAny(c) {
			return false
		}
	}
	return true
}

func forAny(c *x509.Certificate) bool {
	for _, usage := range c.ExtKeyUsage {
		if usage == x509.ExtKeyUsageAny {
			return true
		}
	}
	return false
}

// unfit says what is wrong with a certificate without what the library says: that may quote names.
func unfit(err error, at time.Time) error {
	var invalid x509.CertificateInvalidError
	var unknown x509.UnknownAuthorityError
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Errorf("%w: it, or an authority's on its path, was not valid at %s", ErrCertificate, at.UTC().Format(time.RFC3339))
	case errors.As(err, &unknown):
		return fmt.Errorf("%w: none of the known authorities issued it", ErrCertificate)
	}
	return fmt.Errorf("%w: there is no valid path from it to a known authority", ErrCertificate)
}

// Package approvaltest gives tests officials who do not exist, with authorities that certify them.
package approvaltest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"testing"
	"time"

	"kiroku/domain/approval"
	"kiroku/domain/event"
)

// From and To are between which times certificates are valid, unless a test says otherwise.
var (
	From = time.Date(2000, time.January, 1, 0, 0, 0, 0, time.UTC)
	To   = time.Date(2100, time.January, 1, 0, 0, 0, 0, time.UTC)
)

// Authority certifies officials.
type Authority struct {
	Certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	chain       []event.Protected // from this one up to below the root
}

// Official is somebody who can approve.
type Official struct {
	Certificate []byte
	Key         *ecdsa.PrivateKey
	chain       []event.Protected
}

// Change makes a certificate other than usual.
type Change = func(*x509.Certificate)

// NewAuthority makes one that nobody certified.
func NewAuthority(tb testing.TB, changes ...Change) *Authority {
	tb.Helper()
	key := newKey(tb)
	template := authority("Authority of officials")
	for _, change := range changes {
		change(template)
	}
	return &Authority{Certificate: create(tb, template, template, key, key), key: key}
}

// Below makes an authority that a certified.
func (a *Authority) Below(tb testing.TB, changes ...Change) *Authority {
	tb.Helper()
	key := newKey(tb)
	template := authority("Authority below")
	for _, change := range changes {
		change(template)
	}
	c := create(tb, template, a.Certificate, key, a.key)
	return &Authority{Certificate: c, key: key, chain: append([]event.Protected{c.Raw}, a.chain...)}
}

// PEM is the certificate as a file holds it.
func (a *Authority) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Certificate.Raw})
}

// Officials trusts the authority alone.
func (a *Authority) Officials(tb testing.TB) approval.Officials {
	tb.Helper()
	o, err := approval.ParseOfficials(a.PEM())
	if err != nil {
		tb.Fatal(err)
	}
	return o
}

// Official certifies somebody by a name, which is their serialNumber too, with a key of their own.
func (a *Authority) Official(tb testing.TB, name string, changes ...Change) Official {
	tb.Helper()
	return a.Certify(tb, newKey(tb), name, changes...)
}

// Certify is Official with a key that there is.
func (a *Authority) Certify(tb testing.TB, key *ecdsa.PrivateKey, name string, changes ...Change) Official {
	tb.Helper()
	template := &x509.Certificate{SerialNumber: serial(tb), NotBefore: From, NotAfter: To, KeyUsage: x509.KeyUsageDigitalSignature,
		Subject: pkix.Name{Country: []string{"JP"}, CommonName: name, SerialNumber: name}, UnknownExtKeyUsage: []asn1.ObjectIdentifier{approval.DocumentSigning}}
	for _, change := range changes {
		change(template)
	}
	return Official{Certificate: create(tb, template, a.Certificate, key, a.key).Raw, Key: key, chain: a.chain}
}

// Certified is the official's certificate with those above it.
func (o Official) Certified() approval.Certified {
	return approval.Certified{Certificate: o.Certificate, Chain: o.chain}
}

// Approve signs a proposal.
func (o Official) Approve(tb testing.TB, h approval.Hash) approval.Given {
	tb.Helper()
	signature, err := approval.Sign(o.Key, h)
	if err != nil {
		tb.Fatal(err)
	}
	return approval.Given{Certificate: o.Certificate, Chain: o.chain, Signature: signature}
}

func authority(name string) *x509.Certificate {
	return &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: From, NotAfter: To, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, Subject: pkix.Name{CommonName: name}}
}

func newKey(tb testing.TB) *ecdsa.PrivateKey {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

func serial(tb testing.TB) *big.Int {
	tb.Helper()
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		tb.Fatal(err)
	}
	return n
}

func create(tb testing.TB, template, parent *x509.Certificate, key, issuer *ecdsa.PrivateKey) *x509.Certificate {
	tb.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, issuer)
	if err != nil {
		tb.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

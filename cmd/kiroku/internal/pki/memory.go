package pki

import (
	"crypto/ecdsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"time"

	"kiroku/domain/approval"
)

// Signer is an official whose key is in memory only.
type Signer struct {
	certificate []byte // DER
	key         *ecdsa.PrivateKey
}

// Approve signs what the official approves.
func (s Signer) Approve(proposal approval.Hash) (approval.Given, error) {
	signature, err := approval.Sign(s.key, proposal)
	return approval.Given{Certificate: s.certificate, Signature: signature}, err
}

// InMemory makes an authority and as many officials as an approval needs, of an organisation that is no more than its name,
// valid from and to the times given.
func InMemory(organisation string, from, to time.Time) (approval.Officials, []Signer, error) {
	name := func(of string, number string) pkix.Name {
		return pkix.Name{Organization: []string{organisation}, CommonName: of, SerialNumber: number}
	}
	authority, err := issue(&x509.Certificate{Subject: name("Authority of Officials", ""), NotBefore: from, NotAfter: to,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, nil)
	if err != nil {
		return approval.Officials{}, nil, err
	}
	known, err := approval.ParseOfficials(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authority.certificate.Raw}))
	if err != nil {
		return approval.Officials{}, nil, err
	}
	var signers []Signer
	for i := range approval.Needed {
		p, err := issue(&x509.Certificate{Subject: name(fmt.Sprintf("Official %d", i+1), fmt.Sprint(i+1)), NotBefore: from, NotAfter: to,
			BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature, UnknownExtKeyUsage: []asn1.ObjectIdentifier{approval.DocumentSigning}}, &authority)
		if err != nil {
			return approval.Officials{}, nil, err
		}
		signers = append(signers, Signer{p.certificate.Raw, p.key})
	}
	return known, signers, nil
}

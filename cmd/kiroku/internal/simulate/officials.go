package simulate

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"

	"kiroku/domain/approval"
)

// signer is a made-up official, whose key is in memory only.
type signer struct {
	certificate []byte
	key         *ecdsa.PrivateKey
}

// newOfficials makes an authority and as many officials as it takes, for all the years.
func (s *Simulation) newOfficials() error {
	authority, authorityKey, err := s.certify("Simulated Authority of Officials", nil, nil)
	if err != nil {
		return fmt.Errorf("make the officials' authority: %w", err)
	}
	if s.known, err = approval.ParseOfficials(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authority.Raw})); err != nil {
		return err
	}
	for i := range approval.Needed {
		certificate, key, err := s.certify(fmt.Sprintf("Simulated Official %d", i+1), authority, authorityKey)
		if err != nil {
			return fmt.Errorf("make an official: %w", err)
		}
		s.signers = append(s.signers, signer{certificate.Raw, key})
	}
	return nil
}

// certify makes a key with a certificate, of an authority by itself where none is given.
func (s *Simulation) certify(name string, by *x509.Certificate, with *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 152))
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{Organization: []string{"kiroku simulation"}, CommonName: name},
		NotBefore: s.o.From.Start().Add(-time.Hour), NotAfter: s.o.From.AddDays(s.o.Days).End(), BasicConstraintsValid: true}
	if by == nil {
		template.IsCA, template.KeyUsage = true, x509.KeyUsageCertSign
		by, with = template, key
	} else {
		template.KeyUsage, template.UnknownExtKeyUsage = x509.KeyUsageDigitalSignature, []asn1.ObjectIdentifier{approval.DocumentSigning}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, by, &key.PublicKey, with)
	if err != nil {
		return nil, nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	return certificate, key, err
}

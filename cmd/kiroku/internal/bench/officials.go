package bench

import (
	"context"
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

	"github.com/google/uuid"

	"kiroku/cmd/kiroku/internal/node"
	"kiroku/commands"
	"kiroku/domain/approval"
	"kiroku/domain/event"
)

// Officials approve what a benchmark proposes. Their keys are in memory only.
type Officials struct {
	known   approval.Officials
	signers []signer
}

type signer struct {
	certificate []byte
	key         *ecdsa.PrivateKey
}

// NewOfficials makes as many as it takes, and their authority.
func NewOfficials() (*Officials, error) {
	authority, authorityKey, err := certify(0, nil, nil)
	if err != nil {
		return nil, fmt.Errorf("make the officials' authority: %w", err)
	}
	o := &Officials{}
	if o.known, err = approval.ParseOfficials(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authority.Raw})); err != nil {
		return nil, err
	}
	for i := range approval.Needed {
		certificate, key, err := certify(i+1, authority, authorityKey)
		if err != nil {
			return nil, fmt.Errorf("make an official: %w", err)
		}
		o.signers = append(o.signers, signer{certificate.Raw, key})
	}
	return o, nil
}

// certify makes a key with a certificate, of an authority by itself where none is given.
func certify(number int, by *x509.Certificate, with *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(int64(number + 1)), BasicConstraintsValid: true,
		Subject:   pkix.Name{Organization: []string{"kiroku benchmark"}, CommonName: fmt.Sprintf("Benchmark Official %d", number), SerialNumber: fmt.Sprintf("B-%d", number)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0)}
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

// Configure is how the node is opened: it knows the authority.
func (o *Officials) Configure(c *node.Config) { c.Officials = o.known }

// approve has all of them approve a proposal.
func (o *Officials) approve(ctx context.Context, p Parts, proposed commands.Proposed) error {
	for _, by := range o.signers {
		signature, err := approval.Sign(by.key, proposed.Hash)
		if err != nil {
			return err
		}
		operator := commands.Meta{Actor: event.Actor{Identity: "bench-official", Role: commands.RoleOperator}, ID: uuid.Must(uuid.NewV7())}
		_, err = p.Node.Core.Approve(ctx, commands.Approve{Meta: operator, Proposal: proposed.Hash, Kind: proposed.Made.Kind,
			Given: approval.Given{Certificate: by.certificate, Signature: signature}})
		if err != nil {
			return fmt.Errorf("approve a proposal: %w", err)
		}
	}
	return nil
}

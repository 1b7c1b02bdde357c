// Package pki makes an authority and officials for development and demonstrations, who exist nowhere else. It promises
// that their certificates are such as approvals need, that only the owner can read a key that it writes, and that it
// writes over nothing.
package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"kiroku/domain/approval"
)

// MostOfficials bounds how many are made at once.
const MostOfficials = 32

const (
	lifetime  = 366 * 24 * time.Hour
	backdated = time.Hour // clocks differ
)

// roles are made up, and taken in turn.
var roles = []string{"Retention Supervisor", "Records Officer", "Security Officer", "Registry Officer"}

// Made names the files that were written.
type Made struct {
	Authority    string     `json:"authority"`
	AuthorityKey string     `json:"authority_key"`
	Officials    []Official `json:"officials"`
	ValidTo      time.Time  `json:"valid_to"`
}

// Official names the files of one official.
type Official struct {
	Name        string `json:"name"`
	Role        string `json:"role"`
	Certificate string `json:"certificate"`
	Key         string `json:"key"`
}

// pair is a certificate with its key.
type pair struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// file is one to be written.
type file struct {
	path string
	mode fs.FileMode
	text []byte
}

// Develop makes an authority and officials, valid for a year from now, and writes them into a folder: certificates and
// keys in PEM. The authority's certificate says that it is for development. It writes nothing if any of the files is there.
func Develop(folder string, officials int, now time.Time) (Made, error) {
	if officials < approval.Needed || officials > MostOfficials {
		return Made{}, fmt.Errorf("%d officials: %d to %d are possible", officials, approval.Needed, MostOfficials)
	}
	made := Made{Authority: filepath.Join(folder, "authority.pem"), AuthorityKey: filepath.Join(folder, "authority.key"), ValidTo: now.Add(lifetime).UTC().Truncate(time.Second)}
	authority, err := issue(authorityTemplate(now), nil)
	if err != nil {
		return Made{}, err
	}
	files, err := authority.files(made.Authority, made.AuthorityKey)
	if err != nil {
		return Made{}, err
	}
	for i := range officials {
		o := Official{Name: fmt.Sprintf("Development Official %d", i+1), Role: roles[i%len(roles)],
			Certificate: filepath.Join(folder, fmt.Sprintf("official-%d.pem", i+1)), Key: filepath.Join(folder, fmt.Sprintf("official-%d.key", i+1))}
		p, err := issue(officialTemplate(o, i+1, now), &authority)
		if err != nil {
			return Made{}, err
		}
		more, err := p.files(o.Certificate, o.Key)
		if err != nil {
			return Made{}, err
		}
		files, made.Officials = append(files, more...), append(made.Officials, o)
	}
	return made, write(folder, files)
}

func authorityTemplate(now time.Time) *x509.Certificate {
	return &x509.Certificate{
		Subject:   pkix.Name{Organization: []string{"kiroku development"}, OrganizationalUnit: []string{approval.DevelopmentUnit}, CommonName: "Development Authority of Officials"},
		NotBefore: now.Add(-backdated), NotAfter: now.Add(lifetime),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign,
	}
}

func officialTemplate(o Official, number int, now time.Time) *x509.Certificate {
	return &x509.Certificate{
		Subject:   pkix.Name{Organization: []string{"kiroku development"}, OrganizationalUnit: []string{o.Role}, CommonName: o.Name, SerialNumber: fmt.Sprintf("D-%d", number)},
		NotBefore: now.Add(-backdated), NotAfter: now.Add(lifetime),
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature,
		UnknownExtKeyUsage: []asn1.ObjectIdentifier{approval.DocumentSigning},
	}
}

// issue makes a key with a certificate, by itself where there is no authority.
func issue(template *x509.Certificate, authority *pair) (pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return pair{}, fmt.Errorf("making a key: %w", err)
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 152)); err != nil {
		return pair{}, fmt.Errorf("making a serial number: %w", err)
	}
	parent, signer := template, crypto.Signer(key)
	if authority != nil {
		parent, signer = authority.certificate, authority.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		return pair{}, fmt.Errorf("making a certificate: %w", err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return pair{}, fmt.Errorf("making a certificate: %w", err)
	}
	return pair{certificate, key}, nil
}

func (p pair) files(certificate, key string) ([]file, error) {
	der, err := x509.MarshalPKCS8PrivateKey(p.key)
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	return []file{
		{key, 0o600, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})},
		{certificate, 0o644, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.certificate.Raw})},
	}, nil
}

// write writes the files, all or, where one of them is there, none.
func write(folder string, files []file) error {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return fmt.Errorf("making the folder: %w", err)
	}
	for _, f := range files {
		if _, err := os.Lstat(f.path); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("writing %s: it is there, and is not written over; give a folder without it: %w", f.path, fs.ErrExist)
		}
	}
	for _, f := range files {
		if err := f.write(); err != nil {
			return fmt.Errorf("writing %s: %w", f.path, err)
		}
	}
	return nil
}

func (f file) write() error {
	out, err := os.OpenFile(f.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, f.mode)
	if err != nil {
		return err
	}
	_, err = out.Write(f.text)
	return errors.Join(err, out.Sync(), out.Close())
}

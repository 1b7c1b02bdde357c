// Package localtls certifies the servers that run on one machine for one data
// directory. It promises them a certificate that is valid now and for long
// enough to be renewed at a later start, from an authority that exists only in
// that directory and can certify nothing but loopback addresses; and their
// clients the file to verify it with.
package localtls

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"kiroku/adapters/datadir"
)

// How long certificates are valid, and how long before their end a start
// replaces them.
const (
	AuthorityValidity = 10 * 365 * 24 * time.Hour
	ServerValidity    = 365 * 24 * time.Hour
	RenewBefore       = 90 * 24 * time.Hour

	// backdate tolerates a clock that was set back since.
	backdate = 24 * time.Hour
)

// Files are the PEM files of a folder.
type Files struct {
	CA   string // certificate of the authority; what clients trust
	Cert string // certificate of the server
	Key  string // private key of the server, 0600
}

// Ensure makes sure that folder holds an authority and a server certificate
// that are valid at now and for RenewBefore after, making what is missing,
// does not fit or ends sooner. The caller holds the data directory's lock: two
// processes must not do this at once. A new authority means that clients have
// to read CA again.
func Ensure(folder string, now time.Time) (Files, error) {
	files := Files{CA: filepath.Join(folder, "ca.pem"), Cert: filepath.Join(folder, "server.pem"), Key: filepath.Join(folder, "server-key.pem")}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return Files{}, fmt.Errorf("making the folder for certificates: %w", err)
	}
	authority, err := ensureAuthority(files.CA, filepath.Join(folder, "ca-key.pem"), now)
	if err != nil {
		return Files{}, fmt.Errorf("preparing the certificate authority in %s: %w", folder, err)
	}
	if good(files, authority.certificate, now) {
		return files, nil
	}
	if err := certify(files, authority, now); err != nil {
		return Files{}, fmt.Errorf("certifying the server in %s: %w", folder, err)
	}
	return files, nil
}

// errUnfit is returned for a certificate and a key that do not belong
// together, as a crash between writing the two leaves them.
var errUnfit = errors.New("certificate and key do not fit")

type authority struct {
	certificate *x509.Certificate
	key         crypto.Signer
}

func ensureAuthority(certFile, keyFile string, now time.Time) (authority, error) {
	pair, err := load(certFile, keyFile)
	if err == nil && current(pair.Leaf, now) && pair.Leaf.IsCA {
		return authority{pair.Leaf, pair.PrivateKey.(crypto.Signer)}, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errUnfit) {
		return authority{}, err
	}
	template, err := template(now, AuthorityValidity)
	if err != nil {
		return authority{}, err
	}
	template.Subject = pkix.Name{CommonName: "kiroku local authority " + template.SerialNumber.Text(36)[:8]}
	template.IsCA, template.MaxPathLenZero = true, true
	template.KeyUsage = x509.KeyUsageCertSign
	// Whoever steals the key can impersonate servers on this machine only.
	template.PermittedDNSDomainsCritical = true
	template.PermittedDNSDomains = []string{"localhost"}
	template.PermittedIPRanges = []*net.IPNet{
		{IP: net.IPv4(127, 0, 0, 0).To4(), Mask: net.CIDRMask(8, 32)},
		{IP: net.IPv6loopback, Mask: net.CIDRMask(128, 128)},
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return authority{}, err
	}
	certificate, err := issue(certFile, keyFile, template, template, key, key)
	return authority{certificate, key}, err
}

// load reads a certificate and its key; the key file must be private.
func load(certFile, keyFile string) (tls.Certificate, error) {
	key, err := datadir.ReadSecret(keyFile)
	if err != nil {
		return tls.Certificate{}, err
	}
	defer key.Destroy()
	cert, err := os.ReadFile(certFile)
	if err != nil {
		return tls.Certificate{}, err
	}
	pair, err := tls.X509KeyPair(cert, key.Expose())
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("reading %s and its key: %w: %w", certFile, errUnfit, err)
	}
	return pair, nil
}

// good reports whether the server's files can be used as they are. Whatever
// is wrong with them is mended by making new ones.
func good(files Files, issuer *x509.Certificate, now time.Time) bool {
	pair, err := load(files.Cert, files.Key)
	return err == nil && current(pair.Leaf, now) && pair.Leaf.CheckSignatureFrom(issuer) == nil
}

func current(c *x509.Certificate, now time.Time) bool {
	return !now.Before(c.NotBefore) && now.Add(RenewBefore).Before(c.NotAfter)
}

func certify(files Files, issuer authority, now time.Time) error {
	template, err := template(now, min(ServerValidity, issuer.certificate.NotAfter.Sub(now)))
	if err != nil {
		return err
	}
	template.Subject = pkix.Name{CommonName: "kiroku on this machine"}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	template.DNSNames = []string{"localhost"}
	template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	_, err = issue(files.Cert, files.Key, template, issuer.certificate, key, issuer.key)
	return err
}

func template(now time.Time, validity time.Duration) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	serial.SetBit(serial, 126, 1) // never short
	return &x509.Certificate{
		SerialNumber:          serial,
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(validity),
		BasicConstraintsValid: true,
	}, nil
}

// issue signs template and writes it and key, the key first: a certificate
// without its key is made again, a key without its certificate too.
func issue(certFile, keyFile string, template, parent *x509.Certificate, key *ecdsa.PrivateKey, signer crypto.Signer) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	if err := datadir.WritePrivate(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})); err != nil {
		return nil, err
	}
	if err := datadir.WritePrivate(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})); err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

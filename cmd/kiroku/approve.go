package main

import (
	"bufio"
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"

	"kiroku/adapters/admin"
	"kiroku/adapters/datadir"
	"kiroku/domain/approval"
	"kiroku/domain/event"
	"kiroku/domain/secret"
)

// approveFlags are the arguments by which an official approves a proposal.
type approveFlags struct {
	orderFlags
	Proposal    approval.Hash `arg:"" help:"Hash of the proposal."`
	Certificate string        `required:"" placeholder:"FILE" help:"The official's certificate in PEM, and after it those between it and the authority."`
	Key         string        `required:"" placeholder:"FILE" help:"The official's private key in PEM (PKCS #8 or SEC 1), that only its owner can read."`
	Yes         bool          `help:"Sign without asking; needed where no terminal is."`
}

// approveHelp teaches what all approvals have in common.
const approveHelp = `The command shows the proposal, asks, and signs its hash with the official's key (ES256). The key stays in this process; the core gets the certificate and the signature. The certificate must be for signing documents (extended key usage 1.3.6.1.5.5.7.3.36, RFC 9336), have a P-256 key, and be issued by an authority that is in force (kiroku authorities show). Whether it was revoked is not asked. Who approved stands sealed in the audit stream; the registry, which everybody may read, has a pseudonym and what proves the signature.`

// approve shows the proposal, asks, signs and tells the core.
func (f *approveFlags) approve(c *call, kinds ...string) error {
	client, err := c.admin()
	if err != nil {
		return err
	}
	line, err := f.look(c, client, kinds)
	if err != nil {
		return err
	}
	signing, err := readSigning(f.Certificate, f.Key)
	if err != nil {
		return err
	}
	if err := f.ask(c, client, line); err != nil {
		return err
	}
	signature, err := approval.Sign(signing.key, f.Proposal)
	if err != nil {
		return err
	}
	o, err := f.order()
	if err != nil {
		return err
	}
	var done approved
	given := approveOrder{order: o, Kind: line.Kind, Certificate: signing.certificate, Chain: signing.chain, Signature: signature}
	if err := f.give(c, client, "/proposals/"+f.Proposal.String()+"/approvals", given, &done); err != nil {
		return err
	}
	text := fmt.Sprintf("approved by %d of %d officials", done.Approvals, done.Needed)
	if done.Approvals < done.Needed {
		text += "; another official must approve too"
	}
	return c.print(done, text)
}

// look fetches the proposal and holds it to its hash: what is shown is what is signed.
func (f *approveFlags) look(c *call, client *admin.Client, kinds []string) (proposalLine, error) {
	var line proposalLine
	if err := client.Call(c.ctx, http.MethodGet, "/proposals/"+f.Proposal.String(), nil, &line); err != nil {
		return line, err
	}
	if approval.HashOf(line.Payload) != f.Proposal {
		return line, errOtherProposal
	}
	made, err := event.Decode[event.ProposalMade](line.Payload)
	if err != nil {
		return line, fmt.Errorf("reading proposal %s: %w", f.Proposal, err)
	}
	shown, err := describe(f.Proposal, made)
	if err != nil {
		return line, err
	}
	if !slices.Contains(kinds, made.Kind) {
		return line, fmt.Errorf("proposal %s is a %s; nothing was signed: this command approves a %s", f.Proposal, made.Kind, strings.Join(kinds, " or a "))
	}
	shown.Approvals = line.Approvals
	return shown, nil
}

// ask shows the proposal and has the official agree.
func (f *approveFlags) ask(c *call, client *admin.Client, line proposalLine) error {
	more, err := f.hold(c, client, line)
	if err != nil {
		return err
	}
	fmt.Fprint(c.err, line.text(more...))
	if f.Yes {
		return nil
	}
	if !isTerminal(os.Stdin) {
		return errors.New("approving: nobody can be asked; nothing was signed: give --yes once the proposal has been read")
	}
	fmt.Fprint(c.err, "Type approve to sign it: ")
	answer, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("reading the answer: %w", err)
	}
	if strings.TrimSpace(answer) != "approve" {
		return errors.New("approving: nothing was signed")
	}
	return nil
}

// hold describes the hold that a proposal would release.
func (f *approveFlags) hold(c *call, client *admin.Client, line proposalLine) ([][2]string, error) {
	if line.Hold == nil {
		return nil, nil
	}
	var holds []holdLine
	if err := client.Call(c.ctx, http.MethodGet, "/holds", nil, &holds); err != nil {
		return nil, err
	}
	for _, h := range holds {
		if h.Hold == *line.Hold {
			return [][2]string{{"holds", fmt.Sprintf("%s to %s, until %s (%s)", h.From, h.To, h.Until, h.State)}, {"authority", h.Authority}, {"added for", h.Reason}}, nil
		}
	}
	return nil, nil
}

// signing is what an official signs with.
type signing struct {
	certificate []byte
	chain       [][]byte
	key         crypto.Signer
}

func readSigning(certificate, key string) (signing, error) {
	text, err := readSmall(certificate)
	if err != nil {
		return signing{}, fmt.Errorf("reading the official's certificate: %w", err)
	}
	ders, err := approval.DecodePEM(text)
	if err != nil {
		return signing{}, fmt.Errorf("reading the official's certificate %s: %w", certificate, err)
	}
	leaf, err := x509.ParseCertificate(ders[0])
	if err != nil {
		return signing{}, fmt.Errorf("reading the official's certificate %s: %w", certificate, err)
	}
	private, err := readKey(key)
	if err != nil {
		return signing{}, err
	}
	if !private.PublicKey.Equal(leaf.PublicKey) {
		return signing{}, fmt.Errorf("the key in %s is not that of the certificate in %s", key, certificate)
	}
	return signing{ders[0], ders[1:], private}, nil
}

// readKey reads a private key of P-256. Go's cryptography keeps a copy that nobody wipes: the process ends soon.
func readKey(path string) (*ecdsa.PrivateKey, error) {
	text, err := datadir.ReadSecret(path)
	if err != nil {
		return nil, fmt.Errorf("reading the official's key: %w", err)
	}
	defer text.Destroy()
	block, _ := pem.Decode(text.Expose())
	if block == nil {
		return nil, fmt.Errorf("reading the official's key: there is no PEM in %s", path)
	}
	defer secret.Wipe(block.Bytes)
	var parsed any
	switch block.Type {
	case "PRIVATE KEY":
		parsed, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		parsed, err = x509.ParseECPrivateKey(block.Bytes)
	default:
		return nil, fmt.Errorf("reading the official's key: %s holds a %s; an unencrypted private key is needed, in a file of mode 0600", path, block.Type)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if err != nil || !ok || key.Curve != elliptic.P256() {
		return nil, fmt.Errorf("reading the official's key: %s holds none of P-256", path) // the parser's error may quote it
	}
	return key, nil
}

// longestPEM bounds a file of certificates.
const longestPEM = 1 << 20

// readSmall reads a file that is no secret and cannot be long.
func readSmall(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var text bytes.Buffer
	if _, err := io.Copy(&text, io.LimitReader(file, longestPEM+1)); err != nil {
		return nil, err
	}
	if text.Len() > longestPEM {
		return nil, fmt.Errorf("%s is longer than %d octets", path, longestPEM)
	}
	return text.Bytes(), nil
}

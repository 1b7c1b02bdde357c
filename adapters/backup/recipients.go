package backup

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"filippo.io/age"

	"kiroku/adapters/datadir"
)

// Recipients are the public keys that a backup is made for: whoever holds one of
// the matching identities can read it.
type Recipients struct {
	keys         []age.Recipient
	fingerprints []string // sorted, none twice
}

// maxRecipients bounds the header of every segment.
const maxRecipients = 20

// ParseRecipients reads public keys (age1…), one in a line; empty lines and lines
// that begin with # are passed over. The same key twice counts once.
func ParseRecipients(texts ...string) (Recipients, error) {
	found := map[string]age.Recipient{}
	for _, text := range texts {
		for line := range strings.Lines(text) {
			line = strings.TrimSpace(line)
			if line == "" || strings.HasPrefix(line, "#") {
				continue
			}
			key, err := age.ParseX25519Recipient(line)
			if err != nil {
				// The line is not shown: it may be an identity, given by mistake.
				return Recipients{}, errors.New("reading the recipients: a line is no public key of age; one looks like age1…, 62 characters")
			}
			found[Fingerprint(key.String())] = key
		}
	}
	if len(found) == 0 || len(found) > maxRecipients {
		return Recipients{}, fmt.Errorf("reading the recipients: %d were given, where 1 to %d are possible", len(found), maxRecipients)
	}
	var r Recipients
	for fingerprint := range found {
		r.fingerprints = append(r.fingerprints, fingerprint)
	}
	slices.Sort(r.fingerprints)
	for _, fingerprint := range r.fingerprints {
		r.keys = append(r.keys, found[fingerprint])
	}
	return r, nil
}

// Fingerprint names a public key (age1…): SHA-256 of its text, in hexadecimal.
func Fingerprint(recipient string) string {
	sum := sha256.Sum256([]byte(recipient))
	return hex.EncodeToString(sum[:])
}

// Fingerprints are those of all recipients, sorted.
func (r Recipients) Fingerprints() []string { return slices.Clone(r.fingerprints) }

// Identity opens backups. It shows nothing of itself.
type Identity struct{ keys []*age.X25519Identity }

// ReadIdentity reads the private keys (AGE-SECRET-KEY-1…) in the file at path,
// which nobody but its owner may be able to reach (datadir.ErrExposed). The
// library keeps them in ordinary memory until the process ends.
func ReadIdentity(path string) (Identity, error) {
	text, err := datadir.ReadSecret(path)
	if err != nil {
		return Identity{}, fmt.Errorf("reading the identity: %w", err)
	}
	defer text.Destroy()
	keys, err := age.ParseIdentities(bytes.NewReader(text.Expose()))
	if err != nil {
		return Identity{}, fmt.Errorf("reading the identity in %s: it holds no private key of age (AGE-SECRET-KEY-1…)", path) // the library's error may quote it
	}
	var id Identity
	for _, key := range keys {
		if x, ok := key.(*age.X25519Identity); ok {
			id.keys = append(id.keys, x)
		}
	}
	return id, nil
}

// NewIdentity makes a private key and returns the text of its file and its
// recipient.
func NewIdentity() (file []byte, recipient string, err error) {
	key, err := age.GenerateX25519Identity()
	if err != nil {
		return nil, "", fmt.Errorf("making an identity: %w", err)
	}
	recipient = key.Recipient().String()
	return fmt.Appendf(nil, "# public key: %s\n%s\n", recipient, key), recipient, nil
}

// Format implements fmt.Formatter: no verb shows the keys.
func (Identity) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "[redacted]") }

// opens refuses an identity that is of none of the recipients.
func (id Identity) opens(fingerprints []string) error {
	var own []string
	for _, key := range id.keys {
		fingerprint := Fingerprint(key.Recipient().String())
		if slices.Contains(fingerprints, fingerprint) {
			return nil
		}
		own = append(own, fingerprint)
	}
	return fmt.Errorf("%w: it has the fingerprint %s, they have %s", ErrIdentity, strings.Join(own, ", "), strings.Join(fingerprints, ", "))
}

func (id Identity) decrypt(r io.Reader) (io.Reader, error) {
	all := make([]age.Identity, len(id.keys))
	for i, key := range id.keys {
		all[i] = key
	}
	return age.Decrypt(r, all...)
}

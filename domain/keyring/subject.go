package keyring

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"strconv"
	"strings"

	"kiroku/domain/ledger"
	"kiroku/domain/register"
	"kiroku/domain/secret"
)

const (
	classSubject = "subject"
	locatorSize  = 12 + 16 + 16 // nonce ‖ subject id ‖ tag
)

// Subject is the data key of one person, in locked memory. Destroy it as soon as the payload is sealed.
type Subject struct {
	ID  register.SubjectID
	key *secret.Bytes
}

// Format implements fmt.Formatter for every verb: a pointer to a Subject inside something else, printed with a verb that
// does not fit, would show the id.
func (Subject) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "[redacted]") }

// Destroy wipes the key.
func (s *Subject) Destroy() { s.key.Destroy() }

// NewSubject makes a person's id and data key. Nothing is stored until an event that they seal is appended.
func (k *Keyring) NewSubject() *Subject {
	var id [16]byte
	_, _ = rand.Read(id[:])
	s := &Subject{ID: register.NewSubjectID(id), key: secret.New(keySize)}
	clear(id[:])
	_, _ = rand.Read(s.key.Expose())
	return s
}

// SealSubject seals a payload of class subject. The key id that it writes carries the person's key, wrapped,
// and where to find it, encrypted: both with fresh randomness each time, so that in clear nothing
// ties two events of one person together. ErrDeleted for a person who was deleted, or is being deleted.
func (k *Keyring) SealSubject(s *Subject, a ledger.AAD, plaintext []byte) (ledger.Draft, error) {
	id := s.ID.Expose()
	defer clear(id[:])
	both, ok := k.ready()
	if !ok {
		return ledger.Draft{}, ErrVaultNotOpen
	}
	defer both.done()
	v := both.sealing()
	if all := v.past.Load().deleted; len(all) > 0 {
		if _, deleted := all[k.personIndex(id)]; deleted { // what is sealed under a generation keeps the key in it
			return ledger.Draft{}, ErrDeleted
		}
	}
	ref, err := v.reference(id, bucketOf(id, v.buckets), s.key)
	if err != nil {
		return ledger.Draft{}, err
	}
	a.KeyID = classSubject + "/" + strconv.Itoa(v.generation) + "/" + base64.RawURLEncoding.EncodeToString(ref)
	return ledger.Seal(s.key.Expose(), a, plaintext)
}

// reference is a person's locator and their key under that of their bucket, each with fresh randomness.
func (v *vault) reference(id [16]byte, bucket int, key *secret.Bytes) ([]byte, error) {
	ref, err := wrap(v.locator.Expose(), id[:], locatorContext(v.generation))
	if err != nil {
		return nil, err
	}
	wrapped, err := wrap(v.key(bucket), key.Expose(), subjectContext(id))
	return append(ref, wrapped...), err
}

// SubjectOf finds the person, and their key, that a key id of class subject names. ErrShredded where the person was
// deleted; ErrVaultNotOpen where the key id is of a generation that is not loaded yet.
func (k *Keyring) SubjectOf(keyID string) (*Subject, error) {
	generation, ref, err := parseSubjectKeyID(keyID)
	if err != nil {
		return nil, err
	}
	both, ok := k.ready()
	if !ok {
		return nil, fmt.Errorf("key of vault generation %d: %w", generation, ErrVaultNotOpen)
	}
	defer both.done()
	v := both.current
	if both.next != nil && generation == both.next.generation {
		v = both.next
	}
	return k.subjectIn(v, generation, ref)
}

// subjectIn finds a person with the keys of a generation, which is that of the reference or a later one.
func (k *Keyring) subjectIn(v *vault, generation int, ref []byte) (*Subject, error) {
	if generation > v.generation {
		return nil, fmt.Errorf("key of vault generation %d: %w", generation, ErrVaultNotOpen)
	}
	id, err := openLocator(v.locator.Expose(), generation, ref[:locatorSize])
	if err != nil {
		return nil, err
	}
	defer clear(id[:])
	wrapped := ref[locatorSize:]
	n := bucketOf(id, v.buckets)
	if made, ok := v.past.Load().keyOf[n]; ok { // the bucket has another key than in the beginning
		if wrapped, err = k.movedKey(v, n, made, generation, id, wrapped); err != nil {
			return nil, err
		}
	}
	s := &Subject{ID: register.NewSubjectID(id)}
	if s.key, err = unwrap(v.key(n), wrapped, subjectContext(id)); err != nil {
		return nil, fmt.Errorf("subject key: %w", err)
	}
	return s, nil
}

// movedKey returns what the bucket's key wraps of a person: what the key id holds, if that is not older than the key.
func (k *Keyring) movedKey(v *vault, bucket, made, generation int, id [16]byte, own []byte) ([]byte, error) {
	who, past := k.personIndex(id), v.past.Load()
	if _, deleted := past.deleted[who]; deleted {
		return nil, ErrShredded
	}
	if generation >= made {
		return own, nil
	}
	wrapped, ok := past.people[bucket].find(who)
	if !ok {
		return nil, ErrShredded
	}
	return wrapped, nil
}

func parseSubjectKeyID(keyID string) (generation int, ref []byte, err error) {
	p := strings.Split(keyID, "/")
	if len(p) != 3 || p[0] != classSubject {
		return 0, nil, fmt.Errorf("key id of class subject: %w", ErrWrongKey)
	}
	generation, err = strconv.Atoi(p[1])
	if err != nil || generation < 1 || strconv.Itoa(generation) != p[1] {
		return 0, nil, fmt.Errorf("key id of class subject: %w", ErrWrongKey)
	}
	ref, err = base64.RawURLEncoding.Strict().DecodeString(p[2])
	if err != nil || len(ref) != locatorSize+wrappedSize {
		return 0, nil, fmt.Errorf("key id of class subject: %w", ErrWrongKey)
	}
	return generation, ref, nil
}

func bucketOf(id [16]byte, buckets int) int {
	return int(binary.BigEndian.Uint32(id[:4]) % uint32(buckets))
}

func subjectContext(id [16]byte) []byte {
	return append([]byte("kiroku/subject/1"), id[:]...)
}

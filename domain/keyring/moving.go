package keyring

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// ErrNotCarried: somebody who is not being deleted would be lost with the generation in force. That must stay.
var ErrNotCarried = errors.New("a person's key does not go along into the next generation of the vault, though nobody deletes them")

// Moved is what a rotation does with the person whom a key id names.
type Moved struct {
	Bucket  int    // that gets another key
	Key     []byte // 104 octets for subject-keys-stored; nil where there is nothing to store
	Deleted bool   // the person does not go along
}

// Move says what the generation that is being made, once it is Whole, does with the person whom a key id names; seen
// remembers, for one rotation, whose key was made already. False where the key id opens as before: its bucket keeps its
// key, or it is of the new generation itself.
func (k *Keyring) Move(keyID string, seen *Seen) (Moved, bool, error) {
	var m Moved
	moves, err := k.concerned(keyID, func(v vaults, p concern) (err error) {
		m = Moved{Bucket: p.bucket, Deleted: p.deleted}
		if p.deleted || seen.before(p.who) || v.next.stored(p.bucket, p.who) != nil {
			return nil
		}
		s, err := k.subjectIn(v.current, p.generation, p.ref)
		if err != nil {
			return err
		}
		defer s.Destroy()
		m.Key, err = v.next.reference(p.id, p.bucket, s.key)
		return err
	})
	return m, moves, err
}

// Carried compares, for the person whom a key id names, the key that the generation being made wraps with that of the one
// in force. False for who does not move, see Move, or is being deleted. ErrNotCarried where they differ, or where the new
// one has none.
func (k *Keyring) Carried(keyID string) (bool, error) {
	deleted := false
	moves, err := k.concerned(keyID, func(v vaults, p concern) error {
		if deleted = p.deleted; deleted {
			return nil
		}
		wrapped := v.next.stored(p.bucket, p.who)
		if wrapped == nil {
			return ErrNotCarried
		}
		after, err := unwrap(v.next.key(p.bucket), wrapped, subjectContext(p.id))
		if err != nil {
			return fmt.Errorf("%w: %w", ErrNotCarried, err)
		}
		defer after.Destroy()
		before, err := k.subjectIn(v.current, p.generation, p.ref)
		if err != nil {
			return err
		}
		defer before.Destroy()
		if subtle.ConstantTimeCompare(before.key.Expose(), after.Expose()) != 1 {
			return ErrNotCarried
		}
		return nil
	})
	return moves && !deleted, err
}

// CarriedSoFar returns how many people's keys the generation that is being made has, by its events.
func (k *Keyring) CarriedSoFar() int {
	v, ok := k.ready()
	if !ok {
		return 0
	}
	defer v.done()
	if v.next == nil {
		return 0
	}
	v.next.moving.RLock()
	defer v.next.moving.RUnlock()
	n := 0
	for _, by := range v.next.rotated {
		n += len(by)
	}
	return n
}

// concern is a person whose bucket gets another key, as a key id of an older generation names them.
type concern struct {
	generation int
	ref        []byte
	id         [16]byte
	bucket     int
	who        personIndex
	deleted    bool
}

// concerned finds the person whom a key id names, if the generation that is being made concerns them.
func (k *Keyring) concerned(keyID string, do func(vaults, concern) error) (bool, error) {
	generation, ref, err := parseSubjectKeyID(keyID)
	if err != nil {
		return false, err
	}
	v, ok := k.ready()
	if !ok {
		return false, ErrVaultNotOpen
	}
	defer v.done()
	if v.next == nil {
		return false, fmt.Errorf("no vault generation is being made: %w", ErrVaultNotOpen)
	}
	if generation >= v.next.generation {
		return false, nil
	}
	p := concern{generation: generation, ref: ref}
	if p.id, err = openLocator(v.current.locator.Expose(), generation, ref[:locatorSize]); err != nil {
		return false, err
	}
	defer clear(p.id[:])
	p.bucket = bucketOf(p.id, v.current.buckets)
	if _, rotated := slices.BinarySearch(v.next.opened.Rotated, p.bucket); !rotated {
		return false, nil
	}
	p.who = k.personIndex(p.id)
	if at, ok := v.next.past.Load().deleted[p.who]; ok {
		p.deleted = at == v.next.generation
		if !p.deleted {
			return false, nil // with an earlier one
		}
	}
	return true, do(v, p)
}

// Seen are people, by an index. It is safe for concurrent use.
type Seen struct {
	mu sync.Mutex
	by map[personIndex]struct{}
}

// Len returns how many they are.
func (s *Seen) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.by)
}

func (s *Seen) before(who personIndex) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.by[who]; ok {
		return true
	}
	if s.by == nil {
		s.by = map[personIndex]struct{}{}
	}
	s.by[who] = struct{}{}
	return false
}

// stored returns a person's wrapped key among those of the generation that is being made, nil if it has none.
func (v *vault) stored(bucket int, who personIndex) []byte {
	v.moving.RLock()
	defer v.moving.RUnlock()
	return v.rotated[bucket][who]
}

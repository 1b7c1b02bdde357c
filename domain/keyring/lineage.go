package keyring

import (
	"bytes"
	"fmt"
	"maps"
	"slices"

	"kiroku/domain/register"
	"kiroku/domain/secret"
)

// personIndex is the keyed index of a subject id: no id stands in memory in clear for longer than a call.
type personIndex = register.Key

// lineage is what the generations up to one left that matters for good: which bucket's key is how old, the keys of the
// people who were in such a bucket before, and who was deleted. Once it is in use it never changes.
type lineage struct {
	keyOf   map[int]int             // bucket → generation in which its key was made; none: the first
	people  map[int]people          // by bucket with such a key
	deleted map[personIndex]int     // → generation with which they were deleted
	unread  map[int]generationTexts // by generation whose root key was gone when it was read: they wait for a locator key
}

// generationTexts are references of a generation that could not be read.
type generationTexts struct {
	people  map[int][][]byte // by bucket
	deleted [][]byte
}

// people are the wrapped keys of a bucket's people, sorted by index, entryOfPerson octets each: a map would take
// twice the room.
type people []byte

const entryOfPerson = len(personIndex{}) + wrappedSize

func newPeople(by map[personIndex][]byte) people {
	order := slices.SortedFunc(maps.Keys(by), func(a, b personIndex) int { return bytes.Compare(a[:], b[:]) })
	all := make(people, 0, len(order)*entryOfPerson)
	for _, p := range order {
		all = append(append(all, p[:]...), by[p]...)
	}
	return all
}

// find returns a person's key under the key of the bucket.
func (p people) find(who personIndex) (wrapped []byte, ok bool) {
	lo, hi := 0, len(p)/entryOfPerson
	for lo < hi {
		mid := (lo + hi) / 2
		entry := p[mid*entryOfPerson:][:entryOfPerson]
		switch c := bytes.Compare(entry[:len(who)], who[:]); {
		case c == 0:
			return entry[len(who):], true
		case c < 0:
			lo = mid + 1
		default:
			hi = mid
		}
	}
	return nil, false
}

// clone copies the maps, not what they hold.
func (l lineage) clone() lineage {
	return lineage{keyOf: maps.Clone(l.keyOf), people: maps.Clone(l.people), deleted: maps.Clone(l.deleted), unread: maps.Clone(l.unread)}
}

// inherit gives a generation that is being opened what those before it left, and reads whom it deletes.
// It must be called with mu held.
func (v *vault) inherit(k *Keyring) error {
	l := lineage{keyOf: map[int]int{}, people: map[int]people{}, deleted: map[personIndex]int{}, unread: map[int]generationTexts{}}
	if k.vault != nil {
		l = k.vault.past.Load().clone()
	}
	v.past.Store(&l)
	v.rotated = map[int]map[personIndex][]byte{}
	for i, b := range v.opened.Rotated {
		if b < 0 || b >= v.buckets || i > 0 && b <= v.opened.Rotated[i-1] || v.generation == 1 {
			return fmt.Errorf("rotated buckets of vault generation %d: %w", v.generation, ErrWrongKey)
		}
		v.rotated[b] = map[personIndex][]byte{}
	}
	if v.gone {
		l.unread[v.generation] = generationTexts{people: map[int][][]byte{}, deleted: v.opened.Deleted}
		return nil
	}
	for generation, texts := range l.unread {
		if err := k.read(v, l, generation, texts); err != nil {
			return err
		}
	}
	clear(l.unread)
	for _, ref := range v.opened.Deleted {
		who, bucket, err := k.locate(v, v.generation, ref)
		if err != nil {
			return fmt.Errorf("person deleted with vault generation %d: %w", v.generation, err)
		}
		if _, ok := v.rotated[bucket]; !ok {
			return fmt.Errorf("person deleted with vault generation %d from a bucket that keeps its key: %w", v.generation, ErrWrongKey)
		}
		l.deleted[who] = v.generation
	}
	return nil
}

// read takes in what a generation whose root key is gone said, with the locator key of a later one: it is the same.
func (k *Keyring) read(v *vault, l lineage, generation int, texts generationTexts) error {
	for _, ref := range texts.deleted {
		who, _, err := k.locate(v, generation, ref)
		if err != nil {
			return fmt.Errorf("person deleted with vault generation %d: %w", generation, err)
		}
		l.deleted[who] = generation
	}
	for bucket, refs := range texts.people {
		if l.keyOf[bucket] != generation {
			continue // rotated again since: nothing of it is needed
		}
		by := map[personIndex][]byte{}
		for _, ref := range refs {
			who, in, err := k.locate(v, generation, ref[:locatorSize])
			if err != nil || in != bucket {
				return fmt.Errorf("person in bucket %d of vault generation %d: %w", bucket, generation, ErrWrongKey)
			}
			by[who] = ref[locatorSize:]
		}
		l.people[bucket] = newPeople(by)
	}
	return nil
}

// complete makes what a generation brought part of its lineage. Others may be reading the one it had.
func (v *vault) complete() {
	l := v.past.Load().clone()
	v.moving.RLock()
	defer v.moving.RUnlock()
	for b, by := range v.rotated {
		l.keyOf[b] = v.generation
		delete(l.people, b)
		if !v.gone {
			l.people[b] = newPeople(by)
		}
	}
	v.past.Store(&l)
}

// locate reads a locator that a generation wrote.
func (k *Keyring) locate(v *vault, generation int, ref []byte) (who personIndex, bucket int, err error) {
	id, err := openLocator(v.locator.Expose(), generation, ref)
	if err != nil {
		return who, 0, err
	}
	defer clear(id[:])
	return k.personIndex(id), bucketOf(id, v.buckets), nil
}

func openLocator(locator []byte, generation int, ref []byte) (id [16]byte, err error) {
	if len(ref) != locatorSize {
		return id, fmt.Errorf("locator of %d octets: %w", len(ref), ErrWrongKey)
	}
	gcm, err := secret.NewGCM(locator)
	if err != nil {
		return id, err
	}
	defer gcm.Wipe()
	located, err := gcm.Open(nil, ref[:12], ref[12:], locatorContext(generation))
	if err != nil {
		return id, fmt.Errorf("locator of a subject key: %w", ErrWrongKey)
	}
	id = [16]byte(located)
	clear(located)
	return id, nil
}

func (k *Keyring) personIndex(id [16]byte) personIndex { return k.Index(indexVault, id[:]) }

// indexVault is the kind of Index by which the vault remembers people.
const indexVault = "vault"

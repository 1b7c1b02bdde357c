package keyring

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"

	"kiroku/domain/event"
	"kiroku/domain/register"
)

// ErrDeleted: the person was deleted (物理削除), or is being deleted: nothing is sealed for them any more.
var ErrDeleted = errors.New("the person's entries are being deleted, or were")

// Rotation is a generation of the vault as far as it has come.
type Rotation struct {
	Opened event.VaultOpened
	Loaded int // bucket keys there are
}

// Whole reports whether every bucket key is there: from then on is sealed under it.
func (r Rotation) Whole() bool { return r.Loaded == r.Opened.Buckets }

// Rotating returns the generation that is being made, the first one or another beside the one in force, and false if
// none is.
func (k *Keyring) Rotating() (Rotation, bool) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	v := k.opening
	if v == nil || v.gone || k.vault != nil && v.generation == k.vault.generation {
		return Rotation{}, false
	}
	return Rotation{Opened: v.opened, Loaded: v.loaded}, true
}

// Generation returns the generation in force, 0 while there is none.
func (k *Keyring) Generation() int {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if k.vault == nil {
		return 0
	}
	return k.vault.generation
}

// CheckRoot asks the HSM for the root key of the generation in force again: nil if it answers as when that was made.
func (k *Keyring) CheckRoot(ctx context.Context) error {
	v, ok := k.ready()
	if !ok {
		return ErrVaultNotOpen
	}
	defer v.done()
	kek, commitment, err := k.kek(ctx, v.current.opened)
	kek.Destroy()
	if err == nil && subtle.ConstantTimeCompare(commitment, v.current.opened.Commitment) != 1 {
		err = fmt.Errorf("root key of vault generation %d does not match its commitment: %w", v.current.generation, ErrWrongKey)
	}
	return err
}

// NextVault makes the payload that opens the generation after the one in force, without the people named: their buckets
// get other keys, and theirs do not go along. The HSM must hold the root key of that generation, see RootLabel.
func (k *Keyring) NextVault(ctx context.Context, deleted []register.SubjectID, proposals [][]byte) (event.VaultOpened, error) {
	v, ok := k.ready()
	if !ok {
		return event.VaultOpened{}, ErrVaultNotOpen
	}
	defer v.done()
	now := v.current
	o, err := k.newVault(ctx, now.generation+1, now.buckets, now.locator)
	if err != nil {
		return o, err
	}
	o.Proposals = proposals
	for _, s := range deleted {
		id := s.Expose()
		ref, err := wrap(now.locator.Expose(), id[:], locatorContext(o.Generation))
		if err != nil {
			return o, err
		}
		o.Deleted = append(o.Deleted, ref)
		o.Rotated = append(o.Rotated, bucketOf(id, now.buckets))
		clear(id[:])
	}
	slices.Sort(o.Rotated)
	o.Rotated = slices.Compact(o.Rotated)
	return o, nil
}

// LoadSubjectKeys loads the keys of people in a rotated bucket. It changes nothing where one does not open.
func (k *Keyring) LoadSubjectKeys(s event.SubjectKeysStored) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	v := k.opening
	if v == nil || s.Generation != v.generation || v.loaded != v.buckets {
		return fmt.Errorf("subject keys of vault generation %d: %w", s.Generation, ErrVaultNotOpen)
	}
	by, ok := v.rotated[s.Bucket]
	if !ok {
		return fmt.Errorf("subject keys in bucket %d, which vault generation %d does not rotate: %w", s.Bucket, s.Generation, ErrWrongKey)
	}
	for _, ref := range s.Keys {
		if len(ref) != locatorSize+wrappedSize {
			return fmt.Errorf("subject key of %d octets: %w", len(ref), ErrWrongKey)
		}
	}
	if v.gone {
		texts := v.past.Load().unread[v.generation]
		texts.people[s.Bucket] = append(texts.people[s.Bucket], s.Keys...)
		return nil
	}
	checked, err := k.checkSubjectKeys(v, s)
	if err != nil {
		return err
	}
	v.moving.Lock()
	defer v.moving.Unlock()
	for who, wrapped := range checked {
		by[who] = wrapped
	}
	return nil
}

func (k *Keyring) checkSubjectKeys(v *vault, s event.SubjectKeysStored) (map[personIndex][]byte, error) {
	checked := map[personIndex][]byte{}
	for i, ref := range s.Keys {
		id, err := openLocator(v.locator.Expose(), v.generation, ref[:locatorSize])
		if err != nil {
			return nil, fmt.Errorf("subject key %d in bucket %d: %w", i, s.Bucket, err)
		}
		key, err := unwrap(v.key(s.Bucket), ref[locatorSize:], subjectContext(id))
		who, bucket := k.personIndex(id), bucketOf(id, v.buckets)
		clear(id[:])
		if err != nil {
			return nil, fmt.Errorf("subject key %d in bucket %d: %w", i, s.Bucket, err)
		}
		key.Destroy()
		if _, deleted := v.past.Load().deleted[who]; deleted || bucket != s.Bucket {
			return nil, fmt.Errorf("subject key %d in bucket %d is of somebody deleted, or of another bucket: %w", i, s.Bucket, ErrWrongKey)
		}
		checked[who] = slices.Clone(ref[locatorSize:])
	}
	return checked, nil
}

// CompleteVault puts a generation from the second on in force. What was sealed for the people deleted with it is
// ErrShredded from then on.
func (k *Keyring) CompleteVault(c event.VaultCompleted) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	v := k.opening
	if v == nil || v.generation != c.Generation || v.loaded != v.buckets {
		return fmt.Errorf("vault generation %d is not whole: %w", c.Generation, ErrVaultNotOpen)
	}
	if v.generation > k.vault.generation { // else it is loaded again, with the lineage that it had
		v.complete()
	}
	k.putInForce(v)
	return nil
}

// Deleted reports whether a person was deleted, or is being deleted.
func (k *Keyring) Deleted(s register.SubjectID) bool {
	id := s.Expose()
	defer clear(id[:])
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.deleted(id)
}

// deleted must be called with mu held.
func (k *Keyring) deleted(id [16]byte) bool {
	for _, v := range []*vault{k.opening, k.vault} {
		if v == nil {
			continue
		}
		if all := v.past.Load().deleted; len(all) > 0 {
			_, ok := all[k.personIndex(id)]
			return ok // the one being opened knows what the one in force knows
		}
	}
	return false
}

// SealsNow reports whether a key id is of the generation that seals now. A draft of which that is not so is sealed again:
// whoever moves people to another generation must not miss any.
func (k *Keyring) SealsNow(keyID string) bool {
	generation, _, err := parseSubjectKeyID(keyID)
	if err != nil {
		return false
	}
	v, ok := k.ready()
	if !ok {
		return false
	}
	defer v.done()
	return v.sealing().generation == generation
}

// Locate reads which people a generation deletes, from its events.
func (k *Keyring) Locate(generation int, locators [][]byte) ([]register.SubjectID, error) {
	v, ok := k.ready()
	if !ok {
		return nil, ErrVaultNotOpen
	}
	defer v.done()
	all := make([]register.SubjectID, len(locators))
	for i, ref := range locators {
		id, err := openLocator(v.current.locator.Expose(), generation, ref)
		if err != nil {
			return nil, err
		}
		all[i] = register.NewSubjectID(id)
		clear(id[:])
	}
	return all, nil
}

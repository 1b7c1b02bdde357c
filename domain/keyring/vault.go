package keyring

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"kiroku/domain/event"
	"kiroku/domain/ledger"
	"kiroku/domain/secret"
)

const (
	keySize     = 32                // AES-256
	wrappedSize = 12 + keySize + 16 // nonce ‖ key ‖ tag
	chunkKeys   = 2048              // bucket keys in one locked buffer of 64 KiB
	// BucketsPerEvent keeps one bucket-keys-stored event far below the store's limit of 1 MiB.
	BucketsPerEvent = 4096
	// MaxBuckets bounds the buckets of a vault.
	MaxBuckets = 1 << 16
)

// vault is a generation: its bucket keys, in locked memory, and what the generations before it left.
type vault struct {
	use        sync.RWMutex // held for reading by those who use it, for writing by who destroys it
	generation int
	buckets    int
	gone       bool          // its root key was destroyed: it opens nothing, and is followed for what comes after it
	locator    *secret.Bytes // key of the people's locators
	chunks     []*secret.Bytes
	past       atomic.Pointer[lineage] // up to and with this generation

	kek     *secret.Bytes // over the bucket keys; nil once complete
	loaded  int           // bucket keys loaded so far, in order
	opened  event.VaultOpened
	rotated map[int]map[personIndex][]byte // while it is opening: by bucket with a new key, the people that go along
	moving  sync.RWMutex                   // guards these
}

// destroy wipes the keys when nobody uses them any longer.
func (v *vault) destroy() {
	if v == nil {
		return
	}
	v.use.Lock()
	defer v.use.Unlock()
	for _, c := range v.chunks {
		c.Destroy()
	}
	v.chunks = nil
	v.locator.Destroy()
	v.kek.Destroy()
}

// whole reports whether every bucket key is there: from then on it seals.
func (v *vault) whole() bool { return v != nil && !v.gone && v.loaded == v.buckets }

func (v *vault) key(bucket int) []byte {
	c := v.chunks[bucket/chunkKeys].Expose()
	at := bucket % chunkKeys * keySize
	return c[at : at+keySize]
}

// vaults are the generation in force and the next one, for use until done is called.
type vaults struct {
	current *vault
	next    *vault // nil unless all its bucket keys are there
}

// sealing is the generation under which is sealed.
func (v vaults) sealing() *vault {
	if v.next != nil {
		return v.next
	}
	return v.current
}

func (v vaults) done() {
	if v.next != nil {
		v.next.use.RUnlock()
	}
	v.current.use.RUnlock()
}

// ready returns the generations to seal and to open with; false while none is complete.
func (k *Keyring) ready() (v vaults, ok bool) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if k.vault == nil || k.vault.gone {
		return v, false
	}
	v.current = k.vault
	v.current.use.RLock()
	if k.opening.whole() && k.opening.generation > k.vault.generation {
		v.next = k.opening
		v.next.use.RLock()
	}
	return v, true
}

// NewVault makes the payload that opens the first generation of the vault.
func (k *Keyring) NewVault(ctx context.Context, buckets int) (event.VaultOpened, error) {
	if err := checkBuckets(buckets); err != nil {
		return event.VaultOpened{}, err
	}
	locator := secret.New(keySize)
	defer locator.Destroy()
	_, _ = rand.Read(locator.Expose())
	return k.newVault(ctx, 1, buckets, locator)
}

func (k *Keyring) newVault(ctx context.Context, generation, buckets int, locator *secret.Bytes) (event.VaultOpened, error) {
	o := event.VaultOpened{Generation: generation, Root: RootLabel(generation), Buckets: buckets, Random: make([]byte, 32)}
	_, _ = rand.Read(o.Random)
	kek, commitment, err := k.kek(ctx, o)
	if err != nil {
		return o, err
	}
	defer kek.Destroy()
	o.Commitment = commitment
	o.Locator, err = wrap(kek.Expose(), locator.Expose(), locatorContext(generation))
	return o, err
}

// RootLabel is the label of the HSM key over a generation.
func RootLabel(generation int) string {
	family, _, _ := strings.Cut(LabelVault, "/")
	return family + "/" + strconv.Itoa(generation)
}

// NewBucketKeys makes the bucket keys first … first+n−1 of the generation of o, wrapped: fresh ones for the first
// generation; for a later one those of the generation in force, and fresh ones for the buckets that are rotated.
func (k *Keyring) NewBucketKeys(ctx context.Context, o event.VaultOpened, first, n int) (event.BucketKeysStored, error) {
	s := event.BucketKeysStored{Generation: o.Generation, First: first}
	if first < 0 || n < 1 || n > BucketsPerEvent || first+n > o.Buckets {
		return s, fmt.Errorf("bucket keys %d to %d of %d, at most %d at once", first, first+n-1, o.Buckets, BucketsPerEvent)
	}
	kek, _, err := k.kek(ctx, o)
	if err != nil {
		return s, err
	}
	defer kek.Destroy()
	fresh := secret.New(keySize)
	defer fresh.Destroy()
	before := func(int) []byte { return nil }
	if o.Generation > 1 {
		v, ok := k.ready()
		if !ok {
			return s, ErrVaultNotOpen
		}
		defer v.done()
		if v.current.generation != o.Generation-1 || v.current.buckets != o.Buckets {
			return s, fmt.Errorf("bucket keys of vault generation %d after %d: %w", o.Generation, v.current.generation, ErrVaultNotOpen)
		}
		rotated := setOf(o.Rotated)
		before = func(b int) []byte {
			if rotated[b] {
				return nil
			}
			return v.current.key(b)
		}
	}
	for b := first; b < first+n; b++ {
		key := before(b)
		if key == nil {
			_, _ = rand.Read(fresh.Expose())
			key = fresh.Expose()
		}
		wrapped, err := wrap(kek.Expose(), key, bucketContext(o.Generation, b))
		if err != nil {
			return s, err
		}
		s.Keys = append(s.Keys, wrapped)
	}
	return s, nil
}

func setOf(buckets []int) map[int]bool {
	set := make(map[int]bool, len(buckets))
	for _, b := range buckets {
		set[b] = true
	}
	return set
}

func checkBuckets(n int) error {
	if n < 1 || n > MaxBuckets {
		return fmt.Errorf("vault of %d buckets: 1 to %d are possible", n, MaxBuckets)
	}
	return nil
}

// OpenVault begins to load a generation of the vault; LoadBucketKeys must follow for all its buckets, from the second
// generation on also LoadSubjectKeys and CompleteVault. Generations come in their order, as they stand in the ledger.
// Until one is complete, the one before it stays in force.
//
// ErrShredded means that the generation's root key was destroyed. It is followed all the same, for what comes after it:
// go on with its other events.
func (k *Keyring) OpenVault(ctx context.Context, o event.VaultOpened) error {
	if err := checkBuckets(o.Buckets); err != nil {
		return fmt.Errorf("%w: %w", ErrWrongKey, err)
	}
	v, err := k.unlock(ctx, o)
	if err != nil && !errors.Is(err, ErrShredded) {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if in := k.vault; in == nil && o.Generation != 1 || in != nil && (o.Generation != in.generation && o.Generation != in.generation+1 || o.Buckets != in.buckets) {
		v.destroy()
		return fmt.Errorf("vault generation %d does not follow the one in force: %w", o.Generation, ErrWrongKey)
	}
	if k.vault != nil && o.Generation == k.vault.generation {
		v.past.Store(k.vault.past.Load()) // it is loaded again
	} else if failed := v.inherit(k); failed != nil {
		v.destroy()
		return failed
	}
	k.opening.destroy()
	k.opening = v
	return err
}

// unlock makes a vault without bucket keys. With ErrShredded it is one that opens nothing.
func (k *Keyring) unlock(ctx context.Context, o event.VaultOpened) (*vault, error) {
	v := &vault{generation: o.Generation, buckets: o.Buckets, opened: o}
	kek, commitment, err := k.kek(ctx, o)
	if err != nil {
		v.gone = true
		return v, err
	}
	if subtle.ConstantTimeCompare(commitment, o.Commitment) != 1 {
		kek.Destroy()
		return v, fmt.Errorf("vault generation %d does not match its commitment: %w", o.Generation, ErrWrongKey)
	}
	if v.locator, err = unwrap(kek.Expose(), o.Locator, locatorContext(o.Generation)); err != nil {
		kek.Destroy()
		return v, fmt.Errorf("locator key of vault generation %d: %w", o.Generation, err)
	}
	v.kek = kek
	for range (o.Buckets + chunkKeys - 1) / chunkKeys {
		v.chunks = append(v.chunks, secret.New(chunkKeys*keySize))
	}
	return v, nil
}

// LoadBucketKeys loads the bucket keys of one event. It returns how many buckets are loaded. An event that is not
// the next, or does not open, changes nothing.
func (k *Keyring) LoadBucketKeys(s event.BucketKeysStored) (loaded int, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	v := k.opening
	if v == nil || s.Generation != v.generation {
		return 0, fmt.Errorf("bucket keys of vault generation %d: %w", s.Generation, ErrVaultNotOpen)
	}
	if s.First != v.loaded || s.First+len(s.Keys) > v.buckets {
		return v.loaded, fmt.Errorf("bucket keys %d to %d do not follow the %d loaded: %w", s.First, s.First+len(s.Keys)-1, v.loaded, ErrWrongKey)
	}
	if !v.gone {
		if err := v.loadBuckets(s, k.vault); err != nil {
			return v.loaded, err
		}
	}
	v.loaded += len(s.Keys)
	if v.loaded == v.buckets && v.generation == 1 {
		k.putInForce(v)
	}
	return v.loaded, nil
}

// loadBuckets takes keys into their places. A key that is another than before, or the same, must be named so.
func (v *vault) loadBuckets(s event.BucketKeysStored, before *vault) error {
	for i, w := range s.Keys {
		b := s.First + i
		key, err := unwrap(v.kek.Expose(), w, bucketContext(v.generation, b))
		if err != nil {
			return fmt.Errorf("bucket key %d: %w", b, err)
		}
		copy(v.key(b), key.Expose())
		key.Destroy()
		if before == nil || before.gone || before.generation == v.generation {
			continue
		}
		_, rotated := v.rotated[b]
		if same := subtle.ConstantTimeCompare(v.key(b), before.key(b)) == 1; same == rotated {
			return fmt.Errorf("bucket key %d of vault generation %d is not as announced: %w", b, v.generation, ErrWrongKey)
		}
	}
	return nil
}

// putInForce must be called with mu held.
func (k *Keyring) putInForce(v *vault) {
	v.moving.Lock()
	v.kek.Destroy()
	v.kek, v.rotated = nil, nil
	v.moving.Unlock()
	old := k.vault
	k.vault, k.opening = v, nil
	old.destroy()
}

// VaultReady reports whether a generation is complete and opens what is sealed.
func (k *Keyring) VaultReady() bool {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.vault != nil && !k.vault.gone
}

// kek asks the HSM for the key over a generation, and its commitment. Destroy the key after use.
func (k *Keyring) kek(ctx context.Context, o event.VaultOpened) (*secret.Bytes, []byte, error) {
	key, err := k.hsm.HMAC(ctx, o.Root, append([]byte("kiroku/vault/1"), o.Random...))
	if err != nil {
		if k.gone(err) {
			return nil, nil, fmt.Errorf("root key of vault generation %d: %w", o.Generation, ErrShredded)
		}
		return nil, nil, fmt.Errorf("root key of vault generation %d: %w", o.Generation, err)
	}
	c := ledger.Commitment(key.Expose())
	return key, c[:], nil
}

func bucketContext(generation, bucket int) []byte {
	b := []byte("kiroku/bucket/1")
	b = binary.BigEndian.AppendUint32(b, uint32(generation))
	return binary.BigEndian.AppendUint32(b, uint32(bucket))
}

func locatorContext(generation int) []byte {
	return binary.BigEndian.AppendUint32([]byte("kiroku/locator/1"), uint32(generation))
}

// wrap returns nonce ‖ AES-256-GCM(key), bound to its context.
func wrap(under, key, context []byte) ([]byte, error) {
	gcm, err := secret.NewGCM(under)
	if err != nil {
		return nil, err
	}
	defer gcm.Wipe()
	out := make([]byte, 12, 12+len(key)+16)
	_, _ = rand.Read(out)
	return gcm.Seal(out, out[:12], key, context), nil
}

// unwrap is the inverse of wrap; the key comes in locked memory.
func unwrap(under, wrapped, context []byte) (*secret.Bytes, error) {
	if len(wrapped) != wrappedSize {
		return nil, fmt.Errorf("wrapped key of %d octets: %w", len(wrapped), ErrWrongKey)
	}
	gcm, err := secret.NewGCM(under)
	if err != nil {
		return nil, err
	}
	defer gcm.Wipe()
	key := secret.New(keySize + 16) // room for the tag: decryption stays in place
	defer key.Destroy()
	buf := key.Expose()
	copy(buf, wrapped[12:])
	if _, err := gcm.Open(buf[:0], wrapped[:12], buf, context); err != nil {
		return nil, ErrWrongKey
	}
	out := secret.New(keySize)
	copy(out.Expose(), buf[:keySize])
	return out, nil
}

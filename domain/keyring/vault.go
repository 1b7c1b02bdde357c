package keyring

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"sync"

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

// vault holds the bucket keys of a generation in locked memory.
type vault struct {
	use        sync.RWMutex // held for reading by those who use it, for writing by who destroys it
	generation int
	buckets    int
	kek        cipher.AEAD // nil once complete
	locator    cipher.AEAD
	chunks     []*secret.Bytes
	loaded     int // bucket keys loaded so far, in order
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
}

// ready returns the complete vault, for use until done is called.
func (k *Keyring) ready() (v *vault, done func(), ok bool) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if k.vault == nil {
		return nil, nil, false
	}
	k.vault.use.RLock()
	return k.vault, k.vault.use.RUnlock, true
}

func (v *vault) key(bucket int) []byte {
	c := v.chunks[bucket/chunkKeys].Expose()
	at := bucket % chunkKeys * keySize
	return c[at : at+keySize]
}

// NewVault makes the payload that opens the first generation of the vault.
func (k *Keyring) NewVault(ctx context.Context, buckets int) (event.VaultOpened, error) {
	if err := checkBuckets(buckets); err != nil {
		return event.VaultOpened{}, err
	}
	o := event.VaultOpened{Generation: 1, Root: LabelVault, Buckets: buckets, Random: make([]byte, 32)}
	_, _ = rand.Read(o.Random)
	kek, commitment, err := k.kek(ctx, o)
	if err != nil {
		return o, err
	}
	o.Commitment = commitment
	locator := secret.New(keySize)
	defer locator.Destroy()
	_, _ = rand.Read(locator.Expose())
	o.Locator = wrap(kek, locator.Expose(), locatorContext(o.Generation))
	return o, nil
}

// NewBucketKeys makes fresh bucket keys first … first+n−1 for the generation of o, wrapped.
func (k *Keyring) NewBucketKeys(ctx context.Context, o event.VaultOpened, first, n int) (event.BucketKeysStored, error) {
	if first < 0 || n < 1 || n > BucketsPerEvent || first+n > o.Buckets {
		return event.BucketKeysStored{}, fmt.Errorf("bucket keys %d to %d of %d, at most %d at once", first, first+n-1, o.Buckets, BucketsPerEvent)
	}
	kek, _, err := k.kek(ctx, o)
	if err != nil {
		return event.BucketKeysStored{}, err
	}
	s := event.BucketKeysStored{Generation: o.Generation, First: first}
	key := secret.New(keySize)
	defer key.Destroy()
	for b := first; b < first+n; b++ {
		_, _ = rand.Read(key.Expose())
		s.Keys = append(s.Keys, wrap(kek, key.Expose(), bucketContext(o.Generation, b)))
	}
	return s, nil
}

func checkBuckets(n int) error {
	if n < 1 || n > MaxBuckets {
		return fmt.Errorf("vault of %d buckets: 1 to %d are possible", n, MaxBuckets)
	}
	return nil
}

// OpenVault begins to load a generation of the vault; LoadBucketKeys must follow for all its buckets. Until then
// the vault that was complete before, if any, stays in use.
func (k *Keyring) OpenVault(ctx context.Context, o event.VaultOpened) error {
	if err := checkBuckets(o.Buckets); err != nil {
		return fmt.Errorf("%w: %w", ErrWrongKey, err)
	}
	kek, commitment, err := k.kek(ctx, o)
	if err != nil {
		return err
	}
	if subtle.ConstantTimeCompare(commitment, o.Commitment) != 1 {
		return fmt.Errorf("vault generation %d does not match its commitment: %w", o.Generation, ErrWrongKey)
	}
	key, err := unwrap(kek, o.Locator, locatorContext(o.Generation))
	if err != nil {
		return fmt.Errorf("locator key of vault generation %d: %w", o.Generation, err)
	}
	defer key.Destroy()
	locator, err := newAEAD(key.Expose())
	if err != nil {
		return err
	}
	v := &vault{generation: o.Generation, buckets: o.Buckets, kek: kek, locator: locator}
	for range (o.Buckets + chunkKeys - 1) / chunkKeys {
		v.chunks = append(v.chunks, secret.New(chunkKeys*keySize))
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.opening.destroy()
	k.opening = v
	return nil
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
	for i, w := range s.Keys {
		key, err := unwrap(v.kek, w, bucketContext(v.generation, s.First+i))
		if err != nil {
			return v.loaded, fmt.Errorf("bucket key %d: %w", s.First+i, err)
		}
		copy(v.key(s.First+i), key.Expose())
		key.Destroy()
	}
	v.loaded += len(s.Keys)
	if v.loaded == v.buckets {
		v.kek = nil
		old := k.vault
		k.vault, k.opening = v, nil
		old.destroy()
	}
	return v.loaded, nil
}

// VaultReady reports whether every bucket key is loaded.
func (k *Keyring) VaultReady() bool {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.vault != nil
}

func (k *Keyring) kek(ctx context.Context, o event.VaultOpened) (cipher.AEAD, []byte, error) {
	key, err := k.hsm.HMAC(ctx, o.Root, append([]byte("kiroku/vault/1"), o.Random...))
	if err != nil {
		if k.gone(err) {
			return nil, nil, fmt.Errorf("root key of vault generation %d: %w", o.Generation, ErrShredded)
		}
		return nil, nil, fmt.Errorf("root key of vault generation %d: %w", o.Generation, err)
	}
	defer key.Destroy()
	aead, err := newAEAD(key.Expose())
	if err != nil {
		return nil, nil, err
	}
	c := ledger.Commitment(key.Expose())
	return aead, c[:], nil
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
func wrap(under cipher.AEAD, key, context []byte) []byte {
	out := make([]byte, 12, 12+len(key)+16)
	_, _ = rand.Read(out)
	return under.Seal(out, out[:12], key, context)
}

// unwrap is the inverse of wrap; the key comes in locked memory.
func unwrap(under cipher.AEAD, wrapped, context []byte) (*secret.Bytes, error) {
	if len(wrapped) != wrappedSize {
		return nil, fmt.Errorf("wrapped key of %d octets: %w", len(wrapped), ErrWrongKey)
	}
	key := secret.New(keySize + 16) // room for the tag: decryption stays in place
	buf := key.Expose()
	copy(buf, wrapped[12:])
	if _, err := under.Open(buf[:0], wrapped[:12], buf, context); err != nil {
		key.Destroy()
		return nil, ErrWrongKey
	}
	out := secret.New(keySize)
	copy(out.Expose(), buf[:keySize])
	key.Destroy()
	return out, nil
}

func newAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("AES key: %w", err)
	}
	return cipher.NewGCM(block)
}

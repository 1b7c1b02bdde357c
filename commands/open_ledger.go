package commands

import (
	"context"
	"crypto/x509"
	"fmt"

	"github.com/google/uuid"

	"kiroku/domain/event"
	"kiroku/domain/keyring"
	"kiroku/domain/ledger"
)

// Opening is what a ledger is given at its first start.
type Opening struct {
	VaultBuckets int    // 1 to 65,536
	Sentinel     []byte // the token's sentinel value
	Keys         ledger.KeySet
}

// DefaultVaultBuckets gives about 1,900 of 124 million people to a bucket.
const DefaultVaultBuckets = 65_536

// OpenLedger writes what a new ledger begins with: its identity, the public signing keys and the vault.
// It goes on where an earlier call was interrupted, and writes nothing on a ledger that is open. This process
// must be the writer, and takes commands from then on.
func (c *Core) OpenLedger(ctx context.Context, o Opening) error {
	if o.VaultBuckets < 1 || o.VaultBuckets > DefaultVaultBuckets {
		return fmt.Errorf("%d vault buckets: 1 to %d are possible: %w", o.VaultBuckets, DefaultVaultBuckets, ErrInvalid)
	}
	start, err := c.firstFacts(ctx)
	if err != nil {
		return err
	}
	if !start.opened {
		if err := c.openRegistry(ctx, o); err != nil {
			return fmt.Errorf("open the ledger: %w", err)
		}
	}
	if err := c.openVault(ctx, o.VaultBuckets); err != nil {
		return fmt.Errorf("open the vault: %w", err)
	}
	c.taking.Store(c.Active()) // another writer may have been met meanwhile
	return nil
}

type firstFacts struct{ opened bool }

// firstFacts reads whether the ledger was opened: it is among the first events of the registry.
func (c *Core) firstFacts(ctx context.Context) (firstFacts, error) {
	events, err := c.d.Store.ReadForward(ctx, event.StreamRegistry, 0, 64)
	if err != nil {
		return firstFacts{}, fmt.Errorf("read the start of the registry: %w", err)
	}
	for _, e := range events {
		if e.Type == event.TypeLedgerOpened {
			return firstFacts{opened: true}, nil
		}
	}
	return firstFacts{}, nil
}

func (c *Core) openRegistry(ctx context.Context, o Opening) error {
	payloads := []struct {
		eventType string
		payload   any
	}{{event.TypeLedgerOpened, event.LedgerOpened{LedgerID: uuid.New(), RecordShards: len(c.records), VaultBuckets: o.VaultBuckets, Sentinel: o.Sentinel}}}
	for _, k := range o.Keys.All() {
		spki, err := x509.MarshalPKIXPublicKey(k.Key)
		if err != nil {
			return err
		}
		p := event.SigningKeyPublished{KeyID: k.ID, SPKI: spki, ValidFrom: k.ValidFrom.UnixMicro()}
		if !k.ValidTo.IsZero() {
			p.ValidTo = k.ValidTo.UnixMicro()
		}
		payloads = append(payloads, struct {
			eventType string
			payload   any
		}{event.TypeSigningKeyPublished, p})
	}
	at := c.now()
	var drafts []ledger.Draft
	for i, p := range payloads {
		plain, err := event.Encode(p.payload)
		if err != nil {
			return err
		}
		d, err := ledger.Plain(ledger.AAD{Stream: event.StreamRegistry, ID: event.IDOf(c.d.Writer, i), Type: p.eventType, Time: at}, plain)
		if err != nil {
			return err
		}
		drafts = append(drafts, d)
	}
	_, err := c.registry.seq.Submit(ctx, func(uint64) ([]ledger.Draft, error) { return drafts, nil })
	return err
}

// openVault makes the vault if there is none, and completes its first generation if that is not complete.
func (c *Core) openVault(ctx context.Context, buckets int) error {
	if err := c.FollowVault(ctx); err != nil {
		return err
	}
	if c.d.Keyring.VaultReady() {
		return nil
	}
	r, begun := c.d.Keyring.Rotating()
	if !begun {
		o, err := c.d.Keyring.NewVault(ctx, buckets)
		if err != nil {
			return err
		}
		if err := c.extendVault(ctx, event.TypeVaultOpened, c.stepID(event.TypeVaultOpened, 0), o); err != nil {
			return err
		}
		r.Opened = o
	}
	return c.storeBucketKeys(ctx, r, func(int) {})
}

// storeBucketKeys completes the bucket keys of a generation.
func (c *Core) storeBucketKeys(ctx context.Context, r keyring.Rotation, progress func(loaded int)) error {
	for o, loaded := r.Opened, r.Loaded; loaded < o.Buckets; progress(loaded) {
		n := min(keyring.BucketsPerEvent, o.Buckets-loaded)
		s, err := c.d.Keyring.NewBucketKeys(ctx, o, loaded, n)
		if err != nil {
			return err
		}
		if err := c.extendVault(ctx, event.TypeBucketKeysStored, c.stepID(event.TypeBucketKeysStored, loaded), s); err != nil {
			return err
		}
		loaded += n
	}
	return nil
}

// stepID is the id of an event by which this process extends the vault.
func (c *Core) stepID(eventType string, n int) uuid.UUID {
	return uuid.NewSHA1(c.d.Writer, fmt.Appendf(nil, "%s %s %d %d", event.StreamVault, eventType, c.d.Keyring.Generation(), n))
}

// extendVault appends an event to the vault and reads it back into the keyring, as every other core reads it.
func (c *Core) extendVault(ctx context.Context, eventType string, id uuid.UUID, payload any) error {
	plain, err := event.Encode(payload)
	if err != nil {
		return err
	}
	d, err := ledger.Plain(ledger.AAD{Stream: event.StreamVault, ID: id, Type: eventType, Time: c.now()}, plain)
	if err != nil {
		return err
	}
	if _, err := c.vault.seq.Submit(ctx, func(uint64) ([]ledger.Draft, error) { return []ledger.Draft{d}, nil }); err != nil {
		return err
	}
	return c.FollowVault(ctx)
}

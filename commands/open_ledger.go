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

// openVault makes the vault if there is none, and completes it if it is not complete.
func (c *Core) openVault(ctx context.Context, buckets int) error {
	if c.d.Keyring.VaultReady() {
		return nil
	}
	loaded, opened, err := c.LoadVault(ctx)
	if err != nil {
		return err
	}
	if opened == nil {
		o, err := c.d.Keyring.NewVault(ctx, buckets)
		if err != nil {
			return err
		}
		if err := c.appendPlain(ctx, c.vault, event.TypeVaultOpened, 0, o); err != nil {
			return err
		}
		if err := c.d.Keyring.OpenVault(ctx, o); err != nil {
			return err
		}
		opened = &o
	}
	for loaded < opened.Buckets {
		s, err := c.d.Keyring.NewBucketKeys(ctx, *opened, loaded, min(keyring.BucketsPerEvent, opened.Buckets-loaded))
		if err != nil {
			return err
		}
		if err := c.appendPlain(ctx, c.vault, event.TypeBucketKeysStored, 1+loaded, s); err != nil {
			return err
		}
		if loaded, err = c.d.Keyring.LoadBucketKeys(s); err != nil {
			return err
		}
	}
	return nil
}

func (c *Core) appendPlain(ctx context.Context, l *line, eventType string, n int, payload any) error {
	plain, err := event.Encode(payload)
	if err != nil {
		return err
	}
	id := uuid.NewSHA1(c.d.Writer, fmt.Appendf(nil, "%s %s %d", l.stream, eventType, n))
	d, err := ledger.Plain(ledger.AAD{Stream: l.stream, ID: id, Type: eventType, Time: c.now()}, plain)
	if err != nil {
		return err
	}
	_, err = l.seq.Submit(ctx, func(uint64) ([]ledger.Draft, error) { return []ledger.Draft{d}, nil })
	return err
}

// LoadVault reads the vault's keys into the keyring. It returns how many bucket keys there are, and nil for
// the vault where the ledger has none yet. A process that stands by may call it again until the vault is complete.
func (c *Core) LoadVault(ctx context.Context) (loaded int, opened *event.VaultOpened, err error) {
	for next := uint64(0); ; {
		events, err := c.d.Store.ReadForward(ctx, event.StreamVault, next, 8)
		if err != nil {
			return 0, nil, fmt.Errorf("read the vault: %w", err)
		}
		if len(events) == 0 {
			return loaded, opened, nil
		}
		for _, e := range events {
			next = e.Revision + 1
			switch e.Type {
			case event.TypeVaultOpened:
				o, err := event.Decode[event.VaultOpened](e.Data)
				if err != nil {
					return 0, nil, err
				}
				if err := c.d.Keyring.OpenVault(ctx, o); err != nil {
					return 0, nil, err
				}
				opened, loaded = &o, 0
			case event.TypeBucketKeysStored:
				s, err := event.Decode[event.BucketKeysStored](e.Data)
				if err != nil {
					return 0, nil, err
				}
				if loaded, err = c.d.Keyring.LoadBucketKeys(s); err != nil {
					return 0, nil, err
				}
			}
		}
	}
}

package keyring_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"
	"sync"
	"testing"

	"kiroku/domain/event"
	"kiroku/domain/keyring"
	"kiroku/domain/ledger"
	"kiroku/domain/secret"
)

func TestAPersonsEventOpensAgain(t *testing.T) {
	b := newBed(t)
	o, stored := b.openVault(40, 7)
	if !b.VaultReady() {
		t.Fatal("the vault is loaded and not ready")
	}
	s := b.NewSubject()
	defer s.Destroy()
	first, second := b.sealSubject(s, "first"), b.sealSubject(s, "second")
	b.restart()
	b.loadVault(o, stored)
	b.opens(first, "first")
	b.opens(second, "second")
	again, err := b.SubjectOf(first.KeyID)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Destroy()
	if again.ID != s.ID {
		t.Error("another person's id")
	}
	b.opens(b.sealSubject(again, "third"), "third")
}

// TestKeyIDsLinkNobody: in clear, two events of one person have no more in common than two of anybody.
func TestKeyIDsLinkNobody(t *testing.T) {
	b := newBed(t)
	b.openVault(1, 1) // even in the same bucket
	s := b.NewSubject()
	defer s.Destroy()
	id := s.ID.Expose()
	seen := map[[4]byte]int{}
	for i := range 20 {
		d := b.sealSubject(s, "the same text")
		ref, err := base64.RawURLEncoding.DecodeString(d.KeyID[strings.LastIndexByte(d.KeyID, '/')+1:])
		if err != nil {
			t.Fatal(err)
		}
		if len(d.KeyID) > ledger.MaxKeyID || len(ref) != 104 {
			t.Fatalf("a key id of %d bytes, its reference of %d", len(d.KeyID), len(ref))
		}
		if bytes.Contains(ref, id[:4]) {
			t.Error("the person's id shows in clear")
		}
		for at := range len(ref) - 3 {
			window := [4]byte(ref[at:])
			if before, ok := seen[window]; ok && before != i {
				t.Errorf("events %d and %d share the bytes %x", before, i, window)
			}
			seen[window] = i
		}
	}
}

func TestAPersonsEventOpensInItsPlaceOnly(t *testing.T) {
	b := newBed(t)
	b.openVault(8, 8)
	one, two := b.NewSubject(), b.NewSubject()
	defer one.Destroy()
	defer two.Destroy()
	d, other := b.sealSubject(one, "x"), b.sealSubject(two, "x")
	reference := func(d ledger.Draft) []byte {
		ref, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(d.KeyID, "subject/1/"))
		if err != nil {
			t.Fatal(err)
		}
		return ref
	}
	keyID := func(ref []byte) string { return "subject/1/" + base64.RawURLEncoding.EncodeToString(ref) }
	for name, id := range map[string]string{
		"another person's":                      other.KeyID,
		"another's locator before the own key":  keyID(append(reference(other)[:44:44], reference(d)[44:]...)),
		"the own locator before another's key":  keyID(append(reference(d)[:44:44], reference(other)[44:]...)),
		"a key cut short":                       keyID(reference(d)[:103]),
		"a generation in another form":          "subject/01/" + strings.TrimPrefix(d.KeyID, "subject/1/"),
		"a negative generation":                 "subject/-1/" + strings.TrimPrefix(d.KeyID, "subject/1/"),
		"no generation":                         "subject//" + strings.TrimPrefix(d.KeyID, "subject/1/"),
		"no reference":                          "subject/1/",
		"one part more":                         d.KeyID + "/1",
		"base64 with bits after the last octet": d.KeyID[:len(d.KeyID)-1] + "_",
		"no key id of class subject at all":     "subject",
	} {
		changed := d
		changed.KeyID = id
		b.refuses(changed, keyring.ErrWrongKey, keyring.ErrShredded, keyring.ErrVaultNotOpen)
		if t.Failed() {
			t.Fatal(name)
		}
	}
	for at := range reference(d) {
		ref := reference(d)
		ref[at] ^= 1
		if _, err := b.SubjectOf(keyID(ref)); !errors.Is(err, keyring.ErrWrongKey) {
			t.Fatalf("octet %d of the reference changed: %v", at, err)
		}
	}
	later := d
	later.KeyID = "subject/2/" + strings.TrimPrefix(d.KeyID, "subject/1/")
	b.refuses(later, keyring.ErrVaultNotOpen, keyring.ErrShredded, keyring.ErrWrongKey)
}

func TestTheVaultIsReadyWhenItIsWhole(t *testing.T) {
	b := newBed(t)
	o, stored := b.openVault(10, 4)
	s := b.NewSubject()
	defer s.Destroy()
	d := b.sealSubject(s, "x")
	b.restart()
	notReady := func(when string) {
		t.Helper()
		if b.VaultReady() {
			t.Errorf("ready %s", when)
		}
		if _, err := b.SealSubject(s, aad(event.StreamIssuance, event.TypeSymbolIssued, noon), nil); !errors.Is(err, keyring.ErrVaultNotOpen) {
			t.Errorf("sealing %s: %v", when, err)
		}
		b.refuses(d, keyring.ErrVaultNotOpen, keyring.ErrShredded, keyring.ErrWrongKey)
	}
	notReady("before it is opened")
	if _, err := b.LoadBucketKeys(stored[0]); !errors.Is(err, keyring.ErrVaultNotOpen) {
		t.Errorf("loading into no vault: %v", err)
	}
	if err := b.OpenVault(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	notReady("without bucket keys")
	for i, out := range []int{1, 2} {
		if n, err := b.LoadBucketKeys(stored[out]); !errors.Is(err, keyring.ErrWrongKey) || n != 0 {
			t.Errorf("event %d out of order: %d, %v", i, n, err)
		}
	}
	if n, err := b.LoadBucketKeys(stored[0]); n != 4 || err != nil {
		t.Fatal(n, err)
	}
	if n, err := b.LoadBucketKeys(stored[0]); !errors.Is(err, keyring.ErrWrongKey) || n != 4 {
		t.Errorf("twice: %d, %v", n, err)
	}
	notReady("with some bucket keys")
	damaged := stored[1]
	damaged.Keys = append([][]byte{}, damaged.Keys...)
	damaged.Keys[2] = append([]byte{damaged.Keys[2][0] ^ 1}, damaged.Keys[2][1:]...)
	if n, err := b.LoadBucketKeys(damaged); !errors.Is(err, keyring.ErrWrongKey) || n != 4 {
		t.Errorf("a damaged event: %d, %v; it must change nothing", n, err)
	}
	tooMany := stored[1]
	tooMany.Keys = append(append([][]byte{}, tooMany.Keys...), tooMany.Keys...)
	if n, err := b.LoadBucketKeys(tooMany); !errors.Is(err, keyring.ErrWrongKey) || n != 4 {
		t.Errorf("more than there are: %d, %v", n, err)
	}
	another := stored[1]
	another.Generation = 2
	if _, err := b.LoadBucketKeys(another); !errors.Is(err, keyring.ErrVaultNotOpen) {
		t.Errorf("of another generation: %v", err)
	}
	for _, s := range stored[1:] {
		if _, err := b.LoadBucketKeys(s); err != nil {
			t.Fatal(err)
		}
	}
	b.opens(d, "x")
}

// TestAVaultOpenedAgainLeavesNoGap: while it is read anew, what was loaded stays in use, and nothing stays in memory twice.
func TestAVaultOpenedAgainLeavesNoGap(t *testing.T) {
	b := newBed(t)
	o, stored := b.openVault(10, 4)
	s := b.NewSubject()
	defer s.Destroy()
	d := b.sealSubject(s, "x")
	base := secret.CurrentUsage().Live
	for range 10 {
		if err := b.OpenVault(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		b.opens(d, "x")
	}
	if n := secret.CurrentUsage().Live - base; n != 3 {
		t.Errorf("%d more buffers in memory, want the three of the one being opened", n)
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 200 {
				b.opens(d, "x")
				b.opens(b.sealSubject(s, "y"), "y")
			}
		})
	}
	for range 20 {
		b.loadVault(o, stored)
	}
	all.Wait()
	if n := secret.CurrentUsage().Live - base; n != 0 {
		t.Errorf("%d more buffers in memory", n)
	}
}

func TestAVaultOpensUnderItsRootOnly(t *testing.T) {
	b := newBed(t)
	o, _ := b.openVault(3, 3)
	b.restart()
	for name, change := range map[string]func(*event.VaultOpened){
		"commitment":    func(o *event.VaultOpened) { o.Commitment = make([]byte, 16) },
		"no commitment": func(o *event.VaultOpened) { o.Commitment = nil },
		"random":        func(o *event.VaultOpened) { o.Random = make([]byte, 32) },
		"generation":    func(o *event.VaultOpened) { o.Generation++ },
		"locator":       func(o *event.VaultOpened) { o.Locator = make([]byte, len(o.Locator)) },
		"locator cut":   func(o *event.VaultOpened) { o.Locator = o.Locator[:20] },
		"root":          func(o *event.VaultOpened) { o.Root = keyring.LabelView },
		"no buckets":    func(o *event.VaultOpened) { o.Buckets = 0 },
		"fewer than 0":  func(o *event.VaultOpened) { o.Buckets = -1 },
		"too many":      func(o *event.VaultOpened) { o.Buckets = keyring.MaxBuckets + 1 },
	} {
		changed := o
		change(&changed)
		if err := b.OpenVault(t.Context(), changed); !errors.Is(err, keyring.ErrWrongKey) || errors.Is(err, keyring.ErrShredded) {
			t.Errorf("%s changed: %v", name, err)
		}
	}
	b.token.setDown(true)
	if err := b.OpenVault(t.Context(), o); !errors.Is(err, errDown) || errors.Is(err, keyring.ErrShredded) {
		t.Errorf("HSM gone: %v", err)
	}
	b.token.setDown(false)
	b.token.destroy(keyring.LabelVault)
	if err := b.OpenVault(t.Context(), o); !errors.Is(err, keyring.ErrShredded) {
		t.Errorf("root destroyed: %v", err)
	}
}

func TestAVaultIsMadeInBounds(t *testing.T) {
	b := newBed(t)
	for _, n := range []int{-1, 0, keyring.MaxBuckets + 1} {
		if _, err := b.NewVault(t.Context(), n); err == nil {
			t.Errorf("a vault of %d buckets was made", n)
		}
	}
	o, err := b.NewVault(t.Context(), 10_000)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range [][2]int{{-1, 1}, {0, 0}, {0, keyring.BucketsPerEvent + 1}, {9_999, 2}} {
		if _, err := b.NewBucketKeys(t.Context(), o, c[0], c[1]); err == nil {
			t.Errorf("%d bucket keys from %d on were made", c[1], c[0])
		}
	}
	s, err := b.NewBucketKeys(t.Context(), o, 0, keyring.BucketsPerEvent)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := event.Encode(s)
	if err != nil || len(payload) > 900_000 {
		t.Errorf("an event of %d bytes (%v)", len(payload), err)
	}
}

func benchmarkVault(b *testing.B) (*bed, *keyring.Subject) {
	bed := newBed(b)
	bed.openVault(256, 256)
	s := bed.NewSubject()
	b.Cleanup(s.Destroy)
	return bed, s
}

func BenchmarkSealSubject(b *testing.B) {
	bed, s := benchmarkVault(b)
	plain := make([]byte, 400)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := bed.SealSubject(s, aad(event.StreamIssuance, event.TypeSymbolIssued, noon), plain); err != nil {
				b.Error(err)
			}
		}
	})
}

func BenchmarkOpenSubject(b *testing.B) {
	bed, s := benchmarkVault(b)
	d := bed.sealSubject(s, string(make([]byte, 400)))
	h := header(d)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := bed.Open(b.Context(), h, d.Data); err != nil {
				b.Error(err)
			}
		}
	})
}

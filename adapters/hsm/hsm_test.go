package hsm_test

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"errors"
	"math/big"
	"testing"

	"kiroku/adapters/hsm"
	"kiroku/adapters/hsm/hsmtest"
)

func TestAnswers(t *testing.T) {
	h := hsmtest.Open(t)
	ctx := t.Context()

	a, err := h.HMAC(ctx, hsm.LabelIndex, []byte("one"))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Destroy()
	b, err := h.HMAC(ctx, hsm.LabelLinkage, []byte("one"))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Destroy()
	if a.Equal(b) || a.Len() != 32 {
		t.Error("two keys give the same code, or not one of 32 bytes")
	}

	blocks := make([][16]byte, 10000)
	for i := range blocks {
		blocks[i] = [16]byte{byte(i), byte(i >> 8)}
	}
	if err := h.EncryptBlocks(ctx, hsm.LabelAgency, blocks); err != nil {
		t.Fatal(err)
	}
	if err := h.DecryptBlocks(ctx, hsm.LabelAgency, blocks); err != nil {
		t.Fatal(err)
	}
	for i := range blocks {
		if blocks[i] != [16]byte{byte(i), byte(i >> 8)} {
			t.Fatalf("block %d does not come back", i)
		}
	}

	digest := sha256.Sum256([]byte("batch"))
	rs, err := h.Sign(ctx, hsm.LabelSign, digest)
	if err != nil {
		t.Fatal(err)
	}
	public, err := h.PublicKey(ctx, hsm.LabelSign)
	if err != nil {
		t.Fatal(err)
	}
	if !ecdsa.Verify(public, digest[:], new(big.Int).SetBytes(rs[:32]), new(big.Int).SetBytes(rs[32:])) {
		t.Error("the signature does not verify")
	}

	if err := h.EnsureDayKey(ctx, "record/2026-11-22"); err != nil {
		t.Fatal(err)
	}
	if _, err := h.HMAC(ctx, "record/2026-11-23", nil); !errors.Is(err, hsm.ErrNoKey) {
		t.Errorf("a day without a key: %v, want ErrNoKey", err)
	}
	if err := h.Destroy(ctx, "record/2026-11-22"); err != nil {
		t.Fatal(err)
	}
	if _, err := h.HMAC(ctx, "record/2026-11-22", nil); !errors.Is(err, hsm.ErrNoKey) {
		t.Errorf("a destroyed day: %v, want ErrNoKey", err)
	}
	t.Log(h.Calls())
}

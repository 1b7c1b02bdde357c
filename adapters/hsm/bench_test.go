package hsm_test

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"kiroku/adapters/hsm"
	"kiroku/adapters/hsm/hsmtest"

	"github.com/miekg/pkcs11"
)

func BenchmarkHMAC(b *testing.B) {
	h := hsmtest.Open(b)
	message := make([]byte, 32)
	b.Run("bare", func(b *testing.B) {
		if err := h.Raw(b.Context(), func(api hsm.Cryptoki, sh pkcs11.SessionHandle) error {
			return bareMACs(b, api, sh, message)
		}); err != nil {
			b.Fatal(err)
		}
	})
	b.Run("alone", func(b *testing.B) {
		for b.Loop() {
			benchMAC(b, h, message)
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				benchMAC(b, h, message)
			}
		})
	})
}

// bareMACs is what the token does without this package.
func bareMACs(b *testing.B, api hsm.Cryptoki, sh pkcs11.SessionHandle, message []byte) error {
	template := []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_LABEL, hsm.LabelIndex)}
	if err := api.FindObjectsInit(sh, template); err != nil {
		return err
	}
	found, _, err := api.FindObjects(sh, 1)
	if err := errors.Join(err, api.FindObjectsFinal(sh)); err != nil {
		return err
	}
	for b.Loop() {
		if err := api.SignInit(sh, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_SHA256_HMAC, nil)}, found[0]); err != nil {
			return err
		}
		if _, err := api.Sign(sh, message); err != nil {
			return err
		}
	}
	return nil
}

func benchMAC(b *testing.B, h *hsm.HSM, message []byte) {
	code, err := h.HMAC(b.Context(), hsm.LabelIndex, message)
	if err != nil {
		b.Fatal(err)
	}
	code.Destroy()
}

func BenchmarkEncryptBlocks(b *testing.B) {
	h := hsmtest.Open(b)
	for _, n := range []int{1, 256, hsm.MaxBlocks} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			blocks := make([][16]byte, n)
			for b.Loop() {
				if err := h.EncryptBlocks(b.Context(), hsm.LabelAgency, blocks); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N*n)/b.Elapsed().Seconds(), "blocks/s")
		})
	}
	b.Run("1-block-512-callers", func(b *testing.B) {
		before := h.Calls()
		var total atomic.Int64
		b.SetParallelism(128)
		b.RunParallel(func(pb *testing.PB) {
			blocks := make([][16]byte, 1)
			for pb.Next() {
				if err := h.EncryptBlocks(b.Context(), hsm.LabelAgency, blocks); err != nil {
					b.Fatal(err)
				}
				total.Add(1)
			}
		})
		b.ReportMetric(float64(total.Load())/b.Elapsed().Seconds(), "blocks/s")
		b.ReportMetric(float64(h.Calls().Sub(before).Encrypt)/float64(total.Load()), "calls/block")
	})
}

func BenchmarkSign(b *testing.B) {
	h := hsmtest.Open(b)
	for b.Loop() {
		if _, err := h.Sign(b.Context(), hsm.LabelSign, [32]byte{1}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkOpen is a start with a year of day keys, and BenchmarkFind the
// first use of one of them: a token looks through all its objects.
func BenchmarkOpen(b *testing.B) {
	token := yearOfKeys(b)
	for b.Loop() {
		h, err := hsm.Open(b.Context(), token.Config)
		if err != nil {
			b.Fatal(err)
		}
		h.Close()
	}
}

func BenchmarkFind(b *testing.B) {
	token := yearOfKeys(b)
	h := hsmtest.Reopen(b, token)
	for b.Loop() {
		h.Interrupt()
		benchMAC(b, h, nil)
	}
}

func yearOfKeys(b *testing.B) hsmtest.Token {
	token := hsmtest.New(b)
	h := hsmtest.Reopen(b, token)
	for i := range 365 {
		if err := h.EnsureDayKey(b.Context(), childDay(i)); err != nil {
			b.Fatal(err)
		}
	}
	return token
}

package hsm_test

import (
	"crypto/sha256"
	"testing"

	"github.com/miekg/pkcs11"

	"kiroku/adapters/hsm"
	"kiroku/adapters/hsm/hsmtest"
)

// SoftHSM writes the public half of a pair first. A process that was killed before the other must not keep the next
// from making the pair.
func TestHalfAPairIsMadeAnew(t *testing.T) {
	token := hsmtest.New(t)
	h := hsmtest.Reopen(t, token)
	const label = "sign/2"
	if err := h.EnsureKey(t.Context(), label); err != nil {
		t.Fatal(err)
	}
	err := h.Raw(t.Context(), func(api hsm.Cryptoki, sh pkcs11.SessionHandle) error {
		template := []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_LABEL, label), pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_PRIVATE_KEY)}
		if err := api.FindObjectsInit(sh, template); err != nil {
			return err
		}
		found, _, err := api.FindObjects(sh, 2)
		if err != nil || len(found) != 1 {
			t.Fatalf("%d private keys: %v", len(found), err)
		}
		if err := api.FindObjectsFinal(sh); err != nil {
			return err
		}
		return api.DestroyObject(sh, found[0])
	})
	if err != nil {
		t.Fatal(err)
	}
	again := hsmtest.Reopen(t, token) // as the process that comes after
	if err := again.EnsureKey(t.Context(), label); err != nil {
		t.Fatal(err)
	}
	if _, err := again.PublicKey(t.Context(), label); err != nil {
		t.Error(err)
	}
	if _, err := again.Sign(t.Context(), label, sha256.Sum256([]byte("batch"))); err != nil {
		t.Error(err)
	}
}

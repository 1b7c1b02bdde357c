package hsm

import (
	"context"
	"fmt"

	"kiroku/domain/secret"

	"github.com/miekg/pkcs11"
)

// Decrypt opens what Juki-net encrypted for the core (a resident code,
// 住民票コード) with RSA-OAEP, SHA-1 and MGF1-SHA-1, without a label. Those are
// the only OAEP parameters that SoftHSM and every other common module take;
// OAEP does not rest on the collision resistance that SHA-1 lacks.
//
// The caller destroys the plaintext. Errors: ErrCiphertext, or as HMAC.
func (h *HSM) Decrypt(ctx context.Context, label string, ciphertext []byte) (*secret.Bytes, error) {
	t, k, err := h.route(label, kindOpen)
	if err != nil {
		return nil, fmt.Errorf("opening a delivery: %w", err)
	}
	var plaintext *secret.Bytes
	err = t.use(ctx, func(s *session) error {
		key, err := s.key(label, k)
		if err != nil {
			return err
		}
		plaintext, err = s.open(key, ciphertext)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("opening a delivery under %q: %w", label, err)
	}
	return plaintext, nil
}

func (s *session) open(key pkcs11.ObjectHandle, ciphertext []byte) (*secret.Bytes, error) {
	s.calls.decrypt.Add(1)
	// No source data: the binding then allocates nothing beyond the call.
	parameters := pkcs11.NewOAEPParams(pkcs11.CKM_SHA_1, pkcs11.CKG_MGF1_SHA1, pkcs11.CKZ_DATA_SPECIFIED, nil)
	mechanism := []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_RSA_PKCS_OAEP, parameters)}
	if err := s.api.DecryptInit(s.handle, mechanism, key); err != nil {
		return nil, call("C_DecryptInit", err)
	}
	plaintext, err := s.api.Decrypt(s.handle, ciphertext)
	if err == nil {
		return secret.Take(plaintext), nil
	}
	// Modules answer a bad ciphertext with the codes of a broken token
	// (SoftHSM: CKR_GENERAL_ERROR). The sentinel tells the two apart.
	if doubt := s.prove(); doubt != nil {
		return nil, fmt.Errorf("%w: %w", call("C_Decrypt", err), doubt)
	}
	return nil, ErrCiphertext
}

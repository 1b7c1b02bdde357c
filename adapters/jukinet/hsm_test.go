package jukinet

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"slices"
	"testing"

	"kiroku/adapters/hsm"
	"kiroku/adapters/hsm/hsmtest"
)

// A delivery goes through a real token: whatever its size, it costs one call.
func TestATokenOpensADelivery(t *testing.T) {
	token := hsmtest.Open(t)
	if err := token.EnsureKey(t.Context(), hsm.LabelJuki); err != nil {
		t.Fatal(err)
	}
	part, err := token.ExportPublic(t.Context(), hsm.LabelJuki)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.ParsePKIXPublicKey(part.SPKI)
	if err != nil {
		t.Fatal(err)
	}
	var message bytes.Buffer
	if err := Seal(&message, public.(*rsa.PublicKey), 1, deliveriesOf(pairs(300))); err != nil {
		t.Fatal(err)
	}
	whole := message.Bytes()
	before := token.Calls().Crypto()
	var got []pair
	for d, err := range Open(t.Context(), token, bytes.NewReader(whole), nil) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, pair{string(d.AcquisitionNumber), string(d.Code.Expose())})
		d.Code.Destroy()
	}
	if !slices.Equal(got, pairs(300)) {
		t.Errorf("%d of 300 deliveries", len(got))
	}
	if calls := token.Calls().Crypto() - before; calls != 1 {
		t.Errorf("%d calls of the token", calls)
	}

	whole[len(deliveryMagic)+3] ^= 1 // the wrapped key
	for _, err := range Open(t.Context(), token, bytes.NewReader(whole), nil) {
		if !errors.Is(err, hsm.ErrCiphertext) {
			t.Errorf("a foreign key: %v", err)
		}
	}
	whole[len(deliveryMagic)] = 9
	for _, err := range Open(t.Context(), token, bytes.NewReader(whole), nil) {
		if !errors.Is(err, hsm.ErrNoKey) {
			t.Errorf("a key version that the token does not have: %v", err)
		}
	}
}

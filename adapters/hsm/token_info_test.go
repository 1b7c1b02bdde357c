package hsm_test

import (
	"errors"
	"os"
	"testing"

	"kiroku/adapters/hsm"
	"kiroku/adapters/hsm/hsmtest"
)

func TestATokenNamesItself(t *testing.T) {
	token := hsmtest.New(t)
	h := hsmtest.Reopen(t, token)
	info, err := h.TokenOf(t.Context(), day) // whether it has that key or not
	if err != nil || info.Label != token.Config.Token.Label || info.Serial == "" || info.Manufacturer == "" || info.Model == "" {
		t.Errorf("%+v, %v", info, err)
	}
	for _, label := range []string{hsm.LabelSentinel, "nothing/1", "record/2026-02-30"} {
		if info, err := h.TokenOf(t.Context(), label); !errors.Is(err, hsm.ErrLabel) || info != (hsm.TokenInfo{}) {
			t.Errorf("%s: %+v, %v", label, info, err)
		}
	}
	aside := t.TempDir() + "/token"
	own := token.Dir()
	if err := os.Rename(own, aside); err != nil {
		t.Fatal(err)
	}
	if info, err := h.TokenOf(t.Context(), day); !errors.Is(err, hsm.ErrUnavailable) || info != (hsm.TokenInfo{}) {
		t.Errorf("a token that is away names itself: %+v, %v", info, err)
	}
	if err := os.Rename(aside, own); err != nil {
		t.Fatal(err)
	}
}

package hsm_test

import (
	"errors"
	"os"
	"slices"
	"testing"

	"kiroku/adapters/hsm"
	"kiroku/adapters/hsm/hsmtest"
)

func TestTheKeysOfDaysAreListed(t *testing.T) {
	token := hsmtest.New(t)
	h := hsmtest.Reopen(t, token)
	list := func() []string {
		labels, err := h.DayKeys(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return labels
	}
	if got := list(); len(got) != 0 {
		t.Errorf("a token without days lists %v", got)
	}
	want := []string{"record/2024-02-29", "record/2026-11-22", "record/2033-01-01"}
	for _, label := range []string{want[1], want[2], want[0]} {
		if err := h.EnsureDayKey(t.Context(), label); err != nil {
			t.Fatal(err)
		}
	}
	if got := list(); !slices.Equal(got, want) {
		t.Errorf("lists %v, want %v", got, want)
	}
	if err := h.Destroy(t.Context(), want[1]); err != nil {
		t.Fatal(err)
	}
	if got := list(); !slices.Equal(got, []string{want[0], want[2]}) {
		t.Errorf("after a destruction: %v", got)
	}
	own, aside := token.Dir(), t.TempDir()+"/token"
	if err := os.Rename(own, aside); err != nil {
		t.Fatal(err)
	}
	if got, err := h.DayKeys(t.Context()); !errors.Is(err, hsm.ErrUnavailable) || got != nil {
		t.Errorf("a token that is away lists %v, %v", got, err)
	}
	if err := os.Rename(aside, own); err != nil {
		t.Fatal(err)
	}
}

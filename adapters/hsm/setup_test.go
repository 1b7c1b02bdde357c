package hsm_test

import (
	"errors"
	"os"
	"strings"
	"sync"
	"testing"

	"kiroku/adapters/hsm"
	"kiroku/adapters/hsm/hsmtest"

	"github.com/miekg/pkcs11"
)

// Each call of the first setup fails in turn; doing it again completes it, and
// makes no second token.
func TestSetupIsResumable(t *testing.T) {
	for _, name := range []string{"InitToken", "OpenSession", "Login", "InitPIN", "Logout", "GenerateKey", "GenerateKeyPair", "FindObjects"} {
		for nth := 1; nth <= 4; nth += 3 {
			for _, done := range []bool{false, true} {
				armed := fault{call: name, nth: nth, done: done, code: pkcs11.CKR_DEVICE_ERROR}
				t.Run(armed.String(), func(t *testing.T) {
					f := newFaulty()
					token := hsmtest.Blank(t)
					token.Config.Clock = impatient()
					token.Config = hsm.Through(token.Config, f.wrap)
					f.arm(armed)
					if err := hsm.Init(t.Context(), token.Config); err != nil && !errors.Is(err, hsm.ErrUnavailable) {
						t.Errorf("with the fault: %v", err)
					}
					f.disarm()
					if err := hsm.Init(t.Context(), token.Config); err != nil {
						t.Fatalf("again: %v", err)
					}
					h := hsmtest.Reopen(t, token)
					keys, err := h.Keys(t.Context())
					if err != nil || len(keys) != 10 {
						t.Errorf("%d keys, %v, want 10", len(keys), err)
					}
				})
			}
		}
	}
}

// Setting up twice, or from several sides at once, changes nothing.
func TestSetupIsIdempotent(t *testing.T) {
	token := hsmtest.Blank(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if err := hsm.Init(t.Context(), token.Config); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	h := hsmtest.Reopen(t, token)
	before := answer(t, h, hsm.LabelIndex)
	if err := hsm.Init(t.Context(), token.Config); err != nil {
		t.Fatal(err)
	}
	if answer(t, h, hsm.LabelIndex) != before {
		t.Error("the index key is another one")
	}
}

// Keys without their sentinel are a token that lost something, not a new one.
func TestSetupRefusesTokenWithoutSentinel(t *testing.T) {
	token := hsmtest.New(t)
	h := hsmtest.Reopen(t, token)
	err := h.Raw(t.Context(), func(api hsm.Cryptoki, sh pkcs11.SessionHandle) error {
		if err := api.FindObjectsInit(sh, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_LABEL, hsm.LabelSentinel)}); err != nil {
			return err
		}
		found, _, err := api.FindObjects(sh, 2)
		if err := errors.Join(err, api.FindObjectsFinal(sh)); err != nil {
			return err
		}
		return api.DestroyObject(sh, found[0])
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := hsm.Init(t.Context(), token.Config); !errors.Is(err, hsm.ErrUnavailable) {
		t.Errorf("setting up: %v, want ErrUnavailable", err)
	}
	if _, err := hsm.Open(t.Context(), token.Config); !errors.Is(err, hsm.ErrUnavailable) {
		t.Errorf("opening: %v, want ErrUnavailable", err)
	}
}

// A token that Init has not made is not made by Open.
func TestOpenMakesNothing(t *testing.T) {
	token := hsmtest.Blank(t)
	if _, err := hsm.Open(t.Context(), token.Config); !errors.Is(err, hsm.ErrUnavailable) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
	if dir := token.Dir(); dir != "" {
		t.Errorf("there is a token in %s", dir)
	}
}

// What Provision writes is for its owner alone, and stays when it is repeated.
func TestProvisionedFiles(t *testing.T) {
	token := hsmtest.Blank(t)
	for _, path := range []string{token.Config.Token.PINFile, token.Config.SOPINFile, os.Getenv("SOFTHSM2_CONF")} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %o", path, info.Mode().Perm())
		}
	}
	pin, err := os.ReadFile(token.Config.Token.PINFile)
	if err != nil {
		t.Fatal(err)
	}
	hsmtest.Blank(t)
	if again, err := os.ReadFile(token.Config.Token.PINFile); err != nil || string(again) != string(pin) {
		t.Errorf("the PIN changed, or %v", err)
	}
}

func TestConfigurationIsChecked(t *testing.T) {
	good := hsmtest.Blank(t).Config
	for what, spoil := range map[string]func(*hsm.Config){
		"module":   func(c *hsm.Config) { c.Token.Module = "/nowhere/module.so" },
		"not":      func(c *hsm.Config) { c.Token.Module = c.Token.PINFile },
		"label":    func(c *hsm.Config) { c.Token.Label = strings.Repeat("x", 33) },
		"purpose":  func(c *hsm.Config) { c.Purposes = map[hsm.Purpose]hsm.TokenConfig{"master": {}} },
		"2048":     func(c *hsm.Config) { c.JukiBits = 1024 },
		"PIN file": func(c *hsm.Config) { c.Purposes = map[hsm.Purpose]hsm.TokenConfig{hsm.PurposeDays: {PINFile: "/x"}} },
		"token(s)": func(c *hsm.Config) { c.ExpectedSentinel = make([]byte, 7) },
	} {
		config := good
		spoil(&config)
		if _, err := hsm.Open(t.Context(), config); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// A key whose files could not be written through is not reported as made, and
// the next call makes up for it.
func TestKeysAreWrittenThrough(t *testing.T) {
	token := hsmtest.New(t)
	token.Config.TokenFiles = hsmtest.TokensDir() + "-elsewhere"
	h := hsmtest.Reopen(t, token)
	for range 2 {
		if err := h.EnsureDayKey(t.Context(), day); !errors.Is(err, hsm.ErrUnavailable) {
			t.Errorf("making a key that is not durable: %v, want ErrUnavailable", err)
		}
	}
	if err := os.Symlink(hsmtest.TokensDir(), token.Config.TokenFiles); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(token.Config.TokenFiles)
	if err := h.EnsureDayKey(t.Context(), day); err != nil {
		t.Errorf("once it can be written through: %v", err)
	}
	if err := h.Destroy(t.Context(), day); err != nil {
		t.Errorf("destroying: %v", err)
	}
}

package hsm_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"kiroku/adapters/hsm"
	"kiroku/adapters/hsm/hsmtest"

	"github.com/miekg/pkcs11"
)

const day = "record/2026-11-22"

// impatient is a clock on which every back-off has passed by the next call.
func impatient() func() time.Time {
	var hours atomic.Int64
	return func() time.Time { return time.Unix(0, 0).Add(time.Duration(hours.Add(1)) * time.Hour) }
}

// answer is what the token says about one label, for comparing.
func answer(t *testing.T, h *hsm.HSM, label string) [32]byte {
	t.Helper()
	code, err := h.HMAC(t.Context(), label, []byte("same?"))
	if err != nil {
		t.Fatalf("asking %s: %v", label, err)
	}
	defer code.Destroy()
	return sha256.Sum256(code.Expose())
}

// operations is one of everything that needs the token.
func operations() map[string]func(context.Context, *hsm.HSM) error {
	return map[string]func(context.Context, *hsm.HSM) error{
		"hmac": func(ctx context.Context, h *hsm.HSM) error {
			code, err := h.HMAC(ctx, hsm.LabelIndex, []byte("m"))
			code.Destroy()
			return err
		},
		"absent": func(ctx context.Context, h *hsm.HSM) error {
			_, err := h.HMAC(ctx, "record/1999-01-01", nil)
			if errors.Is(err, hsm.ErrNoKey) {
				return nil
			}
			return err
		},
		"encrypt": func(ctx context.Context, h *hsm.HSM) error {
			blocks := make([][16]byte, 3)
			err := h.EncryptBlocks(ctx, hsm.LabelAgency, blocks)
			if changed := blocks[2] != [16]byte{}; changed != (err == nil) {
				return fmt.Errorf("blocks changed: %t, with error %v", changed, err)
			}
			return err
		},
		"decrypt": func(ctx context.Context, h *hsm.HSM) error {
			return h.DecryptBlocks(ctx, hsm.LabelAgency, make([][16]byte, 3))
		},
		"sign": func(ctx context.Context, h *hsm.HSM) error {
			_, err := h.Sign(ctx, hsm.LabelSign, [32]byte{1})
			return err
		},
		"export": func(ctx context.Context, h *hsm.HSM) error {
			_, err := h.ExportPublic(ctx, hsm.LabelJuki)
			return err
		},
		"ensure":  func(ctx context.Context, h *hsm.HSM) error { return h.EnsureDayKey(ctx, day) },
		"destroy": func(ctx context.Context, h *hsm.HSM) error { return h.Destroy(ctx, day) },
		"keys":    func(ctx context.Context, h *hsm.HSM) error { _, err := h.Keys(ctx); return err },
		"check":   func(ctx context.Context, h *hsm.HSM) error { return h.Check(ctx) },
		"sentinel": func(ctx context.Context, h *hsm.HSM) error {
			_, err := h.SentinelValue(ctx)
			return err
		},
	}
}

// withJuki adds the RSA key, the small one.
func withJuki(t *testing.T, h *hsm.HSM) {
	t.Helper()
	if err := h.EnsureKey(t.Context(), hsm.LabelJuki); err != nil {
		t.Fatal(err)
	}
}

// A token that is taken away, emptied or replaced while it is in use: nothing
// answers, nothing is believed absent, nothing is made; when it is back all is
// as before.
func TestTokenGoesAway(t *testing.T) {
	absences := map[string]func(t *testing.T, token hsmtest.Token, away string){
		"its directory is gone": func(t *testing.T, token hsmtest.Token, away string) {
			move(t, token.Dir(), away)
		},
		"its files are gone": func(t *testing.T, token hsmtest.Token, away string) {
			dir := token.Dir()
			move(t, dir, away)
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.Remove(dir) })
		},
		"its keys are gone": func(t *testing.T, token hsmtest.Token, away string) {
			dir := token.Dir()
			move(t, dir, away)
			if err := os.CopyFS(dir, os.DirFS(away)); err != nil {
				t.Fatal(err)
			}
			objects, _ := filepath.Glob(filepath.Join(dir, "*.object"))
			for _, path := range objects {
				if filepath.Base(path) != "token.object" {
					os.Remove(path)
				}
			}
		},
	}
	for name, leave := range absences {
		t.Run(name, func(t *testing.T) {
			token := hsmtest.New(t)
			token.Config.Clock = impatient()
			token.Config.JukiBits = 2048
			h := hsmtest.Reopen(t, token)
			withJuki(t, h)
			before := answer(t, h, hsm.LabelIndex)
			dir, away := token.Dir(), filepath.Join(t.TempDir(), "away")
			leave(t, token, away)

			for op, run := range operations() {
				if err := run(t.Context(), h); !errors.Is(err, hsm.ErrUnavailable) || errors.Is(err, hsm.ErrNoKey) {
					t.Errorf("%s while away: %v, want ErrUnavailable", op, err)
				}
			}
			os.RemoveAll(dir)
			move(t, away, dir)
			for op, run := range operations() {
				if err := run(t.Context(), h); err != nil {
					t.Errorf("%s after the return: %v", op, err)
				}
			}
			if answer(t, h, hsm.LabelIndex) != before {
				t.Error("the key is another one after the return")
			}
		})
	}
}

func move(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

// While the token is away, calls within the back-off fail at once and leave the
// module alone.
func TestBackOff(t *testing.T) {
	now := time.Unix(0, 0)
	token := hsmtest.New(t)
	token.Config.Clock = func() time.Time { return now }
	f := newFaulty()
	token.Config = hsm.Through(token.Config, f.wrap)
	h := hsmtest.Reopen(t, token)
	dir, away := token.Dir(), filepath.Join(t.TempDir(), "away")
	move(t, dir, away)
	if err := operations()["hmac"](t.Context(), h); !errors.Is(err, hsm.ErrUnavailable) {
		t.Fatalf("got %v", err)
	}
	f.arm(fault{})
	for range 10 {
		if err := operations()["hmac"](t.Context(), h); !errors.Is(err, hsm.ErrUnavailable) {
			t.Fatalf("got %v", err)
		}
	}
	if n := f.count("Initialize") + f.count("GetSlotList"); n != 0 {
		t.Errorf("%d calls to the module within the back-off", n)
	}
	move(t, away, dir)
	now = now.Add(2 * time.Second)
	if err := operations()["hmac"](t.Context(), h); err != nil {
		t.Errorf("two seconds later: %v", err)
	}
}

// Another token of the same label takes the place of the right one.
func TestReplacedToken(t *testing.T) {
	token := hsmtest.New(t)
	token.Config.Clock = impatient()
	h := hsmtest.Reopen(t, token)
	value, err := h.SentinelValue(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	dir, away := token.Dir(), filepath.Join(t.TempDir(), "away")
	move(t, dir, away)

	known := token.Config
	known.ExpectedSentinel = value
	if err := hsm.Init(t.Context(), known); !errors.Is(err, hsm.ErrUnavailable) {
		t.Errorf("setting up again over a ledger: %v, want ErrUnavailable", err)
	}
	if err := hsm.Init(t.Context(), token.Config); err != nil {
		t.Fatalf("making another token: %v", err)
	}
	for op, run := range operations() {
		if err := run(t.Context(), h); !errors.Is(err, hsm.ErrUnavailable) {
			t.Errorf("%s on another token: %v, want ErrUnavailable", op, err)
		}
	}
	_, err = hsm.Open(t.Context(), known)
	if !errors.Is(err, hsm.ErrUnavailable) || !strings.Contains(err.Error(), "not the one this ledger was made with") {
		t.Errorf("opening another token: %v", err)
	}
	if err := os.RemoveAll(token.Dir()); err != nil {
		t.Fatal(err)
	}
	move(t, away, dir)
	if err := operations()["check"](t.Context(), h); err != nil {
		t.Errorf("after the return: %v", err)
	}
	again, err := hsm.Open(t.Context(), known)
	if err != nil {
		t.Fatalf("opening the right token: %v", err)
	}
	defer again.Close()
	if v, err := again.SentinelValue(t.Context()); err != nil || !bytes.Equal(v, value) {
		t.Errorf("the sentinel's value changed, or %v", err)
	}
}

// A module that is initialised again for one token interrupts nobody else's.
func TestRecoveryLeavesOthersAlone(t *testing.T) {
	lost := hsmtest.New(t)
	lost.Config.Clock = impatient()
	gone, here := hsmtest.Reopen(t, lost), hsmtest.Open(t)
	dir, away := lost.Dir(), filepath.Join(t.TempDir(), "away")
	move(t, dir, away)
	stop, failed := make(chan struct{}), make(chan error, 1)
	go func() {
		defer close(failed)
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			blocks := [][16]byte{{byte(n)}}
			_, signed := here.Sign(t.Context(), hsm.LabelSign, [32]byte{byte(n)})
			if err := errors.Join(here.EncryptBlocks(t.Context(), hsm.LabelAgency, blocks), signed); err != nil {
				failed <- err
				return
			}
		}
	}()
	for range 20 {
		if err := operations()["hmac"](t.Context(), gone); !errors.Is(err, hsm.ErrUnavailable) {
			t.Errorf("the lost token: %v", err)
		}
	}
	close(stop)
	if err := <-failed; err != nil {
		t.Errorf("the other token: %v", err)
	}
	move(t, away, dir)
	if err := operations()["check"](t.Context(), gone); err != nil {
		t.Errorf("after the return: %v", err)
	}
}

// Every C call fails in turn, before or after it had its effect, once or for
// good, with a code of a lost token or of a vague module. The operation
// succeeds or says it is unavailable; afterwards everything works and every
// key is there once.
func TestEveryCallFails(t *testing.T) {
	calls := []string{"Initialize", "Finalize", "GetSlotList", "GetTokenInfo", "OpenSession", "CloseSession", "Login",
		"FindObjectsInit", "FindObjects", "FindObjectsFinal", "GetAttributeValue", "GenerateKey", "DestroyObject",
		"SignInit", "Sign", "EncryptInit", "Encrypt", "DecryptInit", "Decrypt"}
	f := newFaulty()
	token := hsmtest.New(t)
	token.Config.Clock = impatient()
	token.Config.JukiBits = 2048
	token.Config = hsm.Through(token.Config, f.wrap)
	pin, err := os.ReadFile(token.Config.Token.PINFile)
	if err != nil {
		t.Fatal(err)
	}
	h := hsmtest.Reopen(t, token)
	withJuki(t, h)
	before := answer(t, h, hsm.LabelIndex)
	happened := 0
	for _, name := range calls {
		for op, run := range operations() {
			for nth := 1; nth <= 3; nth++ {
				armed := fault{call: name, nth: nth, code: pkcs11.CKR_DEVICE_REMOVED}
				if !oneFault(t, h, f, armed, op, run, pin) {
					break // the operation makes no such call
				}
				armed.done, armed.code = true, pkcs11.CKR_GENERAL_ERROR
				oneFault(t, h, f, armed, op, run, pin)
				happened += 2
			}
			oneFault(t, h, f, fault{call: name, nth: 1, permanent: true, code: pkcs11.CKR_GENERAL_ERROR}, op, run, pin)
			settle(t, h, name+" failing in "+op, before)
		}
	}
	if happened < 200 {
		t.Errorf("only %d faults happened", happened)
	}
}

// oneFault lets an operation begin on a connection that must be made anew for
// the calls of connecting, and on an open one otherwise. It reports whether the
// fault happened.
func oneFault(t *testing.T, h *hsm.HSM, f *faulty, armed fault, op string, run func(context.Context, *hsm.HSM) error, pin []byte) bool {
	t.Helper()
	if op == "destroy" {
		if err := h.EnsureDayKey(t.Context(), day); err != nil {
			t.Fatalf("before %v: %v", armed, err)
		}
	}
	switch armed.call {
	case "Initialize", "Finalize", "GetSlotList", "GetTokenInfo", "Login":
		h.Interrupt()
	}
	f.arm(armed)
	err := run(t.Context(), h)
	happened := f.disarm()
	switch {
	case err == nil:
		assertDone(t, h, armed, op)
	case !errors.Is(err, hsm.ErrUnavailable):
		t.Errorf("%v in %s: %v, want success or ErrUnavailable", armed, op, err)
	case bytes.Contains([]byte(err.Error()), pin):
		t.Fatalf("%v in %s: the error shows the PIN", armed, op)
	}
	return happened
}

// assertDone holds a success to its word.
func assertDone(t *testing.T, h *hsm.HSM, armed fault, op string) {
	t.Helper()
	var want error
	switch op {
	case "destroy":
		want = hsm.ErrNoKey
	case "ensure":
	default:
		return
	}
	code, err := h.HMAC(t.Context(), day, nil)
	code.Destroy()
	if !errors.Is(err, want) {
		t.Errorf("%v in %s, which reports success: asking the key gives %v, want %v", armed, op, err, want)
	}
}

// settle proves that nothing was left half done.
func settle(t *testing.T, h *hsm.HSM, after string, before [32]byte) {
	t.Helper()
	if answer(t, h, hsm.LabelIndex) != before {
		t.Fatalf("after %s: the index key answers otherwise", after)
	}
	if err := h.EnsureDayKey(t.Context(), day); err != nil {
		t.Fatalf("after %s: making the day key: %v", after, err)
	}
	keys, err := h.Keys(t.Context())
	if err != nil || len(keys) != 12 {
		t.Fatalf("after %s: %d keys, %v; want each of 12 once", after, len(keys), err)
	}
	if err := h.Destroy(t.Context(), day); err != nil {
		t.Fatalf("after %s: destroying the day key: %v", after, err)
	}
}

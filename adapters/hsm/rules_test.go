package hsm_test

import (
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"errors"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"kiroku/adapters/hsm"
	"kiroku/adapters/hsm/hsmtest"

	"github.com/miekg/pkcs11"
	"pgregory.net/rapid"
)

// A key that breaks one rule is found by Open and Check, and refused on use,
// by its label and the attribute.
func TestAttributesAreAsserted(t *testing.T) {
	cases := []struct {
		name   string
		attr   uint
		value  bool
		broken string
	}{
		{"extractable", pkcs11.CKA_EXTRACTABLE, true, "extractable"},
		{"not sensitive", pkcs11.CKA_SENSITIVE, false, "sensitive"},
		{"modifiable", pkcs11.CKA_MODIFIABLE, true, "modifiable"},
		{"not private", pkcs11.CKA_PRIVATE, false, "private"},
		{"verifies", pkcs11.CKA_VERIFY, true, "verify"},
		{"encrypts", pkcs11.CKA_ENCRYPT, true, "encrypt"},
		{"wraps", pkcs11.CKA_WRAP, true, "wrap"},
		{"unwraps", pkcs11.CKA_UNWRAP, true, "unwrap"},
		{"derives", pkcs11.CKA_DERIVE, true, "derive"},
		{"does not sign", pkcs11.CKA_SIGN, false, "sign"},
	}
	token := hsmtest.New(t)
	h := hsmtest.Reopen(t, token)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			forge(t, h, day, c.attr, c.value)
			defer func() {
				if err := h.Destroy(t.Context(), day); err != nil {
					t.Errorf("removing the bad key: %v", err)
				}
			}()
			_, used := h.HMAC(t.Context(), day, nil)
			other, opened := hsm.Open(t.Context(), token.Config)
			if other != nil {
				other.Close()
			}
			for what, err := range map[string]error{"using": used, "opening": opened,
				"checking": h.Check(t.Context()), "making": h.EnsureDayKey(t.Context(), day)} {
				if !errors.Is(err, hsm.ErrAttributes) || !strings.Contains(err.Error(), day) || !strings.Contains(err.Error(), c.broken) {
					t.Errorf("%s: %v, want ErrAttributes with %s and %s", what, err, day, c.broken)
				}
			}
		})
	}
}

// forge makes a key as the rules want it, but for one attribute.
func forge(t *testing.T, h *hsm.HSM, label string, attr uint, value bool) {
	t.Helper()
	mechanism, template := hsm.TemplateOf(label)
	for i, a := range template {
		if a.Type == attr {
			template[i] = pkcs11.NewAttribute(attr, value)
		}
	}
	err := h.Raw(t.Context(), func(api hsm.Cryptoki, sh pkcs11.SessionHandle) error {
		_, err := api.GenerateKey(sh, []*pkcs11.Mechanism{pkcs11.NewMechanism(mechanism, nil)}, template)
		return err
	})
	if err != nil {
		t.Fatalf("forging a key: %v", err)
	}
}

// A key that was brought in from outside was known there: never ours.
func TestImportedKeyIsRefused(t *testing.T) {
	h := hsmtest.Open(t)
	_, template := hsm.TemplateOf(day)
	template = slices.DeleteFunc(template, func(a *pkcs11.Attribute) bool { return a.Type == pkcs11.CKA_VALUE_LEN })
	template = append(template,
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, uint(pkcs11.CKO_SECRET_KEY)),
		pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, uint(pkcs11.CKK_GENERIC_SECRET)),
		pkcs11.NewAttribute(pkcs11.CKA_VALUE, make([]byte, 32)))
	err := h.Raw(t.Context(), func(api hsm.Cryptoki, sh pkcs11.SessionHandle) error {
		return createObject(api, sh, template)
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Check(t.Context()); !errors.Is(err, hsm.ErrAttributes) {
		t.Errorf("got %v, want ErrAttributes", err)
	}
}

// The token itself holds to what the attributes say.
func TestKeysCannotBeReadOrChanged(t *testing.T) {
	h := hsmtest.Open(t)
	err := h.Raw(t.Context(), func(api hsm.Cryptoki, sh pkcs11.SessionHandle) error {
		if err := api.FindObjectsInit(sh, nil); err != nil {
			return err
		}
		all, _, err := api.FindObjects(sh, 100)
		if err := errors.Join(err, api.FindObjectsFinal(sh)); err != nil {
			return err
		}
		for _, key := range all {
			for _, secret := range []uint{pkcs11.CKA_VALUE, pkcs11.CKA_PRIVATE_EXPONENT} {
				if a, err := api.GetAttributeValue(sh, key, []*pkcs11.Attribute{pkcs11.NewAttribute(secret, nil)}); err == nil {
					t.Errorf("attribute %#x of object %d can be read (%d bytes)", secret, key, len(a[0].Value))
				}
			}
			if setAttribute(api, sh, key, pkcs11.NewAttribute(pkcs11.CKA_LABEL, "x")) == nil {
				t.Errorf("the label of object %d can be changed", key)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestDuplicateLabel(t *testing.T) {
	token := hsmtest.New(t)
	h := hsmtest.Reopen(t, token)
	forge(t, h, day, 0, false)
	forge(t, h, day, 0, false)
	if _, err := h.HMAC(t.Context(), day, nil); !errors.Is(err, hsm.ErrDuplicate) {
		t.Errorf("using: %v, want ErrDuplicate", err)
	}
	if err := h.EnsureDayKey(t.Context(), day); !errors.Is(err, hsm.ErrDuplicate) {
		t.Errorf("making: %v, want ErrDuplicate", err)
	}
	if _, err := hsm.Open(t.Context(), token.Config); !errors.Is(err, hsm.ErrDuplicate) {
		t.Errorf("opening: %v, want ErrDuplicate", err)
	}
	if err := h.Destroy(t.Context(), day); err != nil {
		t.Errorf("destroying both: %v", err)
	}
	if _, err := h.HMAC(t.Context(), day, nil); !errors.Is(err, hsm.ErrNoKey) {
		t.Errorf("afterwards: %v, want ErrNoKey", err)
	}
}

// Each key serves its one use and no other; what is kept for good cannot be
// destroyed.
func TestUses(t *testing.T) {
	h := hsmtest.Open(t)
	ctx := t.Context()
	mac := func(label string) error { _, err := h.HMAC(ctx, label, nil); return err }
	blocks := make([][16]byte, 1)
	for what, c := range map[string]struct{ got, want error }{
		"decrypting record symbols":  {h.DecryptBlocks(ctx, hsm.LabelRecordSymbol, blocks), hsm.ErrLabel},
		"encrypting with a mac key":  {h.EncryptBlocks(ctx, hsm.LabelIndex, blocks), hsm.ErrLabel},
		"a mac under a cipher key":   {mac(hsm.LabelAgency), hsm.ErrLabel},
		"an unknown label":           {mac("master/1"), hsm.ErrLabel},
		"a version that is not made": {mac("linkage/2"), hsm.ErrNoKey},
		"a day key by another name":  {h.EnsureDayKey(ctx, "vault/2"), hsm.ErrLabel},
		"a second sentinel":          {h.EnsureKey(ctx, "sentinel/2"), hsm.ErrLabel},
		"destroying linkage":         {h.Destroy(ctx, hsm.LabelLinkage), hsm.ErrNotErasable},
		"destroying the sentinel":    {h.Destroy(ctx, hsm.LabelSentinel), hsm.ErrNotErasable},
		"destroying what never was":  {h.Destroy(ctx, "record/2001-01-01"), nil},
		"a root over the root":       {h.EnsureKey(ctx, "vault/2"), nil},
		"the old root goes":          {h.Destroy(ctx, hsm.LabelVault), nil},
		"checking with the new root": {h.Check(ctx), nil},
	} {
		if !errors.Is(c.got, c.want) {
			t.Errorf("%s: %v, want %v", what, c.got, c.want)
		}
	}
}

func TestKeysShowNoValue(t *testing.T) {
	h := hsmtest.Open(t)
	if err := h.EnsureDayKey(t.Context(), day); err != nil {
		t.Fatal(err)
	}
	keys, err := h.Keys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var labels []string
	for _, k := range keys {
		labels = append(labels, k.Label)
		uses := 0
		for _, use := range []string{"sign", "encrypt", "decrypt", "verify", "wrap", "unwrap", "derive"} {
			if k.Attributes[use] {
				uses++
			}
		}
		if want := map[bool]int{true: 2, false: 1}[k.Label == hsm.LabelAgency]; uses != want {
			t.Errorf("%s has %d uses, want %d", k.Label, uses, want)
		}
	}
	want := []string{"agency/1", "digest/1", "index/1", "linkage/1", "record-symbol/1", day, "sentinel/1", "sign/1", "tweak/1", "vault/1", "view/1"}
	if !slices.Equal(labels, want) {
		t.Errorf("keys %v, want %v", labels, want)
	}
}

func TestLabels(t *testing.T) {
	for label, ok := range map[string]bool{
		"index/1": true, "linkage/255": true, "record/2026-11-22": true, "record/2024-02-29": true,
		"index": false, "index/": false, "index/0": false, "index/01": false, "index/256": false, "vault/65535": true, "vault/65536": false, "index/-1": false,
		"index/1/1": false, "record/1": false, "record/2026-2-1": false, "record/2025-02-29": false, "": false, "/1": false,
	} {
		if _, _, err := hsm.ParseLabel(label); (err == nil) != ok {
			t.Errorf("%q: %v, want it accepted: %t", label, err, ok)
		}
	}
}

func FuzzLabel(f *testing.F) {
	f.Add("record/2026-11-22")
	f.Add("index/1")
	f.Fuzz(func(t *testing.T, label string) {
		name, version, err := hsm.ParseLabel(label)
		if err == nil && name+"/"+version != label {
			t.Errorf("%q has a second form", label)
		}
	})
}

// Of a signature and its mirror image one is kept, and both say the same.
func TestLowS(t *testing.T) {
	order := elliptic.P256().Params().N
	rapid.Check(t, func(t *rapid.T) {
		s := new(big.Int).SetBytes(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "s"))
		s.Mod(s, order)
		if s.Sign() == 0 {
			return
		}
		var rs, mirror [64]byte
		s.FillBytes(rs[32:])
		new(big.Int).Sub(order, s).FillBytes(mirror[32:])
		low := hsm.LowS(rs)
		if low != hsm.LowS(mirror) || low != rs && low != mirror {
			t.Fatal("a signature and its mirror image give different forms")
		}
		if double := new(big.Int).Lsh(new(big.Int).SetBytes(low[32:]), 1); double.Cmp(order) > 0 {
			t.Fatal("s is in the upper half")
		}
	})
}

// A signature that does not verify never leaves the package.
func TestFaultySignatureIsHeldBack(t *testing.T) {
	f := newFaulty()
	token := hsmtest.New(t)
	token.Config = hsm.Through(token.Config, f.wrap)
	h := hsmtest.Reopen(t, token)
	f.twist = func(signature []byte) { signature[7] ^= 1 }
	rs, err := h.Sign(t.Context(), hsm.LabelSign, [32]byte{1})
	if !errors.Is(err, hsm.ErrUnavailable) || rs != [64]byte{} {
		t.Errorf("got %v", err)
	}
}

// What Juki-net encrypts under the exported key is opened; anything else is
// told apart from a lost token.
func TestDelivery(t *testing.T) {
	token := hsmtest.New(t)
	token.Config.JukiBits = 2048
	h := hsmtest.Reopen(t, token)
	ctx := t.Context()
	if _, err := h.Decrypt(ctx, hsm.LabelJuki, make([]byte, 256)); !errors.Is(err, hsm.ErrNoKey) {
		t.Errorf("before the key is made: %v, want ErrNoKey", err)
	}
	withJuki(t, h)
	part, err := h.ExportPublic(ctx, hsm.LabelJuki)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParsePKIXPublicKey(part.SPKI)
	if err != nil {
		t.Fatal(err)
	}
	public := parsed.(*rsa.PublicKey)
	if public.N.BitLen() != 2048 || part.ID != hsm.KeyID(part.SPKI) || len(part.ID) != 16 {
		t.Errorf("a key of %d bits, id %q", public.N.BitLen(), part.ID)
	}
	sealed, err := rsa.EncryptOAEP(sha1.New(), rand.Reader, public, []byte("00000000019"), nil)
	if err != nil {
		t.Fatal(err)
	}
	code, err := h.Decrypt(ctx, hsm.LabelJuki, sealed)
	if err != nil {
		t.Fatal(err)
	}
	defer code.Destroy()
	if string(code.Expose()) != "00000000019" {
		t.Error("the delivery opens to something else")
	}
	for what, bad := range map[string][]byte{"changed": append(slices.Clone(sealed[:255]), sealed[255]^1),
		"cut": sealed[:255], "empty": nil, "longer": append(slices.Clone(sealed), 0)} {
		if _, err := h.Decrypt(ctx, hsm.LabelJuki, bad); !errors.Is(err, hsm.ErrCiphertext) {
			t.Errorf("%s: %v, want ErrCiphertext", what, err)
		}
	}
}

// A PIN that the token refused is not tried again: the token would lock itself.
func TestPINIsTriedOnce(t *testing.T) {
	f := newFaulty()
	token := hsmtest.New(t)
	token.Config.Clock = impatient()
	token.Config.Token.PINFile = filepath.Join(t.TempDir(), "pin")
	token.Config = hsm.Through(token.Config, f.wrap)
	write(t, token.Config.Token.PINFile, "wrong-pin\n", 0o600)
	h := hsm.Prepared(t, token.Config)
	for range 5 {
		_, err := h.HMAC(t.Context(), hsm.LabelIndex, nil)
		if !errors.Is(err, hsm.ErrUnavailable) || !strings.Contains(err.Error(), token.Config.Token.PINFile) {
			t.Errorf("got %v, want ErrUnavailable naming the PIN file", err)
		}
		if strings.Contains(err.Error(), "wrong-pin") {
			t.Error("the error shows the PIN")
		}
	}
	if n := f.count("Login"); n != 1 {
		t.Errorf("the PIN was tried %d times", n)
	}
}

func write(t *testing.T, path, content string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
}

func TestPINFileMustBePrivate(t *testing.T) {
	token := hsmtest.New(t)
	token.Config.Token.PINFile = filepath.Join(t.TempDir(), "pin")
	for content, mode := range map[string]os.FileMode{"123456": 0o644, "": 0o600, strings.Repeat("x", 300): 0o600} {
		write(t, token.Config.Token.PINFile, content, mode)
		os.Chmod(token.Config.Token.PINFile, mode)
		if _, err := hsm.Open(t.Context(), token.Config); err == nil {
			t.Errorf("a PIN file of %d bytes and mode %o is accepted", len(content), mode)
		}
		os.Remove(token.Config.Token.PINFile)
	}
}

// Each purpose may have a token of its own; the sentinel value covers all of
// them, and none may stand in for another.
func TestSeparateTokens(t *testing.T) {
	first, second := hsmtest.Blank(t), hsmtest.Blank(t)
	config := first.Config
	config.Purposes = map[hsm.Purpose]hsm.TokenConfig{hsm.PurposeDays: {Label: second.Config.Token.Label}}
	if err := hsm.Init(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	h, err := hsm.Open(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if err := h.EnsureDayKey(t.Context(), day); err != nil {
		t.Fatal(err)
	}
	keys, err := h.Keys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	where := map[string][]string{}
	for _, k := range keys {
		where[k.Token] = append(where[k.Token], k.Label)
	}
	if got := where[second.Config.Token.Label]; !slices.Equal(got, []string{day, hsm.LabelSentinel}) {
		t.Errorf("the token for days holds %v", got)
	}
	value, err := h.SentinelValue(t.Context())
	if err != nil || len(value) != 64 {
		t.Fatalf("a sentinel value of %d bytes, %v", len(value), err)
	}
	swapped := config
	swapped.Purposes = maps.Clone(config.Purposes)
	swapped.ExpectedSentinel = slices.Concat(value[32:], value[:32])
	if _, err := hsm.Open(t.Context(), swapped); !errors.Is(err, hsm.ErrUnavailable) {
		t.Errorf("with the tokens exchanged: %v, want ErrUnavailable", err)
	}
	swapped.ExpectedSentinel = value[:32]
	if _, err := hsm.Open(t.Context(), swapped); !errors.Is(err, hsm.ErrUnavailable) {
		t.Errorf("with another number of tokens: %v, want ErrUnavailable", err)
	}
}

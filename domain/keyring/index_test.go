package keyring_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"testing"

	"kiroku/domain/keyring"
)

// TestIndexesAreSeparate: no two ways to name something meet, though their bytes run together.
func TestIndexesAreSeparate(t *testing.T) {
	b := newBed(t)
	type named struct {
		kind  string
		parts [][]byte
	}
	seen := map[[16]byte]string{}
	for _, n := range []named{
		{"", nil},
		{"", [][]byte{{}}},
		{"", [][]byte{{}, {}}},
		{"a", nil},
		{"a", [][]byte{{}}},
		{"a", [][]byte{[]byte("bc")}},
		{"ab", [][]byte{[]byte("c")}},
		{"abc", nil},
		{"a", [][]byte{[]byte("b"), []byte("c")}},
		{"a", [][]byte{[]byte("bc"), {}}},
		{"a", [][]byte{{}, []byte("bc")}},
		{"a", [][]byte{{0, 0, 0, 1, 'b'}}},
		{keyring.IndexLinkage, [][]byte{make([]byte, 16)}},
		{keyring.IndexRecord, [][]byte{make([]byte, 16)}},
		{keyring.IndexSubject, [][]byte{make([]byte, 16)}},
		{keyring.IndexManagement, [][]byte{make([]byte, 32)}},
	} {
		for what, value := range map[string][16]byte{"index": b.Index(n.kind, n.parts...), "digest": b.Digest(n.kind, n.parts...)} {
			name := fmt.Sprintf("%s %q %q", what, n.kind, n.parts)
			if other, met := seen[value]; met {
				t.Errorf("%s is %s", name, other)
			}
			seen[value] = name
		}
	}
	before := b.Index(keyring.IndexRecord, []byte("x"))
	b.restart()
	if b.Index(keyring.IndexRecord, []byte("x")) != before {
		t.Error("another index after a restart")
	}
	b.token.keys[keyring.LabelView] = []byte("another token")
	b.restart()
	if b.Index(keyring.IndexRecord, []byte("x")) == before {
		t.Error("the same index under another key")
	}
}

// TestIndexesInParallel: one answer for one thing, whoever asks beside.
func TestIndexesInParallel(t *testing.T) {
	b := newBed(t)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			part := []byte{byte(i)}
			index, digest := b.Index("kind", part), b.Digest("kind", part)
			for range 500 {
				if b.Index("kind", part) != index || b.Digest("kind", part) != digest {
					t.Error("another answer")
				}
			}
		})
	}
	all.Wait()
}

func TestAKeyringNeedsItsHSM(t *testing.T) {
	for _, missing := range []string{keyring.LabelView, keyring.LabelDigest} {
		token := newToken()
		token.destroy(missing)
		if _, err := keyring.New(t.Context(), token, &shelf{}, keyring.Options{}); !errors.Is(err, errGone) {
			t.Errorf("without %s: %v", missing, err)
		}
	}
}

// TestNothingPrintsAKey prints everything that holds one in every way.
func TestNothingPrintsAKey(t *testing.T) {
	b := newBed(t)
	b.openDay(stream, today)
	b.openVault(2, 2)
	s := b.NewSubject()
	defer s.Destroy()
	var secrets [][]byte
	b.token.after = nil
	for label := range b.token.keys {
		for _, message := range []string{"kiroku/view/1", "kiroku/digest/1"} {
			answer, err := b.token.HMAC(t.Context(), label, []byte(message))
			if err != nil {
				t.Fatal(err)
			}
			secrets = append(secrets, bytes.Clone(answer.Expose()))
			answer.Destroy()
		}
	}
	id := s.ID.Expose()
	secrets = append(secrets, id[:])
	for _, value := range []any{b.Keyring, *s, s, s.ID, struct{ S *keyring.Subject }{s}, []any{b.Keyring, s}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%X", "%d", "%q"} {
			text := fmt.Sprintf(verb, value)
			for _, key := range secrets {
				for _, form := range []string{string(key), hex.EncodeToString(key), fmt.Sprintf("%X", key), fmt.Sprint(key), fmt.Sprintf("%q", key),
					base64.StdEncoding.EncodeToString(key), fmt.Sprintf("%#v", key)} {
					if len(form) > 8 && bytes.Contains([]byte(text), []byte(form[1:len(form)-1])) {
						t.Errorf("%s of %T shows a key", verb, value)
					}
				}
			}
		}
	}
}

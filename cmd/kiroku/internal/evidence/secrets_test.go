package evidence_test

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"kiroku/adapters/hsm"
	"kiroku/cmd/kiroku/internal/evidence/leaktest"
	"kiroku/domain/event"
	"kiroku/domain/keyring"
	"kiroku/domain/ledger"
	"kiroku/domain/symbol"
)

// known is everything secret about a ledger, worked out again from its events, its token and the resident codes.
type known struct {
	t       *testing.T
	hsm     *hsm.HSM
	events  []ledger.Event
	keyring *keyring.Keyring

	secrets []leaktest.Secret
	opened  map[string]string // sealed event to its type and plaintext, by place
	never   []leaktest.Secret // what not even a sealed payload may hold
	kinds   map[string]int
}

// What a search has to know, by kind; the counts are the least for one person at one agency with one inquiry.
var kindsOfSecrets = []string{
	"resident code", "management information", "linkage symbol", "salt", "subject id", "subject key", "record symbol", "agency symbol",
	"tweak", "day key", "bucket key", "locator key", "vault key", "view key", "digest key",
}

func (k *known) add(kind, of string, value []byte, never bool) {
	s := leaktest.Secret{Name: kind + of, Value: bytes.Clone(value)}
	k.kinds[kind]++
	k.secrets = append(k.secrets, s)
	if never {
		k.never = append(k.never, s)
	}
}

// learn works out all secrets of a ledger. The codes of persons are the test's own knowledge.
func learn(t *testing.T, h *hsm.HSM, events []ledger.Event, codes [][]byte) *known {
	t.Helper()
	k := &known{t: t, hsm: h, events: events, opened: map[string]string{}, kinds: map[string]int{}}
	var err error
	if k.keyring, err = keyring.New(t.Context(), h, stored(events), keyring.Options{}); err != nil {
		t.Fatal(err)
	}
	for _, label := range []string{"view", "digest"} {
		k.add(label+" key", "", k.hmac(label+"/1", []byte("kiroku/"+label+"/1")), true)
	}
	for i, code := range codes {
		k.add("resident code", fmt.Sprintf(" %d", i), code, true)
		k.add("management information", fmt.Sprintf(" of code %d", i), k.hmac(hsm.LabelIndex, code), false)
	}
	v := k.vault()
	k.persons(v, k.agencies())
	k.days()
	for _, kind := range kindsOfSecrets {
		if k.kinds[kind] == 0 {
			t.Fatalf("no %s is known: the search would look for none", kind)
		}
	}
	return k
}

func (k *known) hmac(label string, message []byte) []byte {
	k.t.Helper()
	mac, err := k.hsm.HMAC(k.t.Context(), label, message)
	if err != nil {
		k.t.Fatal(err)
	}
	defer mac.Destroy()
	return bytes.Clone(mac.Expose())
}

// stored lets the keyring read events back.
type stored []ledger.Event

func (s stored) ReadForward(_ context.Context, stream string, from uint64, limit int) ([]ledger.Event, error) {
	for i, e := range s {
		if e.Stream == stream && e.Revision == from {
			return s[i:min(i+limit, len(s))], nil
		}
	}
	return nil, errors.New("no such event")
}

// agency symbols of a person are derived for every agency, whether it asked or not.
type agencyKey struct {
	code  string
	tweak symbol.Tweak
}

func (k *known) agencies() (all []agencyKey) {
	for _, e := range k.events {
		if e.Type != event.TypeAgencyRegistered {
			continue
		}
		a, err := event.Decode[event.AgencyRegistered](e.Data)
		if err != nil {
			k.t.Fatal(err)
		}
		mac := k.hmac(hsm.LabelTweak, symbol.TweakInput([16]byte(a.Parameter), 1))
		tweak, err := symbol.TweakFrom(mac)
		if err != nil {
			k.t.Fatal(err)
		}
		k.add("tweak", " of "+a.Code, mac[:symbol.Size], true)
		all = append(all, agencyKey{a.Code, tweak})
	}
	return all
}

// vaultKeys are the keys over the persons' keys, unwrapped here as the format says and not by the keyring.
type vaultKeys struct {
	generation int
	locator    []byte
	buckets    [][]byte
	used       map[int]bool
}

func (k *known) vault() *vaultKeys {
	v := &vaultKeys{used: map[int]bool{}}
	var kek []byte
	for _, e := range k.events {
		switch e.Type {
		case event.TypeVaultOpened:
			o := decode[event.VaultOpened](k.t, e.Data)
			kek = k.hmac(o.Root, append([]byte("kiroku/vault/1"), o.Random...))
			k.add("vault key", "", kek, true)
			v.generation = o.Generation
			v.locator = unwrap(k.t, kek, o.Locator, binary.BigEndian.AppendUint32([]byte("kiroku/locator/1"), uint32(o.Generation)))
			k.add("locator key", "", v.locator, true)
			if err := k.keyring.OpenVault(k.t.Context(), o); err != nil {
				k.t.Fatal(err)
			}
		case event.TypeBucketKeysStored:
			s := decode[event.BucketKeysStored](k.t, e.Data)
			for i, w := range s.Keys {
				context := binary.BigEndian.AppendUint32([]byte("kiroku/bucket/1"), uint32(s.Generation))
				v.buckets = append(v.buckets, unwrap(k.t, kek, w, binary.BigEndian.AppendUint32(context, uint32(s.First+i))))
			}
			if _, err := k.keyring.LoadBucketKeys(s); err != nil {
				k.t.Fatal(err)
			}
		}
	}
	return v
}

// bucket notes a bucket key that is in use: a default vault has 65,536.
func (k *known) bucket(v *vaultKeys, id []byte) []byte {
	at := int(binary.BigEndian.Uint32(id) % uint32(len(v.buckets)))
	if !v.used[at] {
		v.used[at] = true
		k.add("bucket key", fmt.Sprintf(" %d", at), v.buckets[at], true)
	}
	return v.buckets[at]
}

// persons opens the issuance register and derives everybody's symbols again.
func (k *known) persons(v *vaultKeys, agencies []agencyKey) {
	n := 0
	for _, e := range k.events {
		if event.ClassOf(e.Type) != event.ClassSubject {
			continue
		}
		plain, subjectKey, id := k.openSubject(v, e)
		if e.Type != event.TypeSymbolIssued {
			continue
		}
		issued := decode[event.SymbolIssued](k.t, plain)
		if !issued.NewPerson {
			continue
		}
		n++
		who := fmt.Sprintf(" of person %d", n)
		if !bytes.Equal(issued.Subject.ID, id) {
			k.t.Fatalf("the key reference of the entry%s names somebody else", who)
		}
		k.add("subject id", who, id, false)
		k.add("subject key", who, subjectKey, true)
		k.add("linkage symbol", who, issued.Subject.Linkage, false)
		k.add("management information", who, issued.Subject.Management, false)
		k.add("salt", who, issued.Subject.Salt, false)
		block := [][16]byte{[16]byte(issued.Subject.Linkage)}
		k.encrypt(hsm.LabelRecordSymbol, block)
		k.add("record symbol", who, block[0][:], false)
		linkage, err := symbol.LinkageFromBytes(issued.Subject.Linkage)
		if err != nil {
			k.t.Fatal(err)
		}
		for _, a := range agencies {
			block := [][16]byte{linkage.Masked(a.tweak)}
			k.encrypt(hsm.LabelAgency, block)
			s := symbol.AgencyFrom(block[0], a.tweak, 1).Expose()
			k.add("agency symbol", who+" at "+a.code, s[1:], true)
		}
	}
}

func (k *known) encrypt(label string, blocks [][16]byte) {
	k.t.Helper()
	if err := k.hsm.EncryptBlocks(k.t.Context(), label, blocks); err != nil {
		k.t.Fatal(err)
	}
}

// openSubject opens a payload of class subject with a key that it unwraps itself.
func (k *known) openSubject(v *vaultKeys, e ledger.Event) (plain, key, id []byte) {
	h := header(k.t, e)
	parts := strings.Split(h.KeyID, "/")
	ref, err := base64.RawURLEncoding.DecodeString(parts[len(parts)-1])
	if err != nil {
		k.t.Fatal(err)
	}
	generation := binary.BigEndian.AppendUint32([]byte("kiroku/locator/1"), uint32(v.generation))
	id = unwrap(k.t, v.locator, ref[:44], generation)
	key = unwrap(k.t, k.bucket(v, id), ref[44:], append([]byte("kiroku/subject/1"), id...))
	if plain, err = ledger.Open(key, h, e.Data); err != nil {
		k.t.Fatalf("%s@%d does not open: %v", e.Stream, e.Revision, err)
	}
	k.opened[place(e)] = string(plain)
	return plain, key, id
}

// days derives the data keys of days and opens what they seal.
func (k *known) days() {
	keys := map[string][]byte{}
	for _, e := range k.events {
		if e.Type != event.TypeDayOpened {
			continue
		}
		o, err := ledger.DecodeDayOpened(e.Data)
		if err != nil {
			k.t.Fatal(err)
		}
		message, err := ledger.DataKeyInput(e.Stream, o.Day, o.Salt)
		if err != nil {
			k.t.Fatal(err)
		}
		id := ledger.DataKeyID(o.Day, e.Stream, e.Revision)
		keys[id] = k.hmac("record/"+o.Day, message)
		k.add("day key", " "+id, keys[id], true)
	}
	for _, e := range k.events {
		if event.ClassOf(e.Type) != event.ClassRecord {
			continue
		}
		h := header(k.t, e)
		plain, err := ledger.Open(keys[h.KeyID], h, e.Data)
		if err != nil {
			k.t.Fatalf("%s@%d does not open: %v", e.Stream, e.Revision, err)
		}
		k.opened[place(e)] = string(plain)
	}
}

func place(e ledger.Event) string { return fmt.Sprintf("%s %s@%d", e.Type, e.Stream, e.Revision) }

func header(t *testing.T, e ledger.Event) ledger.Header {
	t.Helper()
	h, _, _, err := ledger.DecodeMetadata(e.Metadata)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func decode[T any](t *testing.T, plain []byte) T {
	t.Helper()
	v, err := event.Decode[T](plain)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// unwrap opens nonce ‖ AES-256-GCM.
func unwrap(t *testing.T, under, wrapped, context []byte) []byte {
	t.Helper()
	block, err := aes.NewCipher(under)
	if err != nil {
		t.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	out, err := gcm.Open(nil, wrapped[:12], wrapped[12:], context)
	if err != nil {
		t.Fatalf("a wrapped key does not open: %v", err)
	}
	return out
}

// scanners return one scan for everything outside and one for the inside of sealed payloads.
func (k *known) scanners(more ...leaktest.Secret) (outside, inside *leaktest.Scanner) {
	k.t.Helper()
	outside, err := leaktest.New(append(k.secrets, more...)...)
	if err != nil {
		k.t.Fatal(err)
	}
	if inside, err = leaktest.New(append(k.never, more...)...); err != nil {
		k.t.Fatal(err)
	}
	return outside, inside
}

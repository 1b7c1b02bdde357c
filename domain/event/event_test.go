package event_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"pgregory.net/rapid"

	"kiroku/domain/event"
)

// payload is one type of event with its payload's type.
type payload struct {
	eventType string
	class     event.Class
	check     func(t *testing.T) // round trips and refusals
	sample    func() any
}

func of[T any](eventType string, class event.Class) payload {
	generate := rapid.Make[T]()
	return payload{eventType, class, func(t *testing.T) {
		t.Run("round trip", func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) { roundTrip(t, generate.Draw(t, "payload")) })
		})
		t.Run("refusals", func(t *testing.T) { refusals(t, generate.Example(1)) })
	}, func() any { return generate.Example(7) }}
}

var payloads = []payload{
	of[event.EpochStarted](event.TypeEpochStarted, event.ClassPlain),
	of[event.LedgerOpened](event.TypeLedgerOpened, event.ClassPlain),
	of[event.SigningKeyPublished](event.TypeSigningKeyPublished, event.ClassPlain),
	of[event.AgencyRegistered](event.TypeAgencyRegistered, event.ClassPlain),
	of[event.AgencyStatusChanged](event.TypeAgencyStatusChanged, event.ClassPlain),
	of[event.ScopeRulesPublished](event.TypeScopeRulesPublished, event.ClassPlain),
	of[event.PIAViolation](event.TypePIAViolation, event.ClassPlain),
	of[event.VaultOpened](event.TypeVaultOpened, event.ClassPlain),
	of[event.BucketKeysStored](event.TypeBucketKeysStored, event.ClassPlain),
	of[event.SymbolIssued](event.TypeSymbolIssued, event.ClassSubject),
	of[event.SymbolAlreadyAcquired](event.TypeSymbolAlreadyAcquired, event.ClassSubject),
	of[event.ResidentCodeChanged](event.TypeResidentCodeChanged, event.ClassSubject),
	of[event.ResidentCodeChangeRefused](event.TypeResidentCodeChangeRefused, event.ClassSubject),
	of[event.InquiryNotified](event.TypeInquiryNotified, event.ClassRecord),
	of[event.InquiryRefused](event.TypeInquiryRefused, event.ClassRecord),
	of[event.ProvisionReported](event.TypeProvisionReported, event.ClassRecord),
	of[event.InquiryLapsed](event.TypeInquiryLapsed, event.ClassRecord),
	of[event.RecordsDisclosed](event.TypeRecordsDisclosed, event.ClassRecord),
}

func TestEveryPayload(t *testing.T) {
	for _, p := range payloads {
		t.Run(p.eventType, func(t *testing.T) {
			if got := event.ClassOf(p.eventType); got != p.class {
				t.Errorf("class %d, want %d", got, p.class)
			}
			if _, redacts := p.sample().(fmt.Formatter); redacts != (p.class != event.ClassPlain) {
				t.Errorf("prints as redacted: %v", redacts)
			}
			p.check(t)
		})
	}
	for _, unknown := range []string{event.TypeDayOpened, event.TypeAnchor, "never-heard-of", ""} {
		if event.ClassOf(unknown) != event.ClassPlain {
			t.Errorf("type %q is protected by a key that nobody knows", unknown)
		}
	}
}

// roundTrip fails unless every member survives and the encoding is the only one.
func roundTrip[T any](t *rapid.T, v T) {
	first, err := event.Encode(v)
	if err != nil {
		t.Fatal(err)
	}
	got, err := event.Decode[T](first)
	if err != nil {
		t.Fatal(err)
	}
	second, err := event.Encode(got)
	if err != nil || !bytes.Equal(first, second) {
		t.Fatalf("encoded %x, and again %x (%v)", first, second, err)
	}
	emptyIsNone(reflect.ValueOf(&v).Elem())
	emptyIsNone(reflect.ValueOf(&got).Elem())
	if !reflect.DeepEqual(v, got) {
		t.Fatal("a member was lost")
	}
	var canonical any
	if err := cbor.Unmarshal(first, &canonical); err != nil {
		t.Fatal(err)
	}
	again, err := event.Encode(canonical)
	if err != nil || !bytes.Equal(first, again) {
		t.Fatalf("%x is not the deterministic encoding %x (%v)", first, again, err)
	}
}

// emptyIsNone makes empty lists nil everywhere inside: no reader tells them apart.
func emptyIsNone(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			emptyIsNone(v.Field(i))
		}
	case reflect.Slice:
		if v.Len() == 0 {
			v.SetZero()
			return
		}
		for i := range v.Len() {
			emptyIsNone(v.Index(i))
		}
	}
}

// refusals damages an encoding in every way that Decode promises to refuse.
func refusals[T any](t *testing.T, v T) {
	good, err := event.Encode(v)
	if err != nil {
		t.Fatal(err)
	}
	var members map[string]cbor.RawMessage
	if err := cbor.Unmarshal(good, &members); err != nil {
		t.Fatal(err)
	}
	one, value := "", cbor.RawMessage(nil)
	for one, value = range members {
		break
	}
	damaged := map[string][]byte{
		"empty":            {},
		"null":             {0xf6},
		"undefined":        {0xf7},
		"a list":           {0x80},
		"a number":         {0x01},
		"trailing bytes":   append(bytes.Clone(good), 0),
		"twice":            append(bytes.Clone(good), good...),
		"cut":              good[:len(good)-1],
		"unknown member":   withMember(good, "unheard_of", []byte{0}),
		"duplicate member": withMember(good, one, value),
		"other spelling":   withMember(good, strings.ToUpper(one), value),
		"numbered member":  append(append([]byte{good[0] + 1}, 0x01, 0x00), good[1:]...),
		"endless map":      append(append([]byte{0xbf}, good[1:]...), 0xff),
		"tagged":           append([]byte{0xc0}, good...),
		"other kind":       {0xa1, 0x67, 'c', 'o', 'm', 'm', 'a', 'n', 'd', 0x01},
	}
	for name, data := range damaged {
		_, err := event.Decode[T](data)
		if !errors.Is(err, event.ErrMalformed) {
			t.Errorf("%s: got %v", name, err)
		} else if strings.Contains(err.Error(), one) && one != "" && len(one) > 6 {
			t.Errorf("%s: %q quotes the payload", name, err)
		}
	}
}

// withMember adds a member to an encoded map of less than 23.
func withMember(m []byte, name string, value []byte) []byte {
	out := append([]byte{m[0] + 1, 0x60 + byte(len(name))}, name...)
	if len(name) > 23 {
		out = append([]byte{m[0] + 1, 0x78, byte(len(name))}, name...)
	}
	return append(append(out, value...), m[1:]...)
}

// TestMembersAreNamed: every member of every payload has a name of its own, and one that will stay.
func TestMembersAreNamed(t *testing.T) {
	form := regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
	for _, p := range payloads {
		var walk func(reflect.Type)
		walk = func(typ reflect.Type) {
			for typ.Kind() == reflect.Slice {
				typ = typ.Elem()
			}
			if typ.Kind() != reflect.Struct {
				return
			}
			seen := map[string]bool{}
			for i := range typ.NumField() {
				name, _, _ := strings.Cut(typ.Field(i).Tag.Get("cbor"), ",")
				if !form.MatchString(name) || seen[name] {
					t.Errorf("%s.%s is encoded as %q", typ, typ.Field(i).Name, name)
				}
				seen[name] = true
				walk(typ.Field(i).Type)
			}
		}
		walk(reflect.TypeOf(p.sample()))
	}
}

// TestNothingProtectedIsPrinted prints every payload with every verb.
func TestNothingProtectedIsPrinted(t *testing.T) {
	const canary = "canary-of-a-symbol"
	p := event.Protected(canary)
	r := event.Record{Symbol: p, Subject: p}
	v := event.SymbolIssued{Subject: event.Subject{ID: p, Linkage: p, Management: p, Salt: p}}
	values := []any{p, &p, []event.Protected{p}, map[string]event.Protected{"x": p},
		r, &r, v, &v, v.Subject, &v.Subject, &event.SymbolAlreadyAcquired{Subject: p},
		&event.ResidentCodeChanged{Subject: p, OldManagement: p, Management: p}, &event.ResidentCodeChangeRefused{Subject: p, Other: p},
		&event.InquiryNotified{Record: r}, &event.InquiryRefused{Record: r}, &event.ProvisionReported{Record: r}, &event.InquiryLapsed{Record: r},
		&event.RecordsDisclosed{Symbol: p}}
	values = append(values, values, struct{ A []any }{values}) // a pointer inside something else is printed otherwise
	leaks := regexp.MustCompile(`(?i)canary|` + hex.EncodeToString([]byte("canary")) + `|99 97 110|63, ?61, ?6e|Y2FuYXJ5`)
	for _, value := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%d", "%c", "%U", "%b", "%o", "%t", "%e", "%T"} {
			if text := fmt.Sprintf(verb, value); leaks.MatchString(text) {
				t.Errorf("%s of %T prints %s", verb, value, text)
			}
		}
	}
	encoded, err := event.Encode(v)
	if err != nil || !bytes.Contains(encoded, []byte(canary)) {
		t.Errorf("the payload itself must hold it (%v)", err)
	}
}

func TestStreams(t *testing.T) {
	want := []string{"registry", "vault", "issuance", "audit", "record-00", "record-01"}
	if got := event.Streams(2); !reflect.DeepEqual(got, want) {
		t.Errorf("got %q", got)
	}
	if got := event.RecordStream(event.MaxRecordShards - 1); got != "record-63" {
		t.Errorf("the last record stream is %s", got)
	}
	for _, s := range event.Streams(event.MaxRecordShards) {
		if event.IsRecordStream(s) != strings.HasPrefix(s, "record-") {
			t.Errorf("%s is or is not a record stream", s)
		}
	}
}

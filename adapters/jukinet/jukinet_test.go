package jukinet

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"

	"kiroku/domain/secret"
	"kiroku/domain/secret/secrettest"
	"kiroku/domain/symbol"
)

var softKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

// softDecrypter opens with a key in memory, so that faults can be had that a token does not show.
type softDecrypter struct {
	key    *rsa.PrivateKey
	labels []string
	err    error
}

func (d *softDecrypter) Decrypt(_ context.Context, label string, ciphertext []byte) (*secret.Bytes, error) {
	d.labels = append(d.labels, label)
	if d.err != nil {
		return nil, d.err
	}
	plain, err := rsa.DecryptOAEP(sha1.New(), nil, d.key, ciphertext, nil)
	return secret.Take(plain), err
}

// pair is a delivery as a test writes it: codes in strings exist in tests alone, and are synthetic.
type pair struct{ number, code string }

func pairs(n int) []pair {
	var all []pair
	for i := range n {
		first10 := fmt.Sprintf("%010d", i*7919+13)
		all = append(all, pair{fmt.Sprintf("A-%d", i), first10 + string(symbol.Mod11([]byte(first10)))})
	}
	return all
}

func anyDigit([]byte) byte { return 0 }

func (p pair) delivery(policy symbol.CheckDigit) Delivery {
	code, err := symbol.ParseResidentCode([]byte(p.code), policy)
	if err != nil {
		panic(err)
	}
	return Delivery{symbol.AcquisitionNumber(p.number), code}
}

func deliveriesOf(all []pair) iter.Seq[Delivery] {
	return func(yield func(Delivery) bool) {
		for _, p := range all {
			d := p.delivery(nil)
			goOn := yield(d)
			d.Code.Destroy()
			if !goOn {
				return
			}
		}
	}
}

func sealed(t fataler, all []pair) []byte {
	var message bytes.Buffer
	if err := Seal(&message, &softKey().PublicKey, 1, deliveriesOf(all)); err != nil {
		t.Fatal(err)
	}
	return message.Bytes()
}

type fataler interface{ Fatal(...any) }

// opened drains a message; refusals are noted as pairs without a code.
func opened(message []byte) (got []pair, failure error) {
	for d, err := range Open(context.Background(), &softDecrypter{key: softKey()}, bytes.NewReader(message), nil) {
		if err != nil && !Refused(err) {
			return got, err
		}
		got = append(got, pair{string(d.AcquisitionNumber), string(d.Code.Expose())})
		d.Code.Destroy()
	}
	return got, nil
}

// headerSize is that of a message for a 2,048-bit key.
const headerSize = len(deliveryMagic) + 3 + 256

const onWire = 1 + frameSize

func TestAMessageDeliversWhatWasSealed(t *testing.T) {
	for _, n := range []int{0, 1, 2, 1000} {
		message := sealed(t, pairs(n))
		if got, err := opened(message); err != nil || !slices.Equal(got, pairs(n)) {
			t.Errorf("%d deliveries: %d came, %v", n, len(got), err)
		}
		if want := headerSize + (n+1)*onWire; len(message) != want {
			t.Errorf("%d deliveries: %d bytes, want %d", n, len(message), want)
		}
	}
}

func TestAMessageShowsNoCode(t *testing.T) {
	all := pairs(50)
	message := sealed(t, all)
	for _, p := range all {
		if secrettest.Shows(message, []byte(p.code)) || bytes.Contains(message, append([]byte{byte(len(p.number))}, p.number+"\x00\x00\x00"...)) {
			t.Fatal("a message shows a delivery in clear")
		}
	}
}

func TestTheKeyVersionNamesTheKeyOfTheHSM(t *testing.T) {
	var message bytes.Buffer
	if err := Seal(&message, &softKey().PublicKey, 7, deliveriesOf(nil)); err != nil {
		t.Fatal(err)
	}
	d := &softDecrypter{key: softKey()}
	for _, err := range Open(t.Context(), d, &message, nil) {
		t.Fatal(err)
	}
	if !slices.Equal(d.labels, []string{"juki/7"}) {
		t.Errorf("asked for %v", d.labels)
	}
}

// Whatever is changed, what is yielded before the failure is a true beginning, and the failure names the record.
func TestAlteredMessagesAreRefused(t *testing.T) {
	all := pairs(5)
	whole := sealed(t, all)
	foreign := sealed(t, all)
	frame := func(message []byte, i int) []byte { return message[headerSize+i*onWire : headerSize+(i+1)*onWire] }
	join := func(frames ...[]byte) []byte {
		return slices.Concat(append([][]byte{whole[:headerSize]}, frames...)...)
	}
	f := func(i int) []byte { return frame(whole, i) }
	flipped := func(at int) []byte { m := bytes.Clone(whole); m[at] ^= 1; return m }
	for _, row := range []struct {
		name    string
		message []byte
		good    int
		want    error
		says    string
	}{
		{"nothing", nil, 0, ErrTruncated, "delivery message"},
		{"half a header", whole[:20], 0, ErrTruncated, ""},
		{"half a key", whole[:headerSize-1], 0, ErrTruncated, ""},
		{"no frames", whole[:headerSize], 0, ErrTruncated, "record 0"},
		{"another format", append([]byte("x"), whole[1:]...), 0, ErrFormat, ""},
		{"a key version altered", flipped(len(deliveryMagic)), 0, ErrAltered, "record 0"},
		{"a key length of 0", append(append(bytes.Clone(whole[:len(deliveryMagic)+1]), 0, 0), whole[headerSize:]...), 0, ErrFormat, ""},
		{"a key length beyond bounds", append(append(bytes.Clone(whole[:len(deliveryMagic)+1]), 0xff, 0xff), whole[headerSize:]...), 0, ErrFormat, ""},
		{"a record's code altered", flipped(headerSize + 3*onWire + 5), 3, ErrAltered, "record 3"},
		{"a record's tag altered", flipped(headerSize + 3*onWire - 1), 2, ErrAltered, "record 2"},
		{"a record's kind altered", flipped(headerSize + 1*onWire), 1, ErrAltered, "record 1"},
		{"a record made the end", join(f(0), append([]byte{kindEnd}, f(1)[1:]...)), 1, ErrAltered, "record 1"},
		{"records exchanged", join(f(0), f(2), f(1), f(3), f(4), f(5)), 1, ErrAltered, "record 1"},
		{"a record repeated", join(f(0), f(0), f(1), f(2), f(3), f(4), f(5)), 1, ErrAltered, "record 1"},
		{"a record left out", join(f(0), f(1), f(3), f(4), f(5)), 2, ErrAltered, "record 2"},
		{"the end too early", join(f(0), f(1), f(5)), 2, ErrAltered, "record 2"},
		{"another message's record", join(f(0), frame(foreign, 1), f(2)), 1, ErrAltered, "record 1"},
		{"cut between records", whole[:headerSize+3*onWire], 3, ErrTruncated, "record 3"},
		{"cut in a record", whole[:headerSize+3*onWire+40], 3, ErrTruncated, "record 3"},
		{"cut before the end", whole[:headerSize+5*onWire], 5, ErrTruncated, "record 5"},
		{"something behind the end", append(bytes.Clone(whole), 0), 5, ErrAltered, "record 5"},
		{"another message's header", append(bytes.Clone(foreign[:headerSize]), whole[headerSize:]...), 0, ErrAltered, "record 0"},
	} {
		got, err := opened(row.message)
		if !errors.Is(err, row.want) || !slices.Equal(got, all[:row.good]) {
			t.Errorf("%s: %d deliveries, then %v; want %d, then %v", row.name, len(got), err, row.good, row.want)
		}
		if err != nil && !strings.Contains(err.Error(), row.says) {
			t.Errorf("%s: %q does not say %q", row.name, err, row.says)
		}
	}
}

// TestADeliveryIsNoRequestForDeletion, nor the other way round, nor when its first octets are exchanged.
func TestADeliveryIsNoRequestForDeletion(t *testing.T) {
	all := pairs(2)
	delivery := sealed(t, all)
	var deletion bytes.Buffer
	if err := SealDeletions(&deletion, &softKey().PublicKey, 1, deliveriesOf(all)); err != nil {
		t.Fatal(err)
	}
	renamed := append([]byte(deletionMagic), delivery[len(deliveryMagic):]...)
	read := func(message []byte) (n int, failure error) {
		for d, err := range OpenDeletions(t.Context(), &softDecrypter{key: softKey()}, bytes.NewReader(message), nil) {
			if err != nil {
				return n, err
			}
			d.Code.Destroy()
			n++
		}
		return n, nil
	}
	if n, err := read(deletion.Bytes()); n != 2 || err != nil {
		t.Errorf("%d requests, %v", n, err)
	}
	if n, err := read(delivery); n != 0 || !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "deletion message") {
		t.Errorf("a delivery: %d requests, %v", n, err)
	}
	if n, err := read(renamed); n != 0 || !errors.Is(err, ErrAltered) {
		t.Errorf("a delivery, renamed: %d requests, %v", n, err)
	}
	if got, err := opened(deletion.Bytes()); len(got) != 0 || !errors.Is(err, ErrFormat) {
		t.Errorf("taken for a delivery: %d, %v", len(got), err)
	}
}

func TestAnyAlteredByteIsRefused(t *testing.T) {
	all := pairs(3)
	whole := sealed(t, all)
	rapid.Check(t, func(t *rapid.T) {
		altered := bytes.Clone(whole)
		at := rapid.IntRange(0, len(whole)-1).Draw(t, "at")
		altered[at] ^= rapid.ByteRange(1, 255).Draw(t, "change")
		got, err := opened(altered)
		if err == nil || !slices.Equal(got, all[:len(got)]) || at >= headerSize && len(got) != min((at-headerSize)/onWire, 3) {
			t.Fatalf("byte %d altered: %d deliveries, then %v", at, len(got), err)
		}
		if got, err = opened(whole[:at]); !errors.Is(err, ErrTruncated) || !slices.Equal(got, all[:len(got)]) {
			t.Fatalf("cut at %d: %d deliveries, then %v", at, len(got), err)
		}
	})
}

// One invalid code is the sender's fault in one record: the agency hears of it, the others get their symbols.
func TestOneInvalidRecordDoesNotStopTheOthers(t *testing.T) {
	all := pairs(3)
	wrong := all[1].code[:10] + string('0'+(all[1].code[10]-'0'+1)%10)
	asSent := func([]byte) byte { return wrong[10] }
	var message bytes.Buffer
	err := Seal(&message, &softKey().PublicKey, 1, func(yield func(Delivery) bool) {
		_ = yield(all[0].delivery(nil)) && yield(pair{all[1].number, wrong}.delivery(asSent)) && yield(all[2].delivery(nil))
	})
	if err != nil {
		t.Fatal(err)
	}
	var told []error
	var got []pair
	for d, err := range Open(t.Context(), &softDecrypter{key: softKey()}, &message, nil) {
		told = append(told, err)
		got = append(got, pair{string(d.AcquisitionNumber), string(d.Code.Expose())})
		d.Code.Destroy()
	}
	if want := []pair{all[0], {all[1].number, ""}, all[2]}; !slices.Equal(got, want) {
		t.Errorf("delivered %d of 3", len(got))
	}
	if told[0] != nil || told[2] != nil || !Refused(told[1]) || !errors.Is(told[1], symbol.ErrCheckDigit) {
		t.Errorf("told %v", told)
	}
	if found := secrettest.Leaks(told[1], []byte(wrong)); len(found) > 0 || !strings.Contains(told[1].Error(), "record 1") {
		t.Errorf("the refusal is %v, and shows the code by %v", told[1], found)
	}
}

func TestSealRefusesWhatCannotBeDelivered(t *testing.T) {
	gone := pairs(1)[0].delivery(nil)
	gone.Code.Destroy()
	unnumbered := pairs(1)[0].delivery(nil)
	unnumbered.AcquisitionNumber = "has space"
	defer unnumbered.Code.Destroy()
	for name, row := range map[string]struct {
		d    Delivery
		want error
	}{"destroyed code": {gone, symbol.ErrResidentCode}, "bad number": {unnumbered, symbol.ErrAcquisitionNumber}} {
		if err := Seal(io.Discard, &softKey().PublicKey, 1, slices.Values([]Delivery{row.d})); !errors.Is(err, row.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFailuresAreToldApart(t *testing.T) {
	message := sealed(t, pairs(600))
	away, broken := errors.New("token away"), errors.New("disk broken")
	first := func(seq iter.Seq2[Delivery, error]) (n int, failure error) {
		for d, err := range seq {
			if err != nil {
				return n, err
			}
			d.Code.Destroy()
			n++
		}
		return n, nil
	}
	if _, err := first(Open(t.Context(), &softDecrypter{err: away}, bytes.NewReader(message), nil)); !errors.Is(err, away) {
		t.Errorf("HSM away: %v", err)
	}
	source := io.MultiReader(bytes.NewReader(message[:headerSize+10*onWire]), iotest.ErrReader(broken))
	if n, err := first(Open(t.Context(), &softDecrypter{key: softKey()}, source, nil)); n != 10 || !errors.Is(err, broken) || errors.Is(err, ErrTruncated) {
		t.Errorf("source broken: %d, then %v", n, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n := 0
	var last error
	for d, err := range Open(ctx, &softDecrypter{key: softKey()}, bytes.NewReader(message), nil) {
		d.Code.Destroy()
		last = err
		n++
		cancel()
	}
	if !errors.Is(last, context.Canceled) || n > 300 {
		t.Errorf("cancelled: %d, then %v", n, last)
	}
	short := &softDecrypter{key: softKey()}
	wrapped, err := rsa.EncryptOAEP(sha1.New(), rand.Reader, &softKey().PublicKey, make([]byte, 16), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := first(Open(t.Context(), short, bytes.NewReader(deliveryMagic.encodeHeader(1, wrapped)), nil)); !errors.Is(err, ErrFormat) {
		t.Errorf("a key of 16 bytes: %v", err)
	}
}

// Reading byte by byte, stopping early and refusing all leave no secret behind.
func TestNothingSecretIsLeftBehind(t *testing.T) {
	message := sealed(t, pairs(20))
	before := secret.CurrentUsage().Live
	for d, err := range Open(t.Context(), &softDecrypter{key: softKey()}, iotest.OneByteReader(bytes.NewReader(message)), nil) {
		if err != nil {
			t.Fatal(err)
		}
		d.Code.Destroy()
	}
	for d := range Open(t.Context(), &softDecrypter{key: softKey()}, bytes.NewReader(message), nil) {
		d.Code.Destroy()
		break
	}
	refuseAll := anyDigit
	for _, err := range Open(t.Context(), &softDecrypter{key: softKey()}, bytes.NewReader(message), refuseAll) {
		if !Refused(err) {
			t.Fatal(err)
		}
	}
	if live := secret.CurrentUsage().Live; live != before {
		t.Errorf("%d secrets are left", live-before)
	}
}

func TestMoreThanAMessageHoldsIsRefused(t *testing.T) {
	one := pairs(1)[0].delivery(nil)
	defer one.Code.Destroy()
	err := Seal(io.Discard, &softKey().PublicKey, 1, func(yield func(Delivery) bool) {
		for range MaxDeliveries + 1 {
			if !yield(one) {
				return
			}
		}
	})
	if !errors.Is(err, ErrTooMany) {
		t.Errorf("%v", err)
	}
}

func FuzzOpen(f *testing.F) {
	whole := sealed(f, pairs(2))
	f.Add(whole)
	f.Add(whole[:headerSize+onWire])
	f.Add([]byte(deliveryMagic + "\x01\x00\x01x"))
	f.Fuzz(func(t *testing.T, message []byte) {
		before := secret.CurrentUsage().Live
		got, err := opened(message)
		if err == nil && !bytes.Equal(message, whole) && len(got) > 0 {
			t.Error("a message that nobody sealed is opened")
		}
		if secret.CurrentUsage().Live != before {
			t.Error("a secret is left behind")
		}
	})
}

func BenchmarkOpen(b *testing.B) {
	message := sealed(b, pairs(10_000))
	for b.Loop() {
		for d, err := range Open(b.Context(), &softDecrypter{key: softKey()}, bytes.NewReader(message), nil) {
			if err != nil {
				b.Fatal(err)
			}
			d.Code.Destroy()
		}
	}
	b.ReportMetric(float64(10_000*b.N)/b.Elapsed().Seconds(), "deliveries/s")
}

package ledger_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/google/uuid"
	"pgregory.net/rapid"

	"kiroku/domain/ledger"
)

// headerModel is the header as a general CBOR library sees it.
type headerModel struct {
	Version  uint64 `cbor:"1,keyasint"`
	Stream   string `cbor:"2,keyasint"`
	Revision uint64 `cbor:"3,keyasint"`
	Epoch    uint64 `cbor:"4,keyasint"`
	Prev     []byte `cbor:"5,keyasint"`
	Type     string `cbor:"6,keyasint"`
	ID       []byte `cbor:"7,keyasint"`
	Time     uint64 `cbor:"8,keyasint"`
	KeyID    string `cbor:"9,keyasint,omitempty"`
	Nonce    []byte `cbor:"10,keyasint,omitempty"`
	Digest   []byte `cbor:"11,keyasint"`
}

type receiptModel struct {
	Size      uint64   `cbor:"1,keyasint"`
	Index     uint64   `cbor:"2,keyasint"`
	Path      [][]byte `cbor:"3,keyasint"`
	First     uint64   `cbor:"4,keyasint"`
	Prev      []byte   `cbor:"5,keyasint"`
	Last      []byte   `cbor:"6,keyasint"`
	Signature []byte   `cbor:"7,keyasint"`
}

func modelOf(h ledger.Header) headerModel {
	return headerModel{
		Version: 1, Stream: h.Stream, Revision: h.Revision, Epoch: h.Epoch, Prev: h.Prev[:], Type: h.Type, ID: h.ID[:],
		Time: uint64(h.Time.UnixMicro()), KeyID: h.KeyID, Nonce: h.Nonce, Digest: h.Digest[:],
	}
}

var nameGen = rapid.StringMatching(`[A-Za-z0-9._:-]{1,100}`)

func headerGen(t *rapid.T) ledger.Header {
	bounded := rapid.Uint64Range(0, 1<<53-1)
	h := ledger.Header{
		Stream: nameGen.Draw(t, "stream"), Revision: bounded.Draw(t, "revision"),
		Epoch: rapid.Uint64Range(1, 1<<53-1).Draw(t, "epoch"), Type: nameGen.Draw(t, "type"),
		Time: time.UnixMicro(int64(bounded.Draw(t, "time"))).UTC(),
	}
	fill := func(b []byte, name string) {
		copy(b, rapid.SliceOfN(rapid.Byte(), len(b), len(b)).Draw(t, name))
	}
	fill(h.ID[:], "id")
	if h.ID == uuid.Nil {
		h.ID[0] = 1
	}
	fill(h.Digest[:], "digest")
	if h.Revision > 0 {
		fill(h.Prev[:], "prev")
	}
	if rapid.Bool().Draw(t, "sealed") {
		h.KeyID, h.Nonce = nameGen.Draw(t, "key id"), make([]byte, ledger.NonceSize)
		fill(h.Nonce, "nonce")
	}
	return h
}

// The package's own writer and reader of CBOR agree with the library on every
// header.
func TestHeaderIsDeterministicCBOR(t *testing.T) {
	w := newWriter(t)
	_, receipt := (&tampering{t: t}).split(&w.records(record, 1)[0])
	rapid.Check(t, func(rt *rapid.T) {
		h := headerGen(rt)
		got := ledger.EncodeHeader(h)
		if want := canonical(t, modelOf(h)); !bytes.Equal(got, want) {
			rt.Fatalf("encoded\n%x, the library\n%x", got, want)
		}
		back, headerBytes, _, err := ledger.DecodeMetadata(join(got, receipt))
		if err != nil {
			rt.Fatal(err)
		}
		if !bytes.Equal(headerBytes, got) || !bytes.Equal(ledger.EncodeHeader(back), got) {
			rt.Fatalf("%+v became %+v", h, back)
		}
	})
}

// Receipt, metadata, statement and payloads, likewise.
func TestStructuresAreDeterministicCBOR(t *testing.T) {
	w := newWriter(t)
	keys := keySet(t, w.key.Public())
	for _, size := range []int{1, 2, 3, 24, 300} {
		for i, e := range w.records(record, size) {
			h, headerBytes, r, err := ledger.DecodeMetadata(e.Metadata)
			if err != nil {
				t.Fatal(err)
			}
			receipt := canonical(t, receiptModel{r.Size, r.Index, append([][]byte{}, r.Path...), r.First, r.Prev[:], r.Last[:], r.Signature})
			if want := canonical(t, []any{headerBytes, receipt}); !bytes.Equal(e.Metadata, want) {
				t.Fatalf("metadata %d of %d:\n%x, the library\n%x", i, size, e.Metadata, want)
			}
			c, err := ledger.CheckEvent(e, keys)
			if err != nil {
				t.Fatal(err)
			}
			want := canonical(t, []any{"kiroku/batch/1", h.Stream, h.Epoch, r.First, r.Size, r.Prev[:], r.Last[:], c.Root[:]})
			if got := ledger.StatementBytes(c); !bytes.Equal(got, want) {
				t.Fatalf("statement\n%x, the library\n%x", got, want)
			}
		}
	}
	a := ledger.Anchor{Time: testTime, Heads: []ledger.AnchoredHead{{Stream: "a", Count: 1 << 40}, {Stream: "b", Count: 24}}}
	got, err := a.Encode()
	if err != nil {
		t.Fatal(err)
	}
	zero := make([]byte, 32)
	if want := canonical(t, map[int]any{1: testTime.UnixMicro(), 2: zero, 3: []any{[]any{"a", 1 << 40, zero}, []any{"b", 24, zero}}}); !bytes.Equal(got, want) {
		t.Errorf("anchor\n%x, the library\n%x", got, want)
	}
}

// What the tree must come to is stated here recursively, as RFC 9162 does.
func referenceRoot(leaves []ledger.Hash) ledger.Hash {
	if len(leaves) == 1 {
		return leaves[0]
	}
	k := 1
	for 2*k < len(leaves) {
		k *= 2
	}
	left, right := referenceRoot(leaves[:k]), referenceRoot(leaves[k:])
	return sha256.Sum256(slices.Concat([]byte{1}, left[:], right[:]))
}

func TestMerkleTreeOfEverySize(t *testing.T) {
	for n := 1; n <= 300; n++ {
		if n > 130 && n < 254 || n > 258 && n < 300 {
			continue // no power of two is near
		}
		leaves := testLeaves(n)
		root := ledger.TreeRoot(leaves)
		if root != referenceRoot(leaves) {
			t.Fatalf("root of %d leaves", n)
		}
		for i := range leaves {
			var path [][]byte
			if err := cbor.Unmarshal(ledger.TreePath(leaves, i), &path); err != nil {
				t.Fatal(err)
			}
			if len(path) != ledger.PathLength(uint64(i), uint64(n)) {
				t.Fatalf("leaf %d of %d: path of %d, expected are %d", i, n, len(path), ledger.PathLength(uint64(i), uint64(n)))
			}
			if ledger.RootFrom(leaves[i], uint64(i), uint64(n), path) != root {
				t.Fatalf("leaf %d of %d: path leads elsewhere", i, n)
			}
		}
	}
}

func TestBuildBatchRefuses(t *testing.T) {
	w := newWriter(t)
	w.records(record, 1)
	head := w.heads[record]
	good := w.sealed(record, "inquiry-submitted", nil)
	with := func(change func(*ledger.Draft)) []ledger.Draft {
		d := good
		change(&d)
		return []ledger.Draft{good, d}
	}
	cases := []struct {
		name   string
		head   ledger.Head
		epoch  uint64
		drafts []ledger.Draft
		keyID  string
		want   error
	}{
		{"no drafts", head, 1, nil, "sign/1", ledger.ErrBatch},
		{"epoch falls", ledger.Head{Stream: record, Count: 5, Epoch: 3}, 2, []ledger.Draft{good}, "sign/1", ledger.ErrBatch},
		{"epoch rises without its event", head, 2, []ledger.Draft{good}, "sign/1", ledger.ErrBatch},
		{"epoch event in a running epoch", head, 1, with(func(d *ledger.Draft) { d.Type = ledger.TypeEpochStarted }), "sign/1", ledger.ErrBatch},
		{"empty stream with a leaf", ledger.Head{Stream: record, Leaf: ledger.Hash{1}}, 1, []ledger.Draft{good}, "sign/1", ledger.ErrBatch},
		{"full stream", ledger.Head{Stream: record, Count: 1<<53 - 1, Epoch: 1}, 1, []ledger.Draft{good}, "sign/1", ledger.ErrBatch},
		{"draft of another stream", head, 1, with(func(d *ledger.Draft) { d.Stream = "record-1" }), "sign/1", ledger.ErrBatch},
		{"key name", head, 1, []ledger.Draft{good}, "sign 1", ledger.ErrName},
		{"type name", head, 1, with(func(d *ledger.Draft) { d.Type = "" }), "sign/1", ledger.ErrName},
		{"zero id", head, 1, with(func(d *ledger.Draft) { d.ID = uuid.Nil }), "sign/1", ledger.ErrHeader},
		{"nonce without key", head, 1, with(func(d *ledger.Draft) { d.KeyID = "" }), "sign/1", ledger.ErrHeader},
		{"key without nonce", head, 1, with(func(d *ledger.Draft) { d.Nonce = nil }), "sign/1", ledger.ErrHeader},
		{"time before 1970", head, 1, with(func(d *ledger.Draft) { d.Time = time.Unix(-1, 0) }), "sign/1", ledger.ErrHeader},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			sign := func([32]byte) ([64]byte, error) { t.Error("signed"); return [64]byte{}, nil }
			if _, _, err := ledger.BuildBatch(c.head, c.epoch, c.drafts, c.keyID, sign); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
	t.Run("signer fails", func(t *testing.T) {
		broken := errors.New("token gone")
		_, _, err := ledger.BuildBatch(head, 1, []ledger.Draft{good}, "sign/1", func([32]byte) ([64]byte, error) { return [64]byte{}, broken })
		if !errors.Is(err, broken) {
			t.Errorf("got %v, want the signer's error", err)
		}
	})
}

// An HSM gives either of the two values of s; the ledger holds one.
func TestHighSIsReplaced(t *testing.T) {
	w := newWriter(t)
	sign := func(digest [32]byte) ([64]byte, error) {
		rs, err := w.key.Sign(digest)
		low := ledger.LowS(rs)
		return [64]byte(highS(low[:])), err
	}
	events, _, err := ledger.BuildBatch(ledger.Head{Stream: record}, 1, []ledger.Draft{w.plain(record, ledger.TypeEpochStarted, nil)}, "sign/1", sign)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ledger.CheckEvent(events[0], keySet(t, w.key.Public())); err != nil {
		t.Error(err)
	}
}

func TestSealAndOpen(t *testing.T) {
	w := newWriter(t)
	rapid.Check(t, func(rt *rapid.T) {
		plaintext := rapid.SliceOfN(rapid.Byte(), 0, 1100).Draw(rt, "plaintext")
		a := w.aad(record, "inquiry-submitted", recordKey)
		a.Time = a.Time.Add(time.Duration(rapid.IntRange(0, 999).Draw(rt, "ns")))
		d, err := ledger.Seal(dataKey, a, plaintext)
		if err != nil {
			rt.Fatal(err)
		}
		if want := (len(plaintext)+4+255)/256*256 + 16; len(d.Data) != want || d.Digest != sha256.Sum256(d.Data) {
			rt.Fatalf("%d bytes sealed in %d, want %d", len(plaintext), len(d.Data), want)
		}
		h := ledger.Header{Stream: record, Type: d.Type, ID: d.ID, Time: d.Time, KeyID: d.KeyID, Nonce: d.Nonce}
		back, err := ledger.Open(dataKey, h, d.Data)
		if err != nil || !bytes.Equal(back, plaintext) {
			rt.Fatalf("opened %x, %v", back, err)
		}
	})
}

// A payload opens in its own place only.
func TestOpenRefuses(t *testing.T) {
	w := newWriter(t)
	d := w.sealed(record, "inquiry-submitted", []byte("plaintext"))
	good := ledger.Header{Stream: record, Type: d.Type, ID: d.ID, Time: d.Time, KeyID: d.KeyID, Nonce: d.Nonce}
	cases := map[string]func(h *ledger.Header, key, data *[]byte){
		"other key":    func(_ *ledger.Header, key, _ *[]byte) { *key = bytes.Repeat([]byte{1}, 32) },
		"short key":    func(_ *ledger.Header, key, _ *[]byte) { *key = (*key)[:16] },
		"other stream": func(h *ledger.Header, _, _ *[]byte) { h.Stream = "record-1" },
		"other type":   func(h *ledger.Header, _, _ *[]byte) { h.Type = "inquiry-lapsed" },
		"other id":     func(h *ledger.Header, _, _ *[]byte) { h.ID[0] ^= 1 },
		"other time":   func(h *ledger.Header, _, _ *[]byte) { h.Time = h.Time.Add(time.Microsecond) },
		"other key id": func(h *ledger.Header, _, _ *[]byte) { h.KeyID += "1" },
		"other nonce":  func(h *ledger.Header, _, _ *[]byte) { h.Nonce = bytes.Repeat([]byte{1}, 12) },
		"no nonce":     func(h *ledger.Header, _, _ *[]byte) { h.Nonce = nil },
		"plaintext":    func(h *ledger.Header, _, _ *[]byte) { h.KeyID, h.Nonce = "", nil },
		"changed data": func(_ *ledger.Header, _, data *[]byte) { (*data)[3] ^= 1 },
		"no data":      func(_ *ledger.Header, _, data *[]byte) { *data = nil },
		"tag alone":    func(_ *ledger.Header, _, data *[]byte) { *data = (*data)[:16] },
	}
	for name, change := range cases {
		t.Run(name, func(t *testing.T) {
			h, key, data := good, bytes.Clone(dataKey), bytes.Clone(d.Data)
			change(&h, &key, &data)
			if got, err := ledger.Open(key, h, data); !errors.Is(err, ledger.ErrPayload) {
				t.Errorf("opened %q, %v", got, err)
			}
		})
	}
	if _, err := ledger.Seal(dataKey, w.aad(record, "inquiry-submitted", recordKey), make([]byte, ledger.MaxPayload)); !errors.Is(err, ledger.ErrPayload) {
		t.Errorf("sealed more than the largest payload: %v", err)
	}
}

func TestDataKeyID(t *testing.T) {
	day, stream, revision, err := ledger.ParseDataKeyID("record/2026-11-22/record-0/17")
	if err != nil || day != "2026-11-22" || stream != record || revision != 17 {
		t.Errorf("got %s %s %d, %v", day, stream, revision, err)
	}
	for _, bad := range []string{"", "record", "record/2026-11-22/record-0", "record/2026-11-31/record-0/1", "record/2026-11-22//1",
		"record/2026-11-22/record-0/01", "record/2026-11-22/record-0/+1", "record/2026-11-22/a/b/1", "subject/2026-11-22/record-0/1",
		"record/2026-11-22/record 0/1", "record/2026-11-22/record-0/9007199254740992"} {
		if _, _, _, err := ledger.ParseDataKeyID(bad); err == nil {
			t.Errorf("%q was taken for a data key id", bad)
		}
	}
}

// Findings are bounded, and all of them counted.
func TestFindingsAreBounded(t *testing.T) {
	w := newWriter(t)
	w.records(record, 250)
	events := cloneEvents(w.events)
	for i := range events {
		events[i].Type = "other"
	}
	r := verify(t, keySet(t, w.key.Public()), ledger.Options{}, events)
	if len(r.Findings) != ledger.DefaultFindings || r.FindingsTotal != 251 {
		t.Errorf("%d of %d findings", len(r.Findings), r.FindingsTotal)
	}
	r = verify(t, keySet(t, w.key.Public()), ledger.Options{MaxFindings: 7}, events)
	if len(r.Findings) != 7 || r.FindingsTotal != 251 {
		t.Errorf("%d of %d findings, 7 asked for", len(r.Findings), r.FindingsTotal)
	}
}

// A writer that starts checks the tail alone, from the head it finds there.
func TestTailAlone(t *testing.T) {
	w := smallLedger(t)
	tail := withoutBefore(withoutBefore(withoutBefore(w.events, record, 6), registry, 4), "record-1", 100)
	r := verify(t, keySet(t, w.key.Public()), ledger.Options{AnyStart: true}, tail)
	if !r.OK() || len(r.Streams) != 2 || r.Streams[0] != w.heads[record] || r.Streams[1] != w.heads[registry] {
		t.Errorf("%+v", r)
	}
	last, err := ledger.CheckEvent(tail[len(tail)-1], keySet(t, w.key.Public()))
	if err != nil || !last.EndsBatch() || last.Head() != w.heads[registry] {
		t.Errorf("head from the last event: %+v, %v", last.Head(), err)
	}
}

func TestVerifyPassesOnAnError(t *testing.T) {
	w := newWriter(t)
	w.records(record, 2)
	broken := errors.New("connection lost")
	r, err := ledger.Verify(keySet(t, w.key.Public()), ledger.Options{}, func(yield func(ledger.Event, error) bool) {
		for _, e := range w.events {
			if !yield(e, nil) {
				return
			}
		}
		yield(ledger.Event{}, broken)
	})
	if !errors.Is(err, broken) || r.Events != 3 {
		t.Errorf("%d events, %v", r.Events, err)
	}
}

func TestKeysFileRoundTrip(t *testing.T) {
	first, second := signer(t, "sign/1").Public(), signer(t, "sign/2").Public()
	first.ValidTo = endOf2026()
	file, err := keySet(t, second, first).MarshalPEM()
	if err != nil {
		t.Fatal(err)
	}
	set, err := ledger.ParseKeys(append([]byte("\n"), file...))
	if err != nil {
		t.Fatal(err)
	}
	again, err := set.MarshalPEM()
	if err != nil || !bytes.Equal(again, file) {
		t.Errorf("became %s, %v", again, err)
	}
	if k, found := set.Lookup("sign/1"); !found || !k.ValidTo.Equal(endOf2026()) || !k.Key.Equal(first.Key) {
		t.Errorf("looked up %+v", k)
	}
	if _, found := set.Lookup("sign/3"); found {
		t.Error("found a key that is not there")
	}
}

// Nothing that decodes has a second encoding, and nothing panics.
func FuzzDecodeMetadata(f *testing.F) {
	for _, e := range smallLedger(f).events {
		f.Add(e.Metadata)
	}
	f.Fuzz(func(t *testing.T, meta []byte) {
		h, headerBytes, r, err := ledger.DecodeMetadata(meta)
		if err != nil {
			if !errors.Is(err, ledger.ErrMetadata) {
				t.Errorf("error of another kind: %v", err)
			}
			return
		}
		receipt := canonical(t, receiptModel{r.Size, r.Index, append([][]byte{}, r.Path...), r.First, r.Prev[:], r.Last[:], r.Signature})
		if again := canonical(t, []any{headerBytes, receipt}); !bytes.Equal(canonical(t, modelOf(h)), headerBytes) || !bytes.Equal(again, meta) {
			t.Errorf("%x has another encoding, %x", meta, again)
		}
	})
}

func FuzzParseDumpLine(f *testing.F) {
	for _, e := range smallLedger(f).events {
		line, err := ledger.AppendDumpLine(nil, e)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(line[:len(line)-1])
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		e, err := ledger.ParseDumpLine(line)
		if err != nil {
			return
		}
		again, err := ledger.AppendDumpLine(nil, e)
		if err != nil || !bytes.Equal(again, append(bytes.Clone(line), '\n')) {
			t.Errorf("%s became %s, %v", line, again, err)
		}
	})
}

func FuzzParseKeys(f *testing.F) {
	first, second := signer(f, "sign/1").Public(), signer(f, "sign/2").Public()
	first.ValidTo = endOf2026()
	file, err := keySet(f, first, second).MarshalPEM()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(file)
	f.Fuzz(func(t *testing.T, file []byte) {
		set, err := ledger.ParseKeys(file)
		if err != nil {
			return
		}
		again, err := set.MarshalPEM()
		if err != nil {
			t.Fatal(err)
		}
		if back, err := ledger.ParseKeys(again); err != nil || len(back.All()) != len(set.All()) {
			t.Errorf("%s does not read back: %v", again, err)
		}
	})
}

func FuzzParseHeads(f *testing.F) {
	file, err := smallLedger(f).headsFile().Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(file)
	f.Fuzz(func(t *testing.T, file []byte) {
		h, err := ledger.ParseHeads(file)
		if err != nil {
			return
		}
		again, err := h.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if back, err := ledger.ParseHeads(again); err != nil || !slices.Equal(back.Heads, h.Heads) {
			t.Errorf("%s does not read back: %v", again, err)
		}
	})
}

func FuzzDecodeAnchor(f *testing.F) {
	payload, err := hex.DecodeString("a3011b000660d9b3bfc640025820" + "00000000000000000000000000000000000000000000000000000000000000000380")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(payload)
	f.Fuzz(func(t *testing.T, payload []byte) {
		a, err := ledger.DecodeAnchor(payload)
		if err != nil {
			return
		}
		if again, err := a.Encode(); err != nil || !bytes.Equal(again, payload) {
			t.Errorf("%x became %x, %v", payload, again, err)
		}
	})
}

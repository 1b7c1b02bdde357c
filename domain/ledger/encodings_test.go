package ledger_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"slices"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"kiroku/domain/ledger"
)

// encodingVectors are the bytes of every structure of FORMAT.md, for one event
// each.
type encodingVectors struct {
	Events     []eventBytes   `json:"events"`
	Merkle     []merkleBytes  `json:"merkle"`
	Payload    payloadBytes   `json:"payload"`
	DataKey    dataKeyBytes   `json:"data_key"`
	Anchor     payloadExample `json:"anchor"`
	Truncation payloadExample `json:"truncation"`
	DayOpened  payloadExample `json:"day_opened"`
}

type eventBytes struct {
	About        string `json:"about"`
	Stream       string `json:"stream"`
	Revision     uint64 `json:"revision"`
	Metadata     string `json:"metadata"`
	Header       string `json:"header"`
	Leaf         string `json:"leaf"`
	Receipt      string `json:"receipt"`
	Root         string `json:"root"`
	Statement    string `json:"statement"`
	SigStructure string `json:"sig_structure"`
	Cose         string `json:"cose_sign1"`
	Signer       string `json:"signer"`
}

type merkleBytes struct {
	Leaves []string   `json:"leaves"`
	Root   string     `json:"root"`
	Paths  [][]string `json:"paths"`
}

type payloadBytes struct {
	Key       string `json:"key"`
	Nonce     string `json:"nonce"`
	AAD       string `json:"aad"`
	Plaintext string `json:"plaintext"`
	Padded    string `json:"padded"`
	Stored    string `json:"stored"`
	Digest    string `json:"digest"`
}

type dataKeyBytes struct {
	DayKey     string `json:"day_key"`
	Stream     string `json:"stream"`
	Day        string `json:"day"`
	Salt       string `json:"salt"`
	Input      string `json:"input"`
	DataKey    string `json:"data_key"`
	Commitment string `json:"commitment"`
	KeyID      string `json:"key_id"`
}

type payloadExample struct {
	Fields  any    `json:"fields"`
	Payload string `json:"payload"`
}

func encodings(t *testing.T) encodingVectors {
	t.Helper()
	w := smallLedger(t)
	l := tampering{t: t, events: w.events}
	return encodingVectors{
		Events: []eventBytes{
			eventExample(t, w, *l.at(registry, 0), "first event of a stream, alone in its batch, signed plaintext"),
			eventExample(t, w, *l.at(record, 6), "third of five sealed events"),
			eventExample(t, w, *l.at(record, 8), "last of five: its path has one element"),
		},
		Merkle: merkleExamples(), Payload: payloadSealing(t), DataKey: dataKeyExample(t),
		Anchor: anchorExample(t), Truncation: truncationExample(t), DayOpened: dayOpenedExample(t),
	}
}

func eventExample(t *testing.T, w *writer, e ledger.Event, about string) eventBytes {
	t.Helper()
	c, err := ledger.CheckEvent(e, keySet(t, w.key.Public()))
	if err != nil {
		t.Fatal(err)
	}
	header, receipt := (&tampering{t: t}).split(&e)
	statement := ledger.StatementBytes(c)
	return eventBytes{
		About: about, Stream: e.Stream, Revision: e.Revision,
		Metadata: hex.EncodeToString(e.Metadata), Header: hex.EncodeToString(header), Leaf: c.Leaf.String(),
		Receipt: hex.EncodeToString(receipt), Root: c.Root.String(), Statement: hex.EncodeToString(statement),
		SigStructure: hex.EncodeToString(sigStructure(t, c.Signer, statement)),
		Cose:         hex.EncodeToString(c.Receipt.Signature), Signer: c.Signer,
	}
}

// canonical encodes with the library, as the specification of deterministic
// CBOR that the package's own writer is held to.
func canonical(t testing.TB, v any) []byte {
	t.Helper()
	mode, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		t.Fatal(err)
	}
	b, err := mode.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// sigStructure is built here from RFC 9052 section 4.4, not by go-cose.
func sigStructure(t *testing.T, keyID string, statement []byte) []byte {
	protected := canonical(t, map[int]any{1: -7, 4: []byte(keyID)})
	return canonical(t, []any{"Signature1", protected, []byte{}, statement})
}

func testLeaves(n int) []ledger.Hash {
	leaves := make([]ledger.Hash, n)
	for i := range leaves {
		leaves[i] = sha256.Sum256([]byte{0, byte(i), byte(i >> 8)})
	}
	return leaves
}

func merkleExamples() []merkleBytes {
	var out []merkleBytes
	for n := 1; n <= 9; n++ {
		leaves := testLeaves(n)
		m := merkleBytes{Root: ledger.TreeRoot(leaves).String()}
		for i, leaf := range leaves {
			m.Leaves = append(m.Leaves, leaf.String())
			path := []string{}
			for p := ledger.TreePath(leaves, i)[1:]; len(p) > 0; p = p[34:] {
				path = append(path, hex.EncodeToString(p[2:34]))
			}
			m.Paths = append(m.Paths, path)
		}
		out = append(out, m)
	}
	return out
}

func payloadSealing(t *testing.T) payloadBytes {
	t.Helper()
	w := newWriter(t)
	a := w.aad(record, "inquiry-submitted", recordKey)
	nonce, plaintext := []byte("nonce-of-12B"), []byte("the payload of an event")
	d, err := ledger.SealWithNonce(dataKey, nonce, a, plaintext)
	if err != nil {
		t.Fatal(err)
	}
	padded := append([]byte{0, 0, 0, byte(len(plaintext))}, plaintext...)
	padded = append(padded, make([]byte, 256-len(padded))...)
	return payloadBytes{
		Key: hex.EncodeToString(dataKey), Nonce: hex.EncodeToString(nonce), AAD: hex.EncodeToString(ledger.AADBytes(a)),
		Plaintext: hex.EncodeToString(plaintext), Padded: hex.EncodeToString(padded),
		Stored: hex.EncodeToString(d.Data), Digest: d.Digest.String(),
	}
}

func dataKeyExample(t *testing.T) dataKeyBytes {
	t.Helper()
	dayKey := []byte("this stands for a key in the HSM")
	salt := [32]byte(bytes.Repeat([]byte{0x5a}, 32))
	input, err := ledger.DataKeyInput(record, "2026-11-22", salt)
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, dayKey)
	mac.Write(input)
	key := mac.Sum(nil)
	commitment := ledger.Commitment(key)
	return dataKeyBytes{
		DayKey: hex.EncodeToString(dayKey), Stream: record, Day: "2026-11-22", Salt: hex.EncodeToString(salt[:]),
		Input: hex.EncodeToString(input), DataKey: hex.EncodeToString(key),
		Commitment: hex.EncodeToString(commitment[:]), KeyID: ledger.DataKeyID("2026-11-22", record, 1),
	}
}

func anchorExample(t *testing.T) payloadExample {
	t.Helper()
	a := ledger.Anchor{Time: testTime, Previous: testLeaves(3)[2], Heads: []ledger.AnchoredHead{
		{Stream: record, Count: 300, Leaf: testLeaves(1)[0]}, {Stream: registry, Count: 2, Leaf: testLeaves(2)[1]},
	}}
	payload, err := a.Encode()
	if err != nil {
		t.Fatal(err)
	}
	heads := []any{}
	for _, h := range a.Heads {
		heads = append(heads, map[string]any{"stream": h.Stream, "count": h.Count, "leaf": h.Leaf.String()})
	}
	return payloadExample{
		Fields:  map[string]any{"time": testTime.UnixMicro(), "previous": a.Previous.String(), "heads": heads},
		Payload: hex.EncodeToString(payload),
	}
}

func truncationExample(t *testing.T) payloadExample {
	t.Helper()
	payload, err := ledger.Truncation{Stream: record, First: 256, Prev: testLeaves(1)[0]}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return payloadExample{
		Fields:  map[string]any{"stream": record, "first": 256, "prev": testLeaves(1)[0].String()},
		Payload: hex.EncodeToString(payload),
	}
}

func dayOpenedExample(t *testing.T) payloadExample {
	t.Helper()
	d := dataKeyExample(t)
	payload, err := ledger.DayOpened{
		Day: d.Day, Salt: [32]byte(unhex(t, d.Salt)), Commitment: [ledger.CommitmentSize]byte(unhex(t, d.Commitment)),
	}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return payloadExample{
		Fields:  map[string]any{"day": d.Day, "salt": d.Salt, "commitment": d.Commitment},
		Payload: hex.EncodeToString(payload),
	}
}

// refused lists inputs that look right at a glance.
func refused(t *testing.T) refusals {
	t.Helper()
	w := smallLedger(t)
	return refusals{
		Dump: refusedDumps(t, w), Keys: refusedKeys(t, w), Heads: refusedHeads(t, w), Metadata: refusedMetadata(t, w),
		Anchor: refusedAnchors(t), Truncation: refusedTruncations(t), DayOpened: refusedDaysOpened(t),
	}
}

// textEdits applies one replacement for each name to a good text.
func textEdits(t *testing.T, good string, edits [][3]string) []refusal {
	t.Helper()
	var out []refusal
	for _, e := range edits {
		name, old, with := e[0], e[1], e[2]
		changed := strings.Replace(good, old, with, 1)
		if changed == good {
			t.Fatalf("%s: %q is not in the good text", name, old)
		}
		out = append(out, refusal{Name: name, Text: changed})
	}
	return out
}

func refusedDumps(t *testing.T, w *writer) []refusal {
	t.Helper()
	e := w.events[1] // a plain event, with a payload of five bytes
	good := string(dumpOf(t, []ledger.Event{e}))
	id := e.ID.String()
	data := base64.StdEncoding.EncodeToString(e.Data)
	out := textEdits(t, good, [][3]string{
		{"space after colon", `"stream":"`, `"stream": "`},
		{"field missing", `,"type":"agency-registered"`, ``},
		{"field unknown", `,"data":`, `,"size":5,"data":`},
		{"field twice", `,"data":`, `,"revision":1,"data":`},
		{"fields in another order", `"stream":"registry","revision":1`, `"revision":1,"stream":"registry"`},
		{"field in capitals", `"data":`, `"Data":`},
		{"revision with leading zero", `"revision":1`, `"revision":01`},
		{"revision as a fraction", `"revision":1`, `"revision":1.0`},
		{"revision as text", `"revision":1`, `"revision":"1"`},
		{"revision negative", `"revision":1`, `"revision":-1`},
		{"revision above 2^53-1", `"revision":1`, `"revision":9007199254740992`},
		{"id in capitals", id, strings.ToUpper(id)},
		{"id in braces", id, "{" + id + "}"},
		{"stream escaped", `"registry"`, `"\u0072egistry"`},
		{"stream with slash", `"registry"`, `"regist/ry"`},
		{"stream empty", `"registry"`, `""`},
		{"type with space", `"agency-registered"`, `"agency registered"`},
		{"base64 without padding", data, strings.TrimRight(data, "=")},
		{"base64 for URLs", data, "_" + data[1:]},
		{"base64 with set padding bits", data, data[:len(data)-2] + string(data[len(data)-2]+1) + "="},
		{"carriage return", "\n", "\r\n"},
		{"last newline missing", "\n", ""},
		{"blank line", "\n", "\n\n"},
	})
	return append(out, refusal{Name: "text after the object", Text: strings.Replace(good, "\n", " \n", 1)})
}

func refusedKeys(t *testing.T, w *writer) []refusal {
	t.Helper()
	good, err := keySet(t, w.key.Public()).MarshalPEM()
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(good)
	spki := base64.StdEncoding.EncodeToString(block.Bytes)
	out := textEdits(t, string(good), [][3]string{
		{"text before the block", "-----BEGIN", "a key:\n-----BEGIN"},
		{"other block type", "-----BEGIN PUBLIC KEY", "-----BEGIN CERTIFICATE"},
		{"no key id", "Key-Id: sign/1\n", ""},
		{"key id with a space", "sign/1", "sign 1"},
		{"no beginning of validity", "Valid-From: 2020-01-01T00:00:00Z\n", ""},
		{"validity with an offset", "2020-01-01T00:00:00Z", "2020-01-01T09:00:00+09:00"},
		{"validity with a fraction", "2020-01-01T00:00:00Z", "2020-01-01T00:00:00.5Z"},
		{"validity that ends before it begins", "2020-01-01T00:00:00Z\n", "2020-01-01T00:00:00Z\nValid-To: 2019-01-01T00:00:00Z\n"},
		{"header twice", "Key-Id:", "Key-Id: sign/0\nKey-Id:"},
		{"headers out of order", "Key-Id: sign/1\nValid-From: 2020-01-01T00:00:00Z\n", "Valid-From: 2020-01-01T00:00:00Z\nKey-Id: sign/1\n"},
		{"carriage return", "sign/1\n", "sign/1\r\n"},
		{"lines of another length", spki[:64], spki[:32] + "\n" + spki[32:64]},
		{"unknown header", "Key-Id:", "Comment: x\nKey-Id:"},
		{"damaged key", spki[40:48], "AAAAAAAA"},
		{"damaged block", "-----END PUBLIC KEY", "-----END PUBLIC"},
	})
	return append(out,
		refusal{Name: "no key", Text: "\n"},
		refusal{Name: "same id twice", Text: string(good) + string(good)})
}

func refusedHeads(t *testing.T, w *writer) []refusal {
	t.Helper()
	h := w.headsFile()
	good, err := h.Encode()
	if err != nil {
		t.Fatal(err)
	}
	leaf := h.Heads[0].Leaf.String()
	return textEdits(t, string(good), [][3]string{
		{"ledger id too short", h.Ledger, h.Ledger[2:]},
		{"leaf in capitals", leaf, strings.ToUpper(leaf)},
		{"count of zero", `"count": 11`, `"count": 0`},
		{"count above 2^53-1", `"count": 11`, `"count": 9007199254740992`},
		{"count as text", `"count": 11`, `"count": "11"`},
		{"streams out of order", `"record-0"`, `"zzz"`},
		{"stream twice", `"record-1"`, `"record-0"`},
		{"stream with a space", `"record-0"`, `"record 0"`},
		{"unknown field", `"ledger":`, `"comment": "", "ledger":`},
		{"field in capitals", `"ledger":`, `"Ledger":`},
		{"field twice", `"ledger":`, `"ledger": "", "ledger":`},
		{"time without microseconds", h.Time.Format(".000000") + "Z", "Z"},
		{"time with an offset", `Z"`, `+00:00"`},
		{"text after the end", "\n}\n", "\n}\n{}\n"},
	})
}

func refusedMetadata(t *testing.T, w *writer) []refusal {
	t.Helper()
	l := tampering{t: t, events: cloneEvents(w.events)}
	e := l.at(record, 6)
	header, receipt := l.split(e)
	h, _ := decode(t, *e)
	edit := func(name string, from, old, with []byte) refusal {
		changed := l.replaced(from, old, with)
		if &from[0] == &header[0] {
			return refusal{Name: name, Hex: hex.EncodeToString(join(changed, receipt))}
		}
		return refusal{Name: name, Hex: hex.EncodeToString(join(header, changed))}
	}
	hexOf := func(name string, b []byte) refusal { return refusal{Name: name, Hex: hex.EncodeToString(b)} }
	fields := []byte{0x03, 0x06, 0x04, 0x01} // revision 6, epoch 1
	return []refusal{
		hexOf("array of three", append([]byte{0x83}, append(bytes.Clone(e.Metadata[1:]), 0x40)...)),
		hexOf("array of one", append([]byte{0x81}, e.Metadata[1:1+byteStringHead(len(header))+len(header)]...)),
		hexOf("indefinite array", append([]byte{0x9f}, append(bytes.Clone(e.Metadata[1:]), 0xff)...)),
		hexOf("cut short", e.Metadata[:len(e.Metadata)-1]),
		edit("unknown format version", header, header[:3], []byte{header[0], 0x01, 0x02}),
		hexOf("header of ten fields", join(append([]byte{0xaa}, header[1:]...), receipt)),
		edit("field twice", header, fields, []byte{0x03, 0x06, 0x03, 0x01}),
		edit("revision above 2^53-1", header, fields, []byte{0x03, 0x1b, 0, 0x20, 0, 0, 0, 0, 0, 0, 0x04, 0x01}),
		edit("epoch zero", header, fields, []byte{0x03, 0x06, 0x04, 0x00}),
		edit("epoch as a float", header, fields, []byte{0x03, 0x06, 0x04, 0xf9, 0x3c, 0x00}),
		edit("stream as bytes", header, []byte{0x02, 0x68}, []byte{0x02, 0x48}),
		edit("stream with a space", header, []byte("\x02\x68record-0"), []byte("\x02\x68record 0")),
		edit("previous leaf hash of 31 bytes", header, append([]byte{0x05, 0x58, 0x20}, h.Prev[:1]...), []byte{0x05, 0x58, 0x1f}),
		edit("event id zero", header, h.ID[:], make([]byte, 16)),
		edit("key id empty", header, append([]byte{0x09, 0x78, byte(len(h.KeyID))}, h.KeyID...), []byte{0x09, 0x60}),
		edit("nonce of 11 bytes", header, append([]byte{0x0a, 0x4c}, h.Nonce[:1]...), []byte{0x0a, 0x4b}),
		edit("length not in its shortest form", header, []byte{0x02, 0x68}, []byte{0x02, 0x78, 0x08}),
		hexOf("path element of 31 bytes", join(header, slices.Concat(receipt[:8], []byte{0x1f}, receipt[9:]))),
		edit("tree of no leaves", receipt, receipt[1:5], []byte{0x01, 0x00, 0x02, 0x02}),
		hexOf("receipt of six fields", join(header, append([]byte{0xa6}, receipt[1:]...))),
	}
}

func hexEdits(t *testing.T, good string, edits [][3]string) []refusal {
	t.Helper()
	out := textEdits(t, good, edits)
	for i := range out {
		out[i].Hex, out[i].Text = out[i].Text, ""
	}
	return append(out, refusal{Name: "trailing byte", Hex: good + "00"}, refusal{Name: "cut short", Hex: good[:len(good)-2]})
}

func refusedAnchors(t *testing.T) []refusal {
	t.Helper()
	stream := hex.EncodeToString([]byte(record))
	return hexEdits(t, anchorExample(t).Payload, [][3]string{
		{"fields out of order", "a301", "a302"},
		{"heads out of order", stream, hex.EncodeToString([]byte("zecord-0"))},
		{"stream twice", stream, hex.EncodeToString([]byte(registry))},
		{"count of zero", "19012c", "00"},
		{"count not in its shortest form", "19012c", "1a0000012c"},
		{"head of four", "8368", "8468"},
	})
}

func refusedTruncations(t *testing.T) []refusal {
	t.Helper()
	return hexEdits(t, truncationExample(t).Payload, [][3]string{
		{"of the registry", hex.EncodeToString([]byte(record)), hex.EncodeToString([]byte(registry))},
		{"to revision 0", "190100", "00"},
		{"leaf hash of 31 bytes", "035820", "03581f"},
	})
}

func refusedDaysOpened(t *testing.T) []refusal {
	t.Helper()
	return hexEdits(t, dayOpenedExample(t).Payload, [][3]string{
		{"day that does not exist", hex.EncodeToString([]byte("2026-11-22")), hex.EncodeToString([]byte("2026-02-30"))},
		{"day in another form", hex.EncodeToString([]byte("2026-11-22")), hex.EncodeToString([]byte("2026/11/22"))},
		{"salt of 31 bytes", "025820", "02581f"},
	})
}

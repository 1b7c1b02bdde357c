package ledger_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"kiroku/domain/ledger"
)

// BenchmarkBuildBatch measures what the sequencer pays for an event besides
// sealing and storing it.
func BenchmarkBuildBatch(b *testing.B) {
	for _, size := range []int{1, 16, 256} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			w := newWriter(b)
			w.records("record-0", 1)
			drafts := make([]ledger.Draft, size)
			for i := range drafts {
				drafts[i] = w.sealed("record-0", "inquiry-submitted", make([]byte, 1000))
			}
			var rs [64]byte
			rs[31], rs[63] = 1, 1
			sign := func([32]byte) ([64]byte, error) { return rs, nil }
			head := w.heads["record-0"]
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := ledger.BuildBatch(head, 1, drafts, "sign/1", sign); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*size), "ns/event")
		})
	}
}

func BenchmarkSeal(b *testing.B) {
	w := newWriter(b)
	aad := w.aad("record-0", "inquiry-submitted", recordKey)
	plaintext := make([]byte, 1000)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ledger.Seal(dataKey, aad, plaintext); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkVerify measures a whole verification of sealed events of 1 KiB.
func BenchmarkVerify(b *testing.B) {
	for _, size := range []int{1, 256} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			w := newWriter(b)
			for len(w.events) < 1<<14 {
				drafts := make([]ledger.Draft, size)
				for i := range drafts {
					drafts[i] = w.sealed("record-0", "inquiry-submitted", make([]byte, 1000))
				}
				w.append(drafts...)
			}
			keys := keySet(b, w.key.Public())
			b.ReportAllocs()
			for b.Loop() {
				if r := verify(b, keys, ledger.Options{}, w.events); !r.OK() {
					b.Fatal(r.Findings)
				}
			}
			b.ReportMetric(float64(b.N*len(w.events))/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// BenchmarkMetadataCodec is why headers and receipts are not left to a
// reflecting codec, as wire.go says.
func BenchmarkMetadataCodec(b *testing.B) {
	w := newWriter(b)
	meta := w.records(record, 256)[100].Metadata
	mode, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		b.Fatal(err)
	}
	b.Run("ours", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, _, _, err := ledger.DecodeMetadata(meta); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("library", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var parts [][]byte
			var h headerModel
			var r receiptModel
			if err := errors.Join(cbor.Unmarshal(meta, &parts), cbor.Unmarshal(parts[0], &h), cbor.Unmarshal(parts[1], &r)); err != nil {
				b.Fatal(err)
			}
			header, err1 := mode.Marshal(&h)
			receipt, err2 := mode.Marshal(&r)
			if err1 != nil || err2 != nil || !bytes.Equal(header, parts[0]) || !bytes.Equal(receipt, parts[1]) {
				b.Fatal("not canonical")
			}
		}
	})
}

func BenchmarkParseDumpLine(b *testing.B) {
	w := newWriter(b)
	line, err := ledger.AppendDumpLine(nil, w.records(record, 256)[100])
	if err != nil {
		b.Fatal(err)
	}
	line = line[:len(line)-1]
	b.SetBytes(int64(len(line)))
	for b.Loop() {
		if _, err := ledger.ParseDumpLine(line); err != nil {
			b.Fatal(err)
		}
	}
}

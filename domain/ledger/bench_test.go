package ledger_test

import (
	"fmt"
	"testing"

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

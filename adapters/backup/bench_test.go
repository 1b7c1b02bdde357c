package backup_test

import (
	"crypto/rand"
	"path/filepath"
	"testing"

	"kiroku/adapters/backup"
	"kiroku/domain/ledger"
)

// BenchmarkBackup makes, checks and restores a backup of 100,000 events of 1 KiB over the wire of the embedded store, and
// shows the ledger's own bytes (payload and metadata) a second.
func BenchmarkBackup(b *testing.B) {
	const batch, batches = 250, 400
	w, p := newWorld(b), newParty(b)
	for i := range batches {
		payloads := make([][]byte, batch)
		for j := range payloads {
			payloads[j] = make([]byte, 700)
			_, _ = rand.Read(payloads[j])
		}
		w.append(streams[1+i%(len(streams)-1)], "fact", payloads...)
	}
	r := recipients(b, p)
	folder := filepath.Join(b.TempDir(), "backup")
	writer, err := backup.Begin(folder, w.plan(r), r)
	if err != nil {
		b.Fatal(err)
	}
	var size int64
	b.Run("create", func(b *testing.B) {
		for range b.N {
			again, err := backup.Begin(filepath.Join(b.TempDir(), "backup"), writer.Plan(), r)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := again.Run(b.Context(), w.Store, nil); err != nil {
				b.Fatal(err)
			}
			_ = again.Close()
		}
		b.SetBytes(w.bytes)
	})
	if _, err := writer.Run(b.Context(), w.Store, nil); err != nil {
		b.Fatal(err)
	}
	made := open(b, folder)
	size = made.End.Bytes
	b.Run("verify", func(b *testing.B) {
		for range b.N {
			if wrong, err := made.Check(b.Context(), p.identity, nil); err != nil || len(wrong) > 0 {
				b.Fatal(wrong, err)
			}
			result, err := ledger.Verify(w.keys, ledger.Options{}, made.Events(b.Context(), p.identity))
			if err != nil || !result.OK() {
				b.Fatal(err, result.Findings)
			}
		}
		b.SetBytes(w.bytes)
		b.ReportMetric(float64(size)/float64(w.bytes), "size/ledger")
	})
	b.Run("restore", func(b *testing.B) {
		for range b.N {
			b.StopTimer()
			to := openStore(b)
			b.StartTimer()
			if err := made.Restore(b.Context(), p.identity, to.Store, nil); err != nil {
				b.Fatal(err)
			}
		}
		b.SetBytes(w.bytes)
	})
}

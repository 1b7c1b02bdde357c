package backup_test

import (
	"os"
	"path/filepath"
	"testing"

	"kiroku/adapters/backup"
)

// FuzzManifest: whatever stands in a manifest, it is refused or describes segments that tile the plan.
func FuzzManifest(f *testing.F) {
	w, p := newWorld(f), newParty(f)
	w.work(10)
	folder, _ := w.backup(recipients(f, p))
	good, err := os.ReadFile(filepath.Join(folder, backup.ManifestFile))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:len(good)/2])
	f.Add([]byte("{}\n"))
	f.Add([]byte(`{"kiroku_backup":1,"streams":[],"chain":"` + "\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		folder := t.TempDir()
		if err := os.WriteFile(filepath.Join(folder, backup.ManifestFile), text, 0o600); err != nil {
			t.Fatal(err)
		}
		b, err := backup.Open(folder)
		if err != nil {
			return
		}
		var events uint64
		for _, r := range b.Plan.Streams {
			next := r.First
			for _, s := range b.Segments {
				if s.Stream == r.Stream {
					if s.First != next {
						t.Fatalf("segment %d begins at %d, want %d", s.Number, s.First, next)
					}
					next = s.Next
				}
			}
			if next != r.Next {
				t.Fatalf("%s ends at %d, want %d", r.Stream, next, r.Next)
			}
			events += r.Next - r.First
		}
		if b.End == nil || b.End.Events != events {
			t.Fatal("a backup without its end")
		}
	})
}

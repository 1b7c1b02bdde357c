package dedup_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"testing"

	"github.com/google/uuid"

	"kiroku/adapters/views"
	"kiroku/domain/event"
	"kiroku/domain/keyring"
	"kiroku/domain/ledger"
	"kiroku/domain/secret"
	"kiroku/projections"
	"kiroku/projections/dedup"
	"kiroku/projections/projectiontest"
)

var people = flag.Int("people", 20_000, "persons that BenchmarkMemory puts into the register")

// softToken answers under keys made of the label.
type softToken struct{}

func (softToken) HMAC(_ context.Context, label string, message []byte) (*secret.Bytes, error) {
	h := hmac.New(sha256.New, []byte(label))
	h.Write(message)
	return secret.Take(h.Sum(nil)), nil
}

// fullVault is a keyring with all bucket keys loaded.
func fullVault(b *testing.B) *keyring.Keyring {
	b.Helper()
	k, err := keyring.New(b.Context(), softToken{}, nil, keyring.Options{KeyGone: func(error) bool { return false }})
	if err != nil {
		b.Fatal(err)
	}
	o, err := k.NewVault(b.Context(), keyring.MaxBuckets)
	if err == nil {
		err = k.OpenVault(b.Context(), o)
	}
	for first := 0; err == nil && first < keyring.MaxBuckets; first += keyring.BucketsPerEvent {
		var s event.BucketKeysStored
		if s, err = k.NewBucketKeys(b.Context(), o, first, keyring.BucketsPerEvent); err == nil {
			_, err = k.LoadBucketKeys(s)
		}
	}
	if err != nil || !k.VaultReady() {
		b.Fatal(k.VaultReady(), err)
	}
	return k
}

func octetsOf(kind string, person, n int) []byte {
	sum := sha256.Sum256(binary.BigEndian.AppendUint64([]byte(kind), uint64(person)))
	return sum[:n]
}

// issued is the event by which an agency was issued a symbol of a person, as the runner hands it over.
func issued(b *testing.B, revision uint64, person, agency int) projections.Opened {
	b.Helper()
	payload, err := event.Encode(event.SymbolIssued{NewPerson: agency == 0, Command: event.Command{ID: uuid.UUID{1}, Digest: make([]byte, 16)},
		Subject:  event.Subject{ID: octetsOf("subject", person, 16), Linkage: octetsOf("linkage", person, 16), Management: octetsOf("management", person, 32), Salt: make([]byte, 16)},
		Issuance: event.Issuance{Agency: fmt.Sprint("1310", agency), Parameter: make([]byte, 16), Scheme: 1}})
	if err != nil {
		b.Fatal(err)
	}
	e := ledger.Event{Stream: event.StreamIssuance, Revision: revision, Type: event.TypeSymbolIssued, Data: bytes.Repeat(octetsOf("sealed", person, 32), 17)}
	h := ledger.Header{Stream: e.Stream, Revision: revision, Type: e.Type, Time: projectiontest.Begin}
	binary.BigEndian.PutUint64(h.ID[:], revision+1)
	return projections.Opened{Event: e, Header: h, HeaderBytes: bytes.Repeat(octetsOf("header", person, 32), 12), Payload: payload}
}

func fillRegister(b *testing.B, d *dedup.Dedup) {
	b.Helper()
	const batch = 2000
	for from := 0; from < 2*(*people); from += batch {
		opened := make([]projections.Opened, batch)
		for i := range opened {
			opened[i] = issued(b, uint64(from+i), (from+i)/2, (from+i)%2)
		}
		if err := d.Apply(event.StreamIssuance, opened, projections.Checkpoint{Next: uint64(from + batch)}); err != nil {
			b.Fatal(err)
		}
	}
}

// resident returns how much memory the process holds now, and the most it ever held, in MiB.
func resident(b *testing.B) (now, most float64) {
	b.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Fatal(err)
	}
	for line := range bytes.Lines(status) {
		for name, to := range map[string]*float64{"VmRSS:": &now, "VmHWM:": &most} {
			if rest, found := bytes.CutPrefix(line, []byte(name)); found {
				if _, err := fmt.Sscan(string(rest), to); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
	return now / 1024, most / 1024
}

// BenchmarkMemory is what a process holds that has the register of people with two symbols each in its view and the
// vault's keys in memory: the most while the view was filled, and while persons are looked up in it.
func BenchmarkMemory(b *testing.B) {
	k := fullVault(b)
	v, err := views.Open(b.TempDir(), views.Options{Ledger: "benchmark", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = v.Close() }()
	d, err := dedup.Open(v, k)
	if err != nil {
		b.Fatal(err)
	}
	fillRegister(b, d)
	if err := v.Sync(b.Context()); err != nil {
		b.Fatal(err)
	}
	_, filling := resident(b)
	debug.FreeOSMemory()
	for i := 0; b.Loop(); i++ {
		person := i * 7919 % *people
		if _, found, err := d.ByManagement(k.Index(keyring.IndexManagement, octetsOf("management", person, 32))); err != nil || !found {
			b.Fatal(person, found, err)
		}
	}
	now, _ := resident(b)
	b.ReportMetric(filling, "MiB-filling")
	b.ReportMetric(now, "MiB-afterwards")
	b.ReportMetric(float64(v.Usage().DiskBytes>>20), "MiB-disk")
}

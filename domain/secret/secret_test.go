package secret

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"unsafe"

	"github.com/fxamacker/cbor/v2"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"kiroku/domain/secret/secrettest"
)

const planted = "48213905577-needle"

func TestNoPrinterLoggerOrEncoderShowsASecret(t *testing.T) {
	s := Take([]byte(planted))
	defer s.Destroy()
	if found := secrettest.Leaks(s, []byte(planted)); len(found) > 0 {
		t.Errorf("pointer: shown by %v", found)
	}
	if found := secrettest.Leaks(*s, []byte(planted)); len(found) > 0 {
		t.Errorf("value: shown by %v", found)
	}
}

// The scan above means something only if it finds what does leak.
func TestTheScanFindsAPlantedLeak(t *testing.T) {
	type careless struct{ code []byte }
	for name, found := range map[string][]string{
		"bytes":            secrettest.Leaks([]byte(planted), []byte(planted)),
		"string":           secrettest.Leaks(planted, []byte(planted)),
		"array":            secrettest.Leaks([18]byte([]byte(planted)), []byte(planted)),
		"unexported field": secrettest.Leaks(careless{[]byte(planted)}, []byte(planted)),
	} {
		for _, way := range []string{"fmt %v of value", "fmt %d of unexported field", "slog text of nested"} {
			if name == "string" && way == "fmt %d of unexported field" {
				continue // %d shows a string as %!d(string=…), which the next row covers
			}
			if !slices.Contains(found, way) {
				t.Errorf("%s: a leak by %q is not found", name, way)
			}
		}
	}
	for _, way := range []string{"JSON of exported field", "CBOR of value", "gob of value", "YAML of exported field"} {
		if !slices.Contains(secrettest.Leaks(planted, []byte(planted)), way) {
			t.Errorf("a leak by %q is not found", way)
		}
	}
}

func TestTextFormsSayRedacted(t *testing.T) {
	s := Take([]byte(planted))
	defer s.Destroy()
	var logged bytes.Buffer
	slog.New(slog.NewTextHandler(&logged, nil)).Info("m", "code", s)
	if !bytes.Contains(logged.Bytes(), []byte("code="+Redacted)) {
		t.Errorf("log line %q", logged.String())
	}
	if got := fmt.Sprintf("%v|%s|%x|%+v", s, *s, s, struct{ S *Bytes }{s}); got != "[redacted]|[redacted]|[redacted]|{S:[redacted]}" {
		t.Errorf("printed %q", got)
	}
	if got, err := json.Marshal(map[string]any{"pin": s}); err != nil || string(got) != `{"pin":"[redacted]"}` {
		t.Errorf("JSON %s, %v", got, err)
	}
	if got := fmt.Sprint((*Bytes)(nil)); bytes.Contains([]byte(got), []byte("PANIC")) {
		t.Errorf("nil prints %q", got)
	}
}

func TestBinaryFormsAreRefused(t *testing.T) {
	s := Take([]byte(planted))
	defer s.Destroy()
	if _, err := cbor.Marshal(s); !errors.Is(err, ErrNotEncodable) {
		t.Errorf("CBOR: %v", err)
	}
	if err := gob.NewEncoder(io.Discard).Encode(s); !errors.Is(err, ErrNotEncodable) {
		t.Errorf("gob: %v", err)
	}
	if _, err := s.MarshalBinary(); !errors.Is(err, ErrNotEncodable) {
		t.Errorf("binary: %v", err)
	}
	if err := json.Unmarshal([]byte(`"12345678901"`), s); !errors.Is(err, ErrNotEncodable) {
		t.Errorf("reading JSON into a secret: %v", err)
	}
}

func TestTakeMovesAndDestroyWipes(t *testing.T) {
	for _, n := range []int{1, 11, 31, 32, 33, 64, 100, 256, 512, 4096, 64 << 10} {
		src := bytes.Repeat([]byte{0xA5}, n)
		s := Take(src)
		if !bytes.Equal(src, make([]byte, n)) {
			t.Fatalf("%d bytes: the source still holds the secret", n)
		}
		kept := s.Expose() // what a careless caller, or a core dump, would still see
		if !bytes.Equal(kept, bytes.Repeat([]byte{0xA5}, n)) || cap(kept) != n {
			t.Fatalf("%d bytes: exposed %d with capacity %d", n, len(kept), cap(kept))
		}
		s.Destroy()
		if !bytes.Equal(kept, make([]byte, n)) {
			t.Errorf("%d bytes: still in memory after Destroy", n)
		}
		if s.Expose() != nil || s.Len() != n {
			t.Errorf("%d bytes: after Destroy exposes %v, length %d", n, s.Expose() != nil, s.Len())
		}
	}
}

func TestASecretAboveTheLargestSlotIsUnmapped(t *testing.T) {
	before := CurrentUsage()
	s := New(largestSlot + 1)
	copy(s.Expose(), planted)
	during := CurrentUsage()
	if during.Live != before.Live+1 || during.LockedBytes+during.UnlockedBytes <= before.LockedBytes+before.UnlockedBytes {
		t.Errorf("usage %+v, before it %+v", during, before)
	}
	s.Destroy()
	s.Destroy()
	if s.Expose() != nil || CurrentUsage() != before {
		t.Errorf("after Destroy: usage %+v, before it %+v", CurrentUsage(), before)
	}
}

func TestEmptyAndNil(t *testing.T) {
	for name, s := range map[string]*Bytes{"nil": nil, "zero": {}, "none": New(0), "negative": New(-1), "nothing": Take(nil)} {
		s.Destroy()
		if s.Len() != 0 || s.Expose() != nil || s.Equal(s) {
			t.Errorf("%s: length %d, exposes %v, equals itself %v", name, s.Len(), s.Expose(), s.Equal(s))
		}
	}
}

func TestADoubleDestroyLeavesTheNextOwnerAlone(t *testing.T) {
	first := Take([]byte("first"))
	stale := *first
	first.Destroy()
	// Take slots until the very one is in use again.
	var held []*Bytes
	for range 100_000 {
		next := Take([]byte("other"))
		held = append(held, next)
		if next.region == stale.region && next.slot == stale.slot {
			break
		}
	}
	first.Destroy()
	stale.Destroy()
	if stale.Expose() != nil {
		t.Error("a stale handle shows another secret")
	}
	for _, s := range held {
		if string(s.Expose()) != "other" {
			t.Fatal("destroying twice took the memory of another secret")
		}
		s.Destroy()
	}
}

func TestEqual(t *testing.T) {
	a, b, c := Take([]byte("12345678901")), Take([]byte("12345678901")), Take([]byte("12345678902"))
	if !a.Equal(b) || a.Equal(c) || a.Equal(nil) {
		t.Error("equality is not that of the bytes")
	}
	b.Destroy()
	if a.Equal(b) || b.Equal(b) {
		t.Error("a destroyed secret equals something")
	}
}

// Under any order of making, writing and destroying, each secret keeps its own content, and a new one is all zeros.
func TestSecretsDoNotOverlap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type kept struct {
			s    *Bytes
			want []byte
		}
		var all []kept
		t.Repeat(map[string]func(*rapid.T){
			"new": func(t *rapid.T) {
				n := rapid.OneOf(rapid.IntRange(1, 70), rapid.IntRange(1, 5000)).Draw(t, "n")
				s := New(n)
				if !bytes.Equal(s.Expose(), make([]byte, n)) {
					t.Fatal("a new secret shows what was there before")
				}
				want := bytes.Repeat([]byte{byte(1 + rand.IntN(255))}, n)
				copy(s.Expose(), want)
				all = append(all, kept{s, want})
			},
			"destroy": func(t *rapid.T) {
				if len(all) == 0 {
					return
				}
				i := rapid.IntRange(0, len(all)-1).Draw(t, "i")
				all[i].s.Destroy()
				all = slices.Delete(all, i, i+1)
			},
			"": func(t *rapid.T) {
				for _, k := range all {
					if !bytes.Equal(k.s.Expose(), k.want) {
						t.Fatal("a secret changed under another's hand")
					}
				}
			},
		})
		for _, k := range all {
			k.s.Destroy()
		}
	})
}

func TestManyGoroutines(t *testing.T) {
	before := CurrentUsage().Live
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			var held []*Bytes
			for i := range 5000 {
				s := New(1 + (i*31+g)%300)
				for j := range s.Expose() {
					if s.Expose()[j] != 0 {
						t.Error("a new secret is not zero")
						return
					}
					s.Expose()[j] = byte(g + 1)
				}
				if held = append(held, s); len(held) < 64 {
					continue
				}
				for _, h := range held {
					if b := h.Expose(); b[0] != byte(g+1) || b[len(b)-1] != byte(g+1) {
						t.Error("a secret changed under another goroutine's hand")
					}
					h.Destroy()
				}
				held = held[:0]
			}
			for _, h := range held {
				h.Destroy()
			}
		})
	}
	wg.Wait()
	if live := CurrentUsage().Live; live != before {
		t.Errorf("%d secrets live, %d before", live, before)
	}
}

// Destroy from several goroutines at once frees the slot once.
func TestConcurrentDestroy(t *testing.T) {
	before := CurrentUsage().Live
	for range 1000 {
		s := New(32)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(s.Destroy)
		}
		wg.Wait()
	}
	if live := CurrentUsage().Live; live != before {
		t.Errorf("%d secrets live, %d before", live, before)
	}
}

// Beyond RLIMIT_MEMLOCK the arena goes on, and says that it is no longer locked.
func TestALockingLimitIsReportedNotFatal(t *testing.T) {
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &was); err != nil {
		t.Fatal(err)
	}
	defer dropCapability(t, unix.CAP_IPC_LOCK)() // it would override the limit
	if err := unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unix.Rlimit{Cur: 0, Max: was.Max}); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Setrlimit(unix.RLIMIT_MEMLOCK, &was) }()
	s := New(1 << 20)
	defer s.Destroy()
	copy(s.Expose(), planted)
	if !bytes.HasPrefix(s.Expose(), []byte(planted)) {
		t.Error("the secret does not hold its content")
	}
	if Locked() || CurrentUsage().UnlockedBytes == 0 {
		t.Errorf("memory beyond the limit counts as locked: %+v", CurrentUsage())
	}
}

func TestSizeClasses(t *testing.T) {
	for n := 1; n <= largestSlot; n++ {
		c := class(n)
		if c < 0 || c >= classes || smallestSlot<<c < n || (c > 0 && smallestSlot<<(c-1) >= n) {
			t.Fatalf("%d bytes in class %d", n, c)
		}
	}
}

func TestRegionsLieOutsideTheGoHeapAndTheDump(t *testing.T) {
	s := New(32)
	defer s.Destroy()
	if !s.region.mapping.offHeap {
		t.Error("the region is Go memory")
	}
	flags := mappingFlags(t, uintptr(unsafe.Pointer(unsafe.SliceData(s.Expose()))))
	if !slices.Contains(flags, "dd") {
		t.Errorf("mapping flags %v: it would be in a core dump", flags)
	}
	if s.region.mapping.locked && !slices.Contains(flags, "lo") {
		t.Errorf("mapping flags %v: said to be locked, and is not", flags)
	}
}

func BenchmarkTakeDestroy(b *testing.B) {
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			New(32).Destroy()
		}
	})
}

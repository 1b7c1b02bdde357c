package inquiry

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/uuid"
	"pgregory.net/rapid"
)

// A processing number stands in records kept for seven years: what a command
// gives may not change with the program.
func TestProcessingNumbersAreFixed(t *testing.T) {
	n := NewProcessingNumber(uuid.MustParse("01890a5d-ac96-774b-bcce-b302099a8057"))
	const want = "1KA68C8N0XB9ETYPMH4N5F69N4"
	if n.String() != want {
		t.Errorf("number %s, want %s", n, want)
	}
	if u := uuid.UUID(n); u.Version() != 5 || u.Variant() != uuid.RFC4122 {
		t.Errorf("%v is no UUIDv5", u)
	}
}

func TestProcessingNumberTextReadsBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "bytes")
		n, err := ProcessingNumberFromBytes(b)
		if err != nil {
			if !bytes.Equal(b, make([]byte, 16)) {
				t.Fatal(err)
			}
			return
		}
		for _, s := range []string{n.String(), strings.ToLower(n.String()), strings.NewReplacer("1", "L", "0", "O").Replace(n.String())} {
			if got, err := ParseProcessingNumber(s); err != nil || got != n {
				t.Fatalf("%s reads back as %s, %v", s, got, err)
			}
		}
		j, err := json.Marshal(n)
		var back ProcessingNumber
		if err != nil || json.Unmarshal(j, &back) != nil || back != n {
			t.Fatalf("%s reads back as %s", j, back)
		}
	})
}

func TestTextOrderIsByteOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func(l string) (n ProcessingNumber) {
			copy(n[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, l))
			return n
		}
		a, b := draw("a"), draw("b")
		if bytes.Compare(a[:], b[:]) != strings.Compare(a.String(), b.String()) {
			t.Fatalf("%x and %x", a, b)
		}
	})
}

func TestParseProcessingNumberRefuses(t *testing.T) {
	good := NewProcessingNumber(uuid.UUID{1}).String()
	for _, bad := range []string{"", good[1:], good + "0", "8" + good[1:], "Z" + good[1:], good[:25] + "U", good[:25] + "-", good[:23] + "一", strings.Repeat("0", 26)} {
		if n, err := ParseProcessingNumber(bad); !errors.Is(err, ErrNumber) {
			t.Errorf("%q is %v, %v", bad, n, err)
		}
	}
	if _, err := ProcessingNumberFromBytes(make([]byte, 15)); !errors.Is(err, ErrNumber) {
		t.Errorf("15 bytes: %v", err)
	}
}

func TestShardsAreEvenAndWithinRange(t *testing.T) {
	const shards, each = 7, 2000
	var got [shards]int
	for i := range shards * each {
		got[NewProcessingNumber(uuid.UUID{byte(i >> 8), byte(i), 9}).Shard(shards)]++
	}
	for s, n := range got {
		if n < each*8/10 || n > each*12/10 {
			t.Errorf("shard %d has %d of %d", s, n, shards*each)
		}
	}
	var last ProcessingNumber
	for i := range last {
		last[i] = 0xff
	}
	for _, shards := range []int{-1, 0, 1, 2, 3, 64, 1 << 20} {
		if s := last.Shard(shards); s != max(shards-1, 0) {
			t.Errorf("last number of %d shards is in %d", shards, s)
		}
	}
}

func TestBranchNumbers(t *testing.T) {
	b, err := NewBranchNumber(0)
	if err != nil || b.String() != "000" {
		t.Errorf("%v, %v", b, err)
	}
	if next, err := b.Next(); err != nil || next.String() != "001" {
		t.Errorf("%v, %v", next, err)
	}
	if _, err := MaxBranch.Next(); !errors.Is(err, ErrNumber) {
		t.Errorf("after the last: %v", err)
	}
	for _, bad := range []string{"", "-1", "1000", "x", "０１"} {
		if _, err := ParseBranchNumber(bad); !errors.Is(err, ErrNumber) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if got, err := ParseBranchNumber("012"); got != 12 || err != nil {
		t.Errorf("%v, %v", got, err)
	}
}

func FuzzParseProcessingNumber(f *testing.F) {
	f.Add(NewProcessingNumber(uuid.UUID{1}).String())
	f.Add("OOOOOOOOOOOOOOOOOOOOOOOOOL")
	f.Fuzz(func(t *testing.T, s string) {
		n, err := ParseProcessingNumber(s)
		if err != nil {
			return
		}
		canonical := strings.NewReplacer("I", "1", "L", "1", "O", "0").Replace(strings.ToUpper(s))
		if n.IsZero() || n.String() != canonical {
			t.Errorf("%q is %s", s, n)
		}
	})
}

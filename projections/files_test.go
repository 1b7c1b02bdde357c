package projections_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/cockroachdb/pebble/v2/sstable"

	"kiroku/domain/calendar"
	"kiroku/projections"
	"kiroku/projections/disclosure"
	"kiroku/projections/mediation"
	"kiroku/projections/projectiontest"
)

// keysIn returns every key that the tables of a folder hold, those of rows that were deleted or replaced included.
func keysIn(t *testing.T, dir string) (keys [][]byte) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	if err != nil || len(files) == 0 {
		t.Fatal(len(files), err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			return keysIn(t, dir) // it was compacted just now
		}
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, keysOf(t, text)...)
	}
	return keys
}

func keysOf(t *testing.T, table []byte) (keys [][]byte) {
	t.Helper()
	r, err := sstable.NewMemReader(table, sstable.ReaderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	it, err := r.NewIter(sstable.NoTransforms, nil, nil, sstable.AssertNoBlobHandles)
	if err != nil {
		t.Fatal(err)
	}
	for kv := it.First(); kv != nil; kv = it.Next() {
		keys = append(keys, bytes.Clone(kv.K.UserKey))
	}
	if err := errors.Join(it.Close(), r.Close()); err != nil {
		t.Fatal(err)
	}
	return keys
}

// layout says of each table of a projection what its keys begin with, in order: how many days; 0 for no time.
var layout = map[string][]uint32{disclosure.Name: {1, 1, 256, 256}, mediation.Name: {1, 32, 0, 0}}

// telling reports whether a key that no row has is of an ended day, or may be.
func telling(t *testing.T, key []byte, ended map[string]bool) (table string, tells bool) {
	t.Helper()
	before, rest, _ := bytes.Cut(key, []byte{0, 1})
	name := string(before)
	days, known := layout[name]
	if !known || len(rest) < 5 { // a generation and a table
		return "", false
	}
	number := int(rest[4]) - int(projections.FirstTable)
	table = name + " " + string('0'+rune(number))
	if number < 0 || days[number] == 0 {
		return table, true
	}
	first := binary.BigEndian.Uint32(rest[5:]) * days[number]
	for text := range ended {
		day, err := calendar.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		n := uint32(projections.NumberOf(day))
		if ended[text] && n >= first && (n < first+days[number] || name == mediation.Name) {
			return table, true
		}
	}
	return table, false
}

// leftovers counts the keys in files that no row has any more and that tell of a day that ended, by table.
func leftovers(t *testing.T, dir string, view projections.View, ended map[string]bool) map[string]int {
	t.Helper()
	n := map[string]int{}
	for _, key := range keysIn(t, dir) {
		if key[0] == 0xff {
			continue // the view's own
		}
		if _, found, err := view.Get(key); err != nil || found {
			continue
		}
		if table, tells := telling(t, key, ended); tells {
			n[table]++
		}
	}
	return n
}

// TestWhatIsCompactedIsAllThatTells: when days have ended, the ranges that are compacted hold everything that tells of them
// and was deleted or replaced, also by a rebuild, and not the days that go on.
func TestWhatIsCompactedIsAllThatTells(t *testing.T) {
	for seed := range uint64(6) {
		l, err := projectiontest.New()
		if err != nil {
			t.Fatal(err)
		}
		h := &projectiontest.History{Choose: rand.New(rand.NewPCG(seed, 11)).IntN}
		if err := h.Fill(l, 400); err != nil {
			t.Fatal(err)
		}
		files := &projectiontest.Files{}
		m, err1 := mediation.Open(files)
		d, err2 := disclosure.Open(files, l)
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		apply := func(all ...projections.Projection) {
			t.Helper()
			c, err := projectiontest.Read(t.Context(), l, projectiontest.Streams...)
			for _, p := range all {
				err = errors.Join(err, c.ApplyAll(p))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		apply(m, d)
		if seed%2 == 1 { // the rows of before lie in another generation
			for _, p := range []projections.Shadowing{m, d} {
				s, err := p.Shadow()
				if err != nil {
					t.Fatal(err)
				}
				apply(s)
				if err := p.Promote(s); err != nil {
					t.Fatal(err)
				}
			}
		}
		ended := map[string]bool{}
		for round := range 2 {
			first := calendar.DayOf(projectiontest.Begin)
			for i := round * 40; i < round*40+40; i++ {
				if i%7 == 3 {
					continue // held
				}
				day := first.AddDays(i)
				ended[day.String()] = true
				if err := projectiontest.Shred(l, day, projectiontest.Begin.AddDate(3, 0, 0)); err != nil {
					t.Fatal(err)
				}
			}
			apply(m, d)
			tables := map[string]bool{}
			files.Leftovers(func(key []byte) {
				if table, tells := telling(t, key, ended); tells {
					tables[table] = true
				}
			})
			if len(tables) < 7 { // six of them, and those of the rows themselves
				t.Errorf("seed %d, round %d: before it is compacted, only %v tell", seed, round, tables)
			}
			kept := 0
			for _, p := range []interface{ Compact(context.Context) error }{m, d} {
				if err := p.Compact(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			files.Leftovers(func(key []byte) {
				if table, tells := telling(t, key, ended); tells {
					t.Errorf("seed %d, round %d: in %s, %x is left", seed, round, table, key)
				}
				kept++
			})
			if kept == 0 && seed%2 == 0 {
				t.Errorf("seed %d, round %d: everything was compacted", seed, round)
			}
		}
	}
}

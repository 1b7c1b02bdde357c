package disclosure_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"kiroku/domain/calendar"
	"kiroku/domain/keyring"
	"kiroku/projections/projectiontest"
)

// tables returns the files of rows in a folder with their sizes, and the size of all.
func tables(t *testing.T, dir string) (sizes map[string]int64, all int64) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	if err != nil {
		t.Fatal(err)
	}
	sizes = map[string]int64{}
	for _, name := range names {
		if info, err := os.Stat(name); err == nil { // else it was compacted just now
			sizes[name] = info.Size()
			all += info.Size()
		}
	}
	return sizes, all
}

// TestTheEndOfADayLeavesOtherFilesAlone: what is written anew when a day has ended is a few files, those with the day's own
// rows, of a view that is many times as big; the rest is not touched.
func TestTheEndOfADayLeavesOtherFilesAlone(t *testing.T) {
	l, err := projectiontest.New()
	if err != nil {
		t.Fatal(err)
	}
	c := &crowd{dir: t.TempDir(), index: l, size: 80_000}
	c.open(t)
	defer func() { _ = c.view.Close() }()
	c.fill(t, 3000) // one a day, 230 MiB
	first := calendar.DayOf(begin)
	end := func(day calendar.Day) {
		t.Helper()
		if err := c.End(day); err != nil {
			t.Fatal(err)
		}
		if err := c.Compact(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	end(first) // what is not yet compacted of the filling goes with it
	for i, day := range []calendar.Day{first.AddDays(1), first.AddDays(2), first.AddDays(3)} {
		before, size := tables(t, c.dir)
		end(day)
		after, _ := tables(t, c.dir)
		anew := int64(0)
		for name, n := range after {
			if before[name] == 0 {
				anew += n
			}
		}
		if size < 200<<20 || anew > size/3 {
			t.Errorf("day %d: %d of %d MiB were written anew", i, anew>>20, size>>20)
		}
	}
	left := 0
	for person := range uint64(150) {
		all, err := c.Records(c.index.Index(keyring.IndexRecord, symbolOf(person)), time.Time{}, time.Time{}, 1000)
		if err != nil {
			t.Fatal(err)
		}
		left += len(all)
	}
	if left < 2990 || left > 2997 { // one or two on each of the four days
		t.Errorf("%d records are left", left)
	}
}

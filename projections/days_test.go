package projections_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"

	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/projections"
	"kiroku/projections/projectiontest"
)

// diary is a projection whose rows die with their day.
type diary struct{ *tally }

// tableSeen holds what there is elsewhere of a row of a diary.
const tableSeen = tableReceipts + 1

var diaryDays = projections.Mortal{
	ByDay: []projections.Table{tableReceipts},
	Brief: []projections.Table{tableSeen},
	Drop: func(b *projections.Batch, row projections.DyingRow) error {
		b.Delete(tableSeen, row.Value)
		return nil
	},
}

func (diary) Wants(s string) bool { return event.IsRecordStream(s) || s == event.StreamRegistry }

func (p diary) Apply(s string, batch []projections.Opened, to projections.Checkpoint) error {
	if s == event.StreamRegistry {
		return projections.ApplyRegistry(p.rows, batch, to, diaryDays)
	}
	return projections.Apply(p.rows, s, batch, to,
		func(o *projections.Opened) (projections.Fact[string], error) {
			if o.Event.Type != event.TypeRecordsDisclosed {
				return projections.Fact[string]{Skip: true}, nil
			}
			d, err := event.Decode[event.RecordsDisclosed](o.Payload)
			return projections.Fact[string]{Rows: d.Receipt, Command: &d.Command}, err
		},
		func(b *projections.Batch, o *projections.Opened, receipt string) error {
			b.Set(tableReceipts, fmt.Appendf(projections.AppendDay(nil, b.DayNumber(o)), "%s/%09d", s, o.Event.Revision), []byte(receipt))
			b.Set(tableSeen, []byte(receipt), nil)
			return nil
		})
}

func onDay(i int, at time.Time) projectiontest.Fact {
	return projectiontest.Fact{Type: event.TypeRecordsDisclosed, Time: at, Key: projectiontest.DayKey(calendar.DayOf(at), stream),
		ID:      uuid.NewSHA1(uuid.Nil, fmt.Append(nil, i)),
		Payload: event.RecordsDisclosed{Command: event.Command{ID: uuid.UUID{1}, Digest: make([]byte, 16)}, Receipt: fmt.Sprint("receipt ", i)}}
}

// TestKilledWhileADayIsDropped: a day of many rows goes in several commits; killed before each of them in turn, it is gone
// in the end, and the day after it is there.
func TestKilledWhileADayIsDropped(t *testing.T) {
	l := newLedger(t, nil)
	const each = 20_000
	for from := 0; from < 2*each; from += 200 {
		var facts []projectiontest.Fact
		for i := from; i < from+200; i++ {
			facts = append(facts, onDay(i, start.Add(time.Duration(i/each)*24*time.Hour)))
		}
		appendTo(t, l, stream, facts...)
	}
	view := &projectiontest.Memory{}
	p := diary{newTally(t, view)}
	apply := func() error {
		c, err := projectiontest.Read(t.Context(), l, stream, event.StreamRegistry)
		if err != nil {
			return err
		}
		return c.ApplyAll(p)
	}
	if err := apply(); err != nil {
		t.Fatal(err)
	}
	if err := projectiontest.Shred(l, calendar.DayOf(start), start.Add(48*time.Hour)); err != nil {
		t.Fatal(err)
	}
	killed := errors.New("killed")
	kills := 0
	for done := false; !done; kills++ {
		left := 1 // commits until the next kill
		view.Fail = func() error {
			if left--; left < 0 {
				return killed
			}
			return nil
		}
		switch err := apply(); {
		case err == nil:
			done = true
		case !errors.Is(err, killed):
			t.Fatal(err)
		}
		view.Fail = nil
		p = diary{newTally(t, view)}
	}
	if kills < 6 {
		t.Errorf("killed %d times only: the day went at once", kills)
	}
	expect(t, p.receipts(t), want(each, 2*each))
	for i, known := range map[int]bool{0: false, each - 1: false, each: true, 2*each - 1: true} {
		if _, found, err := p.rows.Command(uuid.NewSHA1(uuid.Nil, fmt.Append(nil, i))); err != nil || found != known {
			t.Errorf("command of %d: %v, %v", i, found, err)
		}
	}
	anew := diary{newTally(t, &projectiontest.Memory{})}
	p, p2 := anew, p
	if err := apply(); err != nil {
		t.Fatal(err)
	}
	got, err1 := projectiontest.Dump(p2.rows)
	made, err2 := projectiontest.Dump(anew.rows)
	if err := errors.Join(err1, err2); err != nil || got != made {
		t.Errorf("made anew, the rows differ (%v)", err)
	}
}

// TestRowsOfAnotherFormAreMadeAgain: a view that an earlier version wrote is emptied, not misread.
func TestRowsOfAnotherFormAreMadeAgain(t *testing.T) {
	view := &projectiontest.Memory{}
	p := newTally(t, view)
	applied(t, p, 100, disclosures(0, 5)...)
	var c projections.Changes
	c.Set([]byte("tally\x00\x00"), []byte{0, 0, 0, 1})
	if err := view.Commit(&c); err != nil {
		t.Fatal(err)
	}
	p = newTally(t, view)
	expect(t, p.receipts(t), nil)
	if at, err := p.rows.Checkpoint(stream); err != nil || at.Next != 0 {
		t.Errorf("%+v, %v", at, err)
	}
	if left, err := projectiontest.Find(view, []byte("receipt")); err != nil || len(left) > 0 {
		t.Errorf("%d old rows are left, %v", len(left), err)
	}
	applied(t, p, 100, disclosures(0, 7)...)
	expect(t, newTally(t, view).receipts(t), want(0, 7))
}

// inFiles counts the needles that any file of a folder holds.
func inFiles(t *testing.T, dir string, needles [][]byte) (n int) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) == 0 {
		t.Fatal(len(files), err)
	}
	var all []byte
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, text...)
	}
	for _, needle := range needles {
		if bytes.Contains(all, needle) {
			n++
		}
	}
	return n
}

// TestADayIsGoneFromTheFiles: all read models of a core in a real view. When a day has ended and the view was compacted, no
// file of it holds a row of the day, and every row of another day is there. Then the models made anew, and made from
// truncated streams, are equal to these.
func TestADayIsGoneFromTheFiles(t *testing.T) {
	l, err := projectiontest.New()
	if err != nil {
		t.Fatal(err)
	}
	h := &projectiontest.History{Choose: rand.New(rand.NewPCG(3, 9)).IntN}
	if err := h.Fill(l, 1500); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	live := openCore(t, dir, l)
	live.follow(t, l, 50).stop()
	live.close(t) // what was committed is in the files
	live = openCore(t, dir, l)
	defer live.close(t)

	ended := map[string]bool{}
	for day := calendar.DayOf(projectiontest.Begin); day.Before(h.Today().AddDays(-30)); day = day.AddDays(1) {
		ended[day.String()] = day.DaysSince(calendar.DayOf(projectiontest.Begin))%5 != 4 // one in five is held
	}
	c, err := projectiontest.Read(t.Context(), l, projectiontest.Streams...)
	if err != nil {
		t.Fatal(err)
	}
	var going, staying [][]byte // payloads as stored
	for _, all := range c {
		for _, o := range all {
			if o.Event.Type != event.TypeRecordsDisclosed && o.Event.Type != event.TypeProvisionReported && o.Event.Type != event.TypeInquiryLapsed {
				continue
			}
			if ended[o.Day()] {
				going = append(going, o.Event.Data[:48])
			} else {
				staying = append(staying, o.Event.Data[:48])
			}
		}
	}
	if n := inFiles(t, dir, going); n != len(going) || n < 50 || len(staying) < 50 {
		t.Fatalf("before: %d of %d are found, %d others", n, len(going), len(staying))
	}
	for day, gone := range ended {
		if d, err := calendar.Parse(day); err != nil || gone && projectiontest.Shred(l, d, projectiontest.Begin.AddDate(3, 0, 0)) != nil {
			t.Fatal(err)
		}
	}
	live.follow(t, l, 50).stop()
	if err := live.view.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := leftovers(t, dir, live.view, ended); len(n) < 7 {
		t.Errorf("the search finds deleted keys in these tables only: %v", n)
	}
	for _, p := range live.projections {
		if p, ok := p.(interface{ Compact(context.Context) error }); ok && p.Compact(t.Context()) != nil {
			t.Fatal(p)
		}
	}
	if n := inFiles(t, dir, going); n != 0 {
		t.Errorf("%d of %d rows of ended days are in the files", n, len(going))
	}
	if n := inFiles(t, dir, staying); n != len(staying) {
		t.Errorf("%d of %d other rows are in the files", n, len(staying))
	}

	if n := leftovers(t, dir, live.view, ended); len(n) > 0 {
		t.Errorf("keys of rows that were deleted are in the files, by table: %v", n)
	}

	expected := live.dump(t)
	r := live.follow(t, l, 0)
	for _, p := range live.projections {
		if err := r.Rebuild(t.Context(), p.Name(), nil); err != nil {
			t.Fatal(err)
		}
	}
	r.stop()
	if live.dump(t) != expected {
		t.Error("rebuilt, the rows differ")
	}
	beginnings := projectiontest.Beginnings(c, ended)
	if len(beginnings) == 0 {
		t.Fatal("no stream is truncated")
	}
	projectiontest.AuthoriseBeginnings(l, c, beginnings)
	cut := openCore(t, t.TempDir(), l)
	defer cut.close(t)
	cut.follow(t, l, 0).stop()
	if cut.dump(t) != expected {
		t.Error("made from truncated streams, the rows differ")
	}
}

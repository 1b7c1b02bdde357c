package projectiontest

import (
	"context"
	"time"

	"pgregory.net/rapid"

	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/domain/ledger"
	"kiroku/projections"
)

// Shred destroys the data keys of a day and has the registry say so.
func Shred(l *Ledger, day calendar.Day, at time.Time) error {
	for _, s := range Streams {
		l.Destroy(DayKey(day, s))
	}
	return l.Append(event.StreamRegistry, Fact{Type: event.TypeDayKeyDestroyed, Time: at, Payload: event.DayKeyDestroyed{
		Day: day.String(), Label: "record/" + day.String(), Due: day.AddYears(7).String(), At: at.UnixMicro(),
	}})
}

// Beginnings returns, for each stream with a record of a destroyed day, the first revision from which on it may begin:
// nothing before it outlives the days that ended.
func Beginnings(c Course, ended map[string]bool) map[string]uint64 {
	first := map[string]uint64{}
	for s, all := range c {
		for i := range all[:max(0, len(all)-1)] { // the last event stays
			if day := all[i].Day(); all[i].Header.Sealed() && !ended[day] {
				break
			}
			if ended[all[i].Day()] {
				first[s] = all[i].Event.Revision + 1
			}
		}
	}
	return first
}

// Truncated returns the course without what lies before the beginnings.
func (c Course) Truncated(first map[string]uint64) Course {
	out := Course{}
	for s, all := range c {
		out[s] = append([]projections.Opened(nil), all[first[s]:]...)
		if first[s] > 0 {
			out[s][0].Begins = true
		}
	}
	return out
}

// AuthoriseBeginnings has the ledger trust the beginnings, and forget what lies before them.
func AuthoriseBeginnings(l *Ledger, c Course, first map[string]uint64) {
	for s, n := range first {
		l.Authorise(s, n, ledger.LeafHash(c[s][n-1].HeaderBytes))
		l.Truncate(s, n)
	}
}

// CheckShredding draws a history in which days end, and states what every projection promises then: one that had the
// rows and lost them, over any batches, restarts, crashes and kills, and with events of an ended day that were opened
// before it ended, has the same rows as one that is made anew afterwards, before and after the streams were truncated.
func CheckShredding(t *rapid.T, open Open) {
	choose := func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "choice") }
	l, err := New()
	must(t, err)
	h := &History{Choose: choose}
	must(t, h.Fill(l, 20+choose(120)))
	before, err := Read(context.Background(), l, Streams...)
	must(t, err)
	ended := map[string]bool{}
	for day := calendar.DayOf(Begin); day.Before(h.Today()); day = day.AddDays(1) {
		if choose(3) == 0 {
			must(t, Shred(l, day, h.now))
			ended[day.String()] = true
		}
	}
	must(t, h.Fill(l, choose(40)))
	after, err := Read(context.Background(), l, Streams...)
	must(t, err)

	made, err := open(&Memory{}, l)
	must(t, err)
	must(t, after.ApplyAll(made))
	expected := dump(t, made)

	live := Course{} // as somebody has it who read the most part before the days ended
	for _, s := range Streams {
		live[s] = append(append([]projections.Opened(nil), before[s]...), after[s][len(before[s]):]...)
	}
	_, p, err := live.Wander(choose, &Memory{}, func(v projections.View) (projections.Projection, error) { return open(v, l) })
	must(t, err)
	same(t, "live", expected, dump(t, p.(Rebuildable)))

	first := Beginnings(after, ended)
	cut := after.Truncated(first)
	anew, err := open(&Memory{}, l)
	must(t, err)
	must(t, cut.ApplyAll(anew))
	same(t, "made from truncated streams", expected, dump(t, anew))

	behind, err := open(&Memory{}, l)
	must(t, err)
	for s := range live {
		must(t, live.Apply(behind, s, 0, choose(len(live[s])+1)))
	}
	for s := range cut {
		at, err := behind.Checkpoint(s)
		must(t, err)
		must(t, cut.Apply(behind, s, max(0, int(at.Next)-int(first[s])), len(cut[s])))
	}
	same(t, "continued on truncated streams", expected, dump(t, behind))
}

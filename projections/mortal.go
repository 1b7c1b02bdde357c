package projections

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"kiroku/domain/calendar"
)

// Mortal says which rows of a projection die with a day. They lie apart, by the day or by a span of days, so that the end
// of a day costs what the day and its span hold, however much else the projection does.
type Mortal struct {
	ByDay  []Table // keys begin with the day: AppendDay
	BySpan []Table // keys begin with the span of days: AppendSpan
	Span   Span
	Brief  []Table // hold what lives for some days only

	// Drop deletes what there is elsewhere of a row of ByDay, which goes by itself. It is given no row twice, but for those
	// of a commit that failed.
	Drop func(b *Batch, row DyingRow) error
	// Earlier has the rows of all days before a destroyed one dropped too, also of days that a legal hold keeps.
	Earlier bool
}

// DyingRow is a row of a day that has ended.
type DyingRow struct {
	Table      Table
	Day        DayNumber
	Key, Value []byte // the key after the day
}

// DayNumber is a day as keys begin with it: the days since 1970-01-01, which is before any ledger. 0 is no day.
type DayNumber uint32

var dayZero = calendar.Of(1970, 1, 1)

// NumberOf returns the number of a day, 0 for the zero Day and for those before 1970.
func NumberOf(day calendar.Day) DayNumber { return DayNumber(max(0, day.DaysSince(dayZero))) }

// DayNumber returns the day with whose key the event dies, 0 if it dies with none.
func (b *Batch) DayNumber(o *Opened) DayNumber {
	if text := o.Day(); text != b.day { // most events are of the day of the one before
		day, _ := calendar.Parse(text) // none is the zero Day
		b.day, b.number = text, NumberOf(day)
	}
	return b.number
}

// PeriodSize is how many octets a day, or a span of days, has in a key.
const PeriodSize = 4

// AppendDay appends a day as keys of Mortal.ByDay begin with it.
func AppendDay(b []byte, day DayNumber) []byte { return appendPeriod(b, uint32(day)) }

// Span is a number of days that share a prefix in keys of Mortal.BySpan, at most 256.
type Span uint32

// Of returns the span in which a day lies.
func (s Span) Of(day DayNumber) uint32 { return uint32(day) / uint32(s) }

// Within returns the place of a day in its span.
func (s Span) Within(day DayNumber) byte { return byte(uint32(day) % uint32(s)) }

// Day is the inverse of Of and Within.
func (s Span) Day(span uint32, within byte) DayNumber {
	return DayNumber(span*uint32(s) + uint32(within))
}

// AppendSpan appends a span as keys of Mortal.BySpan begin with it.
func AppendSpan(b []byte, span uint32) []byte { return appendPeriod(b, span) }

func appendPeriod(b []byte, n uint32) []byte { return binary.BigEndian.AppendUint32(b, n) }

// drop drops the rows of the days from ≤ day ≤ to.
func (r *Rows) drop(m Mortal, from, to DayNumber) error {
	for _, t := range m.ByDay {
		err := r.drain(t, AppendDay(nil, from), AppendDay(nil, to+1), func(b *Batch, key, value []byte) error {
			if len(key) < PeriodSize {
				return ErrDamaged
			}
			return m.Drop(b, DyingRow{t, DayNumber(binary.BigEndian.Uint32(key)), key[PeriodSize:], value})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// CompactEnded returns when no file of the view holds a row of a day that ended before. It rewrites the days that ended
// since the last time, or since the start, with the rows that live for some days only.
func (r *Rows) CompactEnded(ctx context.Context, m Mortal) error {
	v, ok := r.view.(Compacting)
	if !ok {
		return nil
	}
	r.write.Lock()
	generation, prefix := r.current()
	days := slices.Sorted(maps.Keys(r.dropped))
	r.write.Unlock()
	if err := v.Compact(ctx, r.mortalRanges(m, generation, prefix, days)...); err != nil {
		return fmt.Errorf("compact what ended in %s: %w", r.name, err)
	}
	r.write.Lock()
	defer r.write.Unlock()
	if now, _ := r.current(); now == generation {
		for _, day := range days {
			delete(r.dropped, day)
		}
	}
	return nil
}

// mortalRanges are where rows of these days were: also in the generations that a rebuild has left or is making.
func (r *Rows) mortalRanges(m Mortal, generation uint32, prefix []byte, days []DayNumber) []Range {
	ranges := []Range{
		{r.generationKey(0), r.generationKey(generation)},
		{r.generationKey(generation + 1), r.end()},
		{tableKey(prefix, tableCheckpoint, nil), tableKey(prefix, FirstTable, nil)},
	}
	for _, t := range m.Brief {
		ranges = append(ranges, Range{tableKey(prefix, t, nil), tableKey(prefix, t+1, nil)})
	}
	within := func(tables []Table, runs [][2]uint32) {
		for _, t := range tables {
			for _, run := range runs {
				ranges = append(ranges, Range{tableKey(prefix, t, appendPeriod(nil, run[0])), tableKey(prefix, t, appendPeriod(nil, run[1]+1))})
			}
		}
	}
	within(m.ByDay, m.runs(days, func(day DayNumber) uint32 { return uint32(day) }))
	within(m.BySpan, m.runs(days, m.Span.Of))
	return ranges
}

// runs joins rising days to runs of adjoining periods, first and last.
func (m Mortal) runs(days []DayNumber, period func(DayNumber) uint32) (runs [][2]uint32) {
	for _, day := range days {
		p := period(day)
		if last := len(runs) - 1; last >= 0 && (m.Earlier || p <= runs[last][1]+1) {
			runs[last][1] = p
			continue
		}
		first := p
		if m.Earlier {
			first = period(1)
		}
		runs = append(runs, [2]uint32{first, p})
	}
	return runs
}

package simulate

import (
	"bytes"
	"context"
	"slices"
	"time"

	"github.com/google/uuid"

	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/domain/ledger"
)

// due is the first day on which a day's key may be destroyed, reckoned apart from the product: seven years count from the
// day after (Civil Code 140); they are over on the eve of the day that corresponds to it, or with the last of its month
// where that month has no such day (143(2)). So 28 February of a leap year is due on 1 March, like the day after it.
func due(day calendar.Day) calendar.Day {
	y, m, d := day.Date()
	begins := time.Date(y, m, d+1, 0, 0, 0, 0, time.UTC)
	over := time.Date(begins.Year()+7, begins.Month(), begins.Day(), 0, 0, 0, 0, time.UTC) // 29 February becomes 1 March
	return calendar.Of(over.Date())
}

// books are what the simulation knows by itself.
type books struct {
	days  map[calendar.Day]*page
	first calendar.Day // no day before it has a key
	holds []order
	heads map[string]ledger.AnchoredHead // of what was verified
	opens archive
}

// page is what is known of one day that has a key.
type page struct {
	streams     map[string]*event.DayStream
	first, last *sample // sealed, the earliest and the latest

	announced, destroyed, certified int // facts that the registry holds
}

// sample is an event as an archive would keep it.
type sample struct {
	header ledger.Header
	data   []byte
}

// order keeps days from destruction.
type order struct {
	id              uuid.UUID
	from, to, until calendar.Day
	released        calendar.Day // zero: it was not
}

func newBooks() *books {
	return &books{days: map[calendar.Day]*page{}, heads: map[string]ledger.AnchoredHead{}, opens: archive{}}
}

// page returns what is known of a day, which has a key from then on.
func (b *books) page(day calendar.Day) *page {
	p := b.days[day]
	if p == nil {
		p = &page{streams: map[string]*event.DayStream{}}
		b.days[day] = p
		if b.first.IsZero() || day.Before(b.first) {
			b.first = day
		}
	}
	return p
}

// held reports whether an order keeps a day from the pass of another.
func (b *books) held(day, today calendar.Day) bool {
	return slices.ContainsFunc(b.holds, func(o order) bool {
		return !day.Before(o.from) && !day.After(o.to) && !today.After(o.until) && (o.released.IsZero() || !today.After(o.released))
	})
}

// ends returns the days whose key must be destroyed by the pass of today, and were not before.
func (b *books) ends(today calendar.Day) (days []calendar.Day) {
	for day := b.first; !day.IsZero() && !due(day).After(today); day = day.AddDays(1) {
		if p := b.days[day]; p != nil && p.destroyed == 0 && !b.held(day, today) {
			days = append(days, day)
		}
	}
	return days
}

// keys is how many keys of days the token must hold.
func (b *books) keys() (n int) {
	for _, p := range b.days {
		if p.destroyed == 0 {
			n++
		}
	}
	return n
}

// next returns the first day after one that must still open.
func (b *books) next(after calendar.Day) (calendar.Day, *page) {
	for day := after.AddDays(1); ; day = day.AddDays(1) {
		p := b.days[day]
		if p == nil {
			return day, nil
		}
		if p.destroyed == 0 && p.first != nil {
			return day, p
		}
	}
}

// archive keeps the events that open days, which the store will not: whoever copied the store has them.
type archive map[place]ledger.Event

type place struct {
	stream   string
	revision uint64
}

// ReadForward implements keyring.Events.
func (a archive) ReadForward(_ context.Context, stream string, from uint64, _ int) ([]ledger.Event, error) {
	if e, found := a[place{stream, from}]; found {
		return []ledger.Event{e}, nil
	}
	return nil, nil
}

// note enters an event that was verified.
func (b *books) note(e ledger.Event) error {
	h, _, _, err := ledger.DecodeMetadata(e.Metadata)
	if err != nil {
		return err
	}
	if day, ofDay := ledger.DayOfDataKey(h.KeyID); ofDay {
		return b.noteSealed(day, h, e)
	}
	switch e.Type {
	case event.TypeDayOpened:
		return b.noteOpened(e)
	case event.TypeDestructionAnnounced:
		f, err := event.Decode[event.DestructionAnnounced](e.Data)
		return b.count(err, f.Days, func(p *page) { p.announced++ })
	case event.TypeDayKeyDestroyed:
		f, err := event.Decode[event.DayKeyDestroyed](e.Data)
		if err == nil {
			err = b.sameStreams(f)
		}
		return b.count(err, []string{f.Day}, func(p *page) { p.destroyed++ })
	case event.TypeDayCertified:
		f, err := event.Decode[event.DayCertified](e.Data)
		return b.count(err, []string{f.Day}, func(p *page) { p.certified++ })
	}
	return nil
}

func (b *books) noteSealed(text string, h ledger.Header, e ledger.Event) error {
	day, err := calendar.Parse(text)
	if err != nil {
		return err
	}
	if calendar.DayOf(h.Time) != day {
		return wrong("%s@%d of %s is sealed under the key of %s", e.Stream, e.Revision, h.Time, day)
	}
	p := b.page(day)
	p.extend(e)
	if p.first == nil || h.Time.Before(p.first.header.Time) {
		p.first = &sample{h, bytes.Clone(e.Data)}
	}
	if p.last == nil || !h.Time.Before(p.last.header.Time) {
		p.last = &sample{h, bytes.Clone(e.Data)}
	}
	return nil
}

func (b *books) noteOpened(e ledger.Event) error {
	o, err := ledger.DecodeDayOpened(e.Data)
	if err != nil {
		return err
	}
	day, err := calendar.Parse(o.Day)
	if err != nil {
		return err
	}
	span := b.page(day).extend(e)
	span.Keys = append(span.Keys, event.DataKey{Revision: e.Revision, Commitment: o.Commitment[:]})
	b.opens[place{e.Stream, e.Revision}] = e
	return nil
}

// extend has the day reach to an event.
func (p *page) extend(e ledger.Event) *event.DayStream {
	span := p.streams[e.Stream]
	if span == nil {
		span = &event.DayStream{Stream: e.Stream, First: e.Revision}
		p.streams[e.Stream] = span
	}
	span.Next = e.Revision + 1
	return span
}

func (b *books) count(err error, days []string, enter func(*page)) error {
	if err != nil {
		return err
	}
	for _, text := range days {
		day, err := calendar.Parse(text)
		if err != nil {
			return err
		}
		p := b.days[day]
		if p == nil {
			return wrong("the registry speaks of %s, which has no key", day)
		}
		enter(p)
	}
	return nil
}

// sameStreams compares what the registry says that a day held with what it held.
func (b *books) sameStreams(f event.DayKeyDestroyed) error {
	day, err := calendar.Parse(f.Day)
	if err != nil {
		return err
	}
	p := b.days[day]
	if p == nil {
		return wrong("the key of %s was destroyed, and there was none", f.Day)
	}
	if f.Due != due(day).String() {
		return wrong("the registry has %s due on %s, and it is due on %s", day, f.Due, due(day))
	}
	if len(f.Streams) != len(p.streams) {
		return wrong("the registry says that %s had events in %d streams, and it had in %d", day, len(f.Streams), len(p.streams))
	}
	for _, said := range f.Streams {
		was := p.streams[said.Stream]
		same := was != nil && said.First == was.First && said.Next == was.Next &&
			slices.EqualFunc(said.Keys, was.Keys, func(a, b event.DataKey) bool {
				return a.Revision == b.Revision && bytes.Equal(a.Commitment, b.Commitment)
			})
		if !same {
			return wrong("what the registry says that %s held in %s is not what it held", day, said.Stream)
		}
	}
	return nil
}

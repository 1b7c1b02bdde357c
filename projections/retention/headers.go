package retention

import (
	"fmt"
	"slices"
	"strings"

	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/domain/ledger"
	"kiroku/projections"
)

// applyHeaders notes which revisions of a stream belong to which day. It needs no payload, so an event whose key is
// destroyed counts like any other until the registry says that its day has ended: what is destroyed in the HSM and not
// yet said so must not be lost to the certificate, even if this view is made anew in between.
func (r *Retention) applyHeaders(d *draft, stream string, batch []projections.Opened, to projections.Checkpoint) error {
	batch = slices.Clone(batch)
	for i := range batch {
		batch[i].Unreadable = false
	}
	w := headerWriter{draft: d}
	return projections.Apply(r.rows, stream, batch, to, readHeader, func(b *projections.Batch, o *projections.Opened, h header) error {
		if err := w.add(b, o, h); err != nil {
			return err
		}
		if o.Event.Revision == batch[len(batch)-1].Event.Revision {
			return w.flush(b)
		}
		return nil
	})
}

// header is what the header of an event, or a day-opened event, says.
type header struct {
	day calendar.Day   // zero: the event belongs to no day
	key *event.DataKey // the event opens the day
}

const recordKey = "record/" // begins the id of a key of a day, which follows

func readHeader(o *projections.Opened) (projections.Fact[header], error) {
	var f projections.Fact[header]
	switch {
	case o.Event.Type == event.TypeDayOpened:
		p, err := ledger.DecodeDayOpened(o.Payload)
		if err != nil {
			return f, malformed(err)
		}
		f.Rows.key = &event.DataKey{Revision: o.Event.Revision, Commitment: p.Commitment[:]}
		f.Rows.day, err = calendar.Parse(p.Day)
		return f, malformed(err)
	case o.Header.KeyID == "":
		return f, nil
	}
	rest, ofDay := strings.CutPrefix(o.Header.KeyID, recordKey)
	text, _, _ := strings.Cut(rest, "/")
	day, err := calendar.Parse(text)
	if !ofDay || err != nil {
		return f, fmt.Errorf("an event under the key %q, which is not one of a day: %w", o.Header.KeyID, event.ErrMalformed)
	}
	f.Rows.day = day
	return f, nil
}

// headerWriter collects what follows each other in one day, which is most.
type headerWriter struct {
	draft *draft
	day   calendar.Day // of what is collected
	span  event.DayStream
}

func (w *headerWriter) add(b *projections.Batch, o *projections.Opened, h header) error {
	if h.day.IsZero() {
		return nil
	}
	if h.day != w.day {
		if err := w.flush(b); err != nil {
			return err
		}
		w.day, w.span = h.day, event.DayStream{Stream: o.Event.Stream, First: o.Event.Revision}
	}
	w.span.Next = o.Event.Revision + 1
	if h.key != nil {
		w.span.Keys = append(w.span.Keys, *h.key)
	}
	return nil
}

// flush adds what was collected to its day, unless the key of the day is destroyed: then the registry has said it all.
func (w *headerWriter) flush(b *projections.Batch) error {
	day, span := w.day, w.span
	w.day = calendar.Day{}
	if day.IsZero() || w.draft.dead(day) {
		return nil
	}
	all := w.draft.change(day).stream(span.Stream)
	if all.Next == 0 {
		all.First = span.First
	}
	all.Next = max(all.Next, span.Next)
	all.Keys = append(slices.Clip(all.Keys), span.Keys...)
	return set(b, tableLiving, livingKey(day, span.Stream), *all)
}

func livingKey(day calendar.Day, stream string) []byte {
	return append([]byte(day.String()), stream...)
}

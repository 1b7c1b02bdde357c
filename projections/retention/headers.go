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
func applyHeaders(rows *projections.Rows, d *draft, stream string, batch []projections.Opened, to projections.Checkpoint) error {
	batch = allReadable(batch)
	w := headerWriter{draft: d}
	return projections.Apply(rows, stream, batch, to, readOpening, func(b *projections.Batch, o *projections.Opened, opens opening) error {
		if err := w.add(b, o, opens); err != nil {
			return err
		}
		if o.Event.Revision == batch[len(batch)-1].Event.Revision {
			return w.flush(b)
		}
		return nil
	})
}

// allReadable returns the batch with no event marked as unreadable. The batch itself is the caller's.
func allReadable(batch []projections.Opened) []projections.Opened {
	if !slices.ContainsFunc(batch, func(o projections.Opened) bool { return o.Unreadable }) {
		return batch
	}
	batch = slices.Clone(batch)
	for i := range batch {
		batch[i].Unreadable = false
	}
	return batch
}

const recordKey = "record/" // begins the id of a key of a day, which follows

// opening is what a day-opened event says; the zero opening is that of any other event.
type opening struct {
	day calendar.Day
	key event.DataKey
}

func readOpening(o *projections.Opened) (f projections.Fact[opening], err error) {
	if o.Event.Type != event.TypeDayOpened {
		return f, nil
	}
	p, err := ledger.DecodeDayOpened(o.Payload)
	if err != nil {
		return f, malformed(err)
	}
	f.Rows.key = event.DataKey{Revision: o.Event.Revision, Commitment: p.Commitment[:]}
	f.Rows.day, err = calendar.Parse(p.Day)
	return f, malformed(err)
}

// headerWriter collects what follows each other in one day, which is most.
type headerWriter struct {
	draft *draft
	day   calendar.Day // of what is collected
	span  event.DayStream

	keyID string // the last one seen, and its day
	ofKey calendar.Day
}

// dayOf returns the day to which a header belongs, the zero Day if to none.
func (w *headerWriter) dayOf(keyID string) (calendar.Day, error) {
	switch keyID {
	case "":
		return calendar.Day{}, nil
	case w.keyID:
		return w.ofKey, nil
	}
	rest, ofDay := strings.CutPrefix(keyID, recordKey)
	text, _, _ := strings.Cut(rest, "/")
	day, err := calendar.Parse(text)
	if !ofDay || err != nil {
		return calendar.Day{}, fmt.Errorf("an event under a key that is not one of a day: %w", event.ErrMalformed)
	}
	w.keyID, w.ofKey = keyID, day
	return day, nil
}

func (w *headerWriter) add(b *projections.Batch, o *projections.Opened, opens opening) error {
	day := opens.day
	if day.IsZero() {
		var err error
		if day, err = w.dayOf(o.Header.KeyID); day.IsZero() {
			return err
		}
	}
	if day != w.day {
		if err := w.flush(b); err != nil {
			return err
		}
		w.day, w.span = day, event.DayStream{Stream: o.Event.Stream, First: o.Event.Revision}
	}
	w.span.Next = o.Event.Revision + 1
	if !opens.day.IsZero() {
		w.span.Keys = append(w.span.Keys, opens.key)
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

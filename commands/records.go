package commands

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"kiroku/commands/sequencer"
	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/domain/inquiry"
	"kiroku/domain/keyring"
	"kiroku/domain/ledger"
	"kiroku/domain/register"
)

// recordLine is a stream of provision records with the inquiries whose latest event is not yet projected.
type recordLine struct {
	line
	standings *sequencer.Pending[uuid.UUID, standing]
}

// standing is how an inquiry stands, with its record.
type standing struct {
	state  inquiry.State
	record event.Record
}

func (c *Core) newRecordLine(stream string) *recordLine {
	r := &recordLine{standings: sequencer.NewPending[uuid.UUID, standing]()}
	r.line = line{stream: stream, seen: c.d.Inquiries.Command, taking: c.taking.Load, refs: newRefs()}
	r.seq = c.d.NewSequencer(stream, sequencer.Indexes{r.refs, r.standings})
	return r
}

// recordLine returns the stream in which an inquiry lives.
func (c *Core) recordLine(n inquiry.ProcessingNumber) *recordLine {
	return c.records[n.Shard(len(c.records))]
}

// life is where an inquiry stands in the domain's terms.
func (s standing) life() (inquiry.Life, error) {
	return inquiry.Resume(s.state, micros(s.record.RequestedAt), micros(s.record.ValidUntil))
}

func micros(us int64) time.Time { return time.UnixMicro(us).UTC() }

// standing finds an inquiry, pending decisions included.
func (c *Core) standing(ctx context.Context, n inquiry.ProcessingNumber) (standing, error) {
	if s, ok := c.recordLine(n).standings.Get(uuid.UUID(n)); ok {
		return s, nil
	}
	v, ok, err := c.d.Inquiries.Standing(uuid.UUID(n))
	if err != nil {
		return standing{}, fmt.Errorf("find inquiry %s: %w", n, err)
	}
	if !ok {
		return standing{}, c.recordLine(n).refuse(ctx, fmt.Errorf("inquiry %s: %w", n, ErrNotFound))
	}
	return c.openStanding(ctx, v)
}

func (c *Core) openStanding(ctx context.Context, v register.Standing) (standing, error) {
	state, err := inquiry.ParseState(v.State)
	if err != nil {
		return standing{}, err
	}
	r, err := c.openRecord(ctx, v.Latest)
	return standing{state: state, record: r}, err
}

// openRecord opens an event of class record and returns the record that it repeats.
func (c *Core) openRecord(ctx context.Context, s register.Sealed) (event.Record, error) {
	h, err := ledger.DecodeHeader(s.Header)
	if err != nil {
		return event.Record{}, fmt.Errorf("stored record: %w", err)
	}
	plain, err := c.d.Keyring.Open(ctx, h, s.Data)
	if err != nil {
		return event.Record{}, notOpened(err, sequencer.ErrUnavailable)
	}
	defer clear(plain)
	return recordOf(h.Type, plain)
}

func recordOf(eventType string, plain []byte) (event.Record, error) {
	switch eventType {
	case event.TypeInquiryNotified:
		e, err := event.Decode[event.InquiryNotified](plain)
		return e.Record, err
	case event.TypeInquiryRefused:
		e, err := event.Decode[event.InquiryRefused](plain)
		return e.Record, err
	case event.TypeProvisionReported:
		e, err := event.Decode[event.ProvisionReported](plain)
		return e.Record, err
	case event.TypeInquiryLapsed:
		e, err := event.Decode[event.InquiryLapsed](plain)
		return e.Record, err
	}
	return event.Record{}, fmt.Errorf("event type %q holds no record: %w", eventType, event.ErrMalformed)
}

// sealRecord seals a fact of class record, opening the day where that has not happened yet. compose gets the
// time of the event, because that decides the day and with it what the rules of that day say; it may be
// called again with a later time.
func (c *Core) sealRecord(ctx context.Context, l *line, x call, compose func(at time.Time) (eventType string, payload any)) (ledger.Draft, error) {
	for range attempts {
		at := c.now()
		eventType, payload := compose(at)
		plain, err := event.Encode(payload)
		if err != nil {
			return ledger.Draft{}, err
		}
		d, err := c.d.Keyring.SealRecord(x.aad(l.stream, eventType, 0, at), plain)
		clear(plain)
		if !errors.Is(err, keyring.ErrDayNotOpened) {
			return d, err
		}
		if err := c.openDay(ctx, l, calendar.DayOf(at)); err != nil {
			return ledger.Draft{}, err
		}
	}
	return ledger.Draft{}, unavailable("seal the record", keyring.ErrDayNotOpened)
}

// openDay makes a stream's data key of a day: a new one after every start, because what opened the day
// before is not looked for.
func (c *Core) openDay(ctx context.Context, l *line, day calendar.Day) error {
	c.daysMu.Lock()
	defer c.daysMu.Unlock()
	if d, ok := c.d.Keyring.SealingDay(l.stream); ok && d == day {
		return nil
	}
	if err := c.knownLoss(day); err != nil {
		return err
	}
	if err := c.ensureDayKey(ctx, day); err != nil {
		return err
	}
	o, err := c.d.Keyring.NewDay(ctx, l.stream, day)
	if err != nil {
		return unavailable("open "+day.String(), err)
	}
	payload, err := o.Encode()
	if err != nil {
		return err
	}
	at := c.now()
	id := uuid.NewSHA1(c.d.Writer, fmt.Appendf(nil, "day %s %s %x", l.stream, day, o.Commitment))
	draft, err := ledger.Plain(ledger.AAD{Stream: l.stream, ID: id, Type: event.TypeDayOpened, Time: at}, payload)
	if err != nil {
		return err
	}
	revision, err := l.seq.Submit(ctx, func(uint64) ([]ledger.Draft, error) { return []ledger.Draft{draft}, nil })
	if err != nil {
		return fmt.Errorf("open %s: %w", day, err)
	}
	return c.d.Keyring.DayOpened(ctx, l.stream, revision, o)
}

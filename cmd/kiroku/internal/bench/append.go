package bench

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"

	"kiroku/commands/sequencer"
	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/domain/keyring"
	"kiroku/domain/ledger"
)

// AppendOptions say how much.
type AppendOptions struct {
	Events   int // of each measure
	InFlight int // callers that each wait for one event
	Alone    int // events appended by a single caller
	Streams  int // of the last measure
}

const durable = "chained, signed by the token and on the disk of the store (write-ahead log synced)"

// plaintext is what one event carries: with its length prefix it fills 1 KiB without padding.
const plaintext = 1020

// Append measures sealed appends of 1 KiB events: encrypted, chained, signed, and synced.
func Append(ctx context.Context, p Parts, o AppendOptions) (r Report, err error) {
	r = newReport("append", p)
	var streams []*stream
	defer func() {
		for _, s := range streams {
			err = errors.Join(err, s.seq.Close(ctx))
		}
	}()
	for i := range o.Streams {
		s, err := openStream(ctx, p, "measured-"+strconv.Itoa(i))
		if err != nil {
			return r, err
		}
		streams = append(streams, s)
	}
	if _, err := together(ctx, o.InFlight, 4*o.InFlight, func(ctx context.Context, i int) error {
		return streams[i%len(streams)].append(ctx)
	}); err != nil { // warm
		return r, err
	}
	for _, m := range []struct {
		name             string
		callers, events  int
		streams          []*stream
		throughput, wait bool
	}{
		{"one event in flight", 1, o.Alone, streams[:1], false, true},
		{fmt.Sprintf("one stream, %d events in flight", o.InFlight), o.InFlight, o.Events, streams[:1], true, false},
		{fmt.Sprintf("%d streams, %d events in flight", len(streams), o.InFlight), o.InFlight, o.Events, streams, true, false},
	} {
		measured, err := appendTo(ctx, p, m.name, m.callers, m.events, m.streams)
		if err != nil {
			return r, err
		}
		floor, err := bareDisk(p.Dir, int(measured.Cost.BytesPerUnit))
		if err != nil {
			return r, err
		}
		if m.throughput {
			measured.against(floor)
			measured.atLeast("events/s", 60_000, measured.Rate)
			measured.atLeast("share of the floor", 0.25, measured.Ratio)
		}
		if m.wait {
			measured.atMost("p99 in ms", 5, measured.Waiting.P99)
		}
		r.Measures = append(r.Measures, measured)
	}
	return r, nil
}

func appendTo(ctx context.Context, p Parts, name string, callers, events int, streams []*stream) (Measure, error) {
	m, err := p.start(ctx)
	if err != nil {
		return Measure{}, err
	}
	waited, err := together(ctx, callers, events, func(ctx context.Context, i int) error { return streams[i%len(streams)].append(ctx) })
	if err != nil {
		return Measure{}, err
	}
	measured, err := m.stop(ctx, name, "events", events, waited)
	measured.Acknowledged = durable
	return measured, err
}

// stream is one that no projection follows, with a data key of today.
type stream struct {
	name string
	seq  *sequencer.Sequencer
	keys *keyring.Keyring
	body []byte
}

func openStream(ctx context.Context, p Parts, name string) (*stream, error) {
	s := &stream{name: name, seq: p.Node.Sequencer(name), keys: p.Node.Keyring, body: make([]byte, plaintext)}
	if err := s.open(ctx, p); err != nil {
		return nil, errors.Join(fmt.Errorf("open stream %s: %w", name, err), s.seq.Close(ctx))
	}
	return s, nil
}

// open makes this process the writer of the stream and gives it a data key of today.
func (s *stream) open(ctx context.Context, p Parts) error {
	if err := s.seq.Takeover(ctx); err != nil {
		return err
	}
	now := time.Now()
	day := calendar.DayOf(now)
	if err := p.HSM.EnsureDayKey(ctx, keyring.DayLabel(day)); err != nil {
		return err
	}
	o, err := s.keys.NewDay(ctx, s.name, day)
	if err != nil {
		return err
	}
	payload, err := o.Encode()
	if err != nil {
		return err
	}
	draft, err := ledger.Plain(ledger.AAD{Stream: s.name, ID: uuid.New(), Type: event.TypeDayOpened, Time: now}, payload)
	if err != nil {
		return err
	}
	at, err := s.seq.Submit(ctx, func(uint64) ([]ledger.Draft, error) { return []ledger.Draft{draft}, nil })
	if err != nil {
		return err
	}
	return s.keys.DayOpened(ctx, s.name, at, o)
}

// append seals one event and waits until it is durable.
func (s *stream) append(ctx context.Context) error {
	draft, err := s.keys.SealRecord(ledger.AAD{Stream: s.name, ID: uuid.New(), Type: "measured", Time: time.Now()}, s.body)
	if err != nil {
		return err
	}
	_, err = s.seq.Submit(ctx, func(uint64) ([]ledger.Draft, error) { return []ledger.Draft{draft}, nil })
	return err
}

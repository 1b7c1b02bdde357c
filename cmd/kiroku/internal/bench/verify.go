package bench

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"time"

	"github.com/google/uuid"

	"kiroku/domain/event"
	"kiroku/domain/ledger"
)

// VerifyOptions say how much.
type VerifyOptions struct {
	Events  int
	Streams int
	Batch   int // events under one signature
}

// Verify measures how fast events are verified: their chain, their place in the signed batch, their payload's digest. It
// needs no store and no token; the events are made in memory under a key that is forgotten.
func Verify(_ context.Context, p Parts, o VerifyOptions) (Report, error) {
	r := newReport("verify", p)
	events, keys, err := forge(o)
	if err != nil {
		return r, err
	}
	path := filepath.Join(p.Dir, "dump.jsonl")
	if err := dump(path, events); err != nil {
		return r, err
	}
	defer os.Remove(path) //nolint:errcheck // in a folder that is removed
	for _, m := range []struct {
		name   string
		events iter.Seq2[ledger.Event, error]
		want   float64
	}{
		{"verify decoded events", each(events), 250_000},
		{"verify a dump", fromDump(path), 0},
	} {
		p.work(true)
		began := time.Now()
		result, err := ledger.Verify(keys, ledger.Options{}, m.events)
		took := time.Since(began)
		p.work(false)
		switch {
		case err != nil:
			return r, err
		case !result.OK() || result.Events != uint64(len(events)):
			return r, fmt.Errorf("%d of %d events verified, %d findings", result.Events, len(events), result.FindingsTotal)
		}
		measured := Measure{Name: m.name, Unit: "events", Units: len(events), Seconds: took.Seconds(), Rate: float64(len(events)) / took.Seconds()}
		if m.want > 0 {
			measured.atLeast("events/s", m.want, measured.Rate)
		}
		r.Measures = append(r.Measures, measured)
	}
	return r, nil
}

// forge makes streams of sealed events.
func forge(o VerifyOptions) ([]ledger.Event, ledger.KeySet, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, ledger.KeySet{}, err
	}
	keys, err := ledger.NewKeySet(ledger.PublicKey{ID: "bench", Key: &private.PublicKey, ValidFrom: time.Unix(0, 0).UTC()})
	if err != nil {
		return nil, ledger.KeySet{}, err
	}
	sign := func(digest [32]byte) (rs [64]byte, err error) {
		a, b, err := ecdsa.Sign(rand.Reader, private, digest[:])
		if err != nil {
			return rs, err
		}
		a.FillBytes(rs[:32])
		b.FillBytes(rs[32:])
		return rs, nil
	}
	events := make([]ledger.Event, 0, o.Events)
	for _, name := range event.RecordStreams(o.Streams) {
		head := ledger.Head{Stream: name}
		for head.Count < uint64(o.Events/o.Streams) {
			drafts, err := sealed(name, min(o.Batch, o.Events/o.Streams-int(head.Count)), head.Count == 0)
			if err != nil {
				return nil, keys, err
			}
			batch, next, err := ledger.BuildBatch(head, 1, drafts, "bench", sign)
			if err != nil {
				return nil, keys, err
			}
			events, head = append(events, batch...), next
		}
	}
	return events, keys, nil
}

// sealed makes drafts of 1 KiB under a key nobody keeps. A stream begins with an epoch.
func sealed(stream string, n int, first bool) ([]ledger.Draft, error) {
	key, body := make([]byte, ledger.DataKeySize), make([]byte, plaintext)
	_, _ = rand.Read(key)
	now := time.Now()
	var drafts []ledger.Draft
	for range n {
		a := ledger.AAD{Stream: stream, ID: uuid.New(), Type: "measured", Time: now, KeyID: ledger.DataKeyID("2026-04-01", stream, 1)}
		d, err := ledger.Seal(key, a, body)
		if first && len(drafts) == 0 {
			a.Type, a.KeyID = ledger.TypeEpochStarted, ""
			d, err = ledger.Plain(a, []byte{0xa0})
		}
		if err != nil {
			return nil, err
		}
		drafts = append(drafts, d)
	}
	return drafts, nil
}

func each(events []ledger.Event) iter.Seq2[ledger.Event, error] {
	return func(yield func(ledger.Event, error) bool) {
		for _, e := range events {
			if !yield(e, nil) {
				return
			}
		}
	}
}

func dump(path string, events []ledger.Event) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("write a dump: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	out := bufio.NewWriterSize(f, 1<<20)
	var line []byte
	for _, e := range events {
		if line, err = ledger.AppendDumpLine(line[:0], e); err != nil {
			return err
		}
		if _, err := out.Write(line); err != nil {
			return fmt.Errorf("write a dump: %w", err)
		}
	}
	return out.Flush()
}

func fromDump(path string) iter.Seq2[ledger.Event, error] {
	return func(yield func(ledger.Event, error) bool) {
		f, err := os.Open(path)
		if err != nil {
			yield(ledger.Event{}, err)
			return
		}
		defer f.Close()
		for e, err := range ledger.ReadDump(f) {
			if !yield(e, err) {
				return
			}
		}
	}
}

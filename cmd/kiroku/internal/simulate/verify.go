package simulate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"kiroku/adapters/eventstore"
	"kiroku/adapters/hsm"
	"kiroku/commands/retention"
	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/domain/keyring"
	"kiroku/domain/ledger"
)

// pass runs the retention as the core does shortly after midnight, and sees that it did neither too little nor too much.
func (s *Simulation) pass(ctx context.Context, day calendar.Day) error {
	if err := s.Node.Core.MakeDayKeys(ctx); err != nil {
		return err
	}
	s.books.page(day)
	s.books.page(day.AddDays(1)) // made ahead
	want := s.books.ends(day)
	s.now = want
	keys, err := s.keyring(ctx)
	if err != nil {
		return err
	}
	for _, d := range want { // the control
		if err := s.opens(ctx, keys, d, nil); err != nil {
			return err
		}
	}
	if s.checks[day] {
		if err := s.verifyAll(ctx); err != nil {
			return fmt.Errorf("before the pass: %w", err)
		}
	}
	report, err := s.Node.RetentionProcess.Run(ctx, nil)
	if err != nil {
		return err
	}
	return s.judge(day, want, report)
}

func (s *Simulation) judge(day calendar.Day, want []calendar.Day, report retention.Report) error {
	if !slices.Equal(report.Destroyed, want) || !slices.Equal(report.Certified, want) {
		return wrong("the pass destroyed the keys of %v and certified %v, and due are %v", report.Destroyed, report.Certified, want)
	}
	s.report.Ended += len(want)
	s.report.EventsEnded += report.Events
	for _, d := range want {
		if due(d) != day {
			s.report.HeldDays++
		}
	}
	return nil
}

// compare verifies what came since the last time, enters it into the books, and holds them against each other and, on days
// chosen by the seed, against the whole ledger and the token.
func (s *Simulation) compare(ctx context.Context, day calendar.Day) error {
	if err := s.verifyNew(ctx); err != nil {
		return err
	}
	var ended []calendar.Day
	for d, p := range s.books.days {
		switch {
		case p.destroyed > 1 || p.certified != p.destroyed || p.destroyed > p.announced:
			return wrong("%s was announced %d times, its key destroyed %d times, with %d certificates", d, p.announced, p.destroyed, p.certified)
		case p.destroyed == 1 && day.Before(due(d)):
			return wrong("the key of %s was destroyed before its time, %s", d, due(d))
		case p.destroyed == 1:
			ended = append(ended, d)
		case !due(d).After(day) && !s.books.held(d, day):
			return wrong("%s is due since %s, and its key is there", d, due(d))
		}
	}
	if len(ended) != s.report.Ended {
		return wrong("%d days have ended by the registry, and %d by the passes", len(ended), s.report.Ended)
	}
	slices.SortFunc(ended, calendar.Day.Compare)
	if err := s.look(ctx, day, ended); err != nil || !s.checks[day] {
		return err
	}
	if err := s.verifyAll(ctx); err != nil {
		return fmt.Errorf("after the pass: %w", err)
	}
	_, err := s.sameKeys(ctx)
	return err
}

// again is how many days that ended earlier are tried again on such days.
const again = 10

// look tries to open the days that have just ended with an archive of all events, and the first day after them that lives.
// On days chosen by the seed it also tries with the core's own keys, and days that ended earlier.
func (s *Simulation) look(ctx context.Context, day calendar.Day, ended []calendar.Day) error {
	if len(ended) == 0 {
		return nil
	}
	archive, err := s.keyring(ctx)
	if err != nil {
		return err
	}
	closed, rings := slices.Clone(s.now), []*keyring.Keyring{archive}
	if s.checks[day] {
		rings = append(rings, s.Node.Keyring)
		for range again {
			closed = append(closed, ended[s.random.IntN(len(ended))])
		}
	}
	for _, d := range closed {
		for _, k := range rings {
			if err := s.opens(ctx, k, d, keyring.ErrShredded); err != nil {
				return err
			}
		}
	}
	for _, d := range s.now {
		if next, p := s.books.next(d); p != nil {
			if err := s.opens(ctx, archive, next, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// keyring is one that knows only the token, and what an archive of all events would have.
func (s *Simulation) keyring(ctx context.Context) (*keyring.Keyring, error) {
	return keyring.New(ctx, s.HSM, s.books.opens, keyring.Options{KeyGone: func(err error) bool { return errors.Is(err, hsm.ErrNoKey) }})
}

// opens tries the earliest and the latest event of a day, and wants it to end so.
func (s *Simulation) opens(ctx context.Context, k *keyring.Keyring, day calendar.Day, want error) error {
	p := s.books.days[day]
	for _, e := range []*sample{p.first, p.last} {
		if e == nil || e == p.last && p.first.header.KeyID == p.last.header.KeyID && want != nil {
			continue // the same key is gone for both
		}
		plain, err := k.Open(ctx, e.header, e.data)
		clear(plain)
		if !errors.Is(err, want) {
			return wrong("%s@%d of %s: opening it says %v, not %v", e.header.Stream, e.header.Revision, day, err, want)
		}
	}
	return nil
}

// sameKeys compares the keys of days in the token with those that must be there, and returns how many keys there are.
func (s *Simulation) sameKeys(ctx context.Context) (all int, err error) {
	keys, err := s.HSM.Keys(ctx)
	if err != nil {
		return 0, err
	}
	found := map[string]bool{}
	for _, k := range keys {
		if k.Purpose == hsm.PurposeDays {
			found[k.Version] = true
		}
	}
	for d, p := range s.books.days {
		if has := found[d.String()]; has != (p.destroyed == 0) {
			return 0, wrong("the token has a key of %s: %t; the key was destroyed: %t", d, has, p.destroyed > 0)
		}
		delete(found, d.String())
	}
	if len(found) > 0 {
		return 0, wrong("the token has keys of %d days that it should not", len(found))
	}
	return len(keys), nil
}

// verifyNew verifies what was appended since the last time, from the heads of then, and enters it into the books.
func (s *Simulation) verifyNew(ctx context.Context) error {
	at := time.Now()
	o := ledger.Options{}
	heads := s.headsKnown()
	if len(heads) > 0 {
		o.Heads = []ledger.Heads{{Ledger: s.Node.Ledger, Heads: heads, Time: s.clock.now()}}
	}
	for _, h := range heads {
		o.Starts = append(o.Starts, ledger.TrustedStart{Stream: h.Stream, First: h.Count, Prev: h.Leaf})
	}
	v := ledger.NewVerifier(s.Node.SigningKeys(), o)
	var noted error
	err := s.read(ctx, func(stream string) uint64 { return s.books.heads[stream].Count }, func(e ledger.Event) {
		v.Add(e)
		if noted == nil {
			noted = s.books.note(e)
		}
	})
	result := v.Finish()
	if err := errors.Join(err, noted); err != nil {
		return err
	}
	if !result.OK() {
		return wrong("what is new does not verify: %s", result.Findings[0].Error())
	}
	for _, h := range result.Streams {
		s.books.heads[h.Stream] = h.Anchored()
	}
	s.report.Incremental.add(result.Events, at)
	return nil
}

func (v *Verified) add(events uint64, since time.Time) {
	v.Times++
	v.Events += events
	v.Seconds += time.Since(since).Seconds()
}

func (s *Simulation) headsKnown() []ledger.AnchoredHead {
	var heads []ledger.AnchoredHead
	for _, h := range s.books.heads {
		heads = append(heads, h)
	}
	ledger.SortHeads(heads)
	return heads
}

// verifyAll verifies the ledger as it is in the store, from the first event that is there.
func (s *Simulation) verifyAll(ctx context.Context) error {
	at := time.Now()
	v := ledger.NewVerifier(s.Node.SigningKeys(), ledger.Options{Heads: []ledger.Heads{{Ledger: s.Node.Ledger, Heads: s.headsKnown(), Time: s.clock.now()}}})
	err := s.read(ctx, func(string) uint64 { return 0 }, v.Add)
	result := v.Finish()
	if err != nil {
		return err
	}
	if !result.OK() {
		return wrong("the ledger does not verify: %s", result.Findings[0].Error())
	}
	s.report.Full.add(result.Events, at)
	return nil
}

// read visits every stream from a revision on, the registry first.
func (s *Simulation) read(ctx context.Context, from func(stream string) uint64, visit func(ledger.Event)) error {
	streams := event.Streams(s.Node.Shards)
	slices.SortStableFunc(streams, func(a, b string) int {
		if b == event.StreamRegistry && a != b {
			return 1
		}
		if a == event.StreamRegistry && a != b {
			return -1
		}
		return 0
	})
	for _, stream := range streams {
		err := s.Store.Iterate(ctx, stream, from(stream), func(batch []ledger.Event) error {
			for _, e := range batch {
				visit(e)
			}
			return nil
		})
		if err != nil && !errors.Is(err, eventstore.ErrNoStream) {
			return fmt.Errorf("read stream %s: %w", stream, err)
		}
	}
	return nil
}

// endYear verifies everything and writes down how it stands.
func (s *Simulation) endYear(ctx context.Context, day calendar.Day) error {
	at := time.Now()
	defer func() { s.report.Took["year ends"] += time.Since(at).Seconds() }()
	if err := s.verifyNew(ctx); err != nil {
		return err
	}
	before := s.report.Full.Events
	if err := s.verifyAll(ctx); err != nil {
		return err
	}
	y := Year{Year: yearOf(day), Ended: s.report.Ended, Events: s.report.Full.Events - before, DayKeys: s.books.keys()}
	var err error
	if y.Keys, err = s.sameKeys(ctx); err != nil {
		return err
	}
	if y.StoreBytes, err = s.StoreBytes(); err != nil {
		return err
	}
	y.Seconds = time.Since(s.began).Seconds()
	s.report.Years = append(s.report.Years, y)
	return nil
}

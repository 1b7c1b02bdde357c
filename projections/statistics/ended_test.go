package statistics_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"kiroku/adapters/clickhouse"
	"kiroku/adapters/clickhouse/clickhousetest"
	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/domain/inquiry"
	"kiroku/domain/retention"
	"kiroku/projections"
	"kiroku/projections/projectiontest"
	"kiroku/projections/statistics"
)

// ending is a ledger in which days end and persons are deleted, as it is read before and afterwards.
type ending struct {
	before, after projectiontest.Course
	ended         []calendar.Day
	touched       []calendar.Day // days of the deleted persons' issuances
	generation    atomic.Int64   // of the vault
}

// makeEnding ends every third day of a course, but the last, and deletes every fourth person.
func makeEnding(t *testing.T, seed uint64, n int) *ending {
	t.Helper()
	e := &ending{}
	var l *projectiontest.Ledger
	e.before, l = makeCourse(t, seed, n)
	e.generation.Store(1)
	tallies := map[calendar.Day][]retention.Counted{}
	for _, stream := range projectiontest.Streams {
		for i := range e.before[stream] {
			o := &e.before[stream][i]
			if r, ok := exchangeOf(t, o); ok {
				tallies[calendar.DayOf(o.Header.Time)] = append(tallies[calendar.DayOf(o.Header.Time)], r)
			}
		}
	}
	var days []calendar.Day
	for day := range tallies {
		days = append(days, day)
	}
	slices.SortFunc(days, calendar.Day.Compare)
	at := projectiontest.Begin.AddDate(7, 2, 0)
	tell := func(eventType string, payload any) {
		if err := l.Append(event.StreamRegistry, projectiontest.Fact{Type: eventType, Time: at, Payload: payload}); err != nil {
			t.Fatal(err)
		}
	}
	deleted := e.deletePersons(l)
	for i, day := range days[:len(days)-1] {
		if i%3 == 1 {
			continue
		}
		rows := retention.Summarise(tallies[day], 10)
		half := len(rows) / 2
		tell(event.TypeDaySummarised, event.DaySummarised{Day: day.String(), Part: 0, Parts: 2, Least: 10, Rows: rows[:half]})
		tell(event.TypeDaySummarised, event.DaySummarised{Day: day.String(), Part: 1, Parts: 2, Least: 10, Rows: rows[half:]})
		if err := projectiontest.Shred(l, day, at); err != nil {
			t.Fatal(err)
		}
		e.ended = append(e.ended, day)
		if i == len(days)/2 {
			tell(event.TypeVaultRotated, deleted)
		}
	}
	if len(e.ended) < 4 || len(e.touched) < 4 {
		t.Fatalf("%d days ended, %d had persons deleted", len(e.ended), len(e.touched))
	}
	e.after = open(t, l)
	return e
}

// deletePersons destroys the keys of every fourth person, and returns what the registry says of it.
func (e *ending) deletePersons(l *projectiontest.Ledger) event.VaultRotated {
	numbers, touched := map[string]int{}, map[calendar.Day]bool{}
	for i := range e.before[event.StreamIssuance] {
		o := &e.before[event.StreamIssuance][i]
		if !o.Header.Sealed() {
			continue
		}
		if _, known := numbers[o.Header.KeyID]; !known {
			numbers[o.Header.KeyID] = len(numbers)
		}
		if numbers[o.Header.KeyID]%4 == 0 {
			l.Destroy(o.Header.KeyID)
			touched[calendar.DayOf(o.Header.Time)] = true
		}
	}
	rotated := event.VaultRotated{Generation: 2, Destroyed: "vault/1"}
	for day := range touched {
		e.touched = append(e.touched, day)
		rotated.Days = append(rotated.Days, day.String())
	}
	slices.Sort(rotated.Days)
	return rotated
}

// exchangeOf reads an exchange that ended, by means of the test's own.
func exchangeOf(t *testing.T, o *projections.Opened) (retention.Counted, bool) {
	t.Helper()
	count := func(r event.Record, outcome, refusal string) (retention.Counted, bool) {
		return retention.Counted{Inquirer: r.Inquirer, Provider: r.Provider, Affair: r.Affair, Information: r.Information,
			Outcome: outcome, Refusal: refusal, Rule: r.Rule, Exchanges: 1}, r.AmendmentReason == ""
	}
	var err error
	switch o.Event.Type {
	case event.TypeInquiryRefused:
		var p event.InquiryRefused
		if p, err = event.Decode[event.InquiryRefused](o.Payload); err == nil {
			return count(p.Record, inquiry.Refused.String(), p.Reason)
		}
	case event.TypeProvisionReported:
		var p event.ProvisionReported
		if p, err = event.Decode[event.ProvisionReported](o.Payload); err == nil {
			return count(p.Record, p.Answer, "")
		}
	case event.TypeInquiryLapsed:
		var p event.InquiryLapsed
		if p, err = event.Decode[event.InquiryLapsed](o.Payload); err == nil {
			return count(p.Record, inquiry.Lapsed.String(), "")
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return retention.Counted{}, false
}

// Generation implements statistics.Register.
func (e *ending) Generation() int { return int(e.generation.Load()) }

// Recorded implements statistics.Register.
func (e *ending) Recorded(_ context.Context, generation int, day calendar.Day, next uint64, visit func(*projections.Opened) error) (bool, error) {
	if e.Generation() < generation {
		return false, errors.New("the vault has not been read so far")
	}
	for i := range e.after[event.StreamIssuance] {
		o := e.after[event.StreamIssuance][i]
		if o.Event.Revision >= next {
			return false, nil
		}
		switch of := calendar.DayOf(o.Header.Time); {
		case of.After(day):
			return true, nil
		case of == day:
			if err := visit(&o); err != nil {
				return false, err
			}
		}
	}
	return false, nil
}

func (e *ending) options(chunk int) statistics.Options {
	return statistics.Options{Pace: -1, Chunk: chunk, Register: e}
}

// live is the ledger as somebody reads it who has opened every event before its key was destroyed.
func (e *ending) live() projectiontest.Course {
	c := projectiontest.Course{}
	for s := range e.after {
		c[s] = append(append([]projections.Opened(nil), e.before[s]...), e.after[s][len(e.before[s]):]...)
	}
	return c
}

// follow is follow for a course in which persons are deleted: issuances are read anew, by the keys that are left, when
// the vault has changed.
func (e *ending) follow(ctx context.Context, c projectiontest.Course, p projections.Projection, batch int) {
	var wg sync.WaitGroup
	for _, stream := range []string{event.StreamRegistry, event.RecordStream(0), event.RecordStream(1)} {
		wg.Go(func() { followStream(ctx, c, p, stream, batch) })
	}
	wg.Go(func() {
		for ctx.Err() == nil {
			now := c
			if e.Generation() > 1 {
				now = e.after
			}
			at, err := p.Checkpoint(event.StreamIssuance)
			for from := int(at.Next); from < len(now[event.StreamIssuance]) && err == nil; from += batch {
				err = now.Apply(p, event.StreamIssuance, from, batch)
			}
			if err == nil && int(at.Next) >= len(now[event.StreamIssuance]) {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	})
	wg.Wait()
}

// followCut follows a course of which the beginning is gone.
func followCut(t *testing.T, c projectiontest.Course, p projections.Projection, batch int) {
	t.Helper()
	for _, stream := range projectiontest.Streams {
		if !p.Wants(stream) || len(c[stream]) == 0 {
			continue
		}
		first := c[stream][0].Event.Revision
		for failures := 0; ; {
			at, err := p.Checkpoint(stream)
			if err != nil {
				t.Fatal(err)
			}
			from := int(max(at.Next, first) - first)
			if from >= len(c[stream]) {
				break
			}
			c[stream][0].Begins = at.Next < first
			if err := c.Apply(p, stream, from, batch); err != nil && !errors.Is(err, projections.ErrStartOver) {
				if failures++; failures < 5 && !errors.Is(err, event.ErrMalformed) && !errors.Is(err, projections.ErrGap) {
					continue // as a runner does: a day's end closes connections, under whoever is about to use one
				}
				t.Fatalf("%s at %d of a stream that begins at %d: %v", stream, at.Next, first, err)
			}
		}
	}
}

// everything is all tables and all reports.
func everything(t *testing.T, d *clickhouse.DB, database string) string {
	t.Helper()
	var b strings.Builder
	b.WriteString(dump(t, d, database))
	begin := calendar.DayOf(projectiontest.Begin)
	for _, r := range clickhouse.Reports() {
		for _, period := range [][2]calendar.Day{{begin, begin.AddDays(4000)}, {begin.AddDays(2), begin.AddDays(9)}, {begin, begin}} {
			for _, row := range rowsOf(t, d, fmt.Sprintf("SELECT * FROM %s.%s(from = '%s', to = '%s')", database, r.Name, period[0], period[1])) {
				fmt.Fprintln(&b, r.Name, period[0], period[1], row)
			}
		}
	}
	return b.String()
}

// inPast has the course two years back, so that its months are over.
func inPast(t *testing.T) {
	begin := projectiontest.Begin
	t.Cleanup(func() { projectiontest.Begin = begin })
	projectiontest.Begin = begin.AddDate(-2, 0, 0)
}

// TestDaysEnd: whoever had the rows of days that ended and of persons that were deleted has the same tables and reports as
// one that is filled only afterwards.
func TestDaysEnd(t *testing.T) {
	inPast(t)
	engine := clickhousetest.Start(t)
	e := makeEnding(t, 11, 2500)
	named := func(database string) *clickhouse.DB {
		return engine.Open(func(c *clickhouse.Config) { c.Database, c.Threshold = database, 3 })
	}
	anew := named("anew")
	e.generation.Store(2)
	e.follow(t.Context(), e.after, statistics.Open(t.Context(), anew, e.options(1000)), 700)
	expected := everything(t, anew, "anew")
	if !strings.Contains(expected, "秘匿 (suppressed)") || !strings.Contains(expected, "|suppressed|") {
		t.Error("nothing was kept back")
	}
	for _, day := range e.ended {
		if got := rowsOf(t, anew, fmt.Sprintf("SELECT (SELECT count() FROM anew.exchanges WHERE day = '%s') + (SELECT count() FROM anew.answers_daily WHERE day = '%s')", day, day))[0]; got != "0" {
			t.Errorf("%s rows are left of %s", got, day)
		}
	}
	same := func(t *testing.T, database string) {
		t.Helper()
		audited := named(database)
		p := statistics.Open(t.Context(), audited, e.options(500))
		for _, stream := range projectiontest.Streams { // has it audited
			if _, err := p.Checkpoint(stream); err != nil {
				t.Fatal(err)
			}
		}
		select {
		case <-audited.Lost():
			t.Error("facts are said to be missing")
		default:
		}
		if got := everything(t, audited, database); got != expected {
			t.Errorf("it differs from what a rebuild gives:\n%s", differences(expected, got))
		}
	}
	live := e.live()
	// had fills a database as it was before anything ended, but for the last events of each stream.
	had := func(d *clickhouse.DB, but int) {
		e.generation.Store(1)
		p := statistics.Open(t.Context(), d, e.options(300))
		for _, stream := range projectiontest.Streams {
			for from, end := 0, max(0, len(e.before[stream])-but); from < end; from += 100 {
				if err := e.before.Apply(p, stream, from, min(100, end-from)); err != nil {
					t.Fatal(err)
				}
			}
		}
	}

	t.Run("record first", func(t *testing.T) {
		d := named("record_first")
		had(d, 0)
		e.generation.Store(2)
		e.follow(t.Context(), live, statistics.Open(t.Context(), d, e.options(500)), 200)
		same(t, "record_first")
	})
	t.Run("registry first", func(t *testing.T) {
		d := named("registry_first")
		e.generation.Store(2)
		p := statistics.Open(t.Context(), d, e.options(500))
		followStream(t.Context(), live, p, event.StreamRegistry, 50)
		e.follow(t.Context(), live, p, 200) // every exchange of an ended day comes late
		same(t, "registry_first")
	})
	t.Run("at the same time", func(t *testing.T) {
		d := named("together")
		had(d, 150)
		var wg sync.WaitGroup
		for i := range 2 { // processes
			p := statistics.Open(t.Context(), named("together"), e.options(80+37*i))
			wg.Go(func() { e.follow(t.Context(), live, p, 60) })
		}
		time.Sleep(200 * time.Millisecond)
		e.generation.Store(2)
		wg.Wait()
		same(t, "together")
	})
	t.Run("stopped meanwhile, with truncated streams", func(t *testing.T) {
		d := named("stopped")
		had(d, 150)
		e.generation.Store(2)
		followCut(t, e.cut(), statistics.Open(t.Context(), d, e.options(500)), 90)
		same(t, "stopped")
	})
	t.Run("new, with truncated streams", func(t *testing.T) {
		followCut(t, e.cut(), statistics.Open(t.Context(), named("cut"), e.options(500)), 90)
		same(t, "cut")
	})
	t.Run("built again", func(t *testing.T) {
		p := statistics.Open(t.Context(), named("record_first"), e.options(500))
		if err := p.Reset(); err != nil {
			t.Fatal(err)
		}
		e.follow(t.Context(), e.after, p, 333)
		same(t, "record_first")
	})
	t.Run("lost calls and answers", func(t *testing.T) {
		d := named("unreliable")
		had(d, 100)
		e.generation.Store(2)
		store := &unreliable{Store: d, random: rand.New(rand.NewPCG(3, 0)), one: 5}
		for range 100 {
			ctx, cancel := context.WithCancel(t.Context())
			store.endAfter(cancel, 15)
			e.follow(ctx, live, statistics.Open(ctx, store, e.options(1+store.intN(200))), 1+store.intN(200))
			ended := ctx.Err() != nil
			cancel()
			if !ended {
				break
			}
		}
		e.follow(t.Context(), live, statistics.Open(t.Context(), d, e.options(100)), 100)
		same(t, "unreliable")
	})
	t.Run("the engine killed in the middle", func(t *testing.T) {
		d := named("killed")
		had(d, 50)
		e.generation.Store(2)
		p := statistics.Open(t.Context(), d, e.options(60))
		var wg sync.WaitGroup
		wg.Go(func() { e.follow(t.Context(), live, p, 30) })
		for range 6 {
			time.Sleep(time.Duration(100+rand.IntN(400)) * time.Millisecond)
			engine.Kill()
			engine.Resume()
		}
		wg.Wait()
		same(t, "killed")
	})
}

// cut is the ledger after the streams were truncated, as far as they may be.
func (e *ending) cut() projectiontest.Course {
	ended := map[string]bool{}
	for _, day := range e.ended {
		ended[day.String()] = true
	}
	return e.after.Truncated(projectiontest.Beginnings(e.after, ended))
}

// TestAChunkThatWasTruncated: a chunk was agreed on, and maybe begun, and all or part of its events were destroyed and truncated
// before it was finished.
func TestAChunkThatWasTruncated(t *testing.T) {
	engine := clickhousetest.Start(t)
	course, l := makeCourse(t, 12, 600)
	stream := event.RecordStream(0)
	const first = 60
	for _, day := range daysBelow(course[stream], first) {
		if err := projectiontest.Shred(l, day, projectiontest.Begin.AddDate(8, 0, 0)); err != nil {
			t.Fatal(err)
		}
	}
	after := open(t, l)
	anew := engine.Open(inDatabase("anew"))
	follow(t.Context(), after, statistics.Open(t.Context(), anew, quick(500)), 100)
	expected := dump(t, anew, "anew")
	beginning := after.Truncated(map[string]uint64{stream: first})
	for name, chunk := range map[string]struct {
		from, to uint64
		inserted bool
	}{
		"all":             {0, 40, false},
		"all, inserted":   {0, 40, true},
		"to the boundary": {20, first, true},
		"part":            {20, 90, false},
		"part, inserted":  {20, 90, true},
	} {
		t.Run(name, func(t *testing.T) {
			database := "cut_" + strings.ReplaceAll(strings.ReplaceAll(name, ",", ""), " ", "_")
			d := engine.Open(inDatabase(database))
			store := &halfway{Store: d}
			p := statistics.Open(t.Context(), store, quick(1000))
			if err := course.Apply(p, stream, 0, int(chunk.from)); err != nil {
				t.Fatal(err)
			}
			store.fail, store.inserts = true, chunk.inserted
			if err := course.Apply(p, stream, int(chunk.from), int(chunk.to-chunk.from)); !errors.Is(err, errLost) {
				t.Fatal(err)
			}
			p = statistics.Open(t.Context(), d, quick(1000))
			followCut(t, beginning, p, 70)
			again := statistics.Open(t.Context(), engine.Open(inDatabase(database)), quick(1000)) // audits first
			if at, err := again.Checkpoint(stream); err != nil || int(at.Next) != len(after[stream]) {
				t.Errorf("it stands at %d: %v", at.Next, err)
			}
			if got := dump(t, d, database); got != expected {
				t.Errorf("it differs from what a rebuild gives:\n%s", differences(expected, got))
			}
		})
	}
}

func daysBelow(all []projections.Opened, revision int) (days []calendar.Day) {
	for i := range all[:revision] {
		if day := calendar.DayOf(all[i].Header.Time); all[i].Header.Sealed() && !slices.Contains(days, day) {
			days = append(days, day)
		}
	}
	return days
}

// halfway ends a process between two steps of a chunk.
type halfway struct {
	statistics.Store
	fail, inserts bool
}

func (h *halfway) Insert(ctx context.Context, c statistics.Chunk) error {
	if h.fail && !h.inserts {
		return errLost
	}
	return h.Store.Insert(ctx, c)
}

func (h *halfway) Finish(ctx context.Context, c statistics.Chunk) error {
	if h.fail {
		return errLost
	}
	return h.Store.Finish(ctx, c)
}

package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"kiroku/adapters/clickhouse"
	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/projections"
	"kiroku/projections/statistics"
)

// StatsOptions say how much, and in which ClickHouse.
type StatsOptions struct {
	Writer, Analyst *clickhouse.DB // of one empty database
	Rows            int            // exchanges; one request for a symbol comes with every twenty
	Days            int            // over which they are spread, up to today
	Asks            int            // of each report
	Batch           int            // events applied at a time
	Applied         func(rows int) // told while it goes on; may be nil
}

const (
	statsStreams  = 4       // of exchanges
	statsRound    = 150_000 // events made ahead in each stream; made while nothing is measured
	requestsShare = 20      // exchanges for each request for a symbol
)

// Stats measures how fast the statistics are made again, and how long their reports then take.
func Stats(ctx context.Context, p Parts, o StatsOptions) (Report, error) {
	r := newReport("stats", p)
	today := calendar.DayOf(time.Now())
	c, err := newCountry(today.AddDays(1-o.Days), o)
	if err != nil {
		return r, err
	}
	if err := o.Writer.Migrate(ctx); err != nil {
		return r, err
	}
	m, err := refill(ctx, p, c, o)
	if err != nil {
		return r, err
	}
	r.Measures = append(r.Measures, m)
	for _, report := range clickhouse.Reports() {
		m, err := askReport(ctx, p, o, report.Name, c.first, today)
		if err != nil {
			return r, err
		}
		r.Measures = append(r.Measures, m)
	}
	return r, nil
}

// refill gives the projection everything, the streams at the same time. Only applying counts; the events of a round are
// made before it.
func refill(ctx context.Context, p Parts, c *country, o StatsOptions) (m Measure, err error) {
	projection := statistics.Open(ctx, o.Writer, statistics.Options{})
	if err := applyAll(projection, event.StreamRegistry, c.registry); err != nil {
		return m, err
	}
	streams := c.streams(o.Rows)
	rows, took := 0, time.Duration(0)
	for {
		made, n, err := nextRound(ctx, streams)
		if err != nil || n == 0 {
			return refilled(ctx, o, rows, took, err)
		}
		p.work(true)
		began := time.Now()
		err = eachStream(streams, func(i int, s *factStream) error {
			for batch := range slices.Chunk(made[i], o.Batch) {
				if err := applyAll(projection, s.name, batch); err != nil {
					return err
				}
				s.applied(o.Applied, len(batch))
			}
			return ctx.Err()
		})
		took += time.Since(began)
		p.work(false)
		if err != nil {
			return m, err
		}
		rows += n
	}
}

// refilled makes the measure, once the tables have been found to hold every row once.
func refilled(ctx context.Context, o StatsOptions, rows int, took time.Duration, err error) (Measure, error) {
	if err != nil {
		return Measure{}, err
	}
	for _, question := range []string{
		"SELECT (SELECT count() FROM statistics.exchanges) + (SELECT count() FROM statistics.issuances)",
		"SELECT (SELECT sum(exchanges) FROM statistics.exchanges_daily) + (SELECT sum(issuances) FROM statistics.issuances_daily)",
	} {
		table, err := o.Analyst.Query(ctx, question)
		if err != nil {
			return Measure{}, err
		}
		if got := clickhouse.Text(table.Rows[0][0]); got != fmt.Sprint(rows) {
			return Measure{}, fmt.Errorf("%d rows were inserted and %s are there", rows, got)
		}
	}
	m := Measure{Name: "statistics made again", Unit: "rows", Units: rows, Seconds: took.Seconds(), Rate: float64(rows) / took.Seconds(),
		Acknowledged: "from opened events in memory: decoded, made rows, agreed on in chunks, inserted with all rollups, the position recorded; reading the ledger, verifying and decrypting are measured by kiroku bench replay. All rows were counted afterwards, in the tables and in the rollups"}
	m.atLeast("rows/s", 150_000, m.Rate)
	return m, nil
}

// askReport asks for a report on all days, as the analyst, one question at a time.
func askReport(ctx context.Context, p Parts, o StatsOptions, name string, from, to calendar.Day) (m Measure, err error) {
	waited := make([]time.Duration, o.Asks)
	rows := 0
	p.work(true)
	began := time.Now()
	for i := range waited {
		at := time.Now()
		table, err := o.Analyst.Report(ctx, name, from, to)
		if err != nil {
			return m, err
		}
		waited[i], rows = time.Since(at), len(table.Rows)
	}
	took := time.Since(began)
	p.work(false)
	m = Measure{Name: "report " + name, Unit: "answers", Units: o.Asks, Seconds: took.Seconds(), Rate: float64(o.Asks) / took.Seconds(), Waiting: waiting(waited),
		Acknowledged: fmt.Sprintf("%d rows about %d days, read by the client; the first answer counts like the others", rows, o.Days)}
	m.atMost("median in ms", 1000, m.Waiting.P50)
	return m, nil
}

func applyAll(projection *statistics.Statistics, stream string, batch []projections.Opened) error {
	if len(batch) == 0 {
		return nil
	}
	to := projections.Checkpoint{Next: batch[len(batch)-1].Event.Revision + 1, Epoch: 1}
	if err := projection.Apply(stream, batch, to); err != nil {
		return fmt.Errorf("apply %d events of %s: %w", len(batch), stream, err)
	}
	return nil
}

func nextRound(ctx context.Context, streams []*factStream) (made [][]projections.Opened, n int, err error) {
	made = make([][]projections.Opened, len(streams))
	err = eachStream(streams, func(i int, s *factStream) (err error) {
		made[i], err = s.take(statsRound)
		return errors.Join(err, ctx.Err())
	})
	for _, m := range made {
		n += len(m)
	}
	return made, n, err
}

func eachStream(streams []*factStream, do func(i int, s *factStream) error) error {
	failures := make([]error, len(streams))
	var wg sync.WaitGroup
	for i, s := range streams {
		wg.Go(func() { failures[i] = do(i, s) })
	}
	wg.Wait()
	return errors.Join(failures...)
}

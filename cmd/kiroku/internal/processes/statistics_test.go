package processes

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"kiroku/adapters/clickhouse"
	"kiroku/adapters/clickhouse/embedded"
	"kiroku/adapters/datadir"
	"kiroku/cmd/kiroku/internal/evidence/leaktest"
	"kiroku/projections"
	"kiroku/projections/statistics"
)

// count fills the statistics as kiroku serve does. It returns what closes that too.
func (c *core) count(ctx context.Context, data string, closeRest func() error) (func() error, error) {
	db, err := clickhouse.Open(clickhouse.Config{Locate: func() (clickhouse.Location, error) {
		endpoint, err := datadir.Dir(data).Find("clickhouse")
		if err != nil {
			return clickhouse.Location{}, err
		}
		password := clickhouse.Password(endpoint.Passwords[embedded.WriterName].Expose())
		return clickhouse.Location{Addresses: []string{endpoint.Address}, HTTP: true, User: embedded.WriterName, Password: password}, nil
	}})
	if err != nil {
		return closeRest, err
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	runner, err := c.Follow(projections.Limits{}, nil, statistics.Open(running, db, statistics.Options{}))
	if err != nil {
		stop()
		return closeRest, errors.Join(err, db.Close())
	}
	c.statistics = db
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		runner.Run(running)
	}()
	return func() error {
		stop()
		<-ended
		return errors.Join(db.Close(), closeRest())
	}, nil
}

// TestTheStatisticsHoldNothingOfADayThatEnded: departments and procedures stand in ClickHouse in clear while a day lives.
// When its end is certified they are in no file of ClickHouse's, parts that were merged or dropped included; soon after,
// nor in the memory of its process. Those of the next day are found in both.
func TestTheStatisticsHoldNothingOfADayThatEnded(t *testing.T) {
	t.Parallel()
	w := withStore(t)
	engine := start(t, w.data, "clickhouse-embedded")
	engine.says("embedded ClickHouse ready on")
	o := newOfficeOn(w, func(s *settings) { s.Statistics = w.data })
	folder := filepath.Join(o.data, "clickhouse")
	first := o.today()
	o.work(1, 20)
	o.goTo(first.AddDays(1))
	o.work(2, 20)
	ends, lives := scannerOf(t, statisticsMarks(1)...), scannerOf(t, statisticsMarks(2)...)
	inFiles := func(s *leaktest.Scanner) []string {
		found, _, err := s.Tree(folder)
		for tries := 0; err != nil && tries < 50; tries++ { // ClickHouse writes meanwhile
			time.Sleep(20 * time.Millisecond)
			found, _, err = s.Tree(folder)
		}
		if err != nil {
			t.Fatal(err)
		}
		return names(found)
	}
	for _, s := range []*leaktest.Scanner{ends, lives} {
		eventually(t, "the day stands in the files of ClickHouse", func() bool { return len(inFiles(s)) == 2 })
	}
	if n := names(engine.dump(ends)); len(n) == 0 {
		t.Error("before the end, the search finds nothing in the memory of ClickHouse")
	}
	o.end(first)
	if left := inFiles(ends); len(left) > 0 {
		t.Errorf("in the files of ClickHouse is left: %v", left)
	}
	(&remote{process: engine}).forgets(ends)
	if n := inFiles(lives); len(n) != 2 {
		t.Errorf("of the living day, the files of ClickHouse hold %v", n)
	}
	o.core.forgets(ends)
	for _, line := range leaktest.Summary(o.store.dump(ends)) {
		t.Errorf("%s: %s", o.store.name, line)
	}
}

// statisticsMarks are the texts of a day that statistics keep.
func statisticsMarks(number int) []leaktest.Secret {
	return []leaktest.Secret{{Name: "department", Value: []byte(mark("department", number))}, {Name: "procedure", Value: []byte(mark("procedure", number))}}
}

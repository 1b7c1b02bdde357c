package node_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"kiroku/adapters/clickhouse"
	"kiroku/adapters/clickhouse/clickhousetest"
	"kiroku/cmd/kiroku/internal/node"
	"kiroku/domain/event"
	"kiroku/domain/inquiry"
	"kiroku/projections"
	"kiroku/projections/statistics"
)

func TestMain(m *testing.M) { clickhousetest.Main(m) }

// counting is a core with statistics on a real engine.
type counting struct {
	*keeping
	engine *clickhousetest.Engine
	db     *clickhouse.DB
	runner *projections.Runner
	end    func()
}

// count fills the statistics until end is called, or the test is over.
func (s *counting) count() {
	s.t.Helper()
	s.db = s.engine.Open()
	running, stop := context.WithCancel(context.Background())
	p := statistics.Open(running, s.db, statistics.Options{Pace: -1, Register: s.core.Issuances()})
	runner, err := s.core.Follow(projections.Limits{MinBackoff: time.Millisecond, MaxBackoff: 50 * time.Millisecond}, quiet{}, p)
	if err != nil {
		s.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		runner.Run(running)
	}()
	s.runner, s.end = runner, func() {
		stop()
		<-ended
		s.core.Unfollow(runner)
	}
}

func (s *counting) caughtUp() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	if err := s.core.CaughtUpWith(ctx, s.runner); err != nil {
		s.t.Fatalf("%v\n%s", err, s.Logs)
	}
}

// says is everything that analysts can read: tables, views and reports.
func (s *counting) says() string {
	s.t.Helper()
	var b strings.Builder
	questions := []string{"SELECT * FROM statistics.exchanges", "SELECT * FROM statistics.issuances", "SELECT * FROM statistics.exchanges_monthly", "SELECT * FROM statistics.destroyed_days FINAL",
		"SELECT day, hour, agency, result, sum(issuances) FROM statistics.issuances_hourly GROUP BY ALL", "SELECT * FROM statistics.issuances_monthly",
		"SELECT day, hour, inquirer, outcome, sum(exchanges) FROM statistics.exchanges_hourly GROUP BY ALL",
		"SELECT month, inquirer, affair, information, outcome, refusal_reason, rule, sum(exchanges) FROM statistics.inquiries_monthly GROUP BY ALL",
		"SELECT month, provider, outcome, sum(exchanges) FROM statistics.provisions_monthly GROUP BY ALL"}
	for _, q := range questions {
		s.tell(&b, q+" ORDER BY ALL")
	}
	for _, r := range clickhouse.Reports() {
		s.tell(&b, fmt.Sprintf("SELECT * FROM statistics.%s(from = '2020-01-01', to = '2099-12-31')", r.Name))
	}
	return b.String()
}

func (s *counting) tell(b *strings.Builder, question string) {
	s.t.Helper()
	table, err := s.db.Query(s.t.Context(), question)
	if err != nil {
		s.t.Fatal(err)
	}
	fmt.Fprintln(b, question)
	for _, row := range table.Rows {
		fmt.Fprintln(b, row...)
	}
}

// rebuildsEqually counts everything anew.
func (s *counting) rebuildsEqually() {
	s.t.Helper()
	s.caughtUp()
	live := s.says()
	if err := s.runner.Rebuild(s.t.Context(), statistics.Name, nil); err != nil {
		s.t.Fatal(err)
	}
	s.caughtUp()
	if rebuilt := s.says(); rebuilt != live {
		s.t.Errorf("the statistics counted anew:\n%s\nlive:\n%s", rebuilt, live)
	}
}

func (s *counting) one(question string) any {
	s.t.Helper()
	table, err := s.db.Query(s.t.Context(), question)
	if err != nil || len(table.Rows) != 1 {
		s.t.Fatal(table.Rows, err)
	}
	return table.Rows[0][0]
}

// TestStatisticsOfALedgerInWhichDaysEnd: persons are deleted, days end, with the statistics there, away, and back; their
// certificates name the statistics when those have dropped the day, and wait for them.
func TestStatisticsOfALedgerInWhichDaysEnd(t *testing.T) {
	configured := func(c *node.Config) {
		c.Elsewhere, c.VaultBuckets, c.RotationInterval = []string{statistics.Name}, 1, time.Hour
	}
	s := &counting{keeping: newKeeping(t, brief, configured), engine: clickhousetest.Start(t)}
	s.count()
	first := s.today()
	for range 14 {
		s.exchange(inquiry.Provided)
	}
	s.exchange(inquiry.NoSuchInformation)
	s.core.Issue("b", 2)
	s.anchor()
	s.Turn(day)
	s.core.Issue("a", 2)
	s.live(2)
	s.caughtUp()
	if n := s.one("SELECT count() FROM statistics.issuances WHERE agency = ''"); n != uint64(0) {
		t.Fatal(n)
	}

	s.core.Issue("a", 3) // and deleted on the day on which it was issued
	s.caughtUp()
	rotate(s.core, requestDeletion(s.core, 2), requestDeletion(s.core, 3))
	s.core.Issue("a", 2)
	s.caughtUp()
	if n := s.one("SELECT sum(issuances) FROM statistics.issuances_daily WHERE agency = ''"); n != uint64(3) {
		t.Errorf("%v issuances are without an agency; three were of those deleted", n)
	}
	s.rebuildsEqually()

	s.toDue(brief, first)
	s.pass()
	if c := s.certificates()[first.String()]; len(c) != 1 || !slices.Contains(c[0].Cleared, statistics.Name) {
		t.Errorf("%+v", c)
	}
	s.caughtUp()
	if n := s.one(fmt.Sprintf("SELECT (SELECT count() FROM statistics.exchanges WHERE day = '%s') + (SELECT count() FROM statistics.answers_daily WHERE day = '%s')", first, first)); n != uint64(0) {
		t.Errorf("%v rows are left of %s", n, first)
	}
	if n := s.one(fmt.Sprintf("SELECT sum(exchanges) FROM statistics.exchanges_daily WHERE day = '%s'", first)); n != uint64(15) {
		t.Errorf("of 15 exchanges of %s the summary has %v", first, n)
	}
	s.rebuildsEqually()

	s.end() // as when the engine cannot be started
	second := first.AddDays(1)
	s.Turn(day)
	s.anchor()
	if r, err := s.passCutShort(); err == nil || !strings.Contains(err.Error(), statistics.Name) || len(r.Destroyed) != 1 || len(r.Certified) != 0 {
		t.Errorf("with the statistics away: %+v, %v", r, err)
	}
	if err := s.core.RetentionProcess.Check(); err == nil {
		t.Error("no alarm tells that certificates wait")
	}
	s.count()
	s.finishes(second)
	s.rebuildsEqually()

	s.engine.Kill() // it is away while a day ends, and comes back
	third := second.AddDays(1)
	s.Turn(day)
	s.anchor()
	if r, err := s.passCutShort(); err == nil || len(r.Destroyed) != 1 || len(r.Certified) != 0 {
		t.Errorf("with the engine away: %+v, %v", r, err)
	}
	s.engine.Resume()
	s.finishes(third)
	s.rebuildsEqually()
	if begins := truncations(s.keeping); begins == 0 {
		t.Error("no stream was truncated: the test is wrong")
	}
	s.end()
	s.core.Verify()
}

func truncations(k *keeping) int {
	n := 0
	for _, stream := range event.RecordStreams(k.core.Shards) {
		if t, ok := k.core.Retention.Snapshot().Truncated(stream); ok && t.First > 0 {
			n++
		}
	}
	return n
}

// TestStatisticsThatAreOffAreNotNamed in a certificate.
func TestStatisticsThatAreOffAreNotNamed(t *testing.T) {
	k := newKeeping(t, brief)
	first := k.ready(1)
	k.finishes(first)
	if c := k.certificates()[first.String()]; len(c) != 1 || slices.Contains(c[0].Cleared, statistics.Name) {
		t.Errorf("%+v", c)
	}
}

package clickhouse_test

import (
	"errors"
	"strings"
	"testing"

	"kiroku/adapters/clickhouse"
	"kiroku/adapters/clickhouse/clickhousetest"
	"kiroku/domain/calendar"
	"kiroku/domain/inquiry"
	"kiroku/projections"
	"kiroku/projections/statistics"
)

// TestADayThatIsGoneLeavesItsSummary destroys one of two days, twice.
func TestADayThatIsGoneLeavesItsSummary(t *testing.T) {
	d := clickhousetest.Start(t).Open()
	if err := d.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	gone, stays := calendar.Of(2019, 11, 22), calendar.Of(2019, 11, 23)
	chunk := statistics.Chunk{Stream: "record-00", To: projections.Checkpoint{Next: 1}}
	for i := range 40 {
		day := []calendar.Day{gone, stays}[i%2]
		chunk.Exchanges = append(chunk.Exchanges, statistics.Exchange{Day: day, Hour: day.Start(), Inquirer: "A", Provider: "B", Outcome: inquiry.Provided, AnswerSeconds: 1})
		chunk.Issuances = append(chunk.Issuances, statistics.Issuance{Day: day, Hour: day.Start(), Agency: "A"})
	}
	late := statistics.Chunk{Stream: "record-01", To: projections.Checkpoint{Next: 1}, Rows: statistics.Rows{Exchanges: chunk.Exchanges[:1]}}
	if err := d.Insert(t.Context(), chunk); err != nil {
		t.Fatal(err)
	}
	registry := statistics.Chunk{Stream: "registry", To: projections.Checkpoint{Next: 1}}
	registry.Ended = []calendar.Day{gone}
	registry.Summaries = []statistics.Summary{{Day: gone, Inquirer: "A", Outcome: inquiry.Provided, Exchanges: 13}, {Day: gone, Row: 1, Exchanges: 4}}
	for range 2 {
		if err := errors.Join(d.Insert(t.Context(), registry), d.Insert(t.Context(), late)); err != nil {
			t.Fatal(err)
		}
		for question, want := range map[string]uint64{
			"SELECT count() FROM statistics.exchanges":                                               20,
			"SELECT sum(exchanges) FROM statistics.exchanges_hourly":                                 20,
			"SELECT sum(answers) FROM statistics.answers_daily":                                      20,
			"SELECT sum(exchanges) FROM statistics.exchanges_daily":                                  37,
			"SELECT sum(exchanges) FROM statistics.exchanges_daily WHERE day = '2019-11-22'":         17,
			"SELECT sum(exchanges) FROM statistics.exchanges_monthly":                                37,
			"SELECT sum(exchanges) FROM statistics.inquiries_monthly":                                37,
			"SELECT sum(exchanges) FROM statistics.inquiries_monthly WHERE rule = ''":                20,
			"SELECT sum(exchanges) FROM statistics.inquiries_monthly WHERE rule = '秘匿 (suppressed)'": 17,
			"SELECT sum(exchanges) FROM statistics.provisions_monthly WHERE provider = 'B'":          20,
			"SELECT sum(answers) FROM statistics.answers_monthly":                                    20,
			"SELECT count() FROM statistics.issuances":                                               40,
		} {
			if got := query(t, d, question)[0][0]; got != want {
				t.Errorf("%s: %v, not %d", question, got, want)
			}
		}
	}
	table, err := d.Report(t.Context(), "by_outcome", gone, gone)
	if err != nil || len(table.Rows) != 2 || table.Rows[0][2] != uint64(13) || table.Rows[1][0] != "suppressed" || table.Rows[1][1] != "秘匿 (suppressed)" || table.Rows[1][2] != uint64(4) {
		t.Errorf("the report of a day that is gone: %v %v", table.Rows, err)
	}
	table, err = d.Report(t.Context(), "by_outcome", calendar.Of(2019, 11, 1), calendar.Of(2019, 11, 30))
	if err != nil || len(table.Rows) != 2 || table.Rows[0][2] != uint64(33) {
		t.Errorf("the report of the month of a day that is gone: %v %v", table.Rows, err)
	}
}

// TestStatementsOfAClusterParse: no cluster runs here, but the engine reads what would be sent to one.
func TestStatementsOfAClusterParse(t *testing.T) {
	d := clickhousetest.Start(t).Open()
	replicated, distributed := 0, 0
	for _, statement := range clickhouse.StatementsOn("cluster_a") {
		if _, err := d.Query(t.Context(), "SELECT formatQuerySingleLine("+clickhouse.Quote(statement)+")"); err != nil {
			t.Errorf("%v\n%s", err, statement)
		}
		if !strings.Contains(statement, "ON CLUSTER cluster_a") && !strings.HasPrefix(statement, "INSERT ") {
			t.Errorf("it is for one server only: %s", statement)
		}
		replicated += strings.Count(statement, "ENGINE = Replicated")
		distributed += strings.Count(statement, "ENGINE = Distributed")
	}
	if replicated < 15 || distributed != 10 {
		t.Errorf("%d tables are Replicated and %d Distributed", replicated, distributed)
	}
}

package evidence_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"kiroku/adapters/clickhouse"
	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/domain/ledger"
	"kiroku/projections/statistics/statisticstest"
)

// TestTheStatisticsEqualTheDump has every report that the program lists counted from the dump of the demonstration's
// ledger, opened with keys that are derived here from its token, and compares row by row with what the program shows.
func TestTheStatisticsEqualTheDump(t *testing.T) {
	program(t)
	events := dumped(t)
	l := recounted(t, events, learn(t, token(t), events, codes(t, shownPeople, 0)))
	if exchanges, issuances := l.Size(); exchanges != shownInquiries || issuances < shownPeople {
		t.Fatalf("the dump has %d exchanges that ended and %d issuances", exchanges, issuances)
	}
	withEngine(t)
	var list struct {
		Reports []struct {
			Name   string
			Public bool
		}
	}
	answered(t, &list, "stats", "list")
	if len(list.Reports) < len(clickhouse.Reports()) {
		t.Fatalf("%d reports are listed", len(list.Reports))
	}
	day := l.Middle()
	year, month, _ := day.Date()
	for _, period := range [][2]calendar.Day{
		{calendar.Of(2017, 7, 18), calendar.DayOf(time.Now())}, // what is asked about if nothing is said
		{day, day},
		{calendar.Of(year, month, 1), calendar.Of(year, month+1, 1).AddDays(-1)},
		{day.AddDays(-400), day.AddDays(40)},
		{day.AddDays(-400), day.AddDays(-2)},
	} {
		q := statisticstest.Question{From: period[0], To: period[1], Now: time.Now(), Threshold: clickhouse.DefaultThreshold}
		for _, r := range list.Reports {
			want, err := l.Report(r.Name, q)
			if err != nil {
				t.Fatal(err)
			}
			var table struct{ Rows [][]any }
			answered(t, &table, "stats", "show", r.Name, "--from", q.From.String(), "--to", q.To.String())
			var got []string
			for _, row := range table.Rows {
				got = append(got, statisticstest.Line(row...))
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s from %v to %v is\n%s\nthe dump says\n%s", r.Name, q.From, q.To, strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
			if len(want) == 0 && !r.Public && !day.Before(q.From) && !day.After(q.To) {
				t.Errorf("%s from %v to %v has no row", r.Name, q.From, q.To)
			}
		}
	}
}

// recounted reads events of which k opened those that are sealed.
func recounted(t *testing.T, events []ledger.Event, k *known) *statisticstest.Ledger {
	t.Helper()
	var all []statisticstest.Event
	for _, e := range events {
		payload := e.Data
		if event.ClassOf(e.Type) != event.ClassPlain {
			payload = []byte(k.opened[place(e)])
		}
		all = append(all, statisticstest.Event{Type: e.Type, Revision: e.Revision, Time: header(t, e).Time, Payload: payload})
	}
	l, err := statisticstest.Read(all)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// withEngine runs the embedded ClickHouse until the test ends, so that not every question starts one.
func withEngine(t *testing.T) {
	t.Helper()
	engine := exec.Command(file("kiroku"), "clickhouse-embedded", "--data", data())
	var said bytes.Buffer
	engine.Env, engine.Stderr = environment(), &said
	out, err := engine.StdoutPipe()
	if err == nil {
		err = engine.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	ready := make([]byte, 1)
	if _, err := out.Read(ready); err != nil {
		_ = engine.Wait()
		t.Fatalf("the engine does not start: %v\n%s", err, said.String())
	}
	t.Cleanup(func() {
		_ = engine.Process.Signal(syscall.SIGTERM)
		if err := engine.Wait(); err != nil {
			t.Errorf("kiroku clickhouse-embedded: %v\n%s", err, said.String())
		}
	})
}

// answered runs a command and reads the JSON that it prints.
func answered(t *testing.T, into any, arguments ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, file("kiroku"), append(arguments, "--json", "--data", data())...)
	command.Env = environment()
	var said bytes.Buffer
	command.Stderr = &said
	out, err := command.Output()
	if err != nil {
		t.Fatalf("kiroku %v: %v\n%s", arguments, err, said.String())
	}
	numbers := json.NewDecoder(bytes.NewReader(out))
	numbers.UseNumber()
	if err := numbers.Decode(into); err != nil {
		t.Fatalf("kiroku %v: %v in %s", arguments, err, out)
	}
}

package statistics_test

import (
	"errors"
	"fmt"
	"log/slog"
	"testing"

	"kiroku/adapters/clickhouse"
	"kiroku/adapters/clickhouse/clickhousetest"
	"kiroku/domain/event"
	"kiroku/projections"
	"kiroku/projections/statistics"
)

// TestWhatIsLostComesBack takes from the tables what a server can lose that is killed or loses power, or doubles it, and
// lets another process carry on.
func TestWhatIsLostComesBack(t *testing.T) {
	engine := clickhousetest.Start(t)
	course, _ := makeCourse(t, 3, 800)
	calm := engine.Open(inDatabase("calm"))
	follow(t.Context(), course, statistics.Open(t.Context(), calm, quick(1000)), 700)
	expected := dump(t, calm, "calm")
	day := rowsOf(t, calm, "SELECT toYYYYMMDD(day) FROM calm.exchanges WHERE answer_seconds IS NOT NULL GROUP BY day ORDER BY count() DESC LIMIT 1")[0]
	issueDay := rowsOf(t, calm, "SELECT toYYYYMMDD(any(day)) FROM calm.issuances")[0]

	quiet := func(c *clickhouse.Config) { c.Database, c.Log = "damaged", slog.New(slog.DiscardHandler) }
	filler := engine.Open(quiet)
	follow(t.Context(), course, statistics.Open(t.Context(), filler, quick(300)), 200)
	if err := filler.Close(); err != nil {
		t.Fatal(err)
	}
	for damage, facts := range map[string]bool{ // whether facts are missing or too many
		"ALTER TABLE damaged.exchanges_hourly DROP PARTITION " + day:                                            false,
		"ALTER TABLE damaged.exchanges_daily DROP PARTITION " + day:                                             false,
		"ALTER TABLE damaged.answers_daily DROP PARTITION " + day:                                               false,
		"ALTER TABLE damaged.issuances_hourly DROP PARTITION " + issueDay:                                       false,
		"INSERT INTO damaged.issuances_daily SELECT * FROM damaged.issuances_daily LIMIT 1":                     false,
		"INSERT INTO damaged.exchanges_hourly SELECT * FROM damaged.exchanges_hourly LIMIT 1":                   false,
		"ALTER TABLE damaged.inquiries_monthly DROP PARTITION " + day[:6]:                                       false,
		"ALTER TABLE damaged.answers_monthly DROP PARTITION " + day[:6]:                                         false,
		"INSERT INTO damaged.provisions_monthly SELECT * FROM damaged.provisions_monthly LIMIT 1":               false,
		"ALTER TABLE damaged.exchanges DROP PARTITION " + day:                                                   true,
		"ALTER TABLE damaged.issuances DROP PARTITION " + issueDay:                                              true,
		"INSERT INTO damaged.exchanges SETTINGS insert_deduplicate = 0 SELECT * FROM damaged.exchanges LIMIT 1": true,
	} {
		db := engine.Open(quiet)
		if _, err := db.Query(t.Context(), damage); err != nil {
			t.Fatalf("%s: %v", damage, err)
		}
		p := statistics.Open(t.Context(), db, quick(300))
		follow(t.Context(), course, p, 200)
		select {
		case <-db.Lost():
			if !facts {
				t.Errorf("after %s everything is to be counted anew", damage)
			}
			if err := p.Reset(); err != nil {
				t.Fatal(err)
			}
			follow(t.Context(), course, p, 200)
		default:
		}
		// It would audit once more, at the same time as the next one.
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		if got := dump(t, calm, "damaged"); got != expected {
			t.Errorf("after %s the rows differ from those of an undisturbed run:\n%s", damage, differences(expected, got))
		}
	}
}

// TestEmptiedByAnother: who fills the statistics while another process empties them starts over.
func TestEmptiedByAnother(t *testing.T) {
	engine := clickhousetest.Start(t)
	course, _ := makeCourse(t, 4, 800)
	calm := engine.Open(inDatabase("calm"))
	follow(t.Context(), course, statistics.Open(t.Context(), calm, quick(1000)), 700)
	expected := dump(t, calm, "calm")

	stream := event.RecordStream(0)
	half := len(course[stream]) / 2
	first, other := statistics.Open(t.Context(), engine.Open(inDatabase("emptied")), quick(100)), statistics.Open(t.Context(), engine.Open(inDatabase("emptied")), quick(100))
	if err := course.Apply(first, stream, 0, half); err != nil {
		t.Fatal(err)
	}
	if err := other.Reset(); err != nil {
		t.Fatal(err)
	}
	var err error
	for range 5 {
		if err = course.Apply(first, stream, half, 100); errors.Is(err, projections.ErrStartOver) {
			break
		}
	}
	if !errors.Is(err, projections.ErrStartOver) {
		t.Errorf("after another process has emptied the statistics, the next events give %v", err)
	}
	follow(t.Context(), course, first, 100)
	if got := dump(t, calm, "emptied"); got != expected {
		t.Errorf("the rows differ from those of an undisturbed run:\n%s", differences(expected, got))
	}
}

// TestAnEmptyingCutShortIsCompletedOnce: whoever empties the statistics ends in the middle of it, and all streams of those who
// carry on find that at once. What one of them brings then stays.
func TestAnEmptyingCutShortIsCompletedOnce(t *testing.T) {
	engine := clickhousetest.Start(t)
	course, _ := makeCourse(t, 6, 400)
	calm := engine.Open(inDatabase("calm"))
	follow(t.Context(), course, statistics.Open(t.Context(), calm, quick(1000)), 700)
	expected := dump(t, calm, "calm")

	quiet := func(c *clickhouse.Config) { c.Database, c.Log = "short", slog.New(slog.DiscardHandler) }
	follow(t.Context(), course, statistics.Open(t.Context(), engine.Open(quiet), quick(1000)), 700)
	for generation := range 5 {
		if _, err := calm.Query(t.Context(), fmt.Sprintf("INSERT INTO short_state.generations (generation, emptied) VALUES (%d, false)", generation+1)); err != nil {
			t.Fatal(err)
		}
		db := engine.Open(quiet)
		follow(t.Context(), course, statistics.Open(t.Context(), db, quick(1000)), 700)
		if got := dump(t, calm, "short"); got != expected {
			t.Errorf("the rows differ from those of an undisturbed run:\n%s", differences(expected, got))
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

package retention

import (
	"errors"
	"fmt"
	"testing"

	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/domain/retention"
)

func encoded(t testing.TB, payload any) []byte {
	t.Helper()
	b, err := event.Encode(payload)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func record(affair string) event.Record {
	return event.Record{Inquirer: "a", Provider: "b", Affair: affair, Information: "i", Rule: "R1"}
}

func TestOnlyTheEndsOfExchangesCount(t *testing.T) {
	tally := newTally()
	amended := record("x")
	amended.AmendmentReason = "訂正"
	for _, row := range []struct {
		eventType string
		payload   any
	}{
		{event.TypeInquiryNotified, event.InquiryNotified{Record: record("x")}},
		{event.TypeProvisionReported, event.ProvisionReported{Record: record("x"), Answer: "provided"}},
		{event.TypeProvisionReported, event.ProvisionReported{Record: record("x"), Answer: "provided"}},
		{event.TypeProvisionReported, event.ProvisionReported{Record: amended, Answer: "provided"}},
		{event.TypeInquiryLapsed, event.InquiryLapsed{Record: record("x")}},
		{event.TypeInquiryRefused, event.InquiryRefused{Record: record("y"), Reason: "out-of-scope"}},
	} {
		if err := tally.add(row.eventType, encoded(t, row.payload)); err != nil {
			t.Fatalf("%s: %v", row.eventType, err)
		}
	}
	got := map[string]uint64{}
	for _, c := range tally.counts() {
		got[c.Affair+" "+c.Outcome+" "+c.Refusal] += c.Exchanges
	}
	want := map[string]uint64{"x provided ": 2, "x lapsed ": 1, "y refused out-of-scope": 1}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("counted %v, want %v", got, want)
	}
}

func TestWhatCannotBeCountedIsAnError(t *testing.T) {
	for name, row := range map[string]struct {
		eventType string
		plaintext []byte
	}{
		"another type":      {"something-new", []byte{0xa0}},
		"no payload":        {event.TypeInquiryLapsed, nil},
		"an unknown answer": {event.TypeProvisionReported, encoded(t, event.ProvisionReported{Answer: "perhaps"})},
		"an unknown reason": {event.TypeInquiryRefused, encoded(t, event.InquiryRefused{Reason: "mood"})},
	} {
		tally := newTally()
		if err := tally.add(row.eventType, row.plaintext); err == nil || len(tally.counts()) > 0 {
			t.Errorf("%s: %v, %v", name, err, tally.counts())
		}
	}
	if err := newTally().add(event.TypeInquiryLapsed, []byte{0xff}); !errors.Is(err, event.ErrMalformed) {
		t.Error(err)
	}
}

// A summary always fits one append, tells no small count and forgets no exchange, however many kinds there are.
func TestASummaryFitsOneAppend(t *testing.T) {
	for _, row := range []struct {
		kinds int
		most  uint64
	}{{0, 1}, {1, 1}, {1, 40}, {9, 1}, {500, 12}, {12_000, 1}, {12_000, 15}, {12_000, 60}} {
		kinds, most, total := row.kinds, row.most, uint64(0)
		counts := make([]retention.Counted, kinds)
		for i := range counts {
			n := 1 + uint64(i*7919)%most
			counts[i] = retention.Counted{Inquirer: fmt.Sprintf("%06d", i%97), Provider: fmt.Sprintf("%06d", i%89), Outcome: "provided",
				Affair: fmt.Sprintf("児童手当の支給に関する事務であって主務省令で定めるもの %d", i), Information: "住民票関係情報", Rule: fmt.Sprint("R", i), Exchanges: n}
			total += n
		}
		parts, err := summaryParts(calendar.Of(2026, 11, 22), counts)
		if err != nil {
			t.Fatal(err)
		}
		size := 0
		for i, p := range parts {
			s := p.(event.DaySummarised)
			if s.Part != i || s.Parts != len(parts) || s.Day != "2026-11-22" || s.Least < SummaryLeast {
				t.Fatalf("part %d says %d of %d of %s", i, s.Part, s.Parts, s.Day)
			}
			b, err := event.Encode(s)
			if err != nil {
				t.Fatal(err)
			}
			size += len(b)
			for _, r := range s.Rows {
				if total -= r.Exchanges; r.Exchanges < s.Least && kinds > 9 {
					t.Fatalf("a row counts %d", r.Exchanges)
				}
			}
		}
		if total != 0 || size > 1_000_000-50*1024 {
			t.Fatalf("%d exchanges are missing, %d octets in %d parts", total, size, len(parts))
		}
	}
}

package retention_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"kiroku/domain/event"
	"kiroku/domain/retention"
)

const least = 10

func counted(inquirer, provider, affair, information, outcome, refusal, rule string, n uint64) retention.Counted {
	return retention.Counted{Inquirer: inquirer, Provider: provider, Affair: affair, Information: information, Outcome: outcome, Refusal: refusal, Rule: rule, Exchanges: n}
}

func TestSummarise(t *testing.T) {
	for _, row := range []struct {
		name   string
		counts []retention.Counted
		want   []event.SummaryRow
	}{
		{"nothing happened", nil, []event.SummaryRow{}},
		{"a count of nothing", []retention.Counted{counted("A", "B", "児童手当", "住民票", "provided", "", "r-1", 0)}, []event.SummaryRow{}},
		{"large counts stay as they are",
			[]retention.Counted{counted("A", "C", "児童手当", "住民票", "provided", "", "r-1", 10), counted("A", "B", "児童手当", "住民票", "provided", "", "r-1", 11)},
			[]event.SummaryRow{counted("A", "B", "児童手当", "住民票", "provided", "", "r-1", 11), counted("A", "C", "児童手当", "住民票", "provided", "", "r-1", 10)}},
		{"the same counted twice is one",
			[]retention.Counted{counted("A", "B", "児童手当", "住民票", "provided", "", "r-1", 5), counted("A", "B", "児童手当", "住民票", "provided", "", "r-1", 5)},
			[]event.SummaryRow{counted("A", "B", "児童手当", "住民票", "provided", "", "r-1", 10)}},
		{"small counts of two rules lose the rule",
			[]retention.Counted{counted("A", "B", "児童手当", "住民票", "provided", "", "r-1", 5), counted("A", "B", "児童手当", "住民票", "provided", "", "r-2", 6)},
			[]event.SummaryRow{counted("A", "B", "児童手当", "住民票", "provided", "", "", 11)}},
		{"of two providers, information, affair and provider go",
			[]retention.Counted{counted("A", "B", "児童手当", "住民票", "provided", "", "r-1", 5), counted("A", "C", "生活保護", "課税", "provided", "", "r-2", 6)},
			[]event.SummaryRow{counted("A", "", "", "", "provided", "", "", 11)}},
		{"alone, a small count takes the smallest large one along",
			[]retention.Counted{counted("A", "B", "児童手当", "住民票", "provided", "", "r-1", 3), counted("C", "B", "生活保護", "住民票", "lapsed", "", "r-2", 12), counted("D", "B", "生活保護", "住民票", "lapsed", "", "r-2", 11)},
			[]event.SummaryRow{counted("", "", "", "", "", "", "", 14), counted("C", "B", "生活保護", "住民票", "lapsed", "", "r-2", 12)}},
		{"a day of few exchanges keeps their number",
			[]retention.Counted{counted("A", "B", "児童手当", "住民票", "provided", "", "r-1", 3), counted("A", "B", "児童手当", "住民票", "refused", "pia-violation", "", 2)},
			[]event.SummaryRow{counted("", "", "", "", "", "", "", 5)}},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := retention.Summarise(row.counts, least); !reflect.DeepEqual(got, row.want) {
				t.Errorf("%+v\nwant %+v", got, row.want)
			}
		})
	}
}

func draw(t *rapid.T) []retention.Counted {
	pick := func(name string, of ...string) string { return rapid.SampledFrom(of).Draw(t, name) }
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) retention.Counted {
		c := counted(pick("inquirer", "A", "B", "C"), pick("provider", "A", "B", "C"), pick("affair", "児童手当", "生活保護"), pick("information", "住民票", "課税"),
			pick("outcome", "provided", "lapsed", "refused"), "", pick("rule", "r-1", "r-2"), uint64(rapid.IntRange(1, 3*least).Draw(t, "exchanges")))
		if c.Outcome == "refused" {
			c.Refusal, c.Rule = pick("refusal", "out-of-scope", "pia-violation"), ""
		}
		if rapid.IntRange(0, 1).Draw(t, "small") == 0 {
			c.Exchanges = 1 + c.Exchanges%least
		}
		return c
	}), 0, 30).Draw(t, "counts")
}

func total(rows []event.SummaryRow) (n uint64) {
	for _, r := range rows {
		n += r.Exchanges
	}
	return n
}

func TestASummaryCountsEverythingOnceAndNothingSmall(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		counts := draw(t)
		rows := retention.Summarise(counts, least)
		if total(rows) != total(counts) {
			t.Fatalf("%d exchanges became %d", total(counts), total(rows))
		}
		seen := map[event.SummaryRow]bool{}
		for _, r := range rows {
			if r.Exchanges < least && total(counts) >= least {
				t.Fatalf("a row counts %d: %+v", r.Exchanges, r)
			}
			r.Exchanges = 0
			if seen[r] {
				t.Fatalf("two rows are alike: %+v", r)
			}
			seen[r] = true
		}
		if len(rows) > 1 && total(counts) < least {
			t.Fatalf("a day of %d exchanges has %d rows", total(counts), len(rows))
		}
		shuffled := slices.Clone(counts)
		r := rand.New(rand.NewPCG(uint64(len(counts)), 0))
		r.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		if again := retention.Summarise(shuffled, least); !reflect.DeepEqual(again, rows) {
			t.Fatalf("in another order:\n%v\n%v", again, rows)
		}
	})
}

// TestWhatIsSuppressedCannotBeRecovered: for every count that was suppressed there is another day on which it was another
// number, and of which the same is kept, to the last row. So no reckoning with the rows, their total and the way they are
// made tells it. Nor do rows tell it that are subtracted from the whole: what remains is never less than least.
func TestWhatIsSuppressedCannotBeRecovered(t *testing.T) {
	suppressed := 0
	rapid.Check(t, func(t *rapid.T) {
		merged := sum(draw(t))
		rows := retention.Summarise(merged, least)
		for i, c := range merged {
			if c.Exchanges >= least {
				continue
			}
			suppressed++
			other := slices.Clone(merged)
			other[i].Exchanges--
			c.Rule, c.Exchanges = "r-3", 1 // of which there is none
			if again := retention.Summarise(append(other, c), least); !reflect.DeepEqual(again, rows) {
				t.Fatalf("the rows tell %+v from one less:\n%v\n%v", merged[i], rows, again)
			}
		}
		if sub := subset(rows, rapid.Uint32().Draw(t, "rows")); total(rows) >= least && total(sub) != total(rows) && total(rows)-total(sub) < least {
			t.Fatalf("%v less %v leaves %d", rows, sub, total(rows)-total(sub))
		}
	})
	if suppressed < 100 {
		t.Errorf("only %d counts were suppressed: the property says little", suppressed)
	}
}

func sum(counts []retention.Counted) []retention.Counted {
	sums := map[retention.Counted]uint64{}
	for _, c := range counts {
		n := c.Exchanges
		c.Exchanges = 0
		sums[c] += n
	}
	var all []retention.Counted
	for c, n := range sums {
		c.Exchanges = n
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b retention.Counted) int {
		x, y := fmt.Sprint(a), fmt.Sprint(b)
		if x < y {
			return -1
		}
		return 1
	})
	return all
}

func subset(rows []event.SummaryRow, which uint32) (some []event.SummaryRow) {
	for i, r := range rows {
		if which>>(i%32)&1 == 1 {
			some = append(some, r)
		}
	}
	return some
}

// TestTwoSmallCountsStandForEachOther: moving exchanges between two suppressed counts of one row changes nothing that is kept.
func TestTwoSmallCountsStandForEachOther(t *testing.T) {
	keep := func(a, b uint64) []event.SummaryRow {
		return retention.Summarise([]retention.Counted{
			counted("A", "B", "児童手当", "住民票", "provided", "", "r-1", a), counted("A", "B", "児童手当", "課税", "provided", "", "r-2", b),
			counted("A", "C", "児童手当", "課税", "provided", "", "r-2", 40)}, least)
	}
	want := keep(9, 3)
	for a := uint64(3); a < least; a++ {
		if got := keep(a, 12-a); !reflect.DeepEqual(got, want) {
			t.Errorf("%d and %d: %v, want %v", a, 12-a, got, want)
		}
	}
}

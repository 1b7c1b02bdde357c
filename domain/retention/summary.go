package retention

import (
	"cmp"
	"slices"

	"kiroku/domain/event"
)

// Counted is how many exchanges of a day were alike in all respects.
type Counted = event.SummaryRow

// Summarise returns what is kept of a day's exchanges: rows that together count every exchange once, none of them for
// fewer than least, as long as the day had that many.
//
// Counts below least are merged with others by leaving out what tells them apart: the rule, then the reason of refusal,
// the information name, the affair, the provider, the inquirer and at last the outcome. What is left over at the end, less
// than least, is merged with the smallest row that could have been kept (complementary suppression), into a row that says
// nothing but its count. So every row, and what is left of the whole day's count when rows are subtracted from it, is at
// least least; but the count of the whole day itself is not hidden, as the ledger tells it anyway.
//
// The rows are sorted and depend on the counts alone, not on their order; counts of 0 are no rows.
func Summarise(counts []Counted, least uint64) []event.SummaryRow {
	var kept []event.SummaryRow
	small := merge(counts)
	for level := 0; len(small) > 0 && level <= len(dimensions); level++ {
		if level > 0 {
			for i := range small {
				dimensions[level-1](&small[i])
			}
			small = merge(small)
		}
		rest := small[:0]
		for _, r := range small {
			if r.Exchanges >= least {
				kept = append(kept, r)
			} else {
				rest = append(rest, r)
			}
		}
		small = rest
	}
	return merge(complement(merge(kept), small))
}

// dimensions are what is left out, in this order.
var dimensions = []func(*event.SummaryRow){
	func(r *event.SummaryRow) { r.Rule = "" },
	func(r *event.SummaryRow) { r.Refusal = "" },
	func(r *event.SummaryRow) { r.Information = "" },
	func(r *event.SummaryRow) { r.Affair = "" },
	func(r *event.SummaryRow) { r.Provider = "" },
	func(r *event.SummaryRow) { r.Inquirer = "" },
	func(r *event.SummaryRow) { r.Outcome = "" },
}

// complement gives what is too small by itself the smallest kept row for company. There is at most one such rest: all
// that could tell it from another is gone.
func complement(kept, rest []event.SummaryRow) []event.SummaryRow {
	if len(rest) == 0 {
		return kept
	}
	all := event.SummaryRow{Exchanges: rest[0].Exchanges}
	if len(kept) > 0 {
		smallest := 0
		for i, r := range kept {
			if r.Exchanges < kept[smallest].Exchanges {
				smallest = i
			}
		}
		all.Exchanges += kept[smallest].Exchanges
		kept = slices.Delete(kept, smallest, smallest+1)
	}
	return append(kept, all)
}

// merge adds up rows that are alike, and sorts them.
func merge(rows []event.SummaryRow) []event.SummaryRow {
	sums := map[event.SummaryRow]uint64{}
	for _, r := range rows {
		n := r.Exchanges
		r.Exchanges = 0
		sums[r] += n
	}
	merged := make([]event.SummaryRow, 0, len(sums))
	for r, n := range sums {
		if r.Exchanges = n; n > 0 {
			merged = append(merged, r)
		}
	}
	slices.SortFunc(merged, compare)
	return merged
}

func compare(a, b event.SummaryRow) int {
	return cmp.Or(
		cmp.Compare(a.Inquirer, b.Inquirer), cmp.Compare(a.Provider, b.Provider), cmp.Compare(a.Affair, b.Affair),
		cmp.Compare(a.Information, b.Information), cmp.Compare(a.Outcome, b.Outcome), cmp.Compare(a.Refusal, b.Refusal), cmp.Compare(a.Rule, b.Rule),
	)
}

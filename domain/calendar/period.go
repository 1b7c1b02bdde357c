package calendar

import "time"

// AddYears returns the corresponding day (応当日) n years later: the same month and day. 29 February has none in a
// common year; its place takes the last day of the month, 28 February, as Article 143(2) of the Civil Code
// (民法143条2項但書) has it for the end of a period. For the end of a period itself use PeriodEnd.
func (d Day) AddYears(n int) Day {
	if d.IsZero() || n > 9999 || n < -9999 {
		return Day{}
	}
	year, month, day := d.Date()
	if to := Of(year+n, month, day); month != time.February || day != 29 || isLeap(year+n) {
		return to
	}
	return Of(year+n, time.February, 28)
}

// PeriodEnd returns the last day of a period of the given years that begins with something done on d.
//
// The Civil Code counts it so: the day itself is not counted (Art. 140, 初日不算入), so the period starts with the
// day after; it ends on the day before the day that corresponds to that start; and where the last month has no such
// day, it ends on the last day of that month (Art. 143(2)). What must be kept for seven years is kept through
// PeriodEnd(7), and may go from the day after.
//
//	recorded     first counted  corresponding day   kept through
//	2026-11-22   2026-11-23     2033-11-23          2033-11-22
//	2024-02-28   2024-02-29     none in 2031        2031-02-28
//	2024-02-29   2024-03-01     2031-03-01          2031-02-28
//	2025-02-28   2025-03-01     2032-03-01          2032-02-29
func (d Day) PeriodEnd(years int) Day {
	start := d.AddDays(1)
	corresponding := start.AddYears(years)
	if start.monthDay() != corresponding.monthDay() {
		return corresponding // there is none: AddYears gave the last day of the month
	}
	return corresponding.AddDays(-1)
}

func (d Day) monthDay() [2]int {
	_, month, day := d.Date()
	return [2]int{int(month), day}
}

func isLeap(year int) bool { return year%4 == 0 && (year%100 != 0 || year%400 == 0) }

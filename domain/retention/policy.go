// Package retention decides when a day's provision records (情報提供等記録) and audit events have been kept long enough,
// and whether it is proven that the time has passed. It promises that no clock, however wrong, brings a destruction
// forward, and to whoever destroys, lists or verifies the same answer from the same facts. It has no clock and no I/O:
// every question is asked with the time and with what the ledger holds.
//
// # How long
//
// Act 23 has the exchanges recorded, Order 30 (番号法施行令30条) has the records kept for seven years. Decided here:
//
//   - What starts the clock. The provisions do not say whether the request or the provision does. Every fact (request,
//     refusal, provision, lapse, correction, disclosure) is kept seven years from the Japanese calendar day on which it
//     was recorded. Each repeats the whole record, so no later fact loses anything when the day of an earlier one ends.
//   - Days are those of Japan Standard Time, UTC+9, from midnight to midnight. A fact recorded at 14:59:59.999999 UTC
//     and one recorded a microsecond later belong to different days.
//   - The day itself does not count (Civil Code 140, 初日不算入): the seven years begin with the day after.
//   - They end with the day before the day that corresponds to that beginning (Civil Code 143(2)); if the last month
//     has no such day, with the last day of that month (143(2), proviso). That matters for one day only: what is
//     recorded on 28 February of a leap year begins to count on 29 February, which no seventh year after it has, and
//     is kept through 28 February. What is recorded on 29 February begins on 1 March and is kept through 28 February
//     (29 February if that year is a leap year, as where the period is eight years).
//   - The extension of Civil Code 142 to the next working day is for acts to be performed and does not apply: the
//     period is one of keeping, and what destroys is no office but a process that runs every day.
//   - A day is due on the first day after the period, and is destroyed on the next run.
//
// # Notice
//
// A day is announced in the registry so that thirty full days lie between the anchor that holds the announcement and the
// destruction; the day of that anchor does not count (Civil Code 140). The announcement is made some days earlier than
// that, so that a core which was down over a long weekend destroys nothing late.
//
// # What stops it
//
// The wall clock alone destroys nothing. That time has passed is shown by anchors, which the ledger holds in an order
// that no clock can change:
//
//   - the announcement lies under an anchor, and the notice since then is over;
//   - a stretch of anchors leads to now that is as long as the notice, on at least twenty days of it, each anchor later
//     than the one before it, none more than seven days later (the closing of offices at New Year), the last not after
//     now and not more than seven days ago. A clock set forward or back breaks the stretch, and another notice passes;
//   - since the anchor that first held all facts of the day, anchors show at least seven years less half a year. A step
//     between two anchors counts for what the clock moved, but for no more than seven days, forward or back. So half a
//     year without any anchor is forgiven, and beyond that a day is kept as much longer. A clock that stays wrong for
//     months, the notice included, destroys nothing early, and neither does a fact that was recorded on a day long past
//     because the clock was set back;
//   - no legal hold covers the day.
//
// # What dies with a day
//
// Facts of class record, the streams record-* and audit, under one key of the HSM for each day. The registry of
// issuance (連携用符号発行管理ファイル) is permanent but for a physical deletion, the vault and the registry hold no
// record.
package retention

import (
	"time"

	"kiroku/domain/calendar"
	"kiroku/domain/event"
)

// Policy is how long days are kept, and what must be shown before one is destroyed. All numbers are at least 0.
type Policy struct {
	Years  int // that a day is kept, at least 1
	Notice int // full days between the anchored announcement and the destruction
	Lead   int // days by which the announcement is made earlier than it must be

	LeastAnchorDays int // different days with an anchor in the stretch that proves the notice
	LongestGap      int // days: a step of the clock between two anchors that is still believed
	Unproven        int // days of the years that no anchors need to show
}

// Statutory is the policy of the product. Other policies are for tests.
var Statutory = Policy{Years: 7, Notice: 30, Lead: 4, LeastAnchorDays: 20, LongestGap: 7, Unproven: 183}

// KeptThrough returns the last day on which what was recorded on day must be kept (Order 30; Civil Code 140, 143(2)).
func (p Policy) KeptThrough(day calendar.Day) calendar.Day { return day.PeriodEnd(p.Years) }

// Due returns the first day on which what was recorded on day may be destroyed; the zero Day, which is never, for the
// zero Day and beyond the calendar's end.
func (p Policy) Due(day calendar.Day) calendar.Day { return p.KeptThrough(day).AddDays(1) }

// AnnounceFrom returns the first day on which the destruction of day is announced.
func (p Policy) AnnounceFrom(day calendar.Day) calendar.Day {
	return p.Due(day).AddDays(-p.Notice - 1 - p.Lead)
}

// MustAnnounce reports whether the destruction of day has to be announced now: its time has come, and it was not
// announced, or at a time that is still to come, by a clock that was wrong. announced is the time of the announcement,
// zero for none.
func (p Policy) MustAnnounce(day calendar.Day, announced, now time.Time) bool {
	from := p.AnnounceFrom(day)
	if from.IsZero() || calendar.DayOf(now).Before(from) {
		return false
	}
	return announced.IsZero() || announced.After(now)
}

// noticed returns the first day on which a notice that began at that time is over.
func (p Policy) noticed(since time.Time) calendar.Day {
	return calendar.DayOf(since).AddDays(p.Notice + 1)
}

func (p Policy) longestGap() time.Duration { return days(p.LongestGap) }

func days(n int) time.Duration { return time.Duration(n) * 24 * time.Hour }

// DiesWithDay reports whether the events of a stream are sealed under keys of days, and so end with them.
func DiesWithDay(stream string) bool {
	return event.IsRecordStream(stream) || stream == event.StreamAudit
}

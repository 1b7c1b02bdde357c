// Package retention decides when a day's provision records (情報提供等記録) and audit events have been kept long enough,
// and whether it is proven that the time has passed. It promises that a wrong clock brings a destruction forward by no
// more than an hour for each time the core began again, and no more than a day and a thirtieth in all, as far as what is
// believed below holds; each time is an event in the registry that anyone can count. It promises to whoever destroys,
// lists or verifies the same answer from the same facts. It reads no clock and has no I/O: every question is asked with
// the time and with what the ledger holds, and so is as right as these are.
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
// The wall clock alone destroys nothing. That time has passed is proven by anchors, which the ledger holds in an order
// that no clock can change. Proven time is the sum of the steps between them (Clock). Between two anchors of the same
// epoch of the registry a step counts for what it is, for no more than seven days: one process wrote both, and writes no
// more anchors once its clock has departed from the monotonic one of its machine by a minute. Between two epochs, that is where a core was started
// again or another took over, it counts for an hour at most, and for no more than a
// day together as long as thirty times that has not passed within epochs since. From the last anchor to now the same holds. A day ends when
//
//   - the clock has reached its due day;
//   - proven time since the day is all of its years: from its end, or from the anchor that first holds all its facts
//     where nothing proves that it was later;
//   - the announcement lies under an anchor, the time of that anchor and the proven time since have reached the due day
//     too, and make thirty full days. Since then there are anchors on twenty different days, and the last is not after
//     now and not more than seven days ago;
//   - no legal hold covers the day. A hold lapses when the clock, and the time of the anchor that first holds it with the
//     proven time since, have both passed its last day.
//
// What that costs, and what it leaves open:
//
//   - An outage of more than an hour cannot be told from a clock that was set forward. Every day that was being kept is
//     kept longer by its length less the hour; a day that is recorded afterwards is not. Order 30 says how long records
//     must be kept at least, so this errs to the side of the law.
//   - Who has the core start again with a clock that is wrong gains an hour each time at most, a day for beginning
//     again and again, and the same once more after each month, and each time leaves an epoch-started event in the
//     registry.
//   - Within an epoch the clock of the process is believed as far as it stays within a minute of the monotonic clock. Who
//     makes that run fast, as the kernel or the host of a virtual machine can, makes time run fast.
//   - The last day of a hold is counted from the clock at which it was anchored: one that was ahead then ends it that
//     much early.
//
// # What a verification shows
//
// Checker proves certificates from the events alone, and judges every destruction again. It shows that holders of the
// signing keys wrote what would make the destruction right, in that order, and that nothing was taken out up to the heads
// that somebody wrote down outside. It does not show what the token did, whether the clocks were right, nor, without the
// officials' certificates, who they are: what it had nothing to compare with it lists (Certificates.NotChecked).
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

	LeastAnchorDays int // different days with an anchor since the announcement
	LongestGap      int // days that the last anchor may lie back
	Unproven        int // days of the years that need no proof; each can be gained by a wrong clock
}

// Statutory is the policy of the product. Other policies are for tests.
var Statutory = Policy{Years: 7, Notice: 30, Lead: 4, LeastAnchorDays: 20, LongestGap: 7}

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

// Over reports whether a day ended long enough ago that nobody records anything on it any more: a full day lies between.
func Over(day calendar.Day, now time.Time) bool { return day.AddDays(1).Before(calendar.DayOf(now)) }

func days(n int) time.Duration { return time.Duration(n) * 24 * time.Hour }

// DiesWithDay reports whether the events of a stream are sealed under keys of days, and so end with them.
func DiesWithDay(stream string) bool {
	return event.IsRecordStream(stream) || stream == event.StreamAudit
}

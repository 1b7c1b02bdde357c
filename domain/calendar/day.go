// Package calendar counts in Japanese calendar days, in which the law counts the keeping of provision records
// (情報提供等記録) and the dates of rules. It promises the retention, the scope rules and the key schedule one and
// the same day for the same instant, on every machine: Japan Standard Time is UTC+09:00 without daylight saving
// (since 1952), so no time zone database is read.
package calendar

import (
	"errors"
	"fmt"
	"time"
)

// ErrDay tells that a text is not a calendar day in the form YYYY-MM-DD.
var ErrDay = errors.New("not a calendar day of the form YYYY-MM-DD")

// JST is Japan Standard Time.
var JST = time.FixedZone("JST", 9*60*60)

const (
	secondsPerDay = 24 * 60 * 60
	layout        = time.DateOnly
	beforeFirst   = -719_163  // 0001-01-01, day 1, in days since 1970-01-01, less 1
	last          = 3_652_059 // 9999-12-31
)

// Day is one Japanese calendar day, from 0001-01-01 to 9999-12-31. Days compare with == and serve as map keys; the
// zero Day is no day: it is before every day, and its text is empty. In text, JSON and CBOR a Day is YYYY-MM-DD.
type Day struct{ number int32 }

// DayOf returns the day on which the instant falls in Japan; the zero Day outside the years 1 to 9999.
func DayOf(t time.Time) Day {
	_, offset := t.In(JST).Zone()
	return fromUnixDay(floorDiv(t.Unix()+int64(offset), secondsPerDay))
}

// Of returns the day of that date. A day or month beyond its end counts into the next, as in time.Date; the zero Day
// outside the years 1 to 9999.
func Of(year int, month time.Month, day int) Day {
	return fromUnixDay(floorDiv(time.Date(year, month, day, 0, 0, 0, 0, time.UTC).Unix(), secondsPerDay))
}

// Parse reads YYYY-MM-DD, and nothing else: no other form, no day that the calendar does not have (ErrDay).
func Parse(s string) (Day, error) {
	t, err := time.Parse(layout, s)
	if err != nil || len(s) != len(layout) || t.Year() < 1 {
		return Day{}, fmt.Errorf("reading the date %.20q: %w", s, ErrDay)
	}
	return Of(t.Date()), nil
}

func fromUnixDay(n int64) Day {
	n -= beforeFirst
	if n < 1 || n > last {
		return Day{}
	}
	return Day{int32(n)}
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// IsZero reports whether d is no day.
func (d Day) IsZero() bool { return d.number == 0 }

// Date returns the year, month and day of the month; all 0 for the zero Day.
func (d Day) Date() (year int, month time.Month, day int) {
	if d.IsZero() {
		return 0, 0, 0
	}
	return time.Unix((int64(d.number)+beforeFirst)*secondsPerDay, 0).UTC().Date()
}

// Start is the first instant of the day, midnight in Japan (15:00 UTC of the date before). The zero Day has the zero
// time.
func (d Day) Start() time.Time {
	if d.IsZero() {
		return time.Time{}
	}
	year, month, day := d.Date()
	return time.Date(year, month, day, 0, 0, 0, 0, JST)
}

// End is the first instant that no longer belongs to the day: the next day's midnight.
func (d Day) End() time.Time {
	if d.IsZero() {
		return time.Time{}
	}
	return d.Start().Add(secondsPerDay * time.Second)
}

// Before reports whether d comes before other.
func (d Day) Before(other Day) bool { return d.number < other.number }

// After reports whether d comes after other.
func (d Day) After(other Day) bool { return d.number > other.number }

// Compare is -1, 0 or 1, for sorting.
func (d Day) Compare(other Day) int {
	switch {
	case d.number < other.number:
		return -1
	case d.number > other.number:
		return 1
	}
	return 0
}

// DaysSince is the number of days from other to d, negative if d is earlier.
func (d Day) DaysSince(other Day) int { return int(d.number) - int(other.number) }

// AddDays returns the day n days later; the zero Day for the zero Day and beyond the calendar's ends.
func (d Day) AddDays(n int) Day {
	if d.IsZero() || n > last || n < -last {
		return Day{}
	}
	return fromUnixDay(int64(d.number) + beforeFirst + int64(n))
}

// String is YYYY-MM-DD, or empty for the zero Day.
func (d Day) String() string {
	text, _ := d.MarshalText()
	return string(text)
}

// MarshalText implements encoding.TextMarshaler.
func (d Day) MarshalText() ([]byte, error) {
	if d.IsZero() {
		return []byte{}, nil
	}
	year, month, day := d.Date()
	return []byte{
		digit(year / 1000), digit(year / 100), digit(year / 10), digit(year), '-',
		digit(int(month) / 10), digit(int(month)), '-', digit(day / 10), digit(day),
	}, nil
}

func digit(n int) byte { return '0' + byte(n%10) }

// UnmarshalText implements encoding.TextUnmarshaler: what Parse reads, or nothing for the zero Day.
func (d *Day) UnmarshalText(text []byte) (err error) {
	if len(text) == 0 {
		*d = Day{}
		return nil
	}
	*d, err = Parse(string(text))
	return err
}

const (
	cborEmptyText = 0x60
	cborTextOf10  = 0x60 + byte(len(layout))
)

// MarshalCBOR writes a text string (RFC 8949, major type 3) of MarshalText.
func (d Day) MarshalCBOR() ([]byte, error) {
	text, err := d.MarshalText()
	return append([]byte{cborEmptyText + byte(len(text))}, text...), err
}

// UnmarshalCBOR reads what MarshalCBOR writes, in that one encoding.
func (d *Day) UnmarshalCBOR(data []byte) error {
	if len(data) == 1 && data[0] == cborEmptyText || len(data) == 1+len(layout) && data[0] == cborTextOf10 {
		return d.UnmarshalText(data[1:])
	}
	return fmt.Errorf("reading a date of %d bytes of CBOR: %w", len(data), ErrDay)
}

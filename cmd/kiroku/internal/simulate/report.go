package simulate

import (
	"fmt"
	"strings"

	"kiroku/domain/calendar"
)

// Report says what was lived through and what it took.
type Report struct {
	From   calendar.Day `json:"from"`
	To     calendar.Day `json:"to"`
	Days   int          `json:"days"`
	Lived  int          `json:"lived"` // days so far on which a core lived
	PerDay int          `json:"per_day"`
	Seed   uint64       `json:"seed"`

	Inquiries int `json:"inquiries"`
	Answered  int `json:"answered"`
	Lapsed    int `json:"lapsed"`
	Refused   int `json:"refused"`
	Issued    int `json:"symbols_issued"`
	Disclosed int `json:"disclosures"`

	Ended       int    `json:"days_ended"` // each with one certificate
	EventsEnded uint64 `json:"events_ended"`
	Holds       int    `json:"holds"`
	HeldDays    int    `json:"held_days"` // that ended later than due
	Released    int    `json:"holds_released"`
	Deletions   int    `json:"physical_deletions"`

	Incremental Verified `json:"verified_incrementally"`
	Full        Verified `json:"verified_fully"`

	Years      []Year             `json:"years"`
	Took       map[string]float64 `json:"took_seconds"` // by part
	TokenCalls string             `json:"token_calls"`  // since the token was opened last
	Seconds    float64            `json:"seconds"`
}

// Verified is what verifications of one kind came to.
type Verified struct {
	Times   int     `json:"times"`
	Events  uint64  `json:"events"`
	Seconds float64 `json:"seconds"`
}

// Year is how all stood at the end of a calendar year, or of the simulation.
type Year struct {
	Year       int     `json:"year"`
	Ended      int     `json:"days_ended"` // so far
	Events     uint64  `json:"events"`     // in the store
	DayKeys    int     `json:"day_keys"`   // in the token
	Keys       int     `json:"keys"`       // in the token, of all kinds
	StoreBytes int64   `json:"store_bytes"`
	Seconds    float64 `json:"seconds"` // since the beginning
}

// Text is the report for a person.
func (r Report) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s to %s: %d days, %d of them lived, with %d inquiries each; seed %d\n", r.From, r.To, r.Days, r.Lived, r.PerDay, r.Seed)
	fmt.Fprintf(&b, "%d inquiries: %d answered, %d lapsed, %d refused; %d symbols issued, %d disclosures, %d physical deletions\n",
		r.Inquiries, r.Answered, r.Lapsed, r.Refused, r.Issued, r.Disclosed, r.Deletions)
	fmt.Fprintf(&b, "%d days ended with %d events, each with one certificate; %d holds (%d released) kept %d days longer\n", r.Ended, r.EventsEnded, r.Holds, r.Released, r.HeldDays)
	fmt.Fprintf(&b, "verified incrementally %d times (%d events, %.1f s), fully %d times (%d events, %.1f s)\n",
		r.Incremental.Times, r.Incremental.Events, r.Incremental.Seconds, r.Full.Times, r.Full.Events, r.Full.Seconds)
	for _, y := range r.Years {
		fmt.Fprintf(&b, "  end of %d: %4d days ended, %7d events and %6.1f MiB in the store, %4d keys of days in the token (%d keys in all), after %.0f s\n",
			y.Year, y.Ended, y.Events, float64(y.StoreBytes)/(1<<20), y.DayKeys, y.Keys, y.Seconds)
	}
	fmt.Fprintf(&b, "took %.0f s:", r.Seconds)
	for _, part := range []string{"opening", "working", "retention", "verifying", "anchoring", "year ends"} {
		fmt.Fprintf(&b, " %s %.0f s", part, r.Took[part])
	}
	fmt.Fprintf(&b, "\ntoken calls: %s", r.TokenCalls)
	return b.String()
}

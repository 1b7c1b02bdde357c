// Package retention ends days: seven years after a Japanese calendar day (Order 30), it destroys the HSM key of that day,
// by which everything recorded on it becomes unreadable everywhere and for ever, and certifies that.
//
// It promises to the persons concerned that a day which is due, of which that is proven and which no order holds, is not
// passed over in silence: what refuses is tried again, and alarmed until it succeeds. It promises to everybody else that
// it has no key destroyed without a notice that was anchored a month before, nor while the registry, as it stands when
// the token is told, has an order that holds the day; and that no certificate is written before the token has answered
// that it lacks the key, and every view of this process that it has dropped what came of the day.
//
// What it rests on, and cannot promise by itself: the clock. A wrong one brings a destruction forward by an hour at most
// for each time that a core began, as long as the monotonic clocks of the machines run right (package kiroku/domain/retention
// says in full what is believed). The token: that it destroys what it says. The copies: a key that is in another token, or
// in a backup of this one, is not destroyed by it, and the views of other processes drop the day when these follow the
// registry. And order among cores: a core looks at the registry's end in the last moment, and may still be stopped between
// that look and the token's answer; what another core records meanwhile comes too late for the key, and is told of.
//
// The steps of a day: notice, summary, the decision, destruction of the key, its event, reaction of the views, certificate,
// truncation of the streams. Each finds out from the ledger and the token whether it is done, so a pass that was
// interrupted anywhere is continued by the next one. Only the active core runs it; the others react to its events.
package retention

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/domain/ledger"
	"kiroku/domain/retention"
)

// Fact is where an event of a day's end stands in the registry.
type Fact struct {
	There    bool
	Revision uint64
	Leaf     ledger.Hash
}

// Day is how a day stands by the ledger.
type Day struct {
	Day       calendar.Day
	Streams   []event.DayStream // what the streams hold of it, sorted; of a destroyed day as the registry says
	Events    uint64            // of all streams
	Announced Fact
	Notified  time.Time // of the notice; zero: there is none
	Summary   Fact      // its first part
	Decided   Fact      // that its key is destroyed
	Destroyed Fact
	Certified Fact
	Loss      *Loss // of a day that ended because its key was missing; nil: it did not
}

// State is one moment of what the ledger says.
type State interface {
	// Days returns every day that a stream or the registry names, rising.
	Days() []Day
	Day(calendar.Day) (Day, bool)
	// Evidence returns what is known of a day for whoever judges it now.
	Evidence(day calendar.Day, now time.Time) retention.Evidence
	// Expendable returns the first revision of a stream that has to stay: all before it belongs to certified days, or to
	// no day. 0 if nothing may go. A day whose key was lost stays unless goes says that it may go too.
	Expendable(stream string, goes func(calendar.Day) bool) uint64
	// LossApproved returns the hash of a proposal to end a day whose key is missing, 32 octets, and true if two officials
	// approved it and it has not expired.
	LossApproved(day calendar.Day, now time.Time) (proposal []byte, approved bool)
	// Begins returns the first revision of a stream that has not been given up; 0 where nothing was.
	Begins(stream string) uint64
}

// Ledger shows the ledger.
type Ledger interface {
	// Complete returns a moment that has everything that was durable when the call began.
	Complete(ctx context.Context) (State, error)
	// Registry returns a moment that has everything of the registry below revision next.
	Registry(ctx context.Context, next uint64) (State, error)
	// Streams are those whose events die with a day.
	Streams() []string
	// Last returns the revision of a stream's last event, false if it has none.
	Last(ctx context.Context, stream string) (uint64, bool, error)
	// Leaf returns the leaf hash of a stored event, verified.
	Leaf(ctx context.Context, stream string, revision uint64) (ledger.Hash, error)
	// Open hands over the type and the plaintext of every event of a day that a stream holds from revision first to next, exclusive,
	// each verified. It MUST fail where one is missing or does not open. The plaintext is visit's during the call only.
	Open(ctx context.Context, day calendar.Day, stream string, first, next uint64, visit func(eventType string, plaintext []byte) error) error
}

// Facts appends to the registry; see commands.Core.ComposeFact.
type Facts interface {
	// Writes returns why this core appends nothing, because it stands by; nil if it does not.
	Writes() error
	ComposeFact(ctx context.Context, id uuid.UUID, eventType string,
		compose func(ctx context.Context, next uint64) ([]any, error)) (first uint64, recorded bool, err error)
}

// HSM holds the keys of the days.
type HSM interface {
	// DayKeys returns the days that have a key. It MUST fail unless the token proved itself in the same session.
	DayKeys(ctx context.Context) ([]calendar.Day, error)
	// Destroy ends a day's key. It MUST return nil only if the key was looked for in vain between two proofs of the
	// token. A key that is gone already is no error.
	Destroy(ctx context.Context, day calendar.Day) error
	// Token names the token of the days, which proved itself.
	Token(ctx context.Context) (event.Token, error)
}

// Views are the read models of this process, the statistics included where they are on.
type Views interface {
	// Cleared returns the names of what has dropped everything of the days whose end stands in the registry below next,
	// sorted, once all have, with the files that held it.
	Cleared(ctx context.Context, next uint64) ([]string, error)
}

// Store hides and removes what the registry gave up.
type Store interface {
	// TruncateBefore returns the first revision of a stream that is not hidden.
	TruncateBefore(ctx context.Context, stream string) (uint64, error)
	// SetTruncateBefore hides what is below a revision.
	SetTruncateBefore(ctx context.Context, stream string, revision uint64) error
	// Scavenge removes what is hidden.
	Scavenge(ctx context.Context) error
}

// Deps are what a Process is made of. All but Log and Pause are required.
type Deps struct {
	Policy retention.Policy
	Ledger Ledger
	Facts  Facts
	HSM    HSM
	Views  Views
	Store  Store
	Now    func() time.Time
	Log    *slog.Logger
	Pause  time.Duration // before what the token refused is tried again, doubled each time; default DefaultPause
}

// Defaults and bounds.
const (
	DefaultPause = time.Second
	attempts     = 3                // to destroy a key in one pass
	tokenWithin  = 30 * time.Second // for the token to destroy a key, or to be looked at while the registry waits
	noticeDays   = 10_000           // in one announcement

	// SummaryLeast is the least count of alike exchanges that a summary tells.
	SummaryLeast = 10
)

// Errors of a pass. The pass goes on with what they do not concern, and the next one tries again.
var (
	// ErrNotDestroyed: the token refused, or it is not clear whether it did it. There is no certificate.
	ErrNotDestroyed = errors.New("the key was not destroyed, or it is not known whether it was; there is no certificate and it is tried again: see to the token")
	// ErrKeyLost: a day's key is gone though nobody destroyed it here: its records are unreadable before their time.
	ErrKeyLost = errors.New("the token lacks the key of a day that has not ended: the token is an older copy or was tampered with; restore it, or, if the key is gone for good, see kiroku retention lost")
	// ErrLostEarly: two officials stated that a day's key is gone, which was to be kept, and nobody acknowledged that.
	ErrLostEarly = errors.New("the key of a day was lost before the day was due: what it sealed is unreadable; acknowledge it (kiroku retention lost acknowledge) when it has been reported and its cause removed")
	// ErrKeyReturned: a key that was destroyed, or lost, is in the token again.
	ErrKeyReturned = errors.New("the token held the key of a day that had ended: the token is another copy; look for more copies")
	// ErrKept: a key that was lost, and stays now that it is found: nothing destroys a key before its time.
	ErrKept = errors.New("the key, which had been lost, is not destroyed, because the day could not be now")
	// ErrNotDecided: no core that follows the rules wrote that the day has ended.
	ErrNotDecided = errors.New("the registry says that the end of a day is decided or done, and the day is not due: a core with a wrong clock, or somebody who has the signing key, wrote that; the token holds the key still, and it stays")
	// ErrSummary: what the day held cannot be counted, so its key stays.
	ErrSummary = errors.New("the day cannot be summarised, so its key was not destroyed")

	errNotReady = errors.New("not to be destroyed now")
	errChanged  = errors.New("the day changed while it was summarised")
)

// Process ends days. It is safe for concurrent use; one pass runs at a time.
type Process struct {
	d         Deps
	turn      chan struct{}
	failed    map[calendar.Day]bool // days whose end failed in the last pass; owned by the holder of turn
	scavenged map[string]uint64     // what the store removed, by stream, since this process began; owned by the holder of turn
	status    status
}

// New makes a process that has done nothing yet.
func New(d Deps) *Process {
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	if d.Pause <= 0 {
		d.Pause = DefaultPause
	}
	return &Process{d: d, turn: make(chan struct{}, 1), scavenged: map[string]uint64{}}
}

// stepNamespace makes the ids of the events of a day's end.
var stepNamespace = uuid.MustParse("0b9b3f0c-6f0e-5a55-9d5e-5c7c2f3d8a10")

// stepID is the same for the same step of the same subject for ever, so that a repetition is no second event.
func stepID(step, subject string) uuid.UUID {
	return uuid.NewSHA1(stepNamespace, []byte(step+" "+subject))
}

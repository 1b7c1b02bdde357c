package inquiry

import (
	"errors"
	"fmt"
	"time"
)

// State is how an inquiry stands. The zero State is that of an inquiry that
// was not decided yet.
type State uint8

// The states. An inquiry leaves Undecided once, to Notified or Refused, and
// Notified once, to one of the others; from there nothing leads on.
const (
	Undecided         State = iota
	Notified                // 提供の求めを情報提供者に通知済み
	Provided                // 提供済み
	NoSuchInformation       // 該当情報なし
	CannotProvide           // 提供不可
	Lapsed                  // 有効期間満了 (Ordinance 41(3))
	Refused                 // 媒介せず
)

var stateNames = [...]string{"undecided", "notified", "provided", "no-such-information", "cannot-provide", "lapsed", "refused"}

// String gives the stable name, such as "no-such-information".
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return fmt.Sprintf("state %d", uint8(s))
}

// ParseState reads what String gives.
func ParseState(name string) (State, error) {
	for i, n := range stateNames {
		if n == name {
			return State(i), nil
		}
	}
	return 0, fmt.Errorf("%w: unknown state of an inquiry", ErrInvalid)
}

// States gives every state.
func States() []State {
	out := make([]State, len(stateNames))
	for i := range out {
		out[i] = State(i)
	}
	return out
}

// Final reports whether nothing leads on from s.
func (s State) Final() bool { return s > Notified }

// Step is what happens to an inquiry.
type Step uint8

// The steps. Answers come from the provider, the others from the core.
const (
	Notify Step = iota + 1
	Refuse
	AnswerProvided
	AnswerNoSuchInformation
	AnswerCannotProvide
	Lapse
)

var stepNames = [...]string{"", "notify", "refuse", "answer provided", "answer no-such-information", "answer cannot-provide", "lapse"}

func (s Step) String() string {
	if s > 0 && int(s) < len(stepNames) {
		return stepNames[s]
	}
	return fmt.Sprintf("step %d", uint8(s))
}

// Steps gives every step.
func Steps() []Step {
	return []Step{Notify, Refuse, AnswerProvided, AnswerNoSuchInformation, AnswerCannotProvide, Lapse}
}

var transitions = map[State]map[Step]State{
	Undecided: {Notify: Notified, Refuse: Refused},
	Notified: {
		AnswerProvided:          Provided,
		AnswerNoSuchInformation: NoSuchInformation,
		AnswerCannotProvide:     CannotProvide,
		Lapse:                   Lapsed,
	},
}

// Why a step cannot be taken. A StepError is one of these for errors.Is.
var (
	ErrUndecided = errors.New("inquiry was not decided yet")
	ErrDecided   = errors.New("inquiry was decided already")
	ErrAnswered  = errors.New("inquiry was answered already")
	ErrLapsed    = errors.New("inquiry has lapsed; the inquirer has to ask again")
	ErrRefused   = errors.New("inquiry was refused")
	ErrNotLapsed = errors.New("inquiry is still within its validity")
	ErrEarly     = errors.New("step lies before the notification")
)

// StepError says that a step cannot be taken, and why.
type StepError struct {
	State State
	Step  Step
	Why   error // one of the sentinels above
}

func (e *StepError) Error() string {
	return fmt.Sprintf("%v: inquiry is %v: %v", e.Step, e.State, e.Why)
}

// Unwrap gives Why.
func (e *StepError) Unwrap() error { return e.Why }

// Next gives the state a step leads to, time left aside. The error is a *StepError.
func Next(s State, step Step) (State, error) {
	if to, ok := transitions[s][step]; ok {
		return to, nil
	}
	return s, &StepError{s, step, why(s, step)}
}

func why(s State, step Step) error {
	switch s {
	case Undecided:
		return ErrUndecided
	case Notified:
		return ErrDecided
	case Provided, NoSuchInformation, CannotProvide:
		return ErrAnswered
	case Lapsed:
		return ErrLapsed
	case Refused:
		return ErrRefused
	}
	return fmt.Errorf("%w: unknown state or step", ErrInvalid)
}

// Life is an inquiry's state with its times. It is a value: each step gives
// another Life and leaves the old one.
type Life struct {
	state    State
	notified time.Time
	expires  time.Time
}

// Begin gives the life of an inquiry that was decided at a time: notified
// until r's validity ends, or refused.
func Begin(r Request, d Decision, at time.Time) Life {
	at = at.UTC().Truncate(time.Microsecond)
	if !d.Permitted() {
		return Life{state: Refused}
	}
	return Life{Notified, at, r.Expiry(at)}
}

// Resume gives a life as it was stored.
func Resume(s State, notified, expires time.Time) (Life, error) {
	if int(s) >= len(stateNames) {
		return Life{}, fmt.Errorf("%w: unknown state of an inquiry", ErrInvalid)
	}
	if s == Notified && !notified.Before(expires) {
		return Life{}, fmt.Errorf("%w: a notification expires before it is made", ErrInvalid)
	}
	return Life{s, notified, expires}, nil
}

// State gives the state as it was recorded. An inquiry whose validity has
// ended stays Notified until Lapse is taken.
func (l Life) State() State { return l.state }

// Expires gives the first moment at which no answer is taken; zero where there
// was no notification.
func (l Life) Expires() time.Time { return l.expires }

// Due reports whether the inquiry is to be recorded as lapsed.
func (l Life) Due(now time.Time) bool { return l.state == Notified && !now.Before(l.expires) }

// Take gives the life after a step at a time by the core's clock. An answer at
// or after the expiry is ErrLapsed even if the lapse is not recorded yet; a
// lapse before it is ErrNotLapsed. The error is a *StepError.
func (l Life) Take(step Step, at time.Time) (Life, error) {
	next, err := Next(l.state, step)
	if err != nil {
		return l, err
	}
	refuse := func(why error) (Life, error) { return l, &StepError{l.state, step, why} }
	if l.state == Notified {
		switch {
		case step == Lapse && at.Before(l.expires):
			return refuse(ErrNotLapsed)
		case step != Lapse && at.Before(l.notified):
			return refuse(ErrEarly)
		case step != Lapse && !at.Before(l.expires):
			return refuse(ErrLapsed)
		}
	}
	l.state = next
	return l, nil
}

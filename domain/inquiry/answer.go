package inquiry

import (
	"fmt"
	"slices"
	"time"
)

// MaxSkew is how far a provider's clock may be before or behind the core's in
// the time of provision that it reports.
const MaxSkew = 5 * time.Minute

// AnswerFields are what a provider reports. The content that it gave goes from
// gateway to gateway and is no part of it.
type AnswerFields struct {
	Kind          State     // Provided, NoSuchInformation or CannotProvide
	ProvidedAt    time.Time // by the provider's clock; zero unless Kind is Provided
	Items         []string  // what was provided; none unless Kind is Provided
	NonDisclosure bool      // Act 23(2): the provision is to be withheld from the person
}

// Answer is a provider's report that was checked. It is immutable.
type Answer struct{ f AnswerFields }

// NewAnswer checks f alone. Every error wraps ErrInvalid.
func NewAnswer(f AnswerFields) (Answer, error) {
	if _, ok := answerSteps[f.Kind]; !ok {
		return Answer{}, fmt.Errorf("%w: an answer is provided, no-such-information or cannot-provide, not %v", ErrInvalid, f.Kind)
	}
	if f.Kind != Provided {
		if !f.ProvidedAt.IsZero() || len(f.Items) > 0 {
			return Answer{}, fmt.Errorf("%w: answer %v has neither a time of provision nor items", ErrInvalid, f.Kind)
		}
		f.Items = nil
		return Answer{f}, nil
	}
	if f.ProvidedAt.IsZero() {
		return Answer{}, fmt.Errorf("%w: answer provided has no time of provision", ErrInvalid)
	}
	items, err := NewItems(f.Items)
	if err != nil {
		return Answer{}, err
	}
	f.Items = items
	f.ProvidedAt = f.ProvidedAt.UTC().Truncate(time.Microsecond)
	return Answer{f}, nil
}

var answerSteps = map[State]Step{
	Provided:          AnswerProvided,
	NoSuchInformation: AnswerNoSuchInformation,
	CannotProvide:     AnswerCannotProvide,
}

// ParseAnswerKind reads the name of one of the three kinds of answer.
func ParseAnswerKind(name string) (State, error) {
	s, err := ParseState(name)
	if _, ok := answerSteps[s]; err != nil || !ok {
		return 0, fmt.Errorf("%w: an answer is provided, no-such-information or cannot-provide", ErrInvalid)
	}
	return s, nil
}

// Kind gives Provided, NoSuchInformation or CannotProvide.
func (a Answer) Kind() State { return a.f.Kind }

// Step gives the step the answer takes; 0 for the zero Answer.
func (a Answer) Step() Step { return answerSteps[a.f.Kind] }

// ProvidedAt gives the time of provision; zero unless provided.
func (a Answer) ProvidedAt() time.Time { return a.f.ProvidedAt }

// Items gives a copy of the items provided.
func (a Answer) Items() []string { return slices.Clone(a.f.Items) }

// NonDisclosure reports whether the provision is withheld from the person (Act 23(2)).
func (a Answer) NonDisclosure() bool { return a.f.NonDisclosure }

// Fields gives a copy of everything, for storing and for NewAnswer.
func (a Answer) Fields() AnswerFields {
	f := a.f
	f.Items = slices.Clone(f.Items)
	return f
}

// Answer takes a provider's answer to the items asked for, received at a time
// by the core's clock. Beside what Take refuses, it refuses with ErrInvalid:
// an item that was not asked for (an agency may not give what was not
// requested), and a time of provision before the notification or after the
// receipt by more than MaxSkew.
func (l Life) Answer(a Answer, asked []string, at time.Time) (Life, error) {
	next, err := l.Take(a.Step(), at)
	if err != nil {
		return l, err
	}
	if a.Kind() != Provided {
		return next, nil
	}
	for i, item := range a.f.Items {
		if !slices.Contains(asked, item) {
			return l, fmt.Errorf("%w: provided item %d was not asked for", ErrInvalid, i+1)
		}
	}
	if a.f.ProvidedAt.Before(l.notified.Add(-MaxSkew)) {
		return l, fmt.Errorf("%w: time of provision lies before the notification; check the provider's clock", ErrInvalid)
	}
	if a.f.ProvidedAt.After(at.Add(MaxSkew)) {
		return l, fmt.Errorf("%w: time of provision lies in the future; check the provider's clock", ErrInvalid)
	}
	return next, nil
}

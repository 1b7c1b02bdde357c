package inquiry

import (
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestEveryStateAndEveryStep(t *testing.T) {
	table := map[State][6]any{ // in the order of Steps: where it leads, or why not
		Undecided:         {Notified, Refused, ErrUndecided, ErrUndecided, ErrUndecided, ErrUndecided},
		Notified:          {ErrDecided, ErrDecided, Provided, NoSuchInformation, CannotProvide, Lapsed},
		Provided:          {ErrAnswered, ErrAnswered, ErrAnswered, ErrAnswered, ErrAnswered, ErrAnswered},
		NoSuchInformation: {ErrAnswered, ErrAnswered, ErrAnswered, ErrAnswered, ErrAnswered, ErrAnswered},
		CannotProvide:     {ErrAnswered, ErrAnswered, ErrAnswered, ErrAnswered, ErrAnswered, ErrAnswered},
		Lapsed:            {ErrLapsed, ErrLapsed, ErrLapsed, ErrLapsed, ErrLapsed, ErrLapsed},
		Refused:           {ErrRefused, ErrRefused, ErrRefused, ErrRefused, ErrRefused, ErrRefused},
	}
	if len(table) != len(States()) {
		t.Fatalf("%d states in the table, there are %d", len(table), len(States()))
	}
	for _, s := range States() {
		leaves := false
		for i, step := range Steps() {
			got, err := Next(s, step)
			switch want := table[s][i].(type) {
			case State:
				leaves = true
				if got != want || err != nil {
					t.Errorf("%v from %v leads to %v, %v; want %v", step, s, got, err, want)
				}
			case error:
				var typed *StepError
				if got != s || !errors.Is(err, want) || !errors.As(err, &typed) {
					t.Errorf("%v from %v: %v, %v; want %v", step, s, got, err, want)
				}
			}
		}
		if s.Final() == leaves {
			t.Errorf("%v: final %v, yet steps lead on: %v", s, s.Final(), leaves)
		}
		if got, err := ParseState(s.String()); got != s || err != nil {
			t.Errorf("%v reads back as %v, %v", s, got, err)
		}
	}
	for _, step := range []Step{0, 7, 255} {
		if s, err := Next(Notified, step); s != Notified || err == nil {
			t.Errorf("step %d: %v, %v", step, s, err)
		}
	}
	if s, err := Next(99, Notify); s != 99 || !errors.Is(err, ErrInvalid) {
		t.Errorf("state 99: %v, %v", s, err)
	}
}

var notified = time.Date(2026, time.April, 1, 0, 0, 0, 0, time.UTC)

func open(t testing.TB) Life {
	return Begin(request(t, func(f *Fields) { f.Validity = time.Hour }), Decide(request(t, nil), facts(t), present, today), notified)
}

func TestValidity(t *testing.T) {
	for _, c := range []struct {
		name  string
		step  Step
		after time.Duration
		want  State
		why   error
	}{
		{"at once", AnswerProvided, 0, Provided, nil},
		{"in the last microsecond", AnswerProvided, time.Hour - time.Microsecond, Provided, nil},
		{"at the expiry", AnswerProvided, time.Hour, Notified, ErrLapsed},
		{"after the expiry, the lapse not recorded yet", AnswerCannotProvide, 2 * time.Hour, Notified, ErrLapsed},
		{"before the notification", AnswerNoSuchInformation, -time.Microsecond, Notified, ErrEarly},
		{"lapse too early", Lapse, time.Hour - time.Microsecond, Notified, ErrNotLapsed},
		{"lapse at the expiry", Lapse, time.Hour, Lapsed, nil},
		{"lapse long after", Lapse, 1000 * time.Hour, Lapsed, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			at := notified.Add(c.after)
			l, err := open(t).Take(c.step, at)
			if l.State() != c.want || !errors.Is(err, c.why) || (err == nil) != (c.why == nil) {
				t.Errorf("%v, %v; want %v, %v", l.State(), err, c.want, c.why)
			}
			if open(t).Due(at) != (c.after >= time.Hour) || l.Due(at) != (l.State() == Notified && c.after >= time.Hour) {
				t.Error("due at the wrong time")
			}
		})
	}
}

func TestARefusedInquiryHasNoValidity(t *testing.T) {
	l := Begin(request(t, nil), Decide(request(t, nil), facts(t), PersonFacts{}, today), notified)
	if l.State() != Refused || !l.Expires().IsZero() || l.Due(notified.AddDate(9, 0, 0)) {
		t.Errorf("life %+v", l)
	}
}

// However steps and times come, at most one answer or lapse is ever taken, an
// answer only within the validity and a lapse only after it.
func TestNoLifeIsAnsweredTwiceOrLate(t *testing.T) {
	start := open(t)
	rapid.Check(t, func(t *rapid.T) {
		l, taken := start, 0
		for range rapid.IntRange(1, 10).Draw(t, "steps") {
			step := rapid.SampledFrom(Steps()).Draw(t, "step")
			at := notified.Add(time.Duration(rapid.IntRange(-30, 120).Draw(t, "minute")) * time.Minute)
			next, err := l.Take(step, at)
			if err != nil {
				if next != l {
					t.Fatalf("refused %v changed %+v to %+v", step, l, next)
				}
				continue
			}
			taken++
			if late := !at.Before(l.Expires()); late != (step == Lapse) || at.Before(notified) {
				t.Fatalf("%v taken at %v", step, at)
			}
			l = next
		}
		if taken > 1 || l.State().Final() != (taken == 1) {
			t.Fatalf("%d steps taken, %v", taken, l.State())
		}
	})
}

func TestResume(t *testing.T) {
	l := open(t)
	got, err := Resume(l.State(), notified, l.Expires())
	if err != nil || got != l {
		t.Errorf("%+v, %v; want %+v", got, err, l)
	}
	if _, err := Resume(99, notified, notified.Add(1)); !errors.Is(err, ErrInvalid) {
		t.Errorf("state 99: %v", err)
	}
	if _, err := Resume(Notified, notified, notified); !errors.Is(err, ErrInvalid) {
		t.Errorf("no validity: %v", err)
	}
}

func TestNewAnswer(t *testing.T) {
	for _, c := range []struct {
		name string
		in   AnswerFields
		ok   bool
	}{
		{"provided", AnswerFields{Kind: Provided, ProvidedAt: notified, Items: []string{"支給額"}}, true},
		{"no such information", AnswerFields{Kind: NoSuchInformation}, true},
		{"cannot provide, withheld", AnswerFields{Kind: CannotProvide, NonDisclosure: true}, true},
		{"provided nothing", AnswerFields{Kind: Provided, ProvidedAt: notified}, false},
		{"provided at no time", AnswerFields{Kind: Provided, Items: []string{"支給額"}}, false},
		{"cannot provide, with a time", AnswerFields{Kind: CannotProvide, ProvidedAt: notified}, false},
		{"no such information, with items", AnswerFields{Kind: NoSuchInformation, Items: []string{"支給額"}}, false},
		{"lapse is no answer", AnswerFields{Kind: Lapsed}, false},
		{"nothing", AnswerFields{}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, err := NewAnswer(c.in)
			if (err == nil) != c.ok || err != nil && !errors.Is(err, ErrInvalid) || c.ok && a.Kind() != c.in.Kind {
				t.Errorf("%+v, %v", a, err)
			}
			kind, err := ParseAnswerKind(c.in.Kind.String())
			if isAnswer := c.in.Kind >= Provided && c.in.Kind <= CannotProvide; (err == nil) != isAnswer || isAnswer && kind != c.in.Kind {
				t.Errorf("kind %v reads back as %v, %v", c.in.Kind, kind, err)
			}
		})
	}
}

func TestAnswer(t *testing.T) {
	asked := []string{"給付の種類", "支給額"}
	received := notified.Add(30 * time.Minute)
	for _, c := range []struct {
		name string
		in   AnswerFields
		at   time.Time
		want State
		why  error
	}{
		{"all items", AnswerFields{Kind: Provided, ProvidedAt: notified, Items: asked}, received, Provided, nil},
		{"some items", AnswerFields{Kind: Provided, ProvidedAt: notified, Items: asked[1:]}, received, Provided, nil},
		{"more than asked", AnswerFields{Kind: Provided, ProvidedAt: notified, Items: []string{"支給額", "病名"}}, received, Notified, ErrInvalid},
		{"clock a little ahead", AnswerFields{Kind: Provided, ProvidedAt: received.Add(MaxSkew), Items: asked}, received, Provided, nil},
		{"clock far ahead", AnswerFields{Kind: Provided, ProvidedAt: received.Add(MaxSkew + 1000), Items: asked}, received, Notified, ErrInvalid},
		{"clock a little behind", AnswerFields{Kind: Provided, ProvidedAt: notified.Add(-MaxSkew), Items: asked}, received, Provided, nil},
		{"clock far behind", AnswerFields{Kind: Provided, ProvidedAt: notified.Add(-MaxSkew - 1000), Items: asked}, received, Notified, ErrInvalid},
		{"late", AnswerFields{Kind: Provided, ProvidedAt: notified, Items: asked}, notified.Add(time.Hour), Notified, ErrLapsed},
		{"none", AnswerFields{Kind: NoSuchInformation}, received, NoSuchInformation, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, err := open(t).Answer(must[Answer](t)(NewAnswer(c.in)), asked, c.at)
			if l.State() != c.want || !errors.Is(err, c.why) || (err == nil) != (c.why == nil) {
				t.Errorf("%v, %v; want %v, %v", l.State(), err, c.want, c.why)
			}
		})
	}
	if l, err := open(t).Answer(Answer{}, asked, received); err == nil || l.State() != Notified {
		t.Errorf("the zero answer: %v, %v", l.State(), err)
	}
}

package node_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"kiroku/cmd/kiroku/internal/node"
	"kiroku/cmd/kiroku/internal/node/nodetest"
	"kiroku/commands"
	ends "kiroku/commands/retention"
	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/domain/inquiry"
	"kiroku/domain/retention"
	"kiroku/domain/symbol"
)

// brief is a policy under which a day ends after a year, with notice of three days, whatever the anchors of that year.
var brief = retention.Policy{Years: 1, Notice: 3, Lead: 1, LeastAnchorDays: 3, LongestGap: 7, Unproven: 400}

const day = 24 * time.Hour

// keeping is a world in which days end.
type keeping struct {
	*nodetest.World
	t      *testing.T
	core   *nodetest.Core
	person symbol.Agency
	change []func(*node.Config)
}

// newKeeping begins at noon in Japan with two agencies and a person, so that no test meets midnight.
func newKeeping(t *testing.T, p retention.Policy, change ...func(*node.Config)) *keeping {
	t.Helper()
	k := &keeping{World: nodetest.New(t), t: t}
	k.Turn(k.today().Start().Add(12 * time.Hour).Sub(k.Now()))
	k.change = append([]func(*node.Config){func(c *node.Config) {
		c.RetentionPolicy, c.LapseInterval = p, time.Hour
	}}, change...)
	k.open()
	k.core.Register("a", "b")
	k.person = k.core.Issue("a", 1)
	k.core.Issue("b", 1)
	return k
}

func (k *keeping) open() { k.core = k.Lead("a", k.change...) }

func (k *keeping) reopen() {
	k.core.Stop()
	k.open()
}

func (k *keeping) today() calendar.Day { return calendar.DayOf(k.Now()) }

// goTo turns the clock forward to noon of a day.
func (k *keeping) goTo(d calendar.Day) { k.Turn(time.Duration(d.DaysSince(k.today())) * day) }

// exchange has a person's information asked for and, if the answer is not Notified, answered.
func (k *keeping) exchange(answer inquiry.State) {
	k.t.Helper()
	r, err := k.core.Core.SubmitInquiry(k.t.Context(), k.core.Inquiry("a", "b", k.person))
	if err != nil || r.Refusal != 0 {
		k.t.Fatal(err, r.Refusal)
	}
	if answer == inquiry.Notified {
		return
	}
	f := inquiry.AnswerFields{Kind: answer}
	if answer == inquiry.Provided {
		f.ProvidedAt, f.Items = k.Now(), []string{"世帯"}
	}
	err = k.core.Core.ReportProvision(k.t.Context(), commands.ReportProvision{Meta: k.Meta("b"), ProcessingNumber: r.ProcessingNumber, Answer: f})
	if err != nil {
		k.t.Fatal(err)
	}
}

func (k *keeping) anchor() {
	k.t.Helper()
	if err := k.core.Anchor(k.t.Context()); err != nil {
		k.t.Fatal(err)
	}
}

// live passes days, each with an exchange and an anchor.
func (k *keeping) live(days int) {
	k.t.Helper()
	for range days {
		k.exchange(inquiry.Provided)
		k.anchor()
		k.Turn(day)
	}
}

// pass runs the retention and wants it to succeed.
func (k *keeping) pass() ends.Report {
	k.t.Helper()
	r, err := k.core.RetentionProcess.Run(k.t.Context(), nil)
	if err != nil {
		k.t.Fatalf("%v\n%s", err, k.Logs)
	}
	return r
}

// passCutShort runs the retention and gives up a second after it began to wait until days are cleared elsewhere.
func (k *keeping) passCutShort() (ends.Report, error) {
	ctx, cancel := context.WithCancel(k.t.Context())
	defer cancel()
	return k.core.RetentionProcess.Run(ctx, func(s ends.Step) {
		if s.What == "clear" {
			time.AfterFunc(time.Second, cancel)
		}
	})
}

// toDue goes through the notice of a day up to the day on which it is due, with an anchor each day and a pass on each but the last.
func (k *keeping) toDue(p retention.Policy, d calendar.Day) {
	k.t.Helper()
	for k.goTo(p.AnnounceFrom(d)); k.today().Before(p.Due(d)); k.Turn(day) {
		k.pass()
		k.anchor()
	}
}

// stands is how a day stands in the plan; its stage is "" if the plan does not name it.
func (k *keeping) stands(d calendar.Day) ends.Standing {
	k.t.Helper()
	plan, err := k.core.RetentionProcess.Plan(k.t.Context())
	if err != nil {
		k.t.Fatal(err)
	}
	for _, s := range plan.Days {
		if s.Day == d {
			return s
		}
	}
	return ends.Standing{}
}

// facts are the registry's events of a type, by the day that they name.
func facts[T any](k *keeping, eventType string, day func(T) string) map[string][]T {
	k.t.Helper()
	all := map[string][]T{}
	for e, err := range k.core.Events(k.t.Context(), event.StreamRegistry) {
		if err != nil {
			k.t.Fatal(err)
		}
		if e.Type != eventType {
			continue
		}
		p, err := event.Decode[T](e.Data)
		if err != nil {
			k.t.Fatal(err)
		}
		all[day(p)] = append(all[day(p)], p)
	}
	return all
}

func (k *keeping) destructions() map[string][]event.DayKeyDestroyed {
	return facts(k, event.TypeDayKeyDestroyed, func(p event.DayKeyDestroyed) string { return p.Day })
}

func (k *keeping) certificates() map[string][]event.DayCertified {
	return facts(k, event.TypeDayCertified, func(p event.DayCertified) string { return p.Day })
}

// hasKey asks the token.
func (k *keeping) hasKey(d calendar.Day) bool {
	k.t.Helper()
	keys, err := k.core.HSM.Keys(k.t.Context())
	if err != nil {
		k.t.Fatal(err)
	}
	for _, key := range keys {
		if key.Label == "record/"+d.String() {
			return true
		}
	}
	return false
}

func TestADayEndsWithAllThatBelongsToIt(t *testing.T) {
	k := newKeeping(t, brief)
	first := k.today()
	for range 12 {
		k.exchange(inquiry.Provided)
	}
	k.exchange(inquiry.NoSuchInformation)
	k.anchor()
	k.Turn(day)
	second := k.today()
	k.exchange(inquiry.Provided)
	k.anchor()
	k.toDue(brief, first)
	if s := k.stands(first); s.Stage != ends.Ready || !s.Key || s.Due != brief.Due(first) {
		t.Fatalf("%+v", s)
	}
	report := k.pass()
	if !slices.Equal(report.Destroyed, []calendar.Day{first}) || !slices.Equal(report.Certified, report.Destroyed) {
		t.Errorf("%+v", report)
	}
	if k.hasKey(first) || !k.hasKey(second) {
		t.Error("the wrong keys are in the token")
	}
	ended := k.destructions()[first.String()]
	if len(ended) != 1 || len(ended[0].Streams) != 3 || ended[0].Events < 26 || ended[0].Token.Serial == "" {
		t.Errorf("%+v", ended)
	}
	certified := k.certificates()[first.String()]
	if len(certified) != 1 || !slices.Contains(certified[0].Cleared, "keyring") {
		t.Errorf("%+v", certified)
	}
	summaries := facts(k, event.TypeDaySummarised, func(p event.DaySummarised) string { return p.Day })[first.String()]
	var sum uint64
	for _, s := range summaries {
		for _, r := range s.Rows {
			sum += r.Exchanges
			if r.Exchanges < s.Least {
				t.Errorf("a count below %d is told: %+v", s.Least, r)
			}
		}
	}
	if len(summaries) != 1 || sum != 13 {
		t.Errorf("13 exchanges are summarised as %+v", summaries)
	}
	k.core.Verify()
	if again := k.pass(); len(again.Destroyed)+len(again.Certified)+len(again.Announced) > 1 {
		t.Errorf("a second pass does something: %+v", again)
	}
}

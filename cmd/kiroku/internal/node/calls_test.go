package node_test

import (
	"testing"
	"time"

	"kiroku/adapters/hsm"
	"kiroku/cmd/kiroku/internal/node/nodetest"
	"kiroku/commands"
	"kiroku/domain/calendar"
	"kiroku/domain/inquiry"
)

func today() calendar.Day { return calendar.DayOf(time.Now()) }

// Network HSMs answer 1,000 to 10,000 calls a second: what a command costs is part of the design.
func TestCallsToTheHSMForEachCommand(t *testing.T) {
	w := nodetest.New(t)
	c := w.Lead("a")
	c.Register("a", "b")
	a, _ := c.Issue("a", 1), c.Issue("b", 1)
	warm := mustInquire(t, c, c.Inquiry("a", "b", a)) // opens the day, learns the agencies' tweaks
	report(t, c, warm)
	for range 30 { // both record streams have their day, whichever the inquiries fall into
		mustInquire(t, c, c.Inquiry("a", "b", a))
	}
	again := c.Inquiry("a", "b", a)
	for _, x := range []struct {
		name string
		do   func()
		want hsm.Calls
	}{
		{"issue to a new person", func() { c.Issue("a", 2) }, hsm.Calls{HMAC: 2, Encrypt: 1, Sign: 1}},
		{"issue to a person known at another agency", func() { c.Issue("b", 2) }, hsm.Calls{HMAC: 1, Encrypt: 1, Sign: 1}},
		{"already acquired", func() {
			if r, err := c.Core.IssueSymbol(t.Context(), c.IssueCommand("a", 2)); err != nil || !r.AlreadyAcquired {
				t.Fatalf("already acquired %v: %v", r.AlreadyAcquired, err)
			}
		}, hsm.Calls{HMAC: 1, Sign: 1}},
		{"inquire", func() { mustInquire(t, c, again) }, hsm.Calls{Decrypt: 1, Encrypt: 1, Sign: 1}},
		{"inquire again with the same command", func() { mustInquire(t, c, again) }, hsm.Calls{}},
		{"change a resident code", func() {
			if err := c.Core.ChangeResidentCode(t.Context(), commands.ChangeResidentCode{Meta: w.Meta("juki"), Old: nodetest.Code(t, 2), New: nodetest.Code(t, 3)}); err != nil {
				t.Fatal(err)
			}
		}, hsm.Calls{HMAC: 2, Sign: 1}},
	} {
		if err := c.CaughtUp(t.Context()); err != nil {
			t.Fatal(err)
		}
		before := c.HSM.Calls()
		x.do()
		if got := c.HSM.Calls().Sub(before); got != x.want {
			t.Errorf("%s: %+v, want %+v", x.name, got, x.want)
		}
	}
}

func mustInquire(t *testing.T, c *nodetest.Core, cmd commands.SubmitInquiry) inquiry.ProcessingNumber {
	t.Helper()
	r, err := c.Core.SubmitInquiry(t.Context(), cmd)
	if err != nil || r.Refusal != 0 {
		t.Fatalf("inquire: %q %v", r.Refusal.Code(), err)
	}
	return r.ProcessingNumber
}

func report(t *testing.T, c *nodetest.Core, n inquiry.ProcessingNumber) {
	t.Helper()
	err := c.Core.ReportProvision(t.Context(), commands.ReportProvision{Meta: c.W.Meta("b"), ProcessingNumber: n,
		Answer: inquiry.AnswerFields{Kind: inquiry.Provided, ProvidedAt: time.Now(), Items: []string{"世帯"}}})
	if err != nil {
		t.Fatal(err)
	}
}

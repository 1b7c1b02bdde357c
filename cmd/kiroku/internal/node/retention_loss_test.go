package node_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"kiroku/cmd/kiroku/internal/node"
	"kiroku/commands"
	ends "kiroku/commands/retention"
	"kiroku/domain/approval"
	"kiroku/domain/approval/approvaltest"
	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/domain/inquiry"
	"kiroku/domain/keyring"
	"kiroku/domain/retention"
)

// two are the officials of a world in which days end.
type two [2]approvaltest.Official

// officials makes them, and a configuration that knows their authority.
func officials(t *testing.T) (two, func(*node.Config)) {
	authority := approvaltest.NewAuthority(t)
	o := two{authority.Official(t, "Office Holder One"), authority.Official(t, "Office Holder Two")}
	return o, func(c *node.Config) { c.Officials = authority.Officials(t) }
}

// propose proposes to state that a day's key is lost.
func (k *keeping) propose(d calendar.Day) (approval.Hash, error) {
	p, err := k.core.Core.ProposeKeyLoss(k.t.Context(), commands.ProposeKeyLoss{Meta: k.Meta(""), Day: d, Asked: commands.Asked{Reason: "gone for good", Within: 24 * time.Hour}})
	return p.Hash, err
}

func (k *keeping) proposed(d calendar.Day) approval.Hash {
	k.t.Helper()
	h, err := k.propose(d)
	if err != nil {
		k.t.Fatal(err)
	}
	return h
}

func (k *keeping) approve(h approval.Hash, by ...approvaltest.Official) {
	k.t.Helper()
	for _, official := range by {
		cmd := commands.Approve{Meta: k.Meta(""), Proposal: h, Kind: event.ProposalKeyLoss, Given: official.Approve(k.t, h)}
		if _, err := k.core.Core.Approve(k.t.Context(), cmd); err != nil {
			k.t.Fatal(err)
		}
	}
}

// try runs a pass that may fail.
func (k *keeping) try() (ends.Report, error) {
	return k.core.RetentionProcess.Run(k.t.Context(), nil)
}

// certificate is what an auditor makes of the ledger about a day.
func (k *keeping) certificate(d calendar.Day) retention.Certificate {
	k.t.Helper()
	k.anchor()
	checker := retention.NewChecker(brief, k.core.Registry.Snapshot().SigningKeys())
	for _, e := range k.core.Verify() {
		checker.Add(e)
	}
	for _, c := range checker.Check().Days {
		if c.Day == d {
			return c
		}
	}
	return retention.Certificate{}
}

// TestTwoOfficialsEndADayWhoseKeyIsGone in a ledger restored from before its end: what one of them says changes nothing, and
// what both say ends the day, without a summary, and with a certificate that says how.
func TestTwoOfficialsEndADayWhoseKeyIsGone(t *testing.T) {
	o, know := officials(t)
	e := newEnded(t, know)
	store := emptyStore(t)
	if err := e.before.Restore(t.Context(), e.ids[0], store, nil); err != nil {
		t.Fatal(err)
	}
	e.core = e.on(store, "leads")
	e.core.WaitLead()
	h := e.proposed(e.day)
	e.approve(h, o[0])
	if err := e.unchanged(e.day); !errors.Is(err, ends.ErrKeyLost) {
		t.Errorf("with one approval the pass says %v", err)
	}
	e.approve(h, o[1])
	r := e.pass()
	if want := []calendar.Day{e.day}; !slices.Equal(r.Lost, want) || !slices.Equal(r.Certified, want) || len(r.Destroyed) > 0 || len(r.Truncated) == 0 {
		t.Errorf("%+v", r)
	}
	said := e.destructions()[e.day.String()]
	if len(said) != 1 || !said[0].Lost || said[0].Premature || said[0].Summary != 0 || !bytes.Equal(said[0].Proposal, h[:]) || said[0].Events == 0 || said[0].Token.Serial == "" {
		t.Errorf("the registry says %+v", said)
	}
	if c := e.certificates()[e.day.String()]; len(c) != 1 || !c[0].Lost || c[0].Found != said[0].At || !bytes.Equal(c[0].Proposal, h[:]) {
		t.Errorf("the certificate says %+v", c)
	}
	if n := len(facts(e.keeping, event.TypeDaySummarised, func(p event.DaySummarised) string { return p.Day })); n != 0 {
		t.Error("what cannot be read was summarised")
	}
	if c := e.certificate(e.day); !c.Lost || c.Premature || c.Proposal != h.String() || c.Stage != retention.StageCertified || len(c.Flaws) > 0 {
		t.Errorf("an auditor finds %+v", c)
	}
	if p, _ := e.core.Retention.Snapshot().Proposal(h); p.Done == 0 {
		t.Error("the proposal is not marked as carried out")
	}
	if again := e.pass(); len(again.Lost)+len(again.Certified) > 0 {
		t.Errorf("a second pass does something: %+v", again)
	}
	if n := e.shown(); n != 1 {
		t.Errorf("the person is shown %d entries, want that of the living day", n)
	}
	live := views(t, e.core)
	anew := e.on(store, "anew")
	for name, rows := range views(t, anew) {
		if rows != live[name] {
			t.Errorf("the rows of %s, made anew, differ:\n%s\nwant:\n%s", name, rows, live[name])
		}
	}
}

// TestAKeyLostBeforeItsTime is told of until somebody acknowledges it. What it sealed stays, and so does the key when it is
// found, until the day could be destroyed like any other: no clock and no approval brings that forward.
func TestAKeyLostBeforeItsTime(t *testing.T) {
	o, know := officials(t)
	k := newKeeping(t, brief, know)
	first := k.today()
	k.live(3)
	k.lose(keyring.DayLabel(first))
	k.approve(k.proposed(first), o[:]...)
	k.reopen()
	r, err := k.try()
	if !errors.Is(err, ends.ErrLostEarly) || errors.Is(err, ends.ErrKeyLost) || !slices.Equal(r.Lost, []calendar.Day{first}) || !slices.Equal(r.Certified, r.Lost) {
		t.Fatalf("%+v, %v", r, err)
	}
	if said := k.destructions()[first.String()]; len(said) != 1 || !said[0].Lost || !said[0].Premature {
		t.Errorf("the registry says %+v", said)
	}
	if c := k.certificate(first); !c.Premature || len(c.Flaws) > 0 {
		t.Errorf("an auditor finds %+v", c)
	}
	if s := k.stands(first); !s.Lost || !s.Early {
		t.Errorf("the plan does not tell of it: %+v", s)
	}
	k.reopen()
	if _, err := k.try(); !errors.Is(err, ends.ErrLostEarly) {
		t.Errorf("the alarm ended by itself: %v", err)
	}
	acknowledge := commands.AcknowledgeLoss{Meta: k.Meta(""), Day: first, Reason: "reported"}
	for range 2 { // and the same command again
		if err := k.core.Core.AcknowledgeLoss(t.Context(), acknowledge); err != nil {
			t.Fatal(err)
		}
	}
	acknowledge.Meta = k.Meta("")
	if err := k.core.Core.AcknowledgeLoss(t.Context(), acknowledge); !errors.Is(err, commands.ErrNotLost) {
		t.Errorf("acknowledged twice: %v", err)
	}
	k.pass()
	k.foundAgain(first)
}

// foundAgain has the token hold the key of a day that was lost early, and goes to the day's due date.
func (k *keeping) foundAgain(first calendar.Day) {
	t := k.t
	t.Helper()
	if err := k.core.HSM.EnsureDayKey(t.Context(), keyring.DayLabel(first)); err != nil {
		t.Fatal(err)
	}
	k.stays(first)
	for k.goTo(brief.AnnounceFrom(first)); k.today().Before(brief.Due(first)); k.Turn(day) {
		k.stays(first)
		k.anchor()
	}
	if r, err := k.try(); !slices.Equal(r.Returned, []calendar.Day{first}) || len(r.Truncated) == 0 || k.hasKey(first) {
		t.Errorf("due: %+v, %v", r, err)
	}
	k.core.Verify()
}

// stays runs a pass that must alarm for a key that was found, and leave it where it is.
func (k *keeping) stays(first calendar.Day) {
	k.t.Helper()
	r, err := k.try()
	if !errors.Is(err, ends.ErrKeyReturned) || !errors.Is(err, ends.ErrKept) || len(r.Returned) > 0 || len(r.Truncated) > 0 || !k.hasKey(first) {
		k.t.Errorf("%+v, %v", r, err)
	}
}

// TestAClockSetForwardEndsNoLoss: neither the key that is found nor what it sealed.
func TestAClockSetForwardEndsNoLoss(t *testing.T) {
	o, know := officials(t)
	k := newKeeping(t, brief, know)
	first := k.today()
	k.live(3)
	k.approve(k.proposedLost(first), o[:]...)
	if r, _ := k.try(); !slices.Equal(r.Lost, []calendar.Day{first}) {
		t.Fatalf("%+v", r)
	}
	if err := k.core.HSM.EnsureDayKey(t.Context(), keyring.DayLabel(first)); err != nil {
		t.Fatal(err)
	}
	k.Turn(8 * 365 * day)
	k.stays(first)
	k.anchor()
	k.Turn(day)
	k.stays(first)
}

// tokenOf is a token that shows a key again after it was missed, and counts what it is asked to destroy.
type tokenOf struct {
	ends.HSM
	looks, from int
	shows       calendar.Day
	away        atomic.Bool
	destroys    int
}

func (h *tokenOf) DayKeys(ctx context.Context) ([]calendar.Day, error) {
	if h.away.Load() {
		return nil, errFault
	}
	keys, err := h.HSM.DayKeys(ctx)
	if h.looks++; h.from > 0 && h.looks >= h.from {
		keys = append(keys, h.shows)
	}
	return keys, err
}

func (h *tokenOf) Destroy(ctx context.Context, d calendar.Day) error {
	h.destroys++
	return h.HSM.Destroy(ctx, d)
}

// TestALossIsRecordedOnlyOfAKeyThatIsGone: by the token's own word in the moment of recording, within the time of the
// approval, and while no order holds the day. It destroys nothing.
func TestALossIsRecordedOnlyOfAKeyThatIsGone(t *testing.T) {
	o, know := officials(t)
	token := &tokenOf{}
	k := newKeeping(t, brief, know, func(c *node.Config) {
		c.RetentionPorts = func(d *ends.Deps) { token.HSM, d.HSM = d.HSM, token }
	})
	first := k.today()
	k.live(3)
	k.lose(keyring.DayLabel(first))
	k.approve(k.proposed(first), o[:]...)
	nothing := func(when string, want error) {
		t.Helper()
		if err := k.unchanged(first); !errors.Is(err, want) {
			t.Errorf("%s the pass says %v, want %v", when, err, want)
		}
	}
	token.shows, token.from, token.looks = first, 2, 0
	nothing("when the key is found again meanwhile", ends.ErrKeyLost)
	token.from = 0
	token.away.Store(true)
	nothing("without the token", errFault)
	token.away.Store(false)
	k.hold(first, k.today().AddDays(1))
	nothing("while an order holds the day", ends.ErrKeyLost)
	if _, err := k.propose(first); !errors.Is(err, commands.ErrHeld) {
		t.Errorf("proposed for a day that is held: %v", err)
	}
	for range 4 { // until the hold has ended, and the proposal expired
		k.anchor()
		k.Turn(day)
	}
	nothing("with an approval from long ago", ends.ErrKeyLost)
	if token.destroys > 0 {
		t.Errorf("%d keys were to be destroyed", token.destroys)
	}
	k.approve(k.proposed(first), o[:]...)
	if r, _ := k.try(); !slices.Equal(r.Lost, []calendar.Day{first}) || token.destroys > 0 {
		t.Errorf("%+v, %d keys were to be destroyed", r, token.destroys)
	}
}

func TestLossesThatAreRefused(t *testing.T) {
	o, know := officials(t)
	k := newKeeping(t, brief, know)
	first := k.today()
	k.live(3)
	k.exchange(inquiry.Provided)
	k.lose(keyring.DayLabel(first))
	k.lose(keyring.DayLabel(k.today().AddDays(-1)))
	propose := func(d calendar.Day) error { _, err := k.propose(d); return err }
	wrongRole := commands.ProposeKeyLoss{Meta: k.MetaAs(commands.RoleGateway, "a"), Day: first, Asked: commands.Asked{Reason: "x", Within: time.Hour}}
	_, role := k.core.Core.ProposeKeyLoss(t.Context(), wrongRole)
	for what, r := range map[string]struct{ got, want error }{
		"a key that is there":        {propose(first.AddDays(1)), commands.ErrKeyThere},
		"yesterday's":                {propose(k.today().AddDays(-1)), commands.ErrNotOver},
		"a day without records":      {propose(first.AddDays(-100)), commands.ErrNotFound},
		"no day":                     {propose(calendar.Day{}), commands.ErrInvalid},
		"another role":               {role, commands.ErrNotAllowed},
		"acknowledged before a loss": {k.core.Core.AcknowledgeLoss(t.Context(), commands.AcknowledgeLoss{Meta: k.Meta(""), Day: first, Reason: "x"}), commands.ErrNotLost},
	} {
		if !errors.Is(r.got, r.want) {
			t.Errorf("%s: %v, want %v", what, r.got, r.want)
		}
	}
	k.approve(k.proposed(first), o[:]...)
	_, _ = k.try()
	if _, err := k.propose(first); !errors.Is(err, commands.ErrDestroyed) {
		t.Errorf("a day that has ended: %v", err)
	}
}

// TestAForgedLossIsFound: a core gone wrong that calls a key lost without officials, or hides that it was early, is found
// out by the certificate.
func TestAForgedLossIsFound(t *testing.T) {
	o, know := officials(t)
	k := newKeeping(t, brief, know)
	days := []calendar.Day{k.today(), k.today().AddDays(1)}
	k.live(4)
	h := k.proposedLost(days[0])
	k.approve(h, o[0])
	for i, d := range days {
		f := event.DayKeyDestroyed{Day: d.String(), Label: keyring.DayLabel(d), Due: brief.Due(d).String(), Lost: true, Premature: i == 0,
			Proposal: h[:], Token: event.Token{Label: "x"}, At: k.Now().UnixMicro()}
		if _, err := k.core.Core.RecordFact(t.Context(), k.ID(), event.TypeDayKeyDestroyed, []any{f}, nil); err != nil {
			t.Fatal(err)
		}
		if c := k.certificate(d); !slices.ContainsFunc(c.Flaws, func(f string) bool {
			return f == "no proposal that two officials approved before says that its key was lost"
		}) {
			t.Errorf("%s: an auditor finds %+v", d, c)
		}
	}
	if c := k.certificate(days[1]); len(c.Flaws) < 2 {
		t.Errorf("an early loss that is not called so: %+v", c)
	}
}

// proposedLost has the token lose a key, and proposes to say so.
func (k *keeping) proposedLost(d calendar.Day) approval.Hash {
	k.t.Helper()
	k.lose(keyring.DayLabel(d))
	return k.proposed(d)
}

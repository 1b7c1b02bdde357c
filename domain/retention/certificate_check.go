package retention

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"kiroku/domain/calendar"
	"kiroku/domain/event"
)

// clockSkew is how far what a fact says of its time may lie from the time at which it was recorded.
const clockSkew = 10 * time.Minute

// Check proves everything that was added. Nothing may be added afterwards.
func (c *Checker) Check() Certificates {
	c.checkChain()
	c.checkHeads()
	c.checkApprovals()
	c.checkOfficials()
	c.checkRotations()
	c.checkHolds()
	days := map[calendar.Day]bool{}
	for _, of := range []([]calendar.Day){slices.Collect(maps.Keys(c.destroyed)), slices.Collect(maps.Keys(c.certified)),
		slices.Collect(maps.Keys(c.unreadable)), c.missing()} {
		for _, day := range of {
			days[day] = true
		}
	}
	c.out.Days = []Certificate{}
	for _, day := range slices.SortedFunc(maps.Keys(days), calendar.Day.Compare) {
		d := &checkedDay{c: c, out: Certificate{Day: day, Flaws: slices.Clone(c.unreadable[day])}}
		d.check()
		if d.out.Stage != "" || len(d.out.Flaws) > 0 {
			c.out.Days = append(c.out.Days, d.out)
		}
	}
	c.sumUp()
	return c.out
}

// sumUp counts what was proven, and says what was not.
func (c *Checker) sumUp() {
	commitments, compared := 0, 0
	for _, d := range c.out.Days {
		if !d.Certified.IsZero() {
			c.out.Certified++
			if d.Placed {
				c.out.Positions++
			}
			if d.Anchored.IsZero() {
				c.out.NotChecked = append(c.out.NotChecked, fmt.Sprintf("%s: whether an anchor holds its certificate: none is there after it", d.Day))
			}
		}
		commitments, compared = commitments+d.Commitments, compared+d.Compared
	}
	if compared < commitments {
		c.out.NotChecked = append(c.out.NotChecked, fmt.Sprintf("%d of %d commitments to keys: the events that they come from are not there", commitments-compared, commitments))
	}
	if c.out.Given == 0 {
		c.out.NotChecked = append(c.out.NotChecked, fmt.Sprintf("what followed the registry's event %d, and whether the ledger is the one that others know: no head from outside was given", int64(c.next)-1))
	}
	if len(c.out.Days) > 0 {
		c.out.NotChecked = append(c.out.NotChecked, "that the tokens destroyed the keys, and that the clocks of the cores were right: those are the cores' own words")
	}
}

func inOrder[T any](facts []fact[T]) []fact[T] {
	return slices.SortedFunc(slices.Values(facts), func(a, b fact[T]) int { return cmp.Compare(a.revision(), b.revision()) })
}

// checkedDay is one day under proof.
type checkedDay struct {
	c   *Checker
	out Certificate
}

func (d *checkedDay) flaw(format string, args ...any) {
	d.out.Flaws = append(d.out.Flaws, fmt.Sprintf(format, args...))
}

func (d *checkedDay) check() {
	ends, certificates := d.c.destroyed[d.out.Day], d.c.certified[d.out.Day]
	if len(ends) > 1 || len(certificates) > 1 {
		d.flaw("its key was destroyed %d times, and it has %d certificates", len(ends), len(certificates))
	}
	if len(ends) == 0 {
		if len(certificates) > 0 || len(d.out.Flaws) == 0 {
			d.flaw("there is no proof that its key was destroyed, though it was announced and days after it have ended")
		}
		return
	}
	end := ends[0]
	d.out.Stage, d.out.Events, d.out.Token = StageDestroyed, end.says.Events, end.says.Token
	d.out.Destroyed, d.out.Revision = time.UnixMicro(end.says.At).UTC(), end.revision()
	d.checkEnd(end)
	if end.says.Lost {
		d.checkLoss(end)
		d.checkJudgement("it was ended by a loss of its key", end.proven, end)
	} else {
		d.checkDecision(end)
	}
	d.checkStreams(end)
	if len(certificates) == 0 {
		d.flaw("its key was destroyed, and there is no certificate")
		return
	}
	d.checkCertificate(end, certificates[0])
	d.checkFinal(end, certificates[0])
	d.checkPlace(certificates[0].proven)
}

// checkEnd compares the destruction with the law and with the time at which it was recorded.
func (d *checkedDay) checkEnd(end fact[event.DayKeyDestroyed]) {
	due := d.c.policy.Due(d.out.Day)
	if end.says.Label != "record/"+d.out.Day.String() {
		d.flaw("the key destroyed was %q", end.says.Label)
	}
	if end.says.Due != due.String() {
		d.flaw("it says that the day was due on %s, and that is %s", end.says.Due, due)
	}
	d.checkTime("day-key-destroyed", end.proven, end.says.At)
	if t := end.says.Token; t.Label == "" {
		d.flaw("no token is named that destroyed its key")
	}
}

func (d *checkedDay) checkTime(what string, p proven, at int64) {
	if off := p.at.Sub(time.UnixMicro(at)); off.Abs() > clockSkew {
		d.flaw("%s says that it was at %s, and was recorded at %s", what, time.UnixMicro(at).UTC().Format(time.RFC3339), p.at.UTC().Format(time.RFC3339))
	}
}

// checkDecision looks for the decision on which the key was destroyed, and judges the day again as of then.
func (d *checkedDay) checkDecision(end fact[event.DayKeyDestroyed]) {
	decisions := d.c.decided[d.out.Day]
	if len(decisions) == 0 || decisions[0].revision() >= end.revision() {
		d.flaw("its key was destroyed, and nothing says that it was decided before")
		return
	}
	if len(decisions) > 1 {
		d.flaw("the destruction of its key was decided %d times", len(decisions))
	}
	decision := decisions[0]
	if says := decision.says; says.Due != end.says.Due || says.Announced != end.says.Announced || says.Summary != end.says.Summary {
		d.flaw("its destruction rests on other facts than the decision on it, %s", decision.proven)
	}
	if due := d.c.policy.Due(d.out.Day); calendar.DayOf(decision.at).Before(due) {
		d.flaw("that its key is destroyed was decided on %s, before it was due on %s", calendar.DayOf(decision.at), due)
	}
	if end.at.Before(decision.at) {
		d.flaw("its key was destroyed on %s, before that was decided on %s", calendar.DayOf(end.at), calendar.DayOf(decision.at))
	}
	d.checkTime("destruction-decided", decision.proven, decision.says.At)
	d.checkNotice(decision)
	d.checkSummary(decision)
	d.checkJudgement("that its key is destroyed was decided", decision.proven, end)
}

// checkNotice looks for the announcement, and for the anchor after it from which the notice runs.
func (d *checkedDay) checkNotice(decision fact[event.DestructionDecided]) {
	a, ok := d.c.announced[decision.says.Announced]
	switch {
	case !ok:
		d.flaw("its announcement, registry@%d, is not there", decision.says.Announced)
		return
	case !slices.Contains(a.says.Days, d.out.Day.String()):
		d.flaw("the announcement that it names, registry@%d, is of other days", decision.says.Announced)
		return
	case a.revision() >= decision.revision():
		d.flaw("it was announced after it was decided that its key is destroyed")
		return
	}
	i := d.c.clock.holding(a.revision())
	if i >= d.c.clock.before(decision.revision()) {
		d.flaw("no anchor is there between its announcement and the decision that its key is destroyed")
		return
	}
	if over := d.c.policy.noticed(d.c.clock.ticks[i].moment().At); calendar.DayOf(decision.at).Before(over) {
		d.flaw("that its key is destroyed was decided on %s, before the notice was over on %s", calendar.DayOf(decision.at), over)
	}
}

// checkSummary looks for every part of the summary, before the decision.
func (d *checkedDay) checkSummary(decision fact[event.DestructionDecided]) {
	first, ok := d.c.summaries[decision.says.Summary]
	if !ok {
		d.flaw("its summary, registry@%d, is not there", decision.says.Summary)
		return
	}
	parts := first.says.Parts
	for i := range max(parts, 1) {
		at := decision.says.Summary + uint64(i)
		part, ok := d.c.summaries[at]
		if !ok || part.says.Day != d.out.Day.String() || part.says.Part != i || part.says.Parts != parts {
			d.flaw("registry@%d is not part %d of %d of its summary", at, i+1, parts)
			return
		}
		if at >= decision.revision() {
			d.flaw("it was summarised after it was decided that its key is destroyed")
			return
		}
	}
}

// checkStreams compares what the certificate says that the streams held with the events that opened the day in them.
func (d *checkedDay) checkStreams(end fact[event.DayKeyDestroyed]) {
	named := map[string]bool{}
	var events uint64
	before := ""
	for _, s := range end.says.Streams {
		if s.Stream <= before || s.First >= s.Next || !DiesWithDay(s.Stream) {
			d.flaw("what it says of stream %q is not in order", s.Stream)
		}
		before = s.Stream
		events += s.Next - s.First
		for _, k := range s.Keys {
			d.out.Commitments++
			named[fmt.Sprintf("%s@%d", s.Stream, k.Revision)] = true
			if k.Revision < s.First || k.Revision >= s.Next {
				d.flaw("the key of %s@%d lies outside what the day had in that stream", s.Stream, k.Revision)
			}
			d.compareCommitment(s.Stream, k)
		}
	}
	if events != end.says.Events {
		d.flaw("it says that it had %d events, and its streams had %d", end.says.Events, events)
	}
	for _, o := range d.c.opened[d.out.Day] {
		if at := fmt.Sprintf("%s@%d", o.stream, o.revision()); !named[at] {
			d.flaw("its certificate leaves out the key of %s", at)
		}
	}
}

func (d *checkedDay) compareCommitment(stream string, k event.DataKey) {
	for _, o := range d.c.opened[d.out.Day] {
		if o.stream != stream || o.revision() != k.Revision {
			continue
		}
		d.out.Compared++
		if !bytes.Equal(o.says.Commitment[:], k.Commitment) {
			d.flaw("the commitment to the key of %s@%d is not that of the event which opened the day there", stream, k.Revision)
		}
		return
	}
}

// checkCertificate compares the certificate with the destruction that it certifies.
func (d *checkedDay) checkCertificate(end fact[event.DayKeyDestroyed], certificate fact[event.DayCertified]) {
	d.out.Stage, d.out.Certified, d.out.Revision = StageCertified, time.UnixMicro(certificate.says.At).UTC(), certificate.revision()
	switch {
	case certificate.says.Destroyed != end.revision():
		d.flaw("its certificate names registry@%d, and its key was destroyed at registry@%d", certificate.says.Destroyed, end.revision())
	case !bytes.Equal(certificate.says.Leaf, end.leaf[:]):
		d.flaw("its certificate names another event than the one at registry@%d", end.revision())
	}
	if certificate.revision() <= end.revision() || certificate.at.Before(end.at) {
		d.flaw("it was certified before its key was destroyed")
	}
	d.sameLoss(end, certificate.says)
	d.checkTime("day-certified", certificate.proven, certificate.says.At)
	if !slices.Contains(certificate.says.Cleared, "keyring") || !slices.IsSorted(certificate.says.Cleared) {
		d.flaw("its certificate does not say that the core dropped its keys")
	}
}

// checkFinal looks for the second stage, and proves the attestations it rests on.
func (d *checkedDay) checkFinal(end fact[event.DayKeyDestroyed], certificate fact[event.DayCertified]) {
	day := d.out.Day.String()
	for _, u := range d.c.final {
		if day < u.says.From || u.says.To < day {
			continue
		}
		d.out.Stage = StageUnrecoverable
		if u.revision() < certificate.revision() {
			d.flaw("it was called unrecoverable before it was certified")
		}
		for _, name := range d.c.copiesUntil(u.revision()).Of(end.revision()) {
			if !slices.Contains(u.says.Copies, name) {
				d.flaw("it was called unrecoverable without copy %q, which was declared", name)
			}
		}
		if len(u.says.Copies) == 0 {
			d.flaw("it was called unrecoverable, and no copy of its key was declared")
		}
		for _, name := range u.says.Copies {
			if !slices.ContainsFunc(u.says.Proposals, func(hash []byte) bool { return d.attests(hash, name, u.revision()) }) {
				d.flaw("no attestation that two officials approved says that copy %q holds its key no more", name)
			}
		}
	}
}

// copiesUntil are the lists that were in force before a revision.
func (c *Checker) copiesUntil(revision uint64) Copies {
	after := slices.IndexFunc(c.copies, func(t CopiesTerm) bool { return t.Revision >= revision })
	if after < 0 {
		return c.copies
	}
	return c.copies[:after]
}

func (d *checkedDay) attests(hash []byte, copied string, before uint64) bool {
	return d.c.copiesUntil(before).Attested(d.c.standing(hash, before), copied, d.out.Day)
}

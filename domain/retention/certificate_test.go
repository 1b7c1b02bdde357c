package retention_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/domain/ledger"
	"kiroku/domain/ledger/ledgertest"
	"kiroku/domain/retention"
)

func TestCertificatesAsTheyShouldBe(t *testing.T) {
	s := newTale(t, nil)
	for name, events := range map[string][]ledger.Event{"dump": s.all, "bundle": s.bundle()} {
		c := checked(events)
		if !c.OK() || len(c.Days) != daysInAll || c.Certified != daysInAll || c.Positions != daysInAll || c.Registry != s.heads[event.StreamRegistry].Count {
			t.Errorf("%s: %d days, %d certificates, %d in place, %v", name, len(c.Days), c.Certified, c.Positions, flaws(c))
		}
		for i, d := range c.Days {
			if d.Day != firstDay.AddDays(i) || d.Stage != retention.StageCertified || d.Commitments != 2 || d.Compared != 2 || d.Events != 2 || !d.Placed || d.Anchored.IsZero() || d.Token.Serial != "1" {
				t.Errorf("%s: %+v", name, d)
			}
		}
	}
	if c := checked(append(s.bundle(), s.all...)); !c.OK() || c.Positions != daysInAll {
		t.Errorf("a bundle with a dump behind it: %v", flaws(c))
	}
	if c := checked(nil); c.OK() {
		t.Error("nothing at all is proven by nothing")
	}
}

// Without the events that opened the days, which are removed when they end, the commitments are named and not compared.
func TestCertificatesOfDaysWhoseStreamsAreGone(t *testing.T) {
	s := newTale(t, nil)
	c := checked(slices.DeleteFunc(s.bundle(), func(e ledger.Event) bool { return e.Stream != event.StreamRegistry }))
	if !c.OK() || len(c.Days) != daysInAll || c.Days[0].Compared != 0 || c.Days[0].Commitments != 2 || !strings.Contains(strings.Join(c.NotChecked, "\n"), "6 of 6 commitments") {
		t.Errorf("%+v", c)
	}
}

// Every field of every event, changed by whoever has no key, is found, and the event is named.
func TestEveryFieldFlipped(t *testing.T) {
	s := newTale(t, nil)
	bundle := s.bundle()
	for i, e := range bundle {
		for name, flip := range map[string]func(*ledger.Event){
			"revision": func(e *ledger.Event) { e.Revision += 1000 },
			"id":       func(e *ledger.Event) { e.ID[3] ^= 1 },
			"type": func(e *ledger.Event) {
				if e.Type == event.TypeDayCertified {
					e.Type = event.TypeDayKeyDestroyed
				} else {
					e.Type = event.TypeDayCertified
				}
			},
			"first of the data":    func(e *ledger.Event) { e.Data[0] ^= 1 },
			"last of the data":     func(e *ledger.Event) { e.Data[len(e.Data)-1] ^= 1 },
			"middle of the data":   func(e *ledger.Event) { e.Data[len(e.Data)/2] ^= 1 },
			"first of the header":  func(e *ledger.Event) { e.Metadata[0] ^= 1 },
			"middle of the header": func(e *ledger.Event) { e.Metadata[len(e.Metadata)/3] ^= 1 },
			"the receipt":          func(e *ledger.Event) { e.Metadata[len(e.Metadata)*2/3] ^= 1 },
			"the signature":        func(e *ledger.Event) { e.Metadata[len(e.Metadata)-1] ^= 1 },
		} {
			if e.Stream != event.StreamRegistry && name == "type" {
				continue // what does not open a day counts in the registry only
			}
			changed := slices.Clone(bundle)
			changed[i].Data, changed[i].Metadata = bytes.Clone(e.Data), bytes.Clone(e.Metadata)
			flip(&changed[i])
			c := checked(changed)
			all := fmt.Sprint(flaws(c))
			if c.OK() || !strings.Contains(all, fmt.Sprintf("%q/%d", changed[i].Stream, changed[i].Revision)) {
				t.Errorf("%s@%d (%s), %s: %s", e.Stream, e.Revision, e.Type, name, all)
			}
		}
	}
}

// Octets all over the certificates' own events.
func TestOctetsOfACertificateFlipped(t *testing.T) {
	bundle := newTale(t, nil).bundle()
	for i, e := range bundle {
		if e.Type != event.TypeDayCertified && e.Type != event.TypeDayKeyDestroyed {
			continue
		}
		for _, field := range []func(*ledger.Event) *[]byte{func(e *ledger.Event) *[]byte { return &e.Data }, func(e *ledger.Event) *[]byte { return &e.Metadata }} {
			for at := 0; at < len(*field(&e)); at += 7 {
				changed := slices.Clone(bundle)
				octets := bytes.Clone(*field(&e))
				octets[at] ^= 0x10
				*field(&changed[i]) = octets
				if c := checked(changed); c.OK() {
					t.Fatalf("%s@%d (%s): octet %d", e.Stream, e.Revision, e.Type, at)
				}
			}
		}
		if e.Type == event.TypeDayCertified {
			return // one day is enough
		}
	}
}

// What is taken out, put elsewhere or signed by somebody else is found, and its day named.
func TestABundleThatWasTamperedWith(t *testing.T) {
	second := firstDay.AddDays(1)
	pick := func(events []ledger.Event, kind string, nth int) int {
		for i, e := range events {
			if e.Type == kind {
				if nth--; nth < 0 {
					return i
				}
			}
		}
		t.Fatal("there is no such event")
		return 0
	}
	for _, row := range []struct {
		name   string
		tamper func(events []ledger.Event) []ledger.Event
		day    calendar.Day
		says   string
	}{
		{"the certificate is taken out", func(e []ledger.Event) []ledger.Event {
			i := pick(e, event.TypeDayCertified, 1)
			return slices.Delete(e, i, i+1)
		}, second, "there is no certificate"},
		{"the destruction is taken out", func(e []ledger.Event) []ledger.Event {
			i := pick(e, event.TypeDayKeyDestroyed, 1)
			return slices.Delete(e, i, i+1)
		}, second, "no proof that its key was destroyed"},
		{"both are taken out", func(e []ledger.Event) []ledger.Event {
			i := pick(e, event.TypeDayCertified, 1)
			e = slices.Delete(e, i, i+1)
			i = pick(e, event.TypeDayKeyDestroyed, 1)
			return slices.Delete(e, i, i+1)
		}, second, "no proof that its key was destroyed"},
		{"a part of the summary is taken out", func(e []ledger.Event) []ledger.Event {
			i := pick(e, event.TypeDaySummarised, 3)
			return slices.Delete(e, i, i+1)
		}, second, "not part 2 of 2"},
		{"the announcement is taken out", func(e []ledger.Event) []ledger.Event {
			i := pick(e, event.TypeDestructionAnnounced, 0)
			return slices.Delete(e, i, i+1)
		}, second, "its announcement"},
		{"the anchor after the announcement is taken out", func(e []ledger.Event) []ledger.Event {
			i := pick(e, ledger.TypeAnchor, 0)
			return slices.Delete(e, i, i+1)
		}, calendar.Day{}, "missing"},
		{"a hold is taken out of the middle", func(e []ledger.Event) []ledger.Event {
			i := pick(e, "note-made", 0)
			return slices.Delete(e, i, i+1)
		}, calendar.Day{}, "registry@1: missing"},
		{"the beginning is taken out", func(e []ledger.Event) []ledger.Event {
			return slices.DeleteFunc(e, func(e ledger.Event) bool { return e.Stream == event.StreamRegistry && e.Revision < 2 })
		}, calendar.Day{}, "registry@2: start-not-trusted"},
		{"two events of the registry change their order", func(e []ledger.Event) []ledger.Event {
			i := pick(e, event.TypeDayCertified, 0)
			e[i], e[i+1] = e[i+1], e[i]
			return e
		}, calendar.Day{}, "out-of-order"},
		{"what stands between the certificate and the anchor is taken out", func(e []ledger.Event) []ledger.Event {
			i := pick(e, event.TypeDayCertified, 1) + 1
			return slices.Delete(e, i, i+1)
		}, second, "no chain"},
		{"the certificates of two days change places", func(e []ledger.Event) []ledger.Event {
			i, j := pick(e, event.TypeDayCertified, 1), pick(e, event.TypeDayCertified, 2)
			e[i].Data, e[j].Data = e[j].Data, e[i].Data
			return e
		}, second, "payload-mismatch"},
		{"the destructions of two days change places", func(e []ledger.Event) []ledger.Event {
			i, j := pick(e, event.TypeDayKeyDestroyed, 1), pick(e, event.TypeDayKeyDestroyed, 2)
			e[i].Revision, e[j].Revision = e[j].Revision, e[i].Revision
			return e
		}, second, "field-mismatch"},
		{"a certificate is signed by another key", func(e []ledger.Event) []ledger.Event {
			i := pick(e, event.TypeDayCertified, 1)
			forged := newTaleBy(t, otherKey).bundle()
			e[i] = forged[i]
			return e
		}, second, "unknown-key"},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := checked(row.tamper(newTale(t, nil).bundle()))
			if got := flaws(c)[row.day]; !strings.Contains(got, row.says) {
				t.Errorf("%v", flaws(c))
			}
		})
	}
}

// newTaleBy tells the same, signed by another key.
func newTaleBy(t *testing.T, key ledgertest.Key) *tale {
	old := rightKey
	defer func() { rightKey = old }()
	rightKey = key
	return newTale(t, nil)
}

// A core gone wrong signs with the right key what is not so; the certificates do not agree with each other, or the law.
func TestCertificatesThatAreSignedAndWrong(t *testing.T) {
	second := firstDay.AddDays(1)
	ends := func(change func(*event.DayKeyDestroyed)) func(*deed) {
		return func(d *deed) {
			if f, ok := d.says.(event.DayKeyDestroyed); ok && f.Day == second.String() {
				f.Streams = slices.Clone(f.Streams)
				change(&f)
				d.says = f
			}
		}
	}
	rests := func(change func(announced, summary *uint64)) func(*deed) {
		return func(d *deed) {
			switch f := d.says.(type) {
			case event.DestructionDecided:
				if f.Day == second.String() {
					change(&f.Announced, &f.Summary)
					d.says = f
				}
			case event.DayKeyDestroyed:
				if f.Day == second.String() {
					change(&f.Announced, &f.Summary)
					d.says = f
				}
			}
		}
	}
	decides := func(change func(*deed, *event.DestructionDecided)) func(*deed) {
		return func(d *deed) {
			if f, ok := d.says.(event.DestructionDecided); ok && f.Day == second.String() {
				change(d, &f)
				d.says = f
			}
		}
	}
	certifies := func(change func(*event.DayCertified)) func(*deed) {
		return func(d *deed) {
			if f, ok := d.says.(event.DayCertified); ok && f.Day == second.String() {
				change(&f)
				d.says = f
			}
		}
	}
	for _, row := range []struct {
		name   string
		change func(*deed)
		says   string
	}{
		{"label", ends(func(f *event.DayKeyDestroyed) { f.Label = "record/" + firstDay.String() }), "the key destroyed was"},
		{"due", ends(func(f *event.DayKeyDestroyed) { f.Due = firstDay.String() }), "was due on"},
		{"announced", rests(func(announced, _ *uint64) { *announced += 7 }), "its announcement"},
		{"summary of another day", rests(func(_, summary *uint64) { *summary -= 7 }), "of its summary"},
		{"no such summary", rests(func(_, summary *uint64) { *summary = 1 }), "its summary"},
		{"announced otherwise than decided", ends(func(f *event.DayKeyDestroyed) { f.Announced += 7 }), "rests on other facts"},
		{"summarised otherwise than decided", ends(func(f *event.DayKeyDestroyed) { f.Summary -= 7 }), "rests on other facts"},
		{"due otherwise than decided", decides(func(_ *deed, f *event.DestructionDecided) { f.Due = firstDay.String() }), "rests on other facts"},
		{"decision of another day", decides(func(_ *deed, f *event.DestructionDecided) { f.Day = firstDay.String() }), "nothing says that it was decided"},
		{"time of the decision", decides(func(_ *deed, f *event.DestructionDecided) { f.At -= 86_400_000_000 }), "was recorded at"},
		{"decided early", decides(func(d *deed, f *event.DestructionDecided) {
			d.at = retention.Statutory.KeptThrough(second).Start()
			f.At = d.at.UnixMicro()
		}), "before it was due"},
		{"events", ends(func(f *event.DayKeyDestroyed) { f.Events++ }), "events, and its streams had"},
		{"commitment", ends(func(f *event.DayKeyDestroyed) {
			f.Streams[1].Keys = []event.DataKey{{Revision: f.Streams[1].Keys[0].Revision, Commitment: make([]byte, 16)}}
		}), "the commitment to the key of record-0"},
		{"stream left out", ends(func(f *event.DayKeyDestroyed) { f.Streams, f.Events = f.Streams[:1], 1 }), "leaves out the key of record-0"},
		{"streams out of order", ends(func(f *event.DayKeyDestroyed) { slices.Reverse(f.Streams) }), "not in order"},
		{"key outside", ends(func(f *event.DayKeyDestroyed) { f.Streams[0].First, f.Streams[0].Next = 70, 71 }), "lies outside"},
		{"token", ends(func(f *event.DayKeyDestroyed) { f.Token = event.Token{} }), "no token"},
		{"time said", ends(func(f *event.DayKeyDestroyed) { f.At -= 86_400_000_000 }), "was recorded at"},
		{"recorded early", func(d *deed) {
			if f, ok := d.says.(event.DayKeyDestroyed); ok && f.Day == second.String() {
				d.at = retention.Statutory.KeptThrough(second).Start()
				f.At = d.at.UnixMicro()
				d.says = f
			}
		}, "before that was decided"},
		{"announcement of other days", func(d *deed) {
			if f, ok := d.says.(event.DestructionAnnounced); ok {
				f.Days = []string{firstDay.String()}
				d.says = f
			}
		}, "is of other days"},
		{"announced late", func(d *deed) {
			if d.kind == ledger.TypeAnchor && d.at.Before(retention.Statutory.Due(firstDay).Start().AddDate(0, 0, -20)) {
				a := must(ledger.DecodeAnchor(d.says.([]byte)))
				a.Time = a.Time.AddDate(0, 0, 10)
				d.at, d.says = a.Time, must(a.Encode())
			}
		}, "before the notice was over"},
		{"certificate of another end", certifies(func(f *event.DayCertified) { f.Destroyed -= 6 }), "its certificate names registry@"},
		{"leaf", certifies(func(f *event.DayCertified) { f.Leaf = make([]byte, 32) }), "names another event"},
		{"cleared", certifies(func(f *event.DayCertified) { f.Cleared = []string{"disclosure"} }), "dropped its keys"},
		{"certified at another time", certifies(func(f *event.DayCertified) { f.At += 86_400_000_000 }), "was recorded at"},
		{"certificate that says another day", certifies(func(f *event.DayCertified) { f.Day = firstDay.String() }), "there is no certificate"},
		{"final without attestation", func(d *deed) {
			if d.kind == "note-made" && d.at.After(retention.Statutory.Due(firstDay).Start()) {
				d.kind, d.says = event.TypeDayUnrecoverable, event.DayUnrecoverable{From: second.String(), To: second.String(), Copies: []string{"replica"}, Proposals: [][]byte{make([]byte, 32)}}
			}
		}, "no attestation"},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := checked(newTale(t, row.change).bundle())
			if got := flaws(c)[second]; !strings.Contains(got, row.says) {
				t.Errorf("%v", flaws(c))
			}
		})
	}
}

// Two certificates of one day, or two events in one place, do not stand.
func TestADayThatEndsTwice(t *testing.T) {
	s := newTale(t, nil)
	for _, e := range s.all {
		if e.Type == event.TypeDayCertified {
			f := must(event.Decode[event.DayCertified](e.Data))
			s.add(registry(event.TypeDayCertified, s.heads[event.StreamRegistry].Time, f))
			break
		}
	}
	if got := flaws(checked(s.bundle()))[firstDay]; !strings.Contains(got, "2 certificates") {
		t.Error(got)
	}
	other := newTale(t, func(d *deed) {
		if f, ok := d.says.(event.DayCertified); ok {
			f.Cleared = []string{"keyring", "mediation"}
			d.says = f
		}
	})
	c := checked(append(newTale(t, nil).bundle(), other.bundle()...))
	if c.OK() || !strings.Contains(fmt.Sprint(flaws(c)), "another event was signed for the same place") {
		t.Errorf("%v", flaws(c))
	}
}

// A day that was announced and passed over is named, unless an order held it.
func TestADayThatWasPassedOver(t *testing.T) {
	leave := func(d *deed) { // the second day's end and certificate become something else
		switch f := d.says.(type) {
		case event.DayKeyDestroyed:
			if f.Day == firstDay.AddDays(1).String() {
				d.kind, d.says = "note-made", []byte{0xa0}
			}
		case event.DayCertified:
			if f.Day == firstDay.AddDays(1).String() {
				d.kind, d.says = "note-made", []byte{0xa0}
			}
		}
	}
	s := newTale(t, leave)
	if got := flaws(checked(s.bundle()))[firstDay.AddDays(1)]; !strings.Contains(got, "no proof that its key was destroyed") {
		t.Errorf("%q", got)
	}
	day := firstDay.AddDays(1).String()
	held := &tale{t: t, key: rightKey, change: leave, before: func(s *tale, i int, at time.Time) {
		if i == 0 {
			s.add(registry(event.TypeHoldAdded, at.Add(-time.Second), event.HoldAdded{Hold: uuid.New(), From: day, To: day, Until: "2036-01-01", Reason: "r", Authority: "a"}))
		}
	}}
	held.tell()
	if c := checked(held.bundle()); !c.OK() || len(c.Days) != daysInAll-1 {
		t.Errorf("%v", flaws(c))
	}
}

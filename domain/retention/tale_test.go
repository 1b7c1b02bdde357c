package retention_test

import (
	"fmt"
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

// deed is an event of a history before it is signed.
type deed struct {
	stream, kind string
	at           time.Time
	says         any
}

// tale is a history in which three days end, each a day after the other. A test changes what is said before it is signed
// by the right key, as a core gone wrong would.
type tale struct {
	t     *testing.T
	key   ledgertest.Key
	heads map[string]ledger.Head
	all   []ledger.Event
	last  ledger.Hash // of the last anchor

	again  bool // another core begins with the next deed
	change func(*deed)
	before func(s *tale, i int, at time.Time) // called before the end of each day
}

var (
	firstDay  = calendar.Of(2028, time.February, 27)
	otherKey  = must(ledgertest.NewKey("other"))
	rightKey  = must(ledgertest.NewKey("right"))
	daysInAll = 3

	// lenient needs no proof of the seven years, so that a tale is short.
	lenient = func() retention.Policy {
		p := retention.Statutory
		p.Unproven, p.LeastAnchorDays = 7*366, 5
		return p
	}()
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// add signs deeds in one batch and returns where the first stands, with its leaf.
func (s *tale) add(deeds ...deed) (uint64, ledger.Hash) {
	s.t.Helper()
	head := s.heads[deeds[0].stream]
	head.Stream = deeds[0].stream
	epoch := head.Epoch
	if head.Count == 0 || s.again {
		deeds = append([]deed{{deeds[0].stream, ledger.TypeEpochStarted, deeds[0].at, []byte{0xa0}}}, deeds...)
		epoch++
		s.again = false
	}
	var drafts []ledger.Draft
	for i := range deeds {
		d := deeds[i]
		if s.change != nil {
			s.change(&d)
		}
		payload, raw := d.says.([]byte)
		if !raw {
			payload = must(event.Encode(d.says))
		}
		id := uuid.NewSHA1(uuid.Nil, fmt.Appendf(nil, "%s %d %d", d.stream, head.Count, i))
		drafts = append(drafts, must(ledger.Plain(ledger.AAD{Stream: d.stream, Type: d.kind, ID: id, Time: d.at.UTC()}, payload)))
	}
	events, next, err := ledger.BuildBatch(head, epoch, drafts, s.key.ID, s.key.Sign)
	if err != nil {
		s.t.Fatal(err)
	}
	s.heads[head.Stream] = next
	s.all = append(s.all, events...)
	first := events[0]
	if epoch > head.Epoch {
		first = events[1]
	}
	checked, err := ledger.CheckEvent(first, must(s.key.KeySet()))
	if err != nil {
		s.t.Fatal(err)
	}
	return first.Revision, checked.Leaf
}

func (s *tale) anchor(at time.Time) {
	s.t.Helper()
	a := ledger.Anchor{Time: at.UTC(), Previous: s.last}
	for _, h := range s.heads {
		a.Heads = append(a.Heads, h.Anchored())
	}
	ledger.SortHeads(a.Heads)
	_, s.last = s.add(deed{event.StreamRegistry, ledger.TypeAnchor, at, must(a.Encode())})
}

func registry(kind string, at time.Time, says any) deed {
	return deed{event.StreamRegistry, kind, at, says}
}

// newTale tells how three days are opened, announced, and end.
func newTale(t *testing.T, change func(*deed)) *tale {
	t.Helper()
	s := &tale{t: t, key: rightKey, change: change}
	s.tell()
	return s
}

// newTaleWith does, with something before the end of each day.
func newTaleWith(t *testing.T, before func(s *tale, i int, at time.Time)) *tale {
	t.Helper()
	s := &tale{t: t, key: rightKey, before: before}
	s.tell()
	return s
}

func (s *tale) tell() {
	s.t.Helper()
	s.heads = map[string]ledger.Head{}
	p := retention.Statutory
	streams := s.open()
	announcing := p.AnnounceFrom(firstDay).Start().Add(time.Minute)
	announcement := event.DestructionAnnounced{At: announcing.UnixMicro()}
	for i := range daysInAll {
		announcement.Days = append(announcement.Days, firstDay.AddDays(i).String())
	}
	announced, _ := s.add(registry(event.TypeDestructionAnnounced, announcing, announcement))
	end := p.Due(firstDay.AddDays(daysInAll - 1)).Start()
	for at := announcing.Add(time.Hour); at.Before(end.Add(-time.Hour)); at = at.AddDate(0, 0, 6) {
		s.anchor(at)
	}
	s.anchor(end.Add(-time.Minute))
	for i := range daysInAll {
		day := firstDay.AddDays(i)
		at := end.AddDate(0, 0, i).Add(time.Minute)
		if s.before != nil {
			s.before(s, i, at)
		}
		summary, _ := s.add(registry(event.TypeDaySummarised, at, event.DaySummarised{Day: day.String(), Parts: 2, Least: 10}),
			registry(event.TypeDaySummarised, at, event.DaySummarised{Day: day.String(), Part: 1, Parts: 2, Least: 10}))
		s.add(registry(event.TypeDestructionDecided, at, event.DestructionDecided{Day: day.String(), Due: p.Due(day).String(), Announced: announced, Summary: summary, At: at.UnixMicro()}))
		ended, leaf := s.add(registry(event.TypeDayKeyDestroyed, at, event.DayKeyDestroyed{Day: day.String(), Label: "record/" + day.String(), Due: p.Due(day).String(),
			Announced: announced, Summary: summary, Streams: streams[day], Events: 2, Token: event.Token{Label: "t", Serial: "1"}, At: at.UnixMicro()}))
		s.add(registry(event.TypeDayCertified, at.Add(time.Second), event.DayCertified{Day: day.String(), Destroyed: ended, Leaf: leaf[:],
			Cleared: []string{"disclosure", "keyring"}, At: at.Add(time.Second).UnixMicro()}))
		s.add(registry("note-made", at.Add(time.Minute), []byte{0xa0}))
		s.anchor(at.Add(time.Hour))
	}
}

// open opens each day in two streams.
func (s *tale) open() map[calendar.Day][]event.DayStream {
	s.t.Helper()
	streams := map[calendar.Day][]event.DayStream{}
	s.add(registry("note-made", firstDay.Start(), []byte{0xa0}))
	for i := range daysInAll {
		day := firstDay.AddDays(i)
		for n, stream := range []string{"audit", "record-0"} {
			o := ledger.DayOpened{Day: day.String(), Salt: [32]byte{byte(i)}, Commitment: [16]byte{byte(i), byte(n)}}
			at, _ := s.add(deed{stream, ledger.TypeDayOpened, day.Start().Add(time.Hour), must(o.Encode())})
			streams[day] = append(streams[day], event.DayStream{Stream: stream, First: at, Next: at + 1, Keys: []event.DataKey{{Revision: at, Commitment: o.Commitment[:]}}})
		}
	}
	return streams
}

// bundle is what a core would hand out of the history: the registry, and what opened the days.
func (s *tale) bundle() (picked []ledger.Event) {
	for _, e := range s.all {
		if e.Type == ledger.TypeDayOpened || e.Stream == event.StreamRegistry {
			picked = append(picked, e)
		}
	}
	return picked
}

func checked(events []ledger.Event, heads ...ledger.Heads) retention.Certificates {
	c := retention.NewChecker(lenient, must(rightKey.KeySet()))
	c.Expect(heads...)
	return fed(c, events)
}

func fed(c *retention.Checker, events []ledger.Event) retention.Certificates {
	for _, e := range events {
		c.Add(e)
	}
	return c.Check()
}

// flaws returns what is wrong, by day; under the zero day what belongs to none.
func flaws(c retention.Certificates) map[calendar.Day]string {
	out := map[calendar.Day]string{}
	for _, d := range c.Days {
		if len(d.Flaws) > 0 {
			out[d.Day] = strings.Join(d.Flaws, "; ")
		}
	}
	if len(c.Flaws) > 0 {
		out[calendar.Day{}] = strings.Join(c.Flaws, "; ")
	}
	return out
}

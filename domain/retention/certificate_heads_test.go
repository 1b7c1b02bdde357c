package retention_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/domain/ledger"
	"kiroku/domain/retention"
)

// written is a heads file of a tale.
func (s *tale) written(at time.Time, heads ...ledger.AnchoredHead) ledger.Heads {
	s.t.Helper()
	ledger.SortHeads(heads)
	first := must(ledger.CheckEvent(s.all[0], must(rightKey.KeySet())))
	return ledger.Heads{Ledger: ledger.LedgerID(first.Leaf), Heads: heads, Time: at}
}

// at is what a stream ended with after so many events.
func (s *tale) at(stream string, count uint64) ledger.AnchoredHead {
	s.t.Helper()
	i := slices.IndexFunc(s.all, func(e ledger.Event) bool { return e.Stream == stream && e.Revision+1 == count })
	c := must(ledger.CheckEvent(s.all[i], must(rightKey.KeySet())))
	return ledger.AnchoredHead{Stream: stream, Count: count, Leaf: c.Leaf}
}

func (s *tale) end(stream string) ledger.AnchoredHead { return s.heads[stream].Anchored() }

// Every head of the registry is compared, or it is said what is wrong, also where the bundle says nothing of its place.
func TestHeadsOfTheRegistry(t *testing.T) {
	s := newTale(t, nil)
	now := s.heads[event.StreamRegistry].Time
	last := s.end(event.StreamRegistry)
	summary := slices.IndexFunc(s.all, func(e ledger.Event) bool { return e.Type == event.TypeDaySummarised })
	other := last
	other.Leaf[3] ^= 1
	later := ledger.AnchoredHead{Stream: event.StreamRegistry, Count: last.Count + 100, Leaf: last.Leaf}
	foreign := s.written(now, last)
	foreign.Ledger = strings.Repeat("00", 32)
	registry := func(e ledger.Event) bool { return e.Stream == event.StreamRegistry }
	for _, row := range []struct {
		name     string
		heads    []ledger.Heads
		events   func([]ledger.Event) []ledger.Event
		compared int
		says     string // empty: all is well
	}{
		{"of the end", []ledger.Heads{s.written(now, last)}, nil, 1, ""},
		{"of long before", []ledger.Heads{s.written(now, s.at(event.StreamRegistry, 3))}, nil, 1, ""},
		{"of before and the end", []ledger.Heads{s.written(now, s.at(event.StreamRegistry, 3)), s.written(now, last)}, nil, 2, ""},
		{"the registry ends before", []ledger.Heads{s.written(now, later)}, nil, 0, "the registry ends after"},
		{"its tail is cut off", []ledger.Heads{s.written(now, last)}, func(e []ledger.Event) []ledger.Event {
			return e[:len(e)-1]
		}, 0, "what followed is missing"},
		{"the end with its day is cut off", []ledger.Heads{s.written(now, last)}, func(e []ledger.Event) []ledger.Event {
			return e[:slices.IndexFunc(e, func(e ledger.Event) bool { return e.Type == event.TypeDaySummarised })]
		}, 0, "what followed is missing"},
		{"there is no registry", []ledger.Heads{s.written(now, last)}, func(e []ledger.Event) []ledger.Event {
			return slices.DeleteFunc(e, registry)
		}, 0, "no event of the registry"},
		{"its event is taken out", []ledger.Heads{s.written(now, s.at(event.StreamRegistry, 4))}, func(e []ledger.Event) []ledger.Event {
			return slices.DeleteFunc(e, func(e ledger.Event) bool { return registry(e) && e.Revision == 3 })
		}, 0, "registry@3, which was its last event by"},
		{"another event stands there", []ledger.Heads{s.written(now, other)}, nil, 0, "another event stands there"},
		{"within a batch", []ledger.Heads{s.written(now, s.at(event.StreamRegistry, s.all[summary].Revision+1))}, nil, 0, "no batch ends there"},
		{"of another ledger", []ledger.Heads{foreign}, nil, 0, "another ledger"},
		{"one of two of another ledger", []ledger.Heads{s.written(now, last), foreign}, nil, 1, "another ledger"},
		{"the ledger is not known", []ledger.Heads{s.written(now, last)}, func(e []ledger.Event) []ledger.Event {
			return slices.DeleteFunc(e, func(e ledger.Event) bool { return registry(e) && e.Revision == 0 })
		}, 0, "were not compared"},
		{"none at all", []ledger.Heads{s.written(now)}, nil, 0, "none of the heads"},
		{"none that can be compared", []ledger.Heads{s.written(now, ledger.AnchoredHead{Stream: "issuance", Count: 9})}, nil, 0, "none of the heads"},
	} {
		t.Run(row.name, func(t *testing.T) {
			events := s.bundle()
			if row.events != nil {
				events = row.events(events)
			}
			c := checked(events, row.heads...)
			got := flaws(c)[calendar.Day{}]
			if c.OK() != (row.says == "") || !strings.Contains(got, row.says) || c.Heads != row.compared {
				t.Errorf("%d compared: %s", c.Heads, got)
			}
		})
	}
}

// Heads of other streams are compared with what there is; what there is not is listed, and missing in a whole ledger.
func TestHeadsOfOtherStreams(t *testing.T) {
	s := newTaleWith(t, func(s *tale, i int, at time.Time) {
		if i == daysInAll-1 { // the first two events of record-0 may go
			cut := ledger.Truncation{Stream: "record-0", First: 2, Prev: s.at("record-0", 2).Leaf}
			s.add(registry(ledger.TypeStreamTruncated, at, must(cut.Encode())))
		}
	})
	now := s.heads[event.StreamRegistry].Time
	root := s.end(event.StreamRegistry)
	bare := slices.DeleteFunc(s.bundle(), func(e ledger.Event) bool { return e.Stream != event.StreamRegistry })
	wrong := func(h ledger.AnchoredHead) ledger.AnchoredHead {
		h.Leaf[0] ^= 1
		return h
	}
	long := ledger.AnchoredHead{Stream: "record-0", Count: 50}
	for _, row := range []struct {
		name     string
		events   []ledger.Event
		whole    bool
		at       time.Time
		root     ledger.AnchoredHead
		head     ledger.AnchoredHead
		compared int
		says     string
		not      string // checked
	}{
		{"by its event", s.bundle(), false, now, root, s.at("record-0", 3), 2, "", ""},
		{"by an anchor alone", bare, false, now, root, s.end("record-0"), 2, "", ""},
		{"by a truncation alone", bare, false, now, root, s.at("record-0", 2), 2, "", ""},
		{"given up before", bare, true, now, root, ledger.AnchoredHead{Stream: "record-0", Count: 1}, 1, "", "record-0@0: the registry gave them up"},
		{"not there", bare, false, now, root, s.at("audit", 2), 1, "", "audit@1: they are not in what is verified"},
		{"not there, in a store", bare, true, now, root, s.at("audit", 2), 1, "audit@1, which was its last event", ""},
		{"another event", s.bundle(), false, now, root, wrong(s.at("audit", 2)), 1, "audit@1, which is the last event", ""},
		{"another event by an anchor", bare, false, now, root, wrong(s.end("audit")), 1, "another event stands there", ""},
		{"another event by a truncation", bare, false, now, root, wrong(s.at("record-0", 2)), 1, "another event stands there", ""},
		{"longer than a later anchor knows", bare, false, now.AddDate(0, -1, 0), s.at(event.StreamRegistry, 3), long, 1, "knows fewer events of record-0", ""},
		{"longer, and newer than all anchors", bare, false, now.Add(time.Hour), root, long, 1, "", "record-0@49"},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := retention.NewChecker(lenient, must(rightKey.KeySet()))
			c.Expect(s.written(row.at, row.root, row.head))
			if row.whole {
				c.Whole()
			}
			found := fed(c, row.events)
			not := strings.Join(found.NotChecked, "\n")
			if got := flaws(found)[calendar.Day{}]; found.OK() != (row.says == "") || !strings.Contains(got, row.says) || !strings.Contains(not, row.not) || found.Heads != row.compared || found.Given != 2 {
				t.Errorf("%d of %d compared: %s\n%s", found.Heads, found.Given, got, not)
			}
		})
	}
}

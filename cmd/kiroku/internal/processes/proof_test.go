package processes

import (
	"encoding/json"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/google/uuid"

	"kiroku/domain/event"
	"kiroku/domain/ledger"
)

// typesOf are the types of event by which a command of a kind can be in the ledger.
var typesOf = map[string]map[string]string{
	registers: {"registered": event.TypeAgencyRegistered},
	publishes: {"published": event.TypeScopeRulesPublished},
	issues:    {"issued": event.TypeSymbolIssued, "already acquired": event.TypeSymbolAlreadyAcquired},
	inquires:  {"notified": event.TypeInquiryNotified},
	reports:   {"reported": event.TypeProvisionReported},
}

// prove ends the load and the cores in order, and proves the ledger: it verifies, and is what was acknowledged.
func (w *world) prove(l *load) {
	w.t.Helper()
	l.end()
	w.waitForLapses()
	w.giveAgain()
	for _, c := range w.asked() {
		c.signal(syscall.SIGCONT)
		if code := c.stop(); code != 0 {
			w.t.Errorf("%s, told to stop: exit status %d", c.name, code)
		}
	}
	w.compare(w.dump())
}

// waitForLapses waits until every inquiry that nobody answered has lapsed.
func (w *world) waitForLapses() {
	w.t.Helper()
	var lapsed int
	for deadline := time.Now().Add(patience); ; time.Sleep(200 * time.Millisecond) {
		lapsed = 0
		for _, e := range w.dump() {
			if e.Type == event.TypeInquiryLapsed {
				lapsed++
			}
		}
		if lapsed >= w.short {
			break
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("%d of %d inquiries that nobody answered have lapsed", lapsed, w.short)
		}
	}
	if lapsed != w.short {
		w.t.Errorf("%d lapses of %d inquiries", lapsed, w.short)
	}
}

// giveAgain repeats every command: the answers must be those of the first time.
func (w *world) giveAgain() {
	w.t.Helper()
	w.mu.Lock()
	var all []request
	for _, k := range w.books {
		all = append(all, k.request)
	}
	w.mu.Unlock()
	for _, r := range all {
		if _, ok := w.give(r); !ok || w.t.Failed() {
			return
		}
	}
}

// dump is the ledger as kiroku dump writes it.
func (w *world) dump() []ledger.Event {
	w.t.Helper()
	name := filepath.Join(w.t.TempDir(), "ledger.jsonl")
	kiroku(w.t, "dump", "--data", w.data, "--out", name).must(w.t)
	file, err := os.Open(name)
	if err != nil {
		w.t.Fatal(err)
	}
	defer file.Close()
	var all []ledger.Event
	for e, err := range ledger.ReadDump(file) {
		if err != nil {
			w.t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

// verified has the ledger verified, with the keys that the token has.
func (w *world) verified() (events uint64) {
	w.t.Helper()
	keys := filepath.Join(w.t.TempDir(), "keys.pem")
	kiroku(w.t, "keys", "export-public", "--data", w.data, "--out", keys).must(w.t)
	out := kiroku(w.t, "verify", "--data", w.data, "--keys", keys, "--json").must(w.t).out
	var v struct {
		OK     bool
		Events uint64
	}
	if err := json.Unmarshal([]byte(out), &v); err != nil || !v.OK {
		w.t.Errorf("verify: %v\n%s", err, out)
	}
	return v.Events
}

// compare holds the ledger against the books.
func (w *world) compare(all []ledger.Event) {
	w.t.Helper()
	if n := w.verified(); n < uint64(len(all)) { // more, where kiroku serve has become active since
		w.t.Errorf("%d events were verified and %d dumped", n, len(all))
	}
	byID := map[uuid.UUID]ledger.Event{}
	counts := map[string]int{}
	next := map[string]uint64{}
	for _, e := range all {
		if other, twice := byID[e.ID]; twice {
			w.t.Errorf("%s@%d and %s@%d have the same id", other.Stream, other.Revision, e.Stream, e.Revision)
		}
		if e.Revision != next[e.Stream] {
			w.t.Errorf("%s@%d stands where %d belongs", e.Stream, e.Revision, next[e.Stream])
		}
		byID[e.ID] = e
		counts[e.Type]++
		next[e.Stream] = e.Revision + 1
	}
	expected := map[string]int{}
	for id, k := range w.books {
		eventType := typesOf[k.request.Kind][k.answer.Outcome]
		expected[eventType]++
		if e := byID[event.IDOf(event.CommandKey(k.request.meta().Actor.Identity, id), 0)]; e.Type != eventType {
			w.t.Errorf("%s %s was answered %q and the ledger has %q", k.request.Kind, id, k.answer.Outcome, e.Type)
		}
	}
	for _, outcomes := range typesOf {
		for _, eventType := range outcomes {
			if counts[eventType] != expected[eventType] {
				w.t.Errorf("%d events %s of %d commands", counts[eventType], eventType, expected[eventType])
			}
		}
	}
	w.t.Logf("%d events: %d commands, %d lapses, %d epochs", len(all), len(w.books), counts[event.TypeInquiryLapsed], counts[event.TypeEpochStarted])
}

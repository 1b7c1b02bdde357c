package processes

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"kiroku/adapters/eventstore"
	"kiroku/adapters/hsm"
	"kiroku/cmd/kiroku/internal/evidence/leaktest"
	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/domain/keyring"
	"kiroku/domain/ledger"
)

// office is a world whose core keeps days for a year, and what a test knows of these days.
type office struct {
	*world
	core   *remote
	shift  time.Duration // of the core's clock
	issued map[string]uuid.UUID
}

// newOffice begins at noon, with two agencies and a person.
func newOffice(t *testing.T) *office {
	t.Helper()
	return newOfficeOn(withStore(t))
}

func newOfficeOn(w *world, change ...func(*settings)) *office {
	w.t.Helper()
	o := &office{world: w, issued: map[string]uuid.UUID{}}
	o.shift = noon(calendar.DayOf(time.Now()))
	o.core = o.start("a", append(change, o.keeps)...)
	o.core.leads()
	for _, code := range []string{"a", "b"} {
		o.do(request{Kind: registers, ID: o.id(), Agency: code})
	}
	o.do(request{Kind: publishes, ID: o.id()})
	for _, code := range []string{"a", "b"} {
		o.issued[code] = o.id()
		o.do(request{Kind: issues, ID: o.issued[code], Agency: code, Person: 1})
	}
	return o
}

func (o *office) keeps(s *settings) { s.Keeps, s.Offset, s.AnchorInterval = true, o.shift, time.Hour }

func (o *office) now() time.Time      { return time.Now().Add(o.shift) }
func (o *office) today() calendar.Day { return calendar.DayOf(o.now()) }
func (o *office) id() uuid.UUID       { return idAt(o.now()) }

// do has the core do something.
func (o *office) do(r request) answer {
	o.t.Helper()
	a, err := o.core.ask(r, patience)
	if err != nil || a.Error != "" {
		o.t.Fatalf("%s: %v %s", r.Kind, err, a.Error)
	}
	return a
}

// goTo turns the clock forward to noon of a day.
func (o *office) goTo(day calendar.Day) {
	o.t.Helper()
	o.shift += time.Duration(day.DaysSince(o.today())) * 24 * time.Hour
	o.do(request{Kind: turns, Offset: o.shift})
}

// work is a day's: inquiries that are answered, one that is not, and a disclosure, all with the day's marks.
func (o *office) work(mark, exchanges int) {
	o.t.Helper()
	ask := func() answer {
		return o.do(request{Kind: inquires, ID: o.id(), Agency: "a", Provider: "b", Person: 1, Issued: o.issued["a"], Validity: time.Hour, Mark: mark})
	}
	for range exchanges {
		o.do(request{Kind: reports, ID: o.id(), Agency: "b", Number: ask().Number, At: o.now(), Mark: mark})
	}
	ask()
	o.disclose(mark)
	o.do(request{Kind: anchors})
}

func (o *office) disclose(mark int) {
	o.t.Helper()
	a := o.do(request{Kind: discloses, ID: o.id(), Agency: "a", Person: 1, Issued: o.issued["a"], At: o.now(), Mark: mark})
	if a.Outcome == "0 shown" {
		o.t.Error("nothing was disclosed")
	}
}

// end goes to the day on which another is due, with an anchor and a pass each day of the notice, and ends it.
func (o *office) end(day calendar.Day) {
	o.t.Helper()
	for o.goTo(oneYear.AnnounceFrom(day)); o.today().Before(oneYear.Due(day)); o.goTo(o.today().AddDays(1)) {
		o.do(request{Kind: ends})
		o.do(request{Kind: anchors})
	}
	if a := o.do(request{Kind: ends}); !strings.Contains(a.Outcome, " 1 certified") {
		o.t.Fatalf("the day did not end: %s\n%s", a.Outcome, o.core.said.String())
	}
}

// secrets are the data keys of a day in every stream, and its marks.
func (o *office) secrets(day calendar.Day, number int) (keys, texts []leaktest.Secret) {
	t := o.t
	t.Helper()
	config, err := hsm.Provision(filepath.Join(o.data, "hsm"), "kiroku")
	if err != nil {
		t.Fatal(err)
	}
	h, err := hsm.Open(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	store, err := eventstore.Open(eventstore.Config{ConnectionString: o.connection()})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	for _, stream := range event.Streams(2) {
		err := store.Iterate(t.Context(), stream, 0, func(batch []ledger.Event) error {
			for _, e := range batch {
				if e.Type != event.TypeDayOpened {
					continue
				}
				opened, err := ledger.DecodeDayOpened(e.Data)
				if err != nil {
					return err
				}
				if opened.Day != day.String() {
					continue
				}
				message, err := ledger.DataKeyInput(e.Stream, opened.Day, opened.Salt)
				if err != nil {
					return err
				}
				key, err := h.HMAC(t.Context(), keyring.DayLabel(day), message)
				if err != nil {
					return err
				}
				keys = append(keys, leaktest.Secret{Name: "data key of " + stream, Value: bytes.Clone(key.Expose())})
				key.Destroy()
			}
			return nil
		})
		if err != nil && !errors.Is(err, eventstore.ErrNoStream) {
			t.Fatal(err)
		}
	}
	for _, what := range []string{"department", "procedure", "item", "receipt"} {
		texts = append(texts, leaktest.Secret{Name: what, Value: []byte(mark(what, number))})
	}
	if len(keys) < 2 {
		t.Fatalf("%d data keys of %s", len(keys), day)
	}
	return keys, texts
}

// dump scans the memory of a process while it stands still, as a core dump would have it.
func (p *process) dump(s *leaktest.Scanner) []leaktest.Finding {
	p.t.Helper()
	p.signal(syscall.SIGSTOP)
	defer p.signal(syscall.SIGCONT)
	found, n, err := s.Memory(p.Process.Pid)
	if err != nil {
		p.t.Fatal(err)
	}
	if n.Bytes < 1<<20 {
		p.t.Errorf("%s: %+v were looked at", p.name, n)
	}
	return found
}

// forgetful is how long a process may take to forget on a busy machine: it frees memory for two minutes after a day's end.
const forgetful = 4 * time.Minute

// forgets waits until nothing is left in a core's memory.
func (c *remote) forgets(s *leaktest.Scanner) {
	c.t.Helper()
	for deadline := time.Now().Add(forgetful); ; time.Sleep(2 * time.Second) { // in which it runs: it stands still while it is looked at
		found := c.dump(s)
		if len(found) == 0 {
			return
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("%s holds still: %v", c.name, leaktest.Summary(found))
		}
	}
}

func scannerOf(t *testing.T, secrets ...leaktest.Secret) *leaktest.Scanner {
	t.Helper()
	s, err := leaktest.New(secrets...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// names are what was found, each once.
func names(found []leaktest.Finding) []string {
	var all []string
	for _, f := range found {
		all = append(all, f.Secret)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// TestNothingIsLeftOfADayThatEnded: when the day's end is certified, no data key of it and no text of its records is in
// the memory of the core that ended it, nor of the store; soon after, nor in that of a core that stands by. What lies in
// the files never was in clear. Before, and for the next day, the same search finds the keys where they have to be.
func TestNothingIsLeftOfADayThatEnded(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	second := o.start("b", o.keeps)
	first := o.today()
	o.work(1, 20)
	keys, texts := o.secrets(first, 1)
	ends := scannerOf(t, append(keys, texts...)...)
	before := names(o.core.dump(ends))
	for _, s := range keys {
		if !slices.Contains(before, s.Name) {
			t.Errorf("before the end, the search does not find the %s in the core", s.Name)
		}
	}
	if len(before) == len(keys) {
		t.Error("before the end, the search finds no text in the core: it has just done with it")
	}
	eventually(t, "the core that stands by has the data keys", func() bool { return len(names(second.dump(ends))) >= len(keys) })
	o.goTo(first.AddDays(1))
	o.work(2, 5)
	livingKeys, _ := o.secrets(first.AddDays(1), 2)
	lives := scannerOf(t, livingKeys...)

	o.end(first)
	for _, p := range []*process{o.core.process, o.store} {
		for _, line := range leaktest.Summary(p.dump(ends)) {
			t.Errorf("%s: %s", p.name, line)
		}
	}
	for _, core := range []*remote{o.core, second} {
		if living := names(core.dump(lives)); len(living) != len(livingKeys) {
			t.Errorf("%s: of the data keys of the living day, the search finds %v", core.name, living)
		}
	}
	second.forgets(ends)
	second.stop()
	o.core.stop()
	o.store.stop()
	found, n, err := ends.Tree(o.data)
	if err != nil || n.Rows == 0 {
		t.Fatalf("%+v, %v", n, err)
	}
	for _, line := range leaktest.Summary(found) {
		t.Error(line)
	}
}

// TestTheProgramOverwritesWhatItFrees as the cores of these tests do.
func TestTheProgramOverwritesWhatItFrees(t *testing.T) {
	t.Parallel()
	w := withStore(t)
	environment, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", w.store.Process.Pid))
	if err != nil || !bytes.Contains(environment, []byte("GODEBUG=clobberfree=1\x00")) {
		t.Errorf("kiroku store runs without, %v", err)
	}
}

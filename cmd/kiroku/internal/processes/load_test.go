package processes

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
)

// give gives a command until it is answered, at whichever core answers, as a gateway does, and enters it in the books.
// It is false if it was never answered.
func (w *world) give(r request) (answer, bool) {
	var last answer
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		for _, c := range w.asked() {
			a, err := c.ask(r, within/2)
			if err != nil {
				continue
			}
			if last = a; a.Again {
				continue
			}
			w.enter(r, a)
			return a, true
		}
	}
	w.t.Errorf("%s %s was never answered; the last word was: %s", r.Kind, r.ID, last.Error)
	return answer{}, false
}

// enter enters an answer in the books. A second answer to the same command must be the same.
func (w *world) enter(r request, a answer) {
	if a.Error != "" {
		w.t.Errorf("%s %s: %s", r.Kind, r.ID, a.Error)
		return
	}
	a.Seq = 0
	w.mu.Lock()
	defer w.mu.Unlock()
	if before, ok := w.books[r.ID]; ok && before.answer != a {
		w.t.Errorf("%s %s was first answered %+v and then %+v", r.Kind, r.ID, before.answer, a)
	}
	w.books[r.ID] = acknowledged{r, a}
}

// person is somebody whom both agencies know, by the ids of the issuances.
type person struct {
	number int
	at     map[string]uuid.UUID
}

// load is gateways that give commands until told to stop.
type load struct {
	w        *world
	stop     chan struct{}
	stopped  sync.Once
	running  sync.WaitGroup
	answered atomic.Int64
	people   atomic.Int64
}

// begin registers two agencies and starts gateways.
func (w *world) begin(gateways int) *load {
	w.t.Helper()
	w.give(request{Kind: registers, ID: id(), Agency: "a"})
	w.give(request{Kind: registers, ID: id(), Agency: "b"})
	w.give(request{Kind: publishes, ID: id()})
	l := &load{w: w, stop: make(chan struct{})}
	for range gateways {
		l.running.Go(l.gateway)
	}
	w.t.Cleanup(l.end)
	return l
}

// end stops the gateways once what they gave is answered.
func (l *load) end() {
	l.stopped.Do(func() { close(l.stop) })
	l.running.Wait()
}

// proceeds waits until some more commands have been answered.
func (l *load) proceeds(t *testing.T) {
	t.Helper()
	from := l.answered.Load()
	eventually(t, "commands are answered", func() bool { return l.answered.Load() >= from+20 })
}

// pace keeps the ledgers of these tests small.
const pace = 20 * time.Millisecond

func (l *load) gateway() {
	var p person
	for round := 0; ; round++ {
		select {
		case <-l.stop:
			return
		case <-time.After(pace):
		}
		ok := true
		if round%20 == 0 {
			p, ok = l.newPerson()
		}
		if !ok || !l.exchange(p, round) {
			return
		}
	}
}

func (l *load) give(r request) (answer, bool) {
	a, ok := l.w.give(r)
	l.answered.Add(1)
	return a, ok
}

// newPerson has symbols of somebody issued to both agencies.
func (l *load) newPerson() (person, bool) {
	p := person{number: int(l.people.Add(1)), at: map[string]uuid.UUID{}}
	for _, agency := range []string{"a", "b"} {
		p.at[agency] = id()
		a, ok := l.give(request{Kind: issues, ID: p.at[agency], Agency: agency, Person: p.number})
		if !ok {
			return p, false
		}
		if a.Outcome != "issued" {
			l.w.t.Errorf("somebody new to agency %s: %q %s", agency, a.Outcome, a.Error)
			return p, false
		}
	}
	return p, true
}

// exchange inquires, and reports on some inquiries; others lapse. Some commands are given twice at once.
func (l *load) exchange(p person, round int) bool {
	r := request{Kind: inquires, ID: id(), Agency: "a", Provider: "b", Person: p.number, Issued: p.at["a"], Validity: time.Hour}
	lapses := round%5 == 0
	if lapses {
		r.Validity = time.Second
		l.w.mu.Lock()
		l.w.short++
		l.w.mu.Unlock()
	}
	var twice sync.WaitGroup
	if round%8 == 3 {
		twice.Go(func() { l.w.give(r) })
	}
	a, ok := l.give(r)
	twice.Wait()
	if !ok {
		return false
	}
	if a.Outcome != "notified" {
		l.w.t.Errorf("an inquiry that the rule permits: %q %s", a.Outcome, a.Error)
		return false
	}
	if !lapses && round%2 == 0 {
		_, ok = l.give(request{Kind: reports, ID: id(), Agency: "b", Number: a.Number, At: time.Now()})
	}
	return ok
}

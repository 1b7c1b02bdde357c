package node_test

import (
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"kiroku/cmd/kiroku/internal/node"
	"kiroku/cmd/kiroku/internal/node/nodetest"
	"kiroku/commands"
	"kiroku/domain/event"
	"kiroku/domain/inquiry"
	"kiroku/domain/symbol"
)

// Order 27(5): derived, distinct, different at every agency, of use to the right agency only.
func TestSymbolsOfManyPeopleAtThreeAgencies(t *testing.T) {
	people := 10_000
	if testing.Short() {
		people = 500
	}
	w := nodetest.New(t)
	// Under the race detector the views' library notes the stack of whoever opens a file: with all rows in memory, that is saved.
	c := w.Lead("a", func(c *node.Config) { c.FlushInterval = time.Hour })
	agencies := []string{"a", "b", "c"}
	c.Register(agencies...)
	held := make(map[string][]symbol.Agency)
	seen := map[symbol.Agency]bool{}
	for _, a := range agencies {
		held[a] = make([]symbol.Agency, people)
		meta := w.Meta(a)
		asked := people
		requests := func(yield func(commands.SymbolRequest, error) bool) {
			for p := range asked {
				if !yield(commands.SymbolRequest{AcquisitionNumber: "A-1", Code: nodetest.Code(t, p)}, nil) {
					return
				}
			}
		}
		cmd := commands.IssueSymbols{Meta: meta, Agency: nodetest.AgencyCode(t, a), Requests: requests}
		for round := range 2 { // the bulk command again, as far as it is sent: the same symbols, derived anew
			if err := c.Core.IssueSymbols(t.Context(), cmd, func(i commands.ItemIssued) {
				switch {
				case i.Err != nil || i.AlreadyAcquired:
					t.Errorf("item %d: %v, already acquired: %v", i.Index, i.Err, i.AlreadyAcquired)
				case round == 0:
					held[a][i.Index] = i.Symbol
				case held[a][i.Index] != i.Symbol:
					t.Errorf("item %d has another symbol when it is derived again", i.Index)
				}
			}); err != nil {
				t.Fatal(err)
			}
			asked = people / 10
		}
		for p, s := range held[a] {
			if seen[s] {
				t.Fatalf("person %d at %s has a symbol that occurs before", p, a)
			}
			seen[s] = true
		}
	}
	if err := c.CaughtUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	counts, err := c.Dedup.Counts()
	if err != nil || counts.People != int64(people) || counts.Symbols != int64(3*people) {
		t.Fatalf("the register counts %d people and %d symbols: %v", counts.People, counts.Symbols, err)
	}
	refuseStrangers(t, c, held)
	c.Verify()
}

// refuseStrangers inquires with symbols that are not the inquirer's own.
func refuseStrangers(t *testing.T, c *nodetest.Core, held map[string][]symbol.Agency) {
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 60 {
		own := held["a"][random.IntN(len(held["a"]))]
		foreign := held["b"][random.IntN(len(held["b"]))]
		altered := own.Expose()
		altered[1+random.IntN(16)] ^= 1 << random.IntN(8)
		drawn := own.Expose()
		for j := range 16 {
			drawn[1+j] = byte(random.Uint32())
		}
		version := own.Expose()
		version[0]++
		for name, s := range map[string]symbol.Agency{"own": own, "foreign": foreign, "altered": fromBytes(t, altered[:]),
			"random": fromBytes(t, drawn[:]), "other version": fromBytes(t, version[:])} {
			a, err := c.Core.SubmitInquiry(t.Context(), c.Inquiry("a", "b", s))
			want := inquiry.UnknownPerson
			if name == "own" {
				want = 0
			}
			if err != nil || a.Refusal != want {
				t.Fatalf("round %d: %s symbol: refusal %q, want %q: %v", i, name, a.Refusal.Code(), want.Code(), err)
			}
		}
	}
}

func fromBytes(t *testing.T, b []byte) symbol.Agency {
	t.Helper()
	s, err := symbol.AgencyFromBytes(b)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const callers = 64

func TestManyCallersAtOnceGetOneIssuance(t *testing.T) {
	w := nodetest.New(t)
	c := w.Lead("a")
	c.Register("a")
	issued, acquired, other := storm(c, func() {})
	if issued != 1 || acquired != callers-1 || other != 0 {
		t.Fatalf("%d issued, %d already acquired, %d otherwise", issued, acquired, other)
	}
	all := c.Verify()
	if n, m := nodetest.Count(all, event.TypeSymbolIssued), nodetest.Count(all, event.TypeSymbolAlreadyAcquired); n != 1 || m != callers-1 {
		t.Fatalf("the ledger holds %d issuances and %d already acquired", n, m)
	}
}

func TestManyCallersWhileTheResidentCodeChanges(t *testing.T) {
	w := nodetest.New(t)
	c := w.Lead("a")
	c.Register("a", "b")
	before := c.Issue("b", 1) // a person whom another agency knows already
	var changed error
	issued, acquired, superseded := storm(c, func() {
		changed = c.Core.ChangeResidentCode(t.Context(), commands.ChangeResidentCode{Meta: w.Meta("juki"), Old: nodetest.Code(t, 1), New: nodetest.Code(t, 2)})
	})
	if changed != nil {
		t.Fatal(changed)
	}
	if issued > 1 || issued+acquired+superseded != callers || issued == 0 && acquired > 0 {
		t.Fatalf("%d issued, %d already acquired, %d superseded", issued, acquired, superseded)
	}
	// The new code is the same person; the old one no longer resolves; what agencies hold stays valid.
	again, err := c.Core.IssueSymbol(t.Context(), c.IssueCommand("a", 2))
	if err != nil || again.AlreadyAcquired != (issued == 1) {
		t.Fatalf("new code: already acquired %v, %v", again.AlreadyAcquired, err)
	}
	if _, err := c.Core.IssueSymbol(t.Context(), c.IssueCommand("a", 1)); !errors.Is(err, commands.ErrSuperseded) {
		t.Fatalf("old code: %v", err)
	}
	if a, err := c.Core.SubmitInquiry(t.Context(), c.Inquiry("b", "a", before)); err != nil || a.Refusal != 0 {
		t.Fatalf("a symbol from before the change: %q %v", a.Refusal.Code(), err)
	}
	if err := c.CaughtUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	if counts, err := c.Dedup.Counts(); err != nil || counts.People != 1 {
		t.Fatalf("%d people: %v", counts.People, err)
	}
	c.Verify()
}

// storm asks for person 1's symbol at agency a from many callers at once, while something else happens.
func storm(c *nodetest.Core, meanwhile func()) (issued, acquired, superseded int) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	start := make(chan struct{})
	for range callers {
		cmd := c.IssueCommand("a", 1)
		wg.Go(func() {
			<-start
			a, err := c.Core.IssueSymbol(c.W.TB.Context(), cmd)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case errors.Is(err, commands.ErrSuperseded):
				superseded++
			case err != nil:
				c.W.TB.Errorf("issue: %v", err)
			case a.AlreadyAcquired:
				acquired++
			default:
				issued++
			}
		})
	}
	wg.Go(func() { <-start; meanwhile() })
	close(start)
	wg.Wait()
	return issued, acquired, superseded
}

func TestAChangeOntoAnotherPersonsCodeIsRefusedAndRecorded(t *testing.T) {
	w := nodetest.New(t)
	c := w.Lead("a")
	c.Register("a")
	c.Issue("a", 1)
	c.Issue("a", 2)
	change := commands.ChangeResidentCode{Meta: w.Meta("juki"), Old: nodetest.Code(t, 1), New: nodetest.Code(t, 2)}
	for range 2 { // the same command again: the same answer, no second event
		change.Old, change.New = nodetest.Code(t, 1), nodetest.Code(t, 2)
		if err := c.Core.ChangeResidentCode(t.Context(), change); !errors.Is(err, commands.ErrCodeTaken) {
			t.Fatalf("change onto another person's code: %v", err)
		}
	}
	for _, x := range []struct {
		name     string
		old, new int
		want     error
	}{
		{"nobody's code", 7, 8, commands.ErrUnknownPerson},
		{"to itself", 1, 1, commands.ErrInvalid},
		{"away", 1, 3, nil},
		{"away again with the old code", 1, 4, commands.ErrSuperseded},
		{"onto another's former code", 2, 1, commands.ErrCodeTaken},
		{"back to the own former code", 3, 1, nil},
	} {
		err := c.Core.ChangeResidentCode(t.Context(), commands.ChangeResidentCode{Meta: w.Meta("juki"), Old: nodetest.Code(t, x.old), New: nodetest.Code(t, x.new)})
		if !errors.Is(err, x.want) {
			t.Fatalf("%s: %v, want %v", x.name, err, x.want)
		}
	}
	all := c.Verify()
	if n, m := nodetest.Count(all, event.TypeResidentCodeChanged), nodetest.Count(all, event.TypeResidentCodeChangeRefused); n != 2 || m != 2 {
		t.Fatalf("%d changes and %d refusals recorded", n, m)
	}
}

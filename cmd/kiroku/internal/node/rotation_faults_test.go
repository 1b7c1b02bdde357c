package node_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"kiroku/cmd/kiroku/internal/node"
	"kiroku/cmd/kiroku/internal/node/nodetest"
	"kiroku/commands"
	"kiroku/domain/event"
	"kiroku/domain/keyring"
	"kiroku/domain/ledger"
)

// liar is a store, and a register's view, that answers what commands read back wrongly.
type liar struct {
	commands.Store
	commands.Register
	events atomic.Pointer[func(stream string, from uint64, events []ledger.Event) []ledger.Event]
	people atomic.Pointer[func(headers [][]byte) [][]byte]
}

func (l *liar) ports(d *commands.Deps) {
	l.Store, l.Register = d.Store, d.Register
	d.Store, d.Register = l, l
}

func (l *liar) ReadForward(ctx context.Context, stream string, from uint64, limit int) ([]ledger.Event, error) {
	events, err := l.Store.ReadForward(ctx, stream, from, limit)
	if lie := l.events.Load(); lie != nil && err == nil {
		events = (*lie)(stream, from, events)
	}
	return events, err
}

func (l *liar) People(from []byte, limit int) ([][]byte, []byte, error) {
	headers, next, err := l.Register.People(from, limit)
	if lie := l.people.Load(); lie != nil && err == nil {
		headers = (*lie)(headers)
	}
	return headers, next, err
}

func (l *liar) honest() {
	l.events.Store(nil)
	l.people.Store(nil)
}

// hasRoot reports whether the token holds the root key of a generation.
func hasRoot(c *nodetest.Core, generation int) bool {
	c.W.TB.Helper()
	keys, err := c.HSM.Keys(c.W.TB.Context())
	if err != nil {
		c.W.TB.Fatal(err)
	}
	for _, k := range keys {
		if k.Label == keyring.RootLabel(generation) {
			return true
		}
	}
	return false
}

// scene is a register of four people, one of whom is to be deleted.
type scene struct {
	*nodetest.Core
	liar     *liar
	deletion commands.Deletion
	entries  []ledger.Event // the sealed ones
	keyIDs   []string       // theirs
	gone     []uint64       // revisions of the deleted person's
}

func newScene(t *testing.T) *scene {
	s := &scene{liar: &liar{}}
	s.Core = nodetest.New(t).Lead("a", oneBucket, patient, func(c *node.Config) { c.CommandPorts = s.liar.ports })
	s.Register("a")
	for person := range 4 {
		s.Issue("a", person)
	}
	s.deletion = requestDeletion(s.Core, 0)
	for _, e := range eventsOf(s.Core, event.StreamIssuance) {
		if h, _, _, err := ledger.DecodeMetadata(e.Metadata); err != nil {
			t.Fatal(err)
		} else if h.Sealed() {
			s.entries, s.keyIDs = append(s.entries, e), append(s.keyIDs, h.KeyID)
		}
	}
	s.gone = entriesOf(s.Core)[personAt(s.Core, s.deletion.Revision)]
	return s
}

// issuance makes a lie about one page of the register.
func issuance(lie func(from uint64, events []ledger.Event) []ledger.Event) func(string, uint64, []ledger.Event) []ledger.Event {
	return func(stream string, from uint64, events []ledger.Event) []ledger.Event {
		if stream == event.StreamIssuance && len(events) > 1 { // of one event, a request or an outcome is read back
			return lie(from, events)
		}
		return events
	}
}

// TestARotationBelievesNoStore: whatever the store or the view answers wrongly, nobody is lost. The rotation stops, the old
// root key stays, and with right answers it comes to its end.
func TestARotationBelievesNoStore(t *testing.T) {
	for name, lie := range map[string]struct {
		events func(s *scene) func(string, uint64, []ledger.Event) []ledger.Event
		people func(s *scene) func([][]byte) [][]byte
		says   string
	}{
		"an event with the key id of another person's": {says: "chain-break", events: func(s *scene) func(string, uint64, []ledger.Event) []ledger.Event {
			return issuance(func(from uint64, events []ledger.Event) []ledger.Event {
				return replaced(events, s.entries[2].Revision, func(e *ledger.Event) {
					e.Metadata = bytes.Replace(bytes.Clone(e.Metadata), []byte(s.keyIDs[2]), []byte(s.keyIDs[1]), 1)
				})
			})
		}},
		"an event with another's metadata": {says: "revision", events: func(s *scene) func(string, uint64, []ledger.Event) []ledger.Event {
			return issuance(func(from uint64, events []ledger.Event) []ledger.Event {
				return replaced(events, s.entries[2].Revision, func(e *ledger.Event) { *e = s.entries[1] })
			})
		}},
		"an event left out": {says: "missing", events: func(s *scene) func(string, uint64, []ledger.Event) []ledger.Event {
			return issuance(func(from uint64, events []ledger.Event) []ledger.Event {
				return slices.DeleteFunc(slices.Clone(events), func(e ledger.Event) bool { return e.Revision == s.entries[2].Revision })
			})
		}},
		"the end left out": {says: "the store gives 0 events", events: func(s *scene) func(string, uint64, []ledger.Event) []ledger.Event {
			return func(stream string, from uint64, events []ledger.Event) []ledger.Event {
				if stream != event.StreamIssuance || from == s.deletion.Revision {
					return events
				}
				return slices.DeleteFunc(slices.Clone(events), func(e ledger.Event) bool { return e.Revision >= s.entries[3].Revision })
			}
		}},
		"the end of the vault left out": {says: "tail", events: func(s *scene) func(string, uint64, []ledger.Event) []ledger.Event {
			return func(stream string, _ uint64, events []ledger.Event) []ledger.Event {
				return slices.DeleteFunc(slices.Clone(events), func(e ledger.Event) bool { return e.Type == event.TypeSubjectKeysStored })
			}
		}},
		"people whom the view lacks": {says: "do not name the same people", people: func(*scene) func([][]byte) [][]byte {
			return func(headers [][]byte) [][]byte { return headers[:1] }
		}},
		"people whom the view has twice": {says: "do not name the same people", people: func(*scene) func([][]byte) [][]byte {
			return func(headers [][]byte) [][]byte { return append(slices.Clone(headers), headers...) }
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			if lie.events != nil {
				f := lie.events(s)
				s.liar.events.Store(&f)
			}
			if lie.people != nil {
				f := lie.people(s)
				s.liar.people.Store(&f)
			}
			_, err := s.Core.Core.RotateVault(t.Context(), commands.RotateVault{Meta: s.W.Meta(""), Deletions: []commands.Deletion{s.deletion}}, nil)
			if err == nil || !strings.Contains(err.Error(), lie.says) {
				t.Errorf("rotated: %v", err)
			}
			if !hasRoot(s.Core, 1) || s.Keyring.Generation() != 1 {
				t.Fatalf("generation %d, the old root key is there: %v", s.Keyring.Generation(), hasRoot(s.Core, 1))
			}
			opensButFor(t, s.Keyring, eventsOf(s.Core, event.StreamIssuance), nil)
			s.liar.honest()
			if err := s.Core.Core.ResumeRotation(t.Context()); err != nil {
				t.Fatal(err)
			}
			if hasRoot(s.Core, 1) || s.Keyring.Generation() != 2 {
				t.Errorf("resumed: generation %d, the old root key is there: %v", s.Keyring.Generation(), hasRoot(s.Core, 1))
			}
			opensButFor(t, s.Keyring, eventsOf(s.Core, event.StreamIssuance), s.gone)
			rebuildsEqually(s.Core)
			s.Verify()
		})
	}
}

func replaced(events []ledger.Event, revision uint64, change func(*ledger.Event)) []ledger.Event {
	events = slices.Clone(events)
	for i := range events {
		if events[i].Revision == revision {
			change(&events[i])
		}
	}
	return events
}

// TestNoRootIsDestroyedThatSomebodyNeeds: a core that finds a generation complete looks itself whether it opens everybody.
func TestNoRootIsDestroyedThatSomebodyNeeds(t *testing.T) {
	s := newScene(t)
	lie := func(headers [][]byte) [][]byte {
		if s.Keyring.Generation() == 1 {
			return headers
		}
		headers = slices.Clone(headers)
		_, header, _, err := ledger.DecodeMetadata(s.entries[0].Metadata) // of the deleted, as if nobody had deleted them
		if err != nil {
			t.Error(err)
		}
		return append(headers, header)
	}
	s.liar.people.Store(&lie)
	_, err := s.Core.Core.RotateVault(t.Context(), commands.RotateVault{Meta: s.W.Meta(""), Deletions: []commands.Deletion{s.deletion}}, nil)
	if !errors.Is(err, commands.ErrRootNotDestroyed) || !errors.Is(err, commands.ErrRegisterDiffers) {
		t.Errorf("rotated: %v", err)
	}
	if !hasRoot(s.Core, 1) {
		t.Error("the old root key is gone")
	}
	s.liar.honest()
	if err := s.Core.Core.ResumeRotation(t.Context()); err != nil || hasRoot(s.Core, 1) {
		t.Errorf("resumed: %v, the old root key is there: %v", err, hasRoot(s.Core, 1))
	}
}

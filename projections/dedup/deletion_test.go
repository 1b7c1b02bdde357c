package dedup_test

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"kiroku/domain/event"
	"kiroku/projections/dedup"
	"kiroku/projections/projectiontest"
)

// registerLedger is a ledger in which people are issued symbols, change their codes and are deleted.
type registerLedger struct {
	t      *rapid.T
	ledger *projectiontest.Ledger
	at     time.Time
	people []*entrant
	events byte
	shreds []string // keys that are destroyed by the end
	vaults int
}

type entrant struct {
	id, linkage, code byte
	agencies          int
	deleted           bool
}

func (r *registerLedger) append(stream, eventType, key string, compose func(event.Command) any) {
	r.events++
	r.at = r.at.Add(time.Duration(rapid.IntRange(1, 40).Draw(r.t, "hours")) * time.Hour)
	c := event.Command{ID: uuid.UUID{0: 7, 15: r.events}, Actor: event.Actor{Identity: "a"}, Digest: bytes.Repeat([]byte{r.events}, 16)}
	f := projectiontest.Fact{Type: eventType, ID: event.IDOf(event.CommandKey("a", c.ID), 0), Time: r.at, Payload: compose(c), Key: key}
	if err := r.ledger.Append(stream, f); err != nil {
		r.t.Fatal(err)
	}
}

func (p *entrant) key() string { return "subject/" + string('a'+rune(p.id)) }

func (r *registerLedger) issue(p *entrant) {
	p.agencies++
	r.append(event.StreamIssuance, event.TypeSymbolIssued, p.key(), func(c event.Command) any {
		return event.SymbolIssued{Command: c, NewPerson: p.agencies == 1,
			Subject:  event.Subject{ID: filled(p.id, 16), Linkage: filled(p.linkage, 16), LinkageVersion: 1, Management: filled(p.code, 32), IndexVersion: 1},
			Issuance: event.Issuance{Agency: string('A' + rune(p.agencies)), Parameter: filled(1, 16), Scheme: 1, At: r.at.UnixMicro()}}
	})
}

// come has somebody come into the register: with a code that nobody has, though somebody deleted may have had it.
func (r *registerLedger) come() {
	id := byte(len(r.people) + 1)
	p := &entrant{id: id, linkage: 100 + id, code: id}
	for _, q := range r.people {
		if q.deleted && rapid.Bool().Draw(r.t, "code of a deleted person") && !r.taken(q.code) {
			p.code = q.code
		}
	}
	r.people = append(r.people, p)
	r.issue(p)
}

func (r *registerLedger) taken(code byte) bool {
	for _, p := range r.people {
		if p.code == code && !p.deleted {
			return true
		}
	}
	return false
}

func (r *registerLedger) step() {
	var living []*entrant
	for _, p := range r.people {
		if !p.deleted {
			living = append(living, p)
		}
	}
	if len(living) == 0 {
		r.come()
		return
	}
	p := rapid.SampledFrom(living).Draw(r.t, "person")
	switch rapid.IntRange(0, 6).Draw(r.t, "step") {
	case 0, 1:
		r.come()
	case 2:
		r.issue(p)
	case 3:
		r.append(event.StreamIssuance, event.TypeSymbolAlreadyAcquired, p.key(), func(c event.Command) any {
			return event.SymbolAlreadyAcquired{Command: c, Subject: filled(p.id, 16), Issuance: event.Issuance{Agency: "A", Parameter: filled(1, 16)}}
		})
	case 4:
		old := p.code
		p.code = 200 + r.events%50
		if r.taken(p.code) && p.code != old {
			p.code = old
		}
		r.append(event.StreamIssuance, event.TypeResidentCodeChanged, p.key(), func(c event.Command) any {
			return event.ResidentCodeChanged{Command: c, Subject: filled(p.id, 16), OldManagement: filled(old, 32), Management: filled(p.code, 32), IndexVersion: 1}
		})
	case 5:
		r.append(event.StreamIssuance, event.TypeDeletionRequested, p.key(), func(c event.Command) any {
			return event.DeletionRequested{Command: c, Subject: filled(p.id, 16), Number: "1", Salt: filled(9, 32), Reason: "x"}
		})
	case 6:
		p.deleted = true
		r.shreds = append(r.shreds, p.key())
		r.vaults++
		r.append(event.StreamVault, event.TypeVaultCompleted, "", func(event.Command) any {
			return event.VaultCompleted{Generation: r.vaults + 1, Deleted: [][]byte{filled(p.id, 16)}}
		})
	}
}

// TestDeletionsConverge: whoever followed a deletion, in whatever order the streams came and however late what was opened
// before, has the rows that a rebuild makes, to which the events of the deleted are unreadable.
func TestDeletionsConverge(t *testing.T) {
	streams := []string{event.StreamIssuance, event.StreamVault}
	rapid.Check(t, func(t *rapid.T) {
		l, err := projectiontest.New()
		check := func(err error) {
			if err != nil {
				t.Fatal(err)
			}
		}
		check(err)
		r := &registerLedger{t: t, ledger: l, at: projectiontest.Begin}
		for range rapid.IntRange(1, 40).Draw(t, "events") {
			r.step()
		}
		before, err := projectiontest.Read(context.Background(), l, streams...)
		check(err)
		for _, key := range r.shreds {
			l.Destroy(key)
		}
		after, err := projectiontest.Read(context.Background(), l, streams...)
		check(err)
		rebuilt, err := dedup.Open(&projectiontest.Memory{}, l)
		check(err)
		for _, s := range rapid.Permutation(streams).Draw(t, "order") {
			check(after.Apply(rebuilt, s, 0, len(after[s])))
		}

		view := &projectiontest.Memory{}
		live, err := dedup.Open(view, l)
		check(err)
		for unfinished := true; unfinished; {
			unfinished = false
			for _, s := range streams {
				at, err := live.Checkpoint(s)
				check(err)
				course := before
				if rapid.IntRange(0, 3).Draw(t, "unreadable already") == 0 {
					course = after
				}
				check(course.Apply(live, s, int(at.Next), rapid.IntRange(0, 12).Draw(t, "batch")))
				unfinished = unfinished || int(at.Next) < len(course[s])
			}
			if rapid.IntRange(0, 5).Draw(t, "restart") == 0 {
				live, err = dedup.Open(view, l)
				check(err)
			}
		}
		expected, err := projectiontest.Dump(rebuilt.Rows())
		check(err)
		got, err := projectiontest.Dump(live.Rows())
		check(err)
		if got != expected {
			t.Fatalf("the rows differ:\n%s\nrebuilt:\n%s", got, expected)
		}
	})
}

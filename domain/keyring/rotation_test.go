package keyring_test

import (
	"errors"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"kiroku/domain/event"
	"kiroku/domain/keyring"
	"kiroku/domain/ledger"
	"kiroku/domain/register"
)

// world is a ledger's vault, its people and what was sealed for them.
type world struct {
	*bed
	failed  func(string, ...any)
	buckets int
	events  []any // of the vault stream
	people  []*somebody
}

type somebody struct {
	id      register.SubjectID
	drafts  []ledger.Draft
	deleted int // with which generation; 0: lives
}

func newWorld(t testing.TB, buckets int) *world {
	w := &world{bed: newBed(t), buckets: buckets, failed: t.Fatalf}
	o, err := w.NewVault(t.Context(), buckets)
	w.must(err)
	w.append(o)
	for first := 0; first < buckets; first += 3 {
		s, err := w.NewBucketKeys(t.Context(), o, first, min(3, buckets-first))
		w.must(err)
		w.append(s)
	}
	return w
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.failed("%v", err)
	}
}

// append takes an event into the ledger and into the keyring.
func (w *world) append(payload any) {
	w.Helper()
	w.events = append(w.events, payload)
	w.must(feed(w, w.Keyring, payload))
}

func feed(t testing.TB, k *keyring.Keyring, payload any) error {
	switch e := payload.(type) {
	case event.VaultOpened:
		if err := k.OpenVault(t.Context(), e); err != nil && !errors.Is(err, keyring.ErrShredded) {
			return err
		}
		return nil
	case event.BucketKeysStored:
		_, err := k.LoadBucketKeys(e)
		return err
	case event.SubjectKeysStored:
		return k.LoadSubjectKeys(e)
	case event.VaultCompleted:
		return k.CompleteVault(e)
	}
	return fmt.Errorf("no event of the vault: %T", payload)
}

// again loads the vault from the ledger into a keyring that knows nothing.
func (w *world) again() {
	w.Helper()
	w.restart()
	for _, e := range w.events {
		w.must(feed(w, w.Keyring, e))
	}
}

func (w *world) issue(p *somebody) {
	w.Helper()
	var s *keyring.Subject
	if len(p.drafts) == 0 {
		s = w.NewSubject()
		p.id = s.ID
	} else {
		var err error
		s, err = w.SubjectOf(p.drafts[0].KeyID)
		w.must(err)
	}
	defer s.Destroy()
	p.drafts = append(p.drafts, w.sealSubject(s, "of a person"))
}

func (w *world) newcomer() *somebody {
	p := &somebody{}
	w.issue(p)
	w.people = append(w.people, p)
	return p
}

// rotate makes the next generation; between its steps something else happens.
func (w *world) rotate(deleted []*somebody, between func()) {
	w.Helper()
	generation := w.Generation() + 1
	w.token.put(keyring.RootLabel(generation))
	var ids []register.SubjectID
	for _, p := range deleted {
		ids = append(ids, p.id)
	}
	o, err := w.NextVault(w.Context(), ids, nil)
	w.must(err)
	w.append(o)
	between()
	for first := 0; first < w.buckets; first += 3 {
		s, err := w.NewBucketKeys(w.Context(), o, first, min(3, w.buckets-first))
		w.must(err)
		w.append(s)
		if first+3 < w.buckets {
			between()
		}
	}
	before := len(w.people)
	for _, p := range deleted {
		p.deleted = generation
	}
	between() // sealed under the new generation already
	w.move(generation, before)
	between()
	w.append(event.VaultCompleted{Generation: generation, Deleted: o.Deleted})
	w.token.destroy(keyring.RootLabel(generation - 1))
}

func (w *world) move(generation, people int) {
	var seen keyring.Seen
	for _, p := range w.people {
		for _, d := range p.drafts {
			m, moves, err := w.Move(d.KeyID, &seen)
			w.must(err)
			if m.Deleted != (moves && p.deleted == generation) {
				w.failed("deleted: %v, and told as %v", p.deleted, m.Deleted)
			}
			if m.Key != nil {
				w.append(event.SubjectKeysStored{Generation: generation, Bucket: m.Bucket, Keys: [][]byte{m.Key}})
			}
		}
	}
}

// check opens everything: of the living all, of the deleted none.
func (w *world) check(k *keyring.Keyring) {
	w.Helper()
	for _, p := range w.people {
		for _, d := range p.drafts {
			plain, err := k.Open(w.Context(), header(d), d.Data)
			switch {
			case p.deleted != 0 && p.deleted <= k.Generation():
				if !errors.Is(err, keyring.ErrShredded) || errors.Is(err, keyring.ErrWrongKey) {
					w.failed("an event of a deleted person: %v", err)
				}
			case err != nil || string(plain) != "of a person":
				w.failed("an event of a living person under generation %d: %v", k.Generation(), err)
			}
		}
	}
}

// TestWhoLivesIsReadAndWhoIsDeletedIsNot: any sequence of issuances, rotations and deletions leaves every event of every
// living person readable, none of a deleted one's; also to who reads the vault from its beginning.
func TestWhoLivesIsReadAndWhoIsDeletedIsNot(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		w := newWorld(t, rapid.IntRange(1, 5).Draw(r, "buckets"))
		w.failed = r.Fatalf
		living := func() (all []*somebody) {
			for _, p := range w.people {
				if p.deleted == 0 {
					all = append(all, p)
				}
			}
			return all
		}
		issue := func() {
			for range rapid.IntRange(0, 3).Draw(r, "issuances") {
				if l := living(); len(l) > 0 && rapid.Bool().Draw(r, "known") {
					w.issue(rapid.SampledFrom(l).Draw(r, "person"))
					continue
				}
				w.newcomer()
			}
		}
		for range rapid.IntRange(1, 6).Draw(r, "steps") {
			issue()
			if rapid.Bool().Draw(r, "rotate") {
				var gone []*somebody
				for _, p := range living() {
					if rapid.IntRange(0, 3).Draw(r, "delete") == 0 {
						gone = append(gone, p)
					}
				}
				w.rotate(gone, func() {
					issue()
					w.check(w.Keyring)
					if rapid.IntRange(0, 3).Draw(r, "restart") == 0 {
						w.again()
						w.check(w.Keyring)
					}
				})
			}
			w.check(w.Keyring)
			w.again()
			w.check(w.Keyring)
		}
	})
}

// TestAnOldCopyOpensNothing: who has the vault as it was before, and the token as it is now, opens nothing with it. Nor
// do they open anything of the deleted with every key that there is now.
func TestAnOldCopyOpensNothing(t *testing.T) {
	w := newWorld(t, 1) // everybody in one bucket
	one, other := w.newcomer(), w.newcomer()
	w.check(w.Keyring)
	copied := append([]any{}, w.events...)
	open := func(events []any) *keyring.Keyring {
		w.restart()
		for _, e := range events {
			w.must(feed(w, w.Keyring, e))
		}
		return w.Keyring
	}
	if k := open(copied); !k.VaultReady() {
		t.Fatal("the control: the copy opens before the rotation")
	}
	w.check(w.Keyring)
	w.rotate([]*somebody{one}, func() {})
	w.check(w.Keyring)
	if k := open(copied); k.VaultReady() {
		t.Error("the copy's vault opens under the live token")
	}
	for _, d := range append(one.drafts, other.drafts...) {
		w.refuses(d, keyring.ErrVaultNotOpen, keyring.ErrShredded)
	}
	w.again()
	w.opens(other.drafts[0], "of a person")
	forged := one.drafts[0] // as if it had been sealed under the new generation
	forged.KeyID = "subject/2/" + forged.KeyID[len("subject/1/"):]
	w.refuses(forged, keyring.ErrWrongKey)
}

func TestNothingIsSealedForTheDeleted(t *testing.T) {
	w := newWorld(t, 2)
	p, q := w.newcomer(), w.newcomer()
	s, err := w.SubjectOf(p.drafts[0].KeyID)
	w.must(err)
	defer s.Destroy()
	seal := func() error {
		_, err := w.SealSubject(s, aad(event.StreamIssuance, event.TypeSymbolIssued, noon), nil)
		return err
	}
	if w.Deleted(p.id) {
		t.Error("deleted before the rotation")
	}
	times := 0
	w.rotate([]*somebody{p}, func() {
		times++
		if !w.Deleted(p.id) || w.Deleted(q.id) {
			t.Error("who is being deleted, and who is not, does not show")
		}
		if r, ok := w.Rotating(); !ok || r.Whole() != errors.Is(seal(), keyring.ErrDeleted) {
			t.Errorf("sealed with the generation whole %v: %v", r.Whole(), seal())
		}
		if now := q.drafts[0].KeyID; w.SealsNow(now) == errors.Is(seal(), keyring.ErrDeleted) {
			t.Error("an old key id is told as one that seals now, or the other way round")
		}
	})
	if err := seal(); !errors.Is(err, keyring.ErrDeleted) || times != 3 {
		t.Errorf("sealed for a deleted person, or %d steps: %v", times, err)
	}
	if _, err := w.SubjectOf(p.drafts[0].KeyID); !errors.Is(err, keyring.ErrShredded) {
		t.Errorf("the key of a deleted person: %v", err)
	}
	if _, ok := w.Rotating(); ok {
		t.Error("still rotating")
	}
}

func TestAGenerationComesAsAnnounced(t *testing.T) {
	w := newWorld(t, 4)
	p := w.newcomer()
	for range 5 {
		w.newcomer()
	}
	w.token.put(keyring.RootLabel(2))
	o, err := w.NextVault(t.Context(), []register.SubjectID{p.id}, nil)
	w.must(err)
	for name, change := range map[string]func(*event.VaultOpened){
		"a generation left out":  func(o *event.VaultOpened) { o.Generation = 3 },
		"another number":         func(o *event.VaultOpened) { o.Buckets++ },
		"a bucket twice":         func(o *event.VaultOpened) { o.Rotated = append(o.Rotated, o.Rotated...) },
		"no such bucket":         func(o *event.VaultOpened) { o.Rotated = append(o.Rotated, 4) },
		"nobody's locator":       func(o *event.VaultOpened) { o.Deleted = [][]byte{make([]byte, 44)} },
		"half a locator":         func(o *event.VaultOpened) { o.Deleted = [][]byte{o.Deleted[0][:40]} },
		"a bucket that stays":    func(o *event.VaultOpened) { o.Rotated = nil },
		"the root before":        func(o *event.VaultOpened) { o.Root = keyring.LabelVault },
		"the random of nobody":   func(o *event.VaultOpened) { o.Random = make([]byte, 32) },
		"another locator key":    func(o *event.VaultOpened) { o.Locator = make([]byte, 60) },
		"a commitment cut short": func(o *event.VaultOpened) { o.Commitment = o.Commitment[:8] },
	} {
		changed := o
		change(&changed)
		if err := w.OpenVault(t.Context(), changed); !errors.Is(err, keyring.ErrWrongKey) || errors.Is(err, keyring.ErrShredded) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, ok := w.Rotating(); ok {
		t.Error("a refused generation is being made")
	}
	w.append(o)
	kept := o
	kept.Rotated = nil // then the key of every bucket stays, though one is announced as another
	s, err := w.NewBucketKeys(t.Context(), kept, 0, 4)
	w.must(err)
	if _, err := w.LoadBucketKeys(s); !errors.Is(err, keyring.ErrWrongKey) {
		t.Errorf("a bucket that keeps its key: %v", err)
	}
	changed := o
	changed.Rotated = []int{0, 1, 2, 3}
	s, err = w.NewBucketKeys(t.Context(), changed, 0, 4)
	w.must(err)
	if _, err := w.LoadBucketKeys(s); !errors.Is(err, keyring.ErrWrongKey) {
		t.Errorf("a bucket with another key, which is not announced: %v", err)
	}
	if err := w.CompleteVault(event.VaultCompleted{Generation: 2}); !errors.Is(err, keyring.ErrVaultNotOpen) {
		t.Errorf("completed without bucket keys: %v", err)
	}
	w.check(w.Keyring)
}

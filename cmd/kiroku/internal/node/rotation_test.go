package node_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"kiroku/adapters/hsm"
	"kiroku/adapters/hsm/hsmtest"
	"kiroku/cmd/kiroku/internal/node"
	"kiroku/cmd/kiroku/internal/node/nodetest"
	"kiroku/commands"
	"kiroku/domain/event"
	"kiroku/domain/inquiry"
	"kiroku/domain/keyring"
	"kiroku/domain/ledger"
	"kiroku/domain/register"
	"kiroku/domain/symbol"
)

// entriesOf returns the revisions of each person's entries in the register, as far as they can be read.
func entriesOf(c *nodetest.Core) map[register.SubjectID][]uint64 {
	c.W.TB.Helper()
	out := map[register.SubjectID][]uint64{}
	for _, e := range eventsOf(c, event.StreamIssuance) {
		h, _, _, err := ledger.DecodeMetadata(e.Metadata)
		if err != nil {
			c.W.TB.Fatal(err)
		}
		if !h.Sealed() {
			continue
		}
		s, err := c.Keyring.SubjectOf(h.KeyID)
		if errors.Is(err, keyring.ErrShredded) {
			continue
		}
		if err != nil {
			c.W.TB.Fatal(err)
		}
		out[s.ID] = append(out[s.ID], e.Revision)
		s.Destroy()
	}
	return out
}

// personAt returns whose entry stands at a revision.
func personAt(c *nodetest.Core, revision uint64) register.SubjectID {
	c.W.TB.Helper()
	for id, revisions := range entriesOf(c) {
		if slices.Contains(revisions, revision) {
			return id
		}
	}
	c.W.TB.Fatalf("nobody's entry stands at %d", revision)
	return register.SubjectID{}
}

// opensButFor checks what a keyring opens of the register: everything but the entries given.
func opensButFor(tb testing.TB, k *keyring.Keyring, events []ledger.Event, closed []uint64) {
	tb.Helper()
	for revision, err := range opened(tb, k, events) {
		switch gone := slices.Contains(closed, revision); {
		case gone && !errors.Is(err, keyring.ErrShredded):
			tb.Errorf("entry %d of the deleted person: %v", revision, err)
		case !gone && err != nil:
			tb.Errorf("entry %d of another person: %v", revision, err)
		}
	}
}

// TestACopyFromBeforeOpensNothingOfTheDeleted, with the token as it is now: and with the vault of the copy nothing at all.
func TestACopyFromBeforeOpensNothingOfTheDeleted(t *testing.T) {
	w := nodetest.New(t)
	c := w.Lead("a", oneBucket)
	c.Register("a", "b")
	for person := range 5 {
		c.Issue("a", person)
	}
	c.Issue("b", 1)
	d := requestDeletion(c, 1)
	gone := entriesOf(c)[personAt(c, d.Revision)]
	if len(gone) != 3 {
		t.Fatalf("%d entries of the person", len(gone))
	}
	copied := archive{eventsOf(c, event.StreamIssuance), eventsOf(c, event.StreamVault)}
	if k, err := copied.keyring(t, w.Token, copied.vault); err != nil {
		t.Fatal(err)
	} else {
		opensButFor(t, k, copied.issuance, nil) // the control: before, all of it opens
	}
	rotate(c, d)
	if _, err := copied.keyring(t, w.Token, copied.vault); !errors.Is(err, keyring.ErrShredded) {
		t.Errorf("the vault of the copy: %v", err)
	}
	now, err := copied.keyring(t, w.Token, eventsOf(c, event.StreamVault))
	if err != nil {
		t.Fatal(err)
	}
	opensButFor(t, now, copied.issuance, gone)
	opensButFor(t, c.Keyring, eventsOf(c, event.StreamIssuance), gone)
}

// archive is a copy of the register and the vault.
type archive struct{ issuance, vault []ledger.Event }

// keyring reads a vault with the token as it is.
func (a archive) keyring(t *testing.T, token hsmtest.Token, vault []ledger.Event) (*keyring.Keyring, error) {
	t.Helper()
	k, err := keyring.New(t.Context(), hsmtest.Reopen(t, token), nil, keyring.Options{KeyGone: func(err error) bool { return errors.Is(err, hsm.ErrNoKey) }})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range vault {
		switch e.Type {
		case event.TypeVaultOpened:
			o, err2 := event.Decode[event.VaultOpened](e.Data)
			err = errors.Join(err2, k.OpenVault(t.Context(), o))
		case event.TypeBucketKeysStored:
			s, err2 := event.Decode[event.BucketKeysStored](e.Data)
			_, err = k.LoadBucketKeys(s)
			err = errors.Join(err, err2)
		case event.TypeSubjectKeysStored:
			s, err2 := event.Decode[event.SubjectKeysStored](e.Data)
			err = errors.Join(k.LoadSubjectKeys(s), err2)
		case event.TypeVaultCompleted:
			s, err2 := event.Decode[event.VaultCompleted](e.Data)
			err = errors.Join(k.CompleteVault(s), err2)
		}
		if err != nil && !errors.Is(err, keyring.ErrShredded) {
			t.Fatal(err)
		}
	}
	if !k.VaultReady() {
		return k, keyring.ErrShredded
	}
	return k, nil
}

// interrupter ends a rotation at one of its boundaries: between two steps, before or after a call of the token.
type interrupter struct {
	commands.VaultKeys
	at, passed int // ends at the boundary numbered at
	end        func()
	names      []string
}

var errEnded = errors.New("ended here")

func (i *interrupter) boundary(name string) error {
	i.names = append(i.names, name)
	i.passed++
	if i.passed > i.at {
		i.end()
		return fmt.Errorf("%s: %w", name, errEnded)
	}
	return nil
}

func (i *interrupter) EnsureKey(ctx context.Context, label string) error {
	return errors.Join(i.boundary("before the new root key is made"), i.unlessEnded(func() error { return i.VaultKeys.EnsureKey(ctx, label) }), i.boundary("after the new root key was made"))
}

func (i *interrupter) Destroy(ctx context.Context, label string) error {
	return errors.Join(i.boundary("before the old root key is destroyed"), i.unlessEnded(func() error { return i.VaultKeys.Destroy(ctx, label) }), i.boundary("after the old root key was destroyed"))
}

// unlessEnded does something if the end has not come.
func (i *interrupter) unlessEnded(do func() error) error {
	if i.passed > i.at {
		return errEnded
	}
	return do()
}

// TestARotationEndedAnywhereIsFinishedByTheNextCore: whatever step a core stops at, the one that stood by takes over, goes
// on, and comes to the same end.
func TestARotationEndedAnywhereIsFinishedByTheNextCore(t *testing.T) {
	for at, boundaries := 0, 1; at <= boundaries; at++ { // the last one is not interrupted
		t.Run(fmt.Sprintf("boundary %d", at), func(t *testing.T) {
			w := nodetest.New(t)
			ctx, cancel := context.WithCancel(t.Context())
			i := &interrupter{at: at, end: cancel}
			c := w.Lead("a", patient, func(n *node.Config) {
				n.VaultBuckets = 2
				i.VaultKeys = node.VaultKeysOf(n.HSM)
				n.VaultKeys = i
			})
			c.Register("a", "b")
			held := map[int]symbol.Agency{}
			for person := range 6 {
				held[person] = c.Issue("a", person)
			}
			d, e := requestDeletion(c, 1), requestDeletion(c, 2)
			entries := entriesOf(c)
			gone := append(slices.Clone(entries[personAt(c, d.Revision)]), entries[personAt(c, e.Revision)]...)
			next := w.Open("b", func(n *node.Config) { n.RotationInterval = 20 * time.Millisecond })
			_, err := c.Core.RotateVault(ctx, commands.RotateVault{Meta: w.Meta(""), Deletions: []commands.Deletion{d, e}}, func(s commands.RotationStep) { _ = i.boundary(s.Step) })
			if boundaries = len(i.names); i.passed <= at {
				boundaries = at
			}
			if (err == nil) != (i.passed <= at) {
				t.Fatalf("interrupted after %q: %v", i.names, err)
			}
			c.Stop()
			next.WaitLead()
			begun := len(i.names) > 2 || i.passed <= at
			finished(next)
			if !begun || next.Keyring.Generation() == 1 { // nothing durable had happened: it is begun anew
				rotate(next, d, e)
			}
			opensButFor(t, next.Keyring, eventsOf(next, event.StreamIssuance), gone)
			for person, s := range held {
				a, err := next.Core.SubmitInquiry(t.Context(), next.Inquiry("a", "b", s))
				want := inquiry.ProviderHasNoSymbol
				if person == 1 || person == 2 {
					want = inquiry.UnknownPerson
				}
				if err != nil || a.Refusal != want {
					t.Errorf("person %d: %q, %v", person, a.Refusal.Code(), err)
				}
			}
			if n := nodetest.Count(next.Verify(), event.TypeVaultRotated); n != 1 || next.Keyring.Generation() != 2 {
				t.Errorf("%d certificates, generation %d after %q", n, next.Keyring.Generation(), i.names)
			}
			rebuildsEqually(next)
		})
	}
}

// finished waits until no rotation is under way.
func finished(c *nodetest.Core) {
	c.W.TB.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; {
		if _, rotating := c.Core.Vault(); !rotating {
			return
		}
		if time.Now().After(deadline) {
			c.W.TB.Fatalf("the rotation does not come to its end: %v\n%s", c.RotationFailed(), c.W.Logs)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// TestIssuancesGoOnWhileTheVaultIsRotated, in the very buckets that are rotated: nobody is lost, and nobody but who is being
// deleted is kept waiting.
func TestIssuancesGoOnWhileTheVaultIsRotated(t *testing.T) {
	w := nodetest.New(t)
	c := w.Lead("a", patient, func(n *node.Config) { n.VaultBuckets = 2 })
	c.Register("a", "b")
	standby := w.Open("b", patient)
	const doomed = 6
	old := map[int]symbol.Agency{}
	var deletions []commands.Deletion
	for person := range doomed {
		old[person] = c.Issue("a", person)
		deletions = append(deletions, requestDeletion(c, person))
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var next atomic.Int64
	next.Store(doomed)
	held := map[int]symbol.Agency{}
	stop := make(chan struct{})
	for range 16 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				person := int(next.Add(1))
				a, err := c.Core.IssueSymbol(t.Context(), c.IssueCommand("a", person))
				if err != nil {
					t.Errorf("issue: %v", err)
					return
				}
				if _, err := c.Core.IssueSymbol(t.Context(), c.IssueCommand("b", person)); err != nil {
					t.Errorf("issue to the other agency: %v", err)
					return
				}
				mu.Lock()
				held[person] = a.Symbol
				mu.Unlock()
			}
		})
	}
	for i := range 3 {
		time.Sleep(50 * time.Millisecond)
		rotate(c, deletions[2*i:2*i+2]...)
	}
	close(stop)
	wg.Wait()
	t.Logf("%d people came while the vault was rotated", len(held))
	for person, s := range held {
		if a, err := c.Core.SubmitInquiry(t.Context(), c.Inquiry("a", "b", s)); err != nil || a.Refusal != 0 {
			t.Fatalf("person %d: %q, %v", person, a.Refusal.Code(), err)
		}
	}
	for _, s := range old {
		if a, err := c.Core.SubmitInquiry(t.Context(), c.Inquiry("a", "b", s)); err != nil || a.Refusal != inquiry.UnknownPerson {
			t.Errorf("a deleted person: %q, %v", a.Refusal.Code(), err)
		}
	}
	gone := 0
	for revision, err := range opened(t, c.Keyring, eventsOf(c, event.StreamIssuance)) {
		if errors.Is(err, keyring.ErrShredded) {
			gone++
		} else if err != nil {
			t.Errorf("entry %d: %v", revision, err)
		}
	}
	if gone != 2*doomed {
		t.Errorf("%d entries are shredded, want the %d of the deleted", gone, 2*doomed)
	}
	rebuildsEqually(c)
	if err := standby.CaughtUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	rebuildsEqually(standby)
	c.Verify()
}

// refusing is a token that does not destroy.
type refusing struct {
	commands.VaultKeys
	err atomic.Pointer[error]
}

func (r *refusing) Destroy(ctx context.Context, label string) error {
	if err := r.err.Load(); err != nil {
		return *err
	}
	return r.VaultKeys.Destroy(ctx, label)
}

// TestATokenThatDoesNotDestroyIsNotPassedOver: no certificate, an alarm, and it is tried until it is done.
func TestATokenThatDoesNotDestroyIsNotPassedOver(t *testing.T) {
	w := nodetest.New(t)
	keys := &refusing{}
	refused := fmt.Errorf("destroying: %w", hsm.ErrUnavailable)
	keys.err.Store(&refused)
	c := w.Lead("a", oneBucket, func(n *node.Config) {
		keys.VaultKeys = node.VaultKeysOf(n.HSM)
		n.VaultKeys, n.RotationInterval = keys, 20*time.Millisecond
	})
	c.Register("a")
	c.Issue("a", 1)
	d := requestDeletion(c, 1)
	if _, err := c.Core.RotateVault(t.Context(), commands.RotateVault{Meta: w.Meta(""), Deletions: []commands.Deletion{d}}, nil); !errors.Is(err, commands.ErrRootNotDestroyed) || !errors.Is(err, hsm.ErrUnavailable) {
		t.Fatalf("a token that refuses: %v", err)
	}
	for c.RotationFailed() == nil {
		time.Sleep(time.Millisecond)
	}
	if _, err := c.Core.RotateVault(t.Context(), commands.RotateVault{Meta: w.Meta("")}, nil); !errors.Is(err, commands.ErrRootNotDestroyed) && !errors.Is(err, commands.ErrRotating) {
		t.Errorf("a further rotation before the old root key is gone: %v", err)
	}
	if n := nodetest.Count(c.Verify(), event.TypeVaultRotated); n != 0 || c.Keyring.Generation() != 2 {
		t.Errorf("%d certificates, generation %d", n, c.Keyring.Generation())
	}
	keys.err.Store(nil)
	finished(c)
	certified(c, d.Proposal[:], 2)
	for c.RotationFailed() != nil {
		time.Sleep(time.Millisecond)
	}
}

// TestADeletionThatWasNotApprovedAsItStandsIsRefused.
func TestADeletionThatWasNotApprovedAsItStandsIsRefused(t *testing.T) {
	w := nodetest.New(t)
	c := w.Lead("a", oneBucket)
	c.Register("a")
	c.Issue("a", 1)
	d := requestDeletion(c, 1)
	for name, change := range map[string]func(*commands.Deletion){
		"another event": func(d *commands.Deletion) { d.Revision-- },
		"no event":      func(d *commands.Deletion) { d.Revision += 7 },
		"another leaf":  func(d *commands.Deletion) { d.Leaf[3] ^= 1 },
	} {
		other := d
		change(&other)
		if _, err := c.Core.RotateVault(t.Context(), commands.RotateVault{Meta: w.Meta(""), Deletions: []commands.Deletion{other}}, nil); !errors.Is(err, commands.ErrNotApproved) {
			t.Errorf("%s: %v", name, err)
		}
	}
	asked, err := c.Core.RequestDeletion(t.Context(), deletionOf(c, 1))
	if err != nil {
		t.Fatal(err)
	}
	proposed := commands.Deletion{Proposal: asked.Hash, Revision: asked.Made.Revision, Leaf: ledger.Hash(asked.Made.Deletion)}
	if _, err := c.Core.RotateVault(t.Context(), commands.RotateVault{Meta: w.Meta(""), Deletions: []commands.Deletion{d, proposed}}, nil); !errors.Is(err, commands.ErrNotApproved) {
		t.Errorf("one that nobody approved beside one that is: %v", err)
	}
	if c.Keyring.Generation() != 1 || nodetest.Count(c.Verify(), event.TypeVaultOpened) != 1 {
		t.Error("a rotation began")
	}
}

// TestManyRotations: people come, change their codes and are deleted over several generations, a core is restarted now and
// then; the vault opens from the last root key alone.
func TestManyRotations(t *testing.T) {
	w := nodetest.New(t)
	c := w.Lead("a", patient, func(n *node.Config) { n.VaultBuckets = 3 })
	c.Register("a", "b")
	random := rand.New(rand.NewPCG(7, 7))
	held, code, fresh := map[int]symbol.Agency{}, map[int]int{}, 100
	for generation := 2; generation < 8; generation++ {
		for range 4 {
			held[fresh], code[fresh] = c.Issue("a", fresh), fresh
			fresh++
		}
		people := slices.Sorted(maps.Keys(held))
		changed := people[random.IntN(len(people))]
		err := c.Core.ChangeResidentCode(t.Context(), commands.ChangeResidentCode{Meta: w.Meta("juki"), Old: nodetest.Code(t, code[changed]), New: nodetest.Code(t, 1000+fresh)})
		if err != nil {
			t.Fatal(err)
		}
		code[changed] = 1000 + fresh
		var deletions []commands.Deletion
		for range random.IntN(3) {
			p := people[random.IntN(len(people))]
			if _, lives := held[p]; lives {
				deletions = append(deletions, requestDeletion(c, code[p]))
				delete(held, p)
			}
		}
		rotate(c, deletions...)
		if generation%2 == 0 {
			c.Stop()
			c = w.Lead(fmt.Sprintf("after generation %d", generation), patient)
		}
		if err := c.CaughtUp(t.Context()); err != nil {
			t.Fatal(err)
		}
		counts, err := c.Dedup.Counts()
		if err != nil || counts.People != int64(len(held)) || counts.Symbols != int64(len(held)) {
			t.Fatalf("generation %d: %+v for %d people, %v", generation, counts, len(held), err)
		}
		for p, s := range held {
			if a, err := c.Core.SubmitInquiry(t.Context(), c.Inquiry("a", "b", s)); err != nil || a.Refusal != inquiry.ProviderHasNoSymbol {
				t.Fatalf("generation %d, person %d: %q %v", generation, p, a.Refusal.Code(), err)
			}
			if a, err := c.Core.IssueSymbol(t.Context(), c.IssueCommand("a", code[p])); err != nil || !a.AlreadyAcquired {
				t.Fatalf("generation %d, person %d: already acquired %v, %v", generation, p, a.AlreadyAcquired, err)
			}
		}
	}
	rebuildsEqually(c)
	c.Verify()
}

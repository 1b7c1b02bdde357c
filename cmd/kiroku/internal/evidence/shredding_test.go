package evidence_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"kiroku/adapters/backup"
	"kiroku/adapters/eventstore"
	"kiroku/adapters/eventstore/embedded/embeddedtest"
	"kiroku/adapters/hsm"
	"kiroku/adapters/hsm/hsmtest"
	"kiroku/cmd/kiroku/internal/evidence/leaktest"
	"kiroku/cmd/kiroku/internal/node"
	"kiroku/cmd/kiroku/internal/node/nodetest"
	"kiroku/commands"
	"kiroku/domain/agency"
	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/domain/inquiry"
	"kiroku/domain/keyring"
	"kiroku/domain/ledger"
	"kiroku/domain/retention"
	"kiroku/domain/symbol"
)

// oneYear is a policy under which a day ends after a year and a notice of three days.
var oneYear = retention.Policy{Years: 1, Notice: 3, Lead: 1, LeastAnchorDays: 3, LongestGap: 7, Unproven: 400}

// archive is what somebody took away, the token apart: the ledger as they could read it, from files or from a backup.
type archive struct {
	name   string
	events []ledger.Event
	folder string // of the copied files; "" for a backup
}

// taken copies every file of a world whose core has stopped, makes a backup, and goes on. Each archive is read from what
// was copied alone.
func taken(t *testing.T, w *nodetest.World, c *nodetest.Core) (files, saved archive) {
	t.Helper()
	events, id := backedUp(t, c, filepath.Join(t.TempDir(), "backup"))
	saved = archive{name: "a backup", events: events}
	restored := store(t, embeddedtest.New(t))
	if err := id.backup.Restore(t.Context(), id.identity, restored, nil); err != nil {
		t.Fatal(err)
	}
	if n := len(everything(t, restored)); n != len(events) {
		t.Fatalf("the backup holds %d events, and restored %d", len(events), n)
	}
	c.Stop()
	if err := w.Server.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	files = archive{name: "a copy of all files", folder: t.TempDir()}
	for name, from := range map[string]string{"store": w.Files.Config.Dir, "core": w.Dir} {
		if err := os.CopyFS(filepath.Join(files.folder, name), os.DirFS(from)); err != nil {
			t.Fatal(err)
		}
	}
	w.Server = w.Files.Open(t)
	w.Proxy.Target(w.Server.Addr())
	thief := embeddedtest.New(t)
	thief.Config.Dir = filepath.Join(t.TempDir(), "store") // what reads a store also writes into it
	if err := os.CopyFS(thief.Config.Dir, os.DirFS(filepath.Join(files.folder, "store"))); err != nil {
		t.Fatal(err)
	}
	files.events = everything(t, store(t, thief))
	return files, saved
}

// store opens a store of its own and a client.
func store(t *testing.T, f *embeddedtest.Fixture) *eventstore.Store {
	t.Helper()
	s, err := eventstore.Open(eventstore.Config{ConnectionString: f.ConnectionString(f.Open(t))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// worldShards are the record streams of nodetest's cores.
const worldShards = 2

func everything(t *testing.T, s *eventstore.Store) (all []ledger.Event) {
	t.Helper()
	for _, stream := range event.Streams(worldShards) {
		err := s.Iterate(t.Context(), stream, 0, func(batch []ledger.Event) error {
			all = append(all, batch...)
			return nil
		})
		if err != nil && !errors.Is(err, eventstore.ErrNoStream) {
			t.Fatal(err)
		}
	}
	return all
}

// opener is a backup with what opens it.
type opener struct {
	backup   *backup.Backup
	identity backup.Identity
}

func backedUp(t *testing.T, c *nodetest.Core, folder string) (events []ledger.Event, o opener) {
	t.Helper()
	text, recipient, err := backup.NewIdentity()
	must(t, err)
	path := filepath.Join(t.TempDir(), "identity")
	must(t, os.WriteFile(path, text, 0o600))
	o.identity, err = backup.ReadIdentity(path)
	must(t, err)
	to, err := backup.ParseRecipients(recipient)
	must(t, err)
	streams := event.Streams(c.Shards)
	firsts, err := backup.Firsts(t.Context(), c.Store, streams)
	must(t, err)
	must(t, c.Anchor(t.Context()))
	anchor, _ := c.Registry.LastAnchor()
	plan, err := backup.NewPlan(t.Context(), c.Store, streams, firsts, anchor.Revision, to, time.Now())
	must(t, err)
	writer, err := backup.Begin(folder, plan, to)
	must(t, err)
	_, err = writer.Run(t.Context(), c.Store, nil)
	must(t, err)
	must(t, writer.Close())
	o.backup, err = backup.Open(folder)
	must(t, err)
	for e, err := range o.backup.Events(t.Context(), o.identity) {
		must(t, err)
		events = append(events, e)
	}
	return events, o
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// thief reads archives with the token as it is now.
type thief struct {
	t   *testing.T
	hsm *hsm.HSM
}

// keyring is the product's own, over a ledger that was taken and a vault stream.
func (th thief) keyring(events, vault []ledger.Event) *keyring.Keyring {
	th.t.Helper()
	k, err := keyring.New(th.t.Context(), th.hsm, stored(events), keyring.Options{KeyGone: func(err error) bool { return errors.Is(err, hsm.ErrNoKey) }})
	must(th.t, err)
	for _, e := range vault {
		if err := follow(th.t, k, e); err != nil && !errors.Is(err, keyring.ErrShredded) {
			th.t.Fatal(err)
		}
	}
	return k
}

// follow gives a keyring an event of the vault.
func follow(t *testing.T, k *keyring.Keyring, e ledger.Event) (err error) {
	t.Helper()
	switch e.Type {
	case event.TypeVaultOpened:
		return k.OpenVault(t.Context(), decode[event.VaultOpened](t, e.Data))
	case event.TypeBucketKeysStored:
		_, err = k.LoadBucketKeys(decode[event.BucketKeysStored](t, e.Data))
	case event.TypeSubjectKeysStored:
		return k.LoadSubjectKeys(decode[event.SubjectKeysStored](t, e.Data))
	case event.TypeVaultCompleted:
		return k.CompleteVault(decode[event.VaultCompleted](t, e.Data))
	}
	return err
}

// ofDay are the sealed events under the keys of a day.
func ofDay(t *testing.T, events []ledger.Event, day calendar.Day) (all []ledger.Event) {
	t.Helper()
	for _, e := range events {
		h := header(t, e)
		if !h.Sealed() || event.ClassOf(e.Type) != event.ClassRecord {
			continue
		}
		of, _, _, err := ledger.ParseDataKeyID(h.KeyID)
		must(t, err)
		if of == day.String() {
			all = append(all, e)
		}
	}
	return all
}

// opens returns what the archive's events of a day say, as far as they open. What does not must be gone for good.
func (th thief) opens(a archive, day calendar.Day) (plain [][]byte, of int) {
	th.t.Helper()
	k := th.keyring(a.events, nil)
	events := ofDay(th.t, a.events, day)
	for _, e := range events {
		text, err := k.Open(th.t.Context(), header(th.t, e), e.Data)
		switch {
		case err == nil:
			plain = append(plain, text)
		case !errors.Is(err, keyring.ErrShredded):
			th.t.Errorf("%s, %s: %v", a.name, place(e), err)
		}
	}
	return plain, len(events)
}

// tries every key that the token still has in the place of the day's, as somebody would who can ask the token whatever
// they like. It returns how many events open, and how many keys answered.
func (th thief) tries(a archive, day calendar.Day) (opened, keys int) {
	th.t.Helper()
	infos, err := th.hsm.Keys(th.t.Context())
	must(th.t, err)
	sealed := ofDay(th.t, a.events, day)
	for _, info := range infos {
		answered := false
		for _, e := range a.events {
			if e.Type != event.TypeDayOpened {
				continue
			}
			o, err := ledger.DecodeDayOpened(e.Data)
			must(th.t, err)
			if o.Day != day.String() {
				continue
			}
			message, err := ledger.DataKeyInput(e.Stream, o.Day, o.Salt)
			must(th.t, err)
			key, err := th.hsm.HMAC(th.t.Context(), info.Label, message)
			if err != nil {
				continue // it is for something else
			}
			answered = true
			for _, s := range sealed {
				if _, err := ledger.Open(key.Expose(), header(th.t, s), s.Data); err == nil {
					opened++
				}
			}
			key.Destroy()
		}
		if answered {
			keys++
		}
	}
	return opened, keys
}

// marked is what a day's records say that nothing else does.
type marked struct{ department, item, receipt string }

func marksOf(day calendar.Day) marked {
	return marked{"福祉課" + day.String(), "世帯の所得" + day.String(), "R-" + day.String()}
}

// aDay has a person's information asked for, answered, left open and refused, and the records disclosed.
func aDay(t *testing.T, w *nodetest.World, c *nodetest.Core, of symbol.Agency) {
	t.Helper()
	m := marksOf(calendar.DayOf(w.Now()))
	department, err := agency.ParseDepartment(m.department)
	must(t, err)
	ask := func(provider string) commands.Inquired {
		q := c.Inquiry("a", provider, of)
		q.Request.Department, q.Request.Items = department, []string{m.item}
		r, err := c.Core.SubmitInquiry(t.Context(), q)
		must(t, err)
		return r
	}
	for range 5 {
		r := ask("b")
		must(t, c.Core.ReportProvision(t.Context(), commands.ReportProvision{Meta: w.Meta("b"), ProcessingNumber: r.ProcessingNumber,
			Answer: inquiry.AnswerFields{Kind: inquiry.Provided, ProvidedAt: w.Now(), Items: []string{m.item}}}))
	}
	ask("b")
	if r := ask("nobody"); r.Refusal == 0 {
		t.Error("nobody was asked, and nothing refused")
	}
	_, err = c.Core.DiscloseRecords(t.Context(), commands.DiscloseRecords{Meta: w.MetaAs(commands.RoleDisclosure, "a"), Symbol: of,
		Receipt: m.receipt, Audience: commands.AudiencePerson, From: calendar.DayOf(w.Now()).Start(), To: w.Now()})
	must(t, err)
	must(t, c.Anchor(t.Context()))
}

// says reports whether any text holds a mark.
func says(plain [][]byte, mark string) bool {
	return slices.ContainsFunc(plain, func(text []byte) bool { return bytes.Contains(text, []byte(mark)) })
}

// TestACopyOpensNothingOfADayThatEnded takes away every file and a backup, lets a day end, and then has everything that
// was taken, and the token: not one event of the day opens, and every one of the next does.
func TestACopyOpensNothingOfADayThatEnded(t *testing.T) {
	w := nodetest.New(t)
	w.Turn(calendar.DayOf(w.Now()).Start().Add(12 * time.Hour).Sub(w.Now())) // no test meets midnight
	keeping := func(c *node.Config) { c.RetentionPolicy, c.LapseInterval = oneYear, time.Hour }
	c := w.Lead("views", keeping)
	c.Register("a", "b")
	person := c.Issue("a", 1)
	c.Issue("b", 1)
	ends := calendar.DayOf(w.Now())
	stays := ends.AddDays(1)
	aDay(t, w, c, person)
	w.Turn(24 * time.Hour)
	aDay(t, w, c, person)
	today := func() calendar.Day { return calendar.DayOf(w.Now()) }
	for w.Turn(time.Duration(oneYear.AnnounceFrom(ends).DaysSince(today())) * 24 * time.Hour); today().Before(oneYear.Due(ends)); w.Turn(24 * time.Hour) {
		_, err := c.RetentionProcess.Run(t.Context(), nil)
		must(t, err)
		must(t, c.Anchor(t.Context()))
	}
	files, saved := taken(t, w, c)
	c = w.Lead("views", keeping)

	th := thief{t, hsmtest.Reopen(t, w.Token)}
	for _, a := range []archive{files, saved} { // the control: before, all of it opens
		for _, day := range []calendar.Day{ends, stays} {
			plain, of := th.opens(a, day)
			m := marksOf(day)
			if len(plain) != of || of < 13 || !says(plain, m.department) || !says(plain, m.item) || !says(plain, m.receipt) {
				t.Fatalf("%s: before the end, %d of %d events of %s open", a.name, len(plain), of, day)
			}
		}
		if opened, keys := th.tries(a, ends); opened != len(ofDay(t, a.events, ends)) || keys < 4 {
			t.Fatalf("%s: before the end, %d events open, with one of %d keys", a.name, opened, keys)
		}
	}

	r, err := c.RetentionProcess.Run(t.Context(), nil)
	if err != nil || !slices.Equal(r.Certified, []calendar.Day{ends}) || len(r.Truncated) == 0 {
		t.Fatalf("%+v, %v\n%s", r, err, w.Logs)
	}
	for _, a := range []archive{files, saved} {
		if plain, of := th.opens(a, ends); len(plain) != 0 {
			t.Errorf("%s: %d of %d events of the day that ended open", a.name, len(plain), of)
		}
		if opened, keys := th.tries(a, ends); opened != 0 || keys < 3 {
			t.Errorf("%s: %d events open, with one of the %d keys left", a.name, opened, keys)
		}
		if plain, of := th.opens(a, stays); len(plain) != of || of < 13 || !says(plain, marksOf(stays).receipt) {
			t.Errorf("%s: %d of %d events of the day after open", a.name, len(plain), of)
		}
	}
	copiedCore(t, w, files, ends, person)
	ciphertextIsGone(t, w, c, files, ends, stays)
}

// copiedCore runs the program's own core on the copied files, views included, with the token: it shows what is left.
func copiedCore(t *testing.T, w *nodetest.World, files archive, ended calendar.Day, person symbol.Agency) {
	t.Helper()
	f := embeddedtest.New(t)
	f.Config.Dir = filepath.Join(files.folder, "of a core", "store")
	must(t, os.CopyFS(f.Config.Dir, os.DirFS(filepath.Join(files.folder, "store"))))
	views := t.TempDir()
	must(t, os.CopyFS(views, os.DirFS(filepath.Join(files.folder, "core", "views"))))
	c := w.Lead("none", func(c *node.Config) {
		c.Store, c.Views, c.Anchors, c.LapseInterval = store(t, f), views, filepath.Join(t.TempDir(), "anchors"), time.Hour
	})
	shown, err := c.Core.DiscloseRecords(t.Context(), commands.DiscloseRecords{Meta: w.MetaAs(commands.RoleDisclosure, "a"), Symbol: person,
		Receipt: "R-1", Audience: commands.AudiencePerson, From: ended.Start(), To: w.Now()})
	must(t, err)
	if len(shown.Person) != 7 {
		t.Errorf("a core on the copied views shows %d entries, want the seven of the day after", len(shown.Person))
	}
	for _, e := range shown.Person {
		if text := fmt.Sprintf("%+v", e); bytes.Contains([]byte(text), []byte(marksOf(ended).item)) {
			t.Error("a core on the copied views shows an entry of the day that ended")
		}
	}
	c.Stop()
	must(t, os.RemoveAll(filepath.Join(files.folder, "of a core")))
}

// ciphertextIsGone searches the files of the core and of its store, as they are afterwards, for what was sealed on the day:
// not even that is left. The copy from before shows that the search finds it.
func ciphertextIsGone(t *testing.T, w *nodetest.World, c *nodetest.Core, before archive, ends, stays calendar.Day) {
	t.Helper()
	c.Stop()
	must(t, w.Server.Close(t.Context()))
	search := func(day calendar.Day, folders ...string) (places map[string]bool) {
		var sealed []leaktest.Secret
		for _, e := range ofDay(t, before.events, day) {
			sealed = append(sealed, leaktest.Secret{Name: place(e), Value: e.Data[:32]})
		}
		s, err := leaktest.New(sealed...)
		must(t, err)
		places = map[string]bool{}
		for _, folder := range folders {
			found, n, err := s.Tree(folder)
			must(t, err)
			if n.Rows == 0 {
				t.Fatalf("%s: no row was looked at", folder)
			}
			for _, f := range found {
				places[f.Secret] = true
			}
		}
		return places
	}
	if n, want := len(search(ends, before.folder)), len(ofDay(t, before.events, ends)); n != want {
		t.Errorf("the search finds %d of the %d payloads in the copy from before", n, want)
	}
	if n, want := len(search(stays, w.Files.Config.Dir, w.Dir)), len(ofDay(t, before.events, stays)); n != want {
		t.Errorf("the search finds %d of the %d payloads of the living day", n, want)
	}
	if left := search(ends, w.Files.Config.Dir, w.Dir); len(left) > 0 {
		t.Errorf("sealed payloads of the day that ended are left in the files: %v", slices.Sorted(maps.Keys(left)))
	}
}

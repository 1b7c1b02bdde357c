package evidence_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"kiroku/adapters/eventstore/embedded/embeddedtest"
	"kiroku/adapters/eventstore/storetest"
	"kiroku/adapters/hsm/hsmtest"
	"kiroku/cmd/kiroku/internal/demo"
	"kiroku/cmd/kiroku/internal/evidence/leaktest"
	"kiroku/cmd/kiroku/internal/node"
	"kiroku/cmd/kiroku/internal/node/nodetest"
	"kiroku/domain/event"
	"kiroku/domain/ledger"
)

// day is a core that has done a day of everybody's work, with all that it said.
type day struct {
	*nodetest.World
	core  *nodetest.Core
	lines *slog.Logger // of all parts, everything down to debug
	said  map[string]*bytes.Buffer
	pins  []leaktest.Secret
}

const (
	demoPeople  = 120
	firstExtra  = 900_001 // made-up people beside those of the demonstration
	extraPeople = 6
)

// newDay starts a core whose every part tells all that it ever tells.
func newDay(t *testing.T) *day {
	t.Helper()
	d := &day{said: map[string]*bytes.Buffer{}}
	w := &nodetest.World{TB: t, Token: hsmtest.New(t), Files: embeddedtest.New(t), Dir: t.TempDir(), Logs: &nodetest.Log{}}
	d.lines = slog.New(slog.NewJSONHandler(w.Logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	before := slog.Default()
	slog.SetDefault(d.lines)
	t.Cleanup(func() { slog.SetDefault(before) })
	w.Token.Config.JukiBits = 2048
	w.Files.Config.Logger = d.lines
	w.Server = w.Files.Open(t)
	w.Proxy = storetest.NewProxy(t, w.Server.Addr())
	d.World = w
	for _, path := range []string{w.Token.Config.Token.PINFile, w.Token.Config.SOPINFile} {
		d.pins = append(d.pins, private(t, path, path))
	}
	d.lead("views")
	return d
}

func (d *day) lead(views string) {
	d.core = d.Lead(views, func(c *node.Config) { c.Log = d.lines })
}

// private reads a file made to hold a secret: only its owner may read it.
func private(t *testing.T, name, path string) leaktest.Secret {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("%s has mode %v", name, info.Mode())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return leaktest.Secret{Name: "content of " + filepath.Base(name), Value: bytes.TrimSpace(text)}
}

// note keeps what somebody could read somewhere.
func (d *day) note(where string, format string, args ...any) {
	if d.said[where] == nil {
		d.said[where] = &bytes.Buffer{}
	}
	fmt.Fprintf(d.said[where], format+"\n", args...)
}

// stop ends the core and the store, and gives everything that is to be searched.
func (d *day) stop(t *testing.T) (events []ledger.Event) {
	t.Helper()
	if err := d.core.CaughtUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	events = d.core.Verify()
	d.core.Stop()
	if err := d.Server.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	d.note("log", "%s", d.Logs)
	return events
}

// codes are all resident codes that the day has seen.
func codes(t *testing.T, people, extra int) (all [][]byte) {
	t.Helper()
	for n := range people {
		c, err := demo.ResidentCode(n)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, bytes.Clone(c.Expose()))
		c.Destroy()
	}
	for n := range extra {
		c := nodetest.Code(t, firstExtra+n)
		all = append(all, bytes.Clone(c.Expose()))
		c.Destroy()
	}
	return all
}

// TestNoSecretIsLeftBehind runs the demonstration and whatever else the core does, makes it fail in every way it can, and
// searches everything that it leaves: what it said, every byte on the disk, every row, every event.
func TestNoSecretIsLeftBehind(t *testing.T) {
	d := newDay(t)
	var out bytes.Buffer
	result, err := demo.Run(t.Context(), d.core.Node, d.core.HSM, demo.Options{People: demoPeople, Agencies: 5, Inquiries: 300, Seed: 1}, &out)
	if err != nil {
		t.Fatalf("%v\n%s", err, d.Logs)
	}
	d.note("output of the demonstration", "%s %+v", &out, result)
	d.provoke(t)
	d.core.Stop()
	d.lead("views") // again on the same views, and on fresh ones
	d.core.Stop()
	d.lead("rebuilt")
	h := hsmtest.Reopen(t, d.Token)
	events := d.stop(t)
	k := learn(t, h, events, codes(t, demoPeople, extraPeople))
	k.checkPersons(demoPeople)
	outside, inside := k.scanners(append(d.pins, passwordIn(t, d.Files))...)
	secrets, forms := outside.Secrets()
	t.Logf("%d secrets in %d forms; %d events, %d of them opened", secrets, forms, len(events), len(k.opened))

	found := searchEvents(outside, events)
	for where, text := range d.said {
		found = append(found, outside.Scan(where, text.Bytes())...)
	}
	for name, dir := range map[string]string{"core": d.Dir, "store": d.Files.Config.Dir, "token": filepath.Dir(hsmtest.TokensDir())} {
		below, n, err := outside.Tree(dir)
		if err != nil {
			t.Fatal(err)
		}
		if n.Files == 0 || n.Rows == 0 && name != "token" {
			t.Errorf("%s: %+v were looked at", name, n)
		}
		t.Logf("%s: %+v", name, n)
		found = append(found, below...)
	}
	report(t, leaktest.Allow(found, func(f leaktest.Finding) bool {
		return f.Form == "raw" && strings.HasPrefix(f.Secret, "content of ") && f.Where == "file "+strings.TrimPrefix(f.Secret, "content of ")
	}))
	found = nil
	for where, plain := range k.opened {
		found = append(found, inside.Scan("the sealed payload of "+where, []byte(plain))...)
	}
	report(t, found)
}

func report(t *testing.T, found []leaktest.Finding) {
	t.Helper()
	const most = 40
	for i, line := range leaktest.Summary(found) {
		if i == most {
			t.Errorf("… and more, %d findings in all", len(found))
			break
		}
		t.Error(line)
	}
}

func searchEvents(s *leaktest.Scanner, events []ledger.Event) (found []leaktest.Finding) {
	for _, e := range events {
		found = append(found, s.Scan("data of "+place(e), e.Data)...)
		found = append(found, s.Scan("metadata of "+place(e), e.Metadata)...)
		found = append(found, s.Scan("key id of "+place(e), []byte(keyID(e)))...)
		line, _ := ledger.AppendDumpLine(nil, e)
		found = append(found, s.Scan("dump of "+place(e), line)...)
	}
	return found
}

func keyID(e ledger.Event) string {
	h, _, _, _ := ledger.DecodeMetadata(e.Metadata)
	return h.KeyID
}

func passwordIn(t *testing.T, f *embeddedtest.Fixture) leaktest.Secret {
	t.Helper()
	for _, u := range f.Config.Users {
		if u.Name == embeddedtest.User {
			return leaktest.Secret{Name: "password of the store", Value: []byte(u.Password)}
		}
	}
	t.Fatal("the store has no administrator")
	return leaktest.Secret{}
}

// checkPersons shows that the codes the test knows are those the core was given.
func (k *known) checkPersons(least int) {
	k.t.Helper()
	of := map[string]string{}
	for _, s := range k.secrets {
		if strings.HasPrefix(s.Name, "management information of code") {
			of[string(s.Value)] = s.Name
		}
	}
	persons := 0
	for _, s := range k.secrets {
		if strings.HasPrefix(s.Name, "management information of person") {
			persons++
			if of[string(s.Value)] == "" {
				k.t.Fatalf("%s is not of a code that the test knows", s.Name)
			}
		}
	}
	if persons < least {
		k.t.Fatalf("%d persons", persons)
	}
}

// TestTheSearchFindsWhatIsPlanted plants one secret of each kind in each place that the search above goes to.
func TestTheSearchFindsWhatIsPlanted(t *testing.T) {
	d := newDay(t)
	d.core.Register("a", "b")
	a := d.core.Issue("a", firstExtra)
	d.core.Issue("b", firstExtra)
	if _, err := d.core.Core.SubmitInquiry(t.Context(), d.core.Inquiry("a", "b", a)); err != nil {
		t.Fatal(err)
	}
	h := hsmtest.Reopen(t, d.Token)
	events := d.stop(t)
	k := learn(t, h, events, codes(t, 0, 1))
	outside, _ := k.scanners(d.pins...)
	if found := searchEvents(outside, events); len(found) > 0 {
		t.Fatalf("%v", found)
	}
	at := slices.IndexFunc(events, func(e ledger.Event) bool { return e.Type == event.TypeInquiryNotified })
	sealed := events[at]
	for _, s := range append(k.secrets, d.pins...) {
		for _, f := range leaktest.Forms(s.Value) {
			data := sealed
			data.Data = bytes.Join([][]byte{data.Data[:100], f.Bytes, data.Data[100:]}, nil)
			if len(outside.Scan("a log line", fmt.Appendf(nil, `{"msg":"issued","of":"%s"}`, f.Bytes))) == 0 || len(searchEvents(outside, []ledger.Event{data})) == 0 {
				t.Errorf("%s, %s: planted in a log line or in an event and not found", s.Name, f.Name)
			}
		}
		meta := sealed
		meta.Metadata = append(bytes.Clone(meta.Metadata), s.Value...)
		if len(searchEvents(outside, []ledger.Event{meta})) == 0 {
			t.Errorf("%s: planted in metadata and not found", s.Name)
		}
	}
	plantInView(t, filepath.Join(d.Dir, "views"), k.secrets)
	found, _, err := outside.Tree(d.Dir)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	value := map[string]string{} // two names may stand for one value
	for _, s := range k.secrets {
		value[s.Name] = string(s.Value)
	}
	for _, f := range found {
		if strings.HasPrefix(f.Where, "a value in rows of views") {
			seen[value[f.Secret]] = true
		}
	}
	for _, s := range k.secrets {
		if !seen[value[s.Name]] {
			t.Errorf("%s: planted in a row of the view and not found there", s.Name)
		}
	}
}

// plantInView writes secrets into the view as a projection would, each so that compression tears it.
func plantInView(t *testing.T, dir string, secrets []leaktest.Secret) {
	t.Helper()
	db, err := pebble.Open(dir, &pebble.Options{FormatMajorVersion: pebble.FormatNewest, DisableWAL: true})
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range secrets {
		half := len(s.Value) / 2
		value := bytes.Join([][]byte{s.Value[half:], []byte("between"), s.Value[:half], bytes.Repeat([]byte("-"), 64), s.Value}, nil)
		if err := db.Set(fmt.Appendf(nil, "dedup\x00planted %d", i), value, pebble.NoSync); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

package main_test

import (
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"kiroku/domain/calendar"
)

// bureau is a running core with officials for development.
type bureau struct {
	t       *testing.T
	data    string
	folder  string
	process *process
}

func openBureau(t *testing.T) *bureau { return openBureauIn(t, t.TempDir()) }

func openBureauIn(t *testing.T, folder string) *bureau {
	b := &bureau{t: t, folder: folder}
	b.data = filepath.Join(b.folder, "data")
	kiroku(t, "keys", "init", "--data", b.data).must(t)
	kiroku(t, "pki", "dev", "--out", filepath.Join(b.folder, "officials")).must(t)
	kiroku(t, "pki", "dev", "--out", filepath.Join(b.folder, "others")).must(t)
	b.process = start(t, b.data, "serve", "--set", "statistics.connection=off", "--set", "retention.copies=backup-1,replica-1",
		"--set", "officials.ca_file="+filepath.Join(b.folder, "officials", "authority.pem"))
	eventually(t, "ready", func() bool { ok, _ := ready(t, b.data); return ok })
	return b
}

// run gives a command to the core.
func (b *bureau) run(arguments ...string) result {
	return kiroku(b.t, append(arguments, "--data", b.data)...)
}

// json is what a command prints with --json.
func (b *bureau) json(arguments ...string) map[string]any {
	b.t.Helper()
	var answer map[string]any
	if err := json.Unmarshal([]byte(b.run(append(arguments, "--json")...).must(b.t).out), &answer); err != nil {
		b.t.Fatal(err)
	}
	return answer
}

// as are the arguments by which an official approves.
func (b *bureau) as(folder, official string) []string {
	path := filepath.Join(b.folder, folder, official)
	return []string{"--certificate", path + ".pem", "--key", path + ".key"}
}

func (b *bureau) state(command, of, name string) string {
	b.t.Helper()
	for _, line := range b.json(command, "list")[of+"s"].([]any) {
		if line := line.(map[string]any); line[of] == name {
			return line["state"].(string)
		}
	}
	return "not there"
}

func (b *bureau) addHold() string {
	b.t.Helper()
	hold, _ := b.json("hold", "add", "--from", "2026-01-01", "--to", "2026-01-31", "--until", calendar.DayOf(time.Now()).AddDays(400).String(), "--authority", "court order 12", "--reason", "proceedings")["hold"].(string)
	return hold
}

func (b *bureau) proposeRelease(hold string) string {
	b.t.Helper()
	proposal, _ := b.json("hold", "release", hold, "--reason", "order withdrawn")["proposal"].(string)
	return proposal
}

// TestAHoldIsReleasedByTwoOfficials as they would do it on the command line.
func TestAHoldIsReleasedByTwoOfficials(t *testing.T) {
	b := openBureau(t)
	hold := b.addHold()
	proposal := b.proposeRelease(hold)
	if s := b.state("hold", "hold", hold) + ", " + b.state("hold", "proposal", proposal); s != "in force, open" {
		t.Fatal(s)
	}
	approve := append([]string{"hold", "approve", proposal, "--yes"}, b.as("officials", "official-1")...)
	first := b.run(approve...).must(t)
	if !strings.Contains(first.out, "1 of 2") || !strings.Contains(first.out, "another official") {
		t.Error(first.out)
	}
	for _, shown := range []string{proposal, "hold-release", hold, "2026-01-01 to 2026-01-31", "court order 12", "order withdrawn"} {
		if !strings.Contains(first.err, shown) {
			t.Errorf("what is approved is not shown: %q is missing in\n%s", shown, first.err)
		}
	}
	id := uuid.Must(uuid.NewV7()).String()
	last := append([]string{"hold", "approve", proposal, "--yes", "--id", id}, b.as("officials", "official-2")...)
	for range 2 { // and the same command again
		if done := b.run(last...).must(t); !strings.Contains(done.out, "2 of 2") {
			t.Error(done.out)
		}
	}
	if s := b.state("hold", "hold", hold) + ", " + b.state("hold", "proposal", proposal); s != "released, carried out" {
		t.Error(s)
	}
	b.refuses(map[string]refusal{
		"a third":              {approve, "have approved the proposal already"},
		"release it again":     {[]string{"hold", "release", hold, "--reason", "x"}, "not in force"},
		"an id of another one": {[]string{"hold", "release", b.addHold(), "--reason", "x", "--id", id}, "conflict"},
	})
	list := b.run("hold", "list").must(t).out
	if b.process.stop(t) != 0 {
		t.Error("the core ended badly")
	}
	if strings.Contains(first.out+first.err+list+b.process.String(), "Development Official") {
		t.Error("an official is named")
	}
}

// refusal is a command that is refused, and what it says.
type refusal struct {
	arguments []string
	says      string
}

func (b *bureau) refuses(all map[string]refusal) {
	b.t.Helper()
	for what, r := range all {
		got := b.run(r.arguments...)
		if got.code != 2 || !strings.Contains(got.err, r.says) {
			b.t.Errorf("%s: exit status %d; it should say %q:\n%s", what, got.code, r.says, got.err)
		}
		if strings.Contains(got.err, "Development Official") || strings.Contains(got.err, "goroutine ") || strings.Contains(got.out, "PRIVATE") {
			b.t.Errorf("%s: %s", what, got.err)
		}
	}
}

func TestApprovalsThatAreRefused(t *testing.T) {
	b := openBureau(t)
	hold := b.addHold()
	proposal, other := b.proposeRelease(hold), b.proposeRelease(hold)
	one := b.as("officials", "official-1")
	b.run(append([]string{"hold", "approve", proposal, "--yes"}, one...)...).must(t)
	approve := func(group, proposal string, as ...string) []string {
		return append([]string{group, "approve", proposal, "--yes"}, as...)
	}
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join(b.folder, "officials", name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(b.folder, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	certificate := filepath.Join(b.folder, "officials", "official-2.pem")
	withKey := func(path string) []string {
		return approve("hold", proposal, "--certificate", certificate, "--key", path)
	}
	b.refuses(map[string]refusal{
		"the same official":         {approve("hold", proposal, one...), "another official must"},
		"another authority":         {approve("hold", proposal, b.as("others", "official-2")...), "none of the known authorities issued it"},
		"an authority":              {approve("hold", proposal, b.as("officials", "authority")...), "not an official's"},
		"nobody was asked":          {append([]string{"hold", "approve", proposal}, b.as("officials", "official-2")...), "nothing was signed"},
		"another kind":              {approve("deletion", proposal, b.as("officials", "official-2")...), "nothing was signed"},
		"an unknown proposal":       {approve("hold", strings.Repeat("0", 64), one...), "not found"},
		"half a hash":               {approve("hold", proposal[:32], one...), "64 hexadecimal digits"},
		"another one's key":         {withKey(filepath.Join(b.folder, "officials", "official-1.key")), "not that of the certificate"},
		"a key that others read":    {withKey(write("open.key", read("official-2.key"), 0o644)), "chmod 600"},
		"no key":                    {withKey(write("empty.key", "\n", 0o600)), "empty"},
		"a certificate for the key": {withKey(write("certificate.key", read("official-2.pem"), 0o600)), "an unencrypted private key is needed"},
		"broken key":                {withKey(write("broken.key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("x")})), 0o600)), "none of P-256"},
		"key in the certificate":    {approve("hold", proposal, "--certificate", write("both.pem", read("official-2.pem")+read("official-2.key"), 0o600), "--key", filepath.Join(b.folder, "officials", "official-2.key")), "something else than certificates"},
		"a hold of nothing":         {[]string{"hold", "release", uuid.NewString(), "--reason", "x"}, "not found"},
		"no reason":                 {[]string{"hold", "release", hold, "--reason", ""}, "reason is empty"},
		"too long a time":           {[]string{"hold", "release", hold, "--reason", "x", "--days", "91"}, "1 to 90"},
		"a hold until yesterday":    {[]string{"hold", "add", "--from", "2026-01-01", "--to", "2026-01-02", "--until", "2026-01-03", "--authority", "x", "--reason", "x"}, "has passed"},
		"a day that is none":        {[]string{"hold", "add", "--from", "2026-02-30", "--to", "2026-01-02", "--until", "2026-01-03", "--authority", "x", "--reason", "x"}, "--from"},
		"an unknown copy":           {[]string{"attest", "propose", "--copy", "backup-9", "--from", "2026-01-01", "--to", "2026-01-01", "--reason", "x"}, "there are backup-1, replica-1"},
		"a day that lives":          {[]string{"attest", "propose", "--copy", "backup-1", "--from", "2026-01-01", "--to", "2026-01-01", "--reason", "x"}, "not certified"},
	})
	if s := b.state("hold", "hold", hold) + ", " + b.state("hold", "proposal", proposal) + ", " + b.state("hold", "proposal", other); s != "in force, open, open" {
		t.Error(s)
	}
	if list := b.run("attest", "list").must(t).out; !strings.Contains(list, "backup-1 replica-1") {
		t.Error(list)
	}
	if list := b.json("deletion", "list"); len(list["proposals"].([]any)) != 0 {
		t.Error(list)
	}
}

func TestAuthoritiesThatCannotBeUsed(t *testing.T) {
	folder := t.TempDir()
	kiroku(t, "pki", "dev", "--out", folder).must(t)
	for path, says := range map[string]string{
		filepath.Join(folder, "official-1.pem"): "not an authority's",
		filepath.Join(folder, "official-1.key"): "something else than certificates",
		filepath.Join(folder, "none.pem"):       "no such file",
	} {
		got := kiroku(t, "serve", "--data", filepath.Join(folder, "data"), "--set", "officials.ca_file="+path)
		if got.code != 2 || !strings.Contains(got.err, "officials.ca_file") || !strings.Contains(got.err, says) {
			t.Errorf("%s: exit status %d, %s", path, got.code, got.err)
		}
	}
	again := kiroku(t, "pki", "dev", "--out", folder)
	if again.code != 2 || !strings.Contains(again.err, "not written over") {
		t.Errorf("made again: exit status %d, %s", again.code, again.err)
	}
	if got := kiroku(t, "hold", "list", "--data", filepath.Join(folder, "data")); got.code != 2 {
		t.Errorf("without a core: exit status %d, %s", got.code, got.err)
	}
}

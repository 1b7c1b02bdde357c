package main_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestTheAuthoritiesChangeAsOfficialsSay, on the command line: an authority of one's own in the configuration does not
// count, and is told of; two officials of the authorities in force replace them.
func TestTheAuthoritiesChangeAsOfficialsSay(t *testing.T) {
	b := openBureau(t)
	eventually(t, "authorities in force", func() bool {
		return strings.Contains(b.run("authorities", "show").must(t).out, "configured first by actor-")
	})
	proposal := b.proposeRelease(b.addHold())
	if b.process.stop(t) != 0 {
		t.Fatal("the core ended badly")
	}
	others := filepath.Join(b.folder, "others", "authority.pem")
	b.process = start(t, b.data, "serve", "--set", "statistics.connection=off", "--set", "retention.copies=backup-1", "--set", "officials.ca_file="+others)
	eventually(t, "ready", func() bool { ok, _ := ready(t, b.data); return ok })
	b.refuses(map[string]refusal{
		"an official of one's own": {append([]string{"hold", "approve", proposal, "--yes"}, b.as("others", "official-1")...), "none of the known authorities issued it"},
		"the same authorities":     {b.proposing("officials", "authority.pem", "official-1", "official-2"), "in force already"},
		"no authority":             {b.proposing("officials", "official-1.pem", "official-1", "official-2"), "not an authority's"},
		"no official of them":      {[]string{"authorities", "propose", "--file", others, "--reason", "x"}, "--official"},
		"one official of them":     {b.proposing("others", "authority.pem", "official-1", "official-1"), "two different officials"},
		"officials of others":      {append(b.proposing("officials", "authority.pem", "official-1"), "--official", filepath.Join(b.folder, "others", "official-2.pem")), "none of the known authorities"},
		"a copy that is needed":    {[]string{"attest", "drop", "--copy", "backup-1", "--reason", "x"}, "take it out there"},
	})
	shown := b.run("authorities", "show").must(t).out
	for _, says := range []string{"ATTENTION: officials.ca_file", "ATTENTION: retention.copies leaves out replica-1", "FOR DEVELOPMENT", "in force since"} {
		if !strings.Contains(shown, says) {
			t.Errorf("%q is missing in\n%s", says, shown)
		}
	}
	change, _ := b.json(b.proposing("others", "authority.pem", "official-1", "official-2")...)["proposal"].(string)
	drop, _ := b.json("attest", "drop", "--copy", "replica-1", "--reason", "replica ended")["proposal"].(string)
	for _, approve := range [][]string{{"attest", "approve", drop, "--yes"}, {"authorities", "approve", change, "--yes"}} {
		for _, official := range []string{"official-1", "official-2"} {
			given := b.run(append(approve, b.as("officials", official)...)...).must(t)
			if !strings.Contains(given.err, "replica-1, which is no more") && !strings.Contains(given.err, "Development Authority of Officials") {
				t.Errorf("what is approved is not shown:\n%s", given.err)
			}
		}
	}
	shown = b.run("authorities", "show").must(t).out
	if strings.Contains(shown, "ATTENTION") || !strings.Contains(shown, "approved by two officials, proposal "+change) {
		t.Error(shown)
	}
	b.run(append([]string{"hold", "approve", proposal, "--yes"}, b.as("others", "official-1")...)...).must(t)
	if list := b.run("attest", "list").must(t).out; !strings.Contains(list, "replica-1 is no more") || !strings.Contains(list, "known copies of the HSM's keys: backup-1\n") {
		t.Error(list)
	}
	if !strings.Contains(b.process.String(), "differs from the registry") {
		t.Error("the log does not say that the configuration differs")
	}
	b.certificatesByOfficials()
}

// proposing are the arguments that propose authorities in a folder, and show officials in it.
func (b *bureau) proposing(folder, file string, officials ...string) []string {
	arguments := []string{"authorities", "propose", "--file", filepath.Join(b.folder, folder, file), "--reason", "yearly renewal"}
	for _, official := range officials {
		arguments = append(arguments, "--official", filepath.Join(b.folder, folder, official+".pem"))
	}
	return arguments
}

// certificatesByOfficials proves what was approved by authorities and officials as an auditor knows them.
func (b *bureau) certificatesByOfficials() {
	b.t.Helper()
	first, second := filepath.Join(b.folder, "officials"), filepath.Join(b.folder, "others")
	var all []byte
	for _, folder := range []string{first, second} {
		text, err := os.ReadFile(filepath.Join(folder, "authority.pem"))
		if err != nil {
			b.t.Fatal(err)
		}
		all = append(all, text...)
	}
	both := filepath.Join(b.folder, "authorities.pem")
	if err := os.WriteFile(both, all, 0o600); err != nil {
		b.t.Fatal(err)
	}
	for _, row := range []struct {
		name      string
		arguments []string
		code      int
		says      string
	}{
		{"the registry's word", nil, 0, "5 approvals checked (0 with"},
		{"all authorities", []string{"--officials", both}, 0, "officials of 5 approvals"},
		{"all officials", []string{"--officials", both, "--certificates", filepath.Join(first, "official-1.pem"), "--certificates", filepath.Join(first, "official-2.pem"),
			"--certificates", filepath.Join(second, "official-1.pem")}, 0, "5 approvals checked (5 with"},
		{"the second authority alone", []string{"--officials", filepath.Join(second, "authority.pem")}, 1, "which is none of those given"},
		{"no authority", []string{"--officials", filepath.Join(first, "official-1.pem")}, 2, ""},
		{"no file", []string{"--officials", filepath.Join(b.folder, "none.pem")}, 2, ""},
		{"no certificate", []string{"--certificates", filepath.Join(first, "official-1.key")}, 2, ""},
	} {
		if r := b.run(append([]string{"retention", "certificates", "--verify"}, row.arguments...)...); r.code != row.code || !strings.Contains(r.out, row.says) {
			b.t.Errorf("%s: %d %s%s", row.name, r.code, r.out, r.err)
		}
	}
}

// TestAuthoritiesForDevelopmentOnAnotherToken are refused, unless somebody asks for them, which is told loudly.
func TestAuthoritiesForDevelopmentOnAnotherToken(t *testing.T) {
	folder := t.TempDir()
	kiroku(t, "pki", "dev", "--out", folder).must(t)
	pin := filepath.Join(folder, "pin")
	if err := os.WriteFile(pin, []byte("1234"), 0o600); err != nil {
		t.Fatal(err)
	}
	arguments := []string{"serve", "--data", filepath.Join(folder, "data"), "--set", "statistics.connection=off", "--set", "hsm.token.pin_file=" + pin,
		"--set", "officials.ca_file=" + filepath.Join(folder, "authority.pem")}
	got := kiroku(t, arguments...)
	if got.code != 2 || !strings.Contains(got.err, "officials.ca_file") || !strings.Contains(got.err, "for development does not count here") {
		t.Errorf("exit status %d, %s", got.code, got.err)
	}
	got = kiroku(t, append(arguments, "--set", "officials.allow_development=true", "--set", "hsm.token.module="+filepath.Join(folder, "none.so"))...)
	if got.code != 2 || !strings.Contains(got.err, "OFFICIALS FOR DEVELOPMENT COUNT") || strings.Contains(got.err, "does not count here") {
		t.Errorf("allowed: exit status %d, %s", got.code, got.err)
	}
}

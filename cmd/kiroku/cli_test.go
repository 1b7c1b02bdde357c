package main_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestEveryCommandTeaches walks the tree of commands as a newcomer would and
// expects an example at each leaf.
func TestEveryCommandTeaches(t *testing.T) {
	var leaves int
	var walk func(path []string)
	walk = func(path []string) {
		help := kiroku(t, append(path, "--help")...).must(t).out
		below := commandsIn(help)
		for _, name := range below {
			walk(append(path[:len(path):len(path)], name))
		}
		if len(below) > 0 {
			return
		}
		leaves++
		if line := "\n    kiroku " + strings.Join(path, " "); !strings.Contains(help, line) {
			t.Errorf("kiroku %s --help shows no example:\n%s", strings.Join(path, " "), help)
		}
	}
	walk(nil)
	if leaves < 8 {
		t.Errorf("only %d commands found", leaves)
	}
}

var commandLine = regexp.MustCompile(`(?m)^  ([a-z][a-z -]*?)(?: \[?[<-].*?)?(?:  .*)?$`)

// commandsIn picks the next words of the commands that a help text lists.
func commandsIn(help string) []string {
	_, list, found := strings.Cut(help, "\nCommands:\n")
	if !found {
		return nil
	}
	list, _, _ = strings.Cut(list, "\n\nRun ")
	prefix := strings.TrimPrefix(strings.SplitN(strings.TrimPrefix(help, "Usage: "), " <command>", 2)[0], "kiroku")
	var names []string
	for _, match := range commandLine.FindAllStringSubmatch(list, -1) {
		rest := strings.TrimSpace(strings.TrimPrefix(match[1], strings.TrimSpace(prefix)))
		name, _, _ := strings.Cut(rest, " ")
		if len(names) == 0 || names[len(names)-1] != name {
			names = append(names, name)
		}
	}
	return names
}

func TestExitStatusAndWords(t *testing.T) {
	folder := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	misspelt := write("misspelt.yaml", "stroe:\n  connection: embedded\n")
	rules := write("rules.csv", "id,inquirer_class,affair,provider_class,information,legal_basis,valid_from,valid_to\nr1,nobody,x,nobody,y,,2026-04-01,\n")
	data := filepath.Join(folder, "data")
	for name, c := range map[string]struct {
		arguments []string
		code      int
		says      string
	}{
		"version":                       {[]string{"version"}, 0, ""},
		"version, broken configuration": {[]string{"version", "--config", misspelt}, 0, ""},
		"no such command":               {[]string{"verfiy"}, 2, `did you mean "verify"`},
		"no such flag":                  {[]string{"dump", "--otu", "x"}, 2, "kiroku dump --help"},
		"misspelt key":                  {[]string{"dump", "--config", misspelt}, 2, "the nearest is store.connection"},
		"no such file":                  {[]string{"dump", "--config", filepath.Join(folder, "none.yaml")}, 2, "none.yaml"},
		"nothing there":                 {[]string{"dump", "--data", data}, 2, "no ledger in this store yet"},
		"no token":                      {[]string{"keys", "list", "--data", data}, 2, "kiroku keys init"},
		"wrong rules":                   {[]string{"rules", "check", rules}, 1, "problems"},
		"no rules":                      {[]string{"rules", "check", filepath.Join(folder, "none.csv")}, 2, "none.csv"},
		"password for all":              {[]string{"dump", "--data", data, "--set", "store.connection=esdb://127.0.0.1:1", "--set", "store.user=u", "--set", "store.password_file=/etc/passwd"}, 2, "chmod 600"},
		"unreachable admin":             {[]string{"dump", "--set", "admin.listen=0.0.0.0:1"}, 2, "admin.listen"},
	} {
		t.Run(name, func(t *testing.T) {
			got := kiroku(t, c.arguments...)
			if got.code != c.code || !strings.Contains(got.err, c.says) {
				t.Errorf("exit status %d, want %d; it should say %q:\n%s", got.code, c.code, c.says, got.err)
			}
			if strings.Contains(got.err, "goroutine ") {
				t.Errorf("it crashed:\n%s", got.err)
			}
		})
	}
	if _, err := os.Stat(data); !os.IsNotExist(err) {
		t.Errorf("a command that only reads made %s", data)
	}
}

func TestRulesCheckNamesLines(t *testing.T) {
	shipped := kiroku(t, "rules", "check", "../../ops/scope/rules.csv", "--json").must(t)
	var good struct {
		OK    bool
		Rules int
		Hash  string
	}
	if err := json.Unmarshal([]byte(shipped.out), &good); err != nil || !good.OK || good.Rules == 0 || len(good.Hash) != 64 {
		t.Errorf("%v: %s", err, shipped.out)
	}
	text, err := os.ReadFile("../../ops/scope/rules.csv")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(text), "\n")
	twice := filepath.Join(t.TempDir(), "twice.csv")
	if err := os.WriteFile(twice, []byte(lines[0]+lines[1]+lines[2]+lines[1]), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := kiroku(t, "rules", "check", twice); got.code != 1 || !strings.Contains(got.out, twice+":4: ") {
		t.Errorf("%d\n%s", got.code, got.out)
	}
}

// TestJSONIsAlone expects one JSON value and nothing else on standard output.
func TestJSONIsAlone(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	for _, arguments := range [][]string{
		{"version"}, {"keys", "init", "--data", data}, {"keys", "list", "--data", data}, {"keys", "export-public", "sign/1", "--data", data},
	} {
		got := kiroku(t, append(arguments, "--json")...).must(t)
		if !json.Valid([]byte(got.out)) || got.err != "" {
			t.Errorf("kiroku %v --json: %s%s", arguments, got.out, got.err)
		}
	}
}

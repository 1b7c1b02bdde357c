package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"kiroku/cmd/kiroku/internal/config"
)

func file(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kiroku.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

var home = map[string]string{"HOME": "/home/someone"}

func TestLaterSourcesWin(t *testing.T) {
	const yaml = "ledger:\n  anchor_interval: 2s\n  record_shards: 2\nlog:\n  level: warn\n"
	c, warnings, err := config.Load(config.Sources{
		File:        file(t, yaml),
		Environment: map[string]string{"HOME": "/home/someone", "KIROKU_LEDGER_ANCHOR_INTERVAL": "3s", "KIROKU_LOG_LEVEL": "error"},
		Flags:       map[string]string{"log.level": "debug"},
	})
	if err != nil || len(warnings) != 0 {
		t.Fatal(err, warnings)
	}
	if c.HSM.Token.Label != "kiroku" {
		t.Errorf("built in: %q", c.HSM.Token.Label)
	}
	if c.Ledger.RecordShards != 2 {
		t.Errorf("the file over what is built in: %d", c.Ledger.RecordShards)
	}
	if c.Ledger.AnchorInterval != 3*time.Second {
		t.Errorf("a variable over the file: %v", c.Ledger.AnchorInterval)
	}
	if c.Log.Level != "debug" {
		t.Errorf("a flag over a variable: %v", c.Log.Level)
	}
}

func TestDataDirectory(t *testing.T) {
	for name, c := range map[string]struct {
		environment, flags map[string]string
		want               string
	}{
		"home":                  {environment: home, want: "/home/someone/.local/share/kiroku"},
		"XDG":                   {environment: map[string]string{"XDG_DATA_HOME": "/data", "HOME": "/h"}, want: "/data/kiroku"},
		"a relative XDG is not": {environment: map[string]string{"XDG_DATA_HOME": "data", "HOME": "/h"}, want: "/h/.local/share/kiroku"},
		"variable":              {environment: map[string]string{"KIROKU_DATA": "/v", "HOME": "/h"}, want: "/v"},
		"flag":                  {environment: map[string]string{"KIROKU_DATA": "/v"}, flags: map[string]string{"data": "/f"}, want: "/f"},
	} {
		loaded, _, err := config.Load(config.Sources{Environment: c.environment, Flags: c.flags})
		if err != nil || loaded.Data != c.want {
			t.Errorf("%s: %q, %v; want %q", name, loaded.Data, err, c.want)
		}
	}
	if _, _, err := config.Load(config.Sources{}); err == nil || !strings.Contains(err.Error(), "--data") {
		t.Errorf("without a home directory: %v", err)
	}
}

func TestUnknownSettings(t *testing.T) {
	for yaml, want := range map[string][]string{
		"stroe:\n  connection: embedded\n":            {"stroe.connection", "the nearest is store.connection", "kiroku.yaml"},
		"hsm:\n  token:\n    pinfile: /p\n":           {"hsm.token.pinfile", "the nearest is hsm.token.pin_file"},
		"store: embedded\n":                           {"store: no such setting", "it is a group, with store.ca_file, store.connection"},
		"log:\n  level:\n    of_detail: 3\n":          {"log.level.of_detail", "the nearest is log.level"},
		"hsm:\n  purposes:\n    dyas:\n      user: x": {"hsm.purposes.dyas.user", "the nearest is hsm.purposes.days.user"},
	} {
		_, _, err := config.Load(config.Sources{File: file(t, yaml), Environment: home})
		if !errors.Is(err, config.ErrUnknownKey) {
			t.Errorf("%q: %v", yaml, err)
			continue
		}
		for _, part := range want {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%q: %v\nshould say %q", yaml, err, part)
			}
		}
	}
}

func TestUnknownVariableIsNoted(t *testing.T) {
	_, warnings, err := config.Load(config.Sources{Environment: map[string]string{
		"HOME": "/h", "KIROKU_STORE_CONECTION": "embedded", "KIROKU_TEST_ESDB": "esdb://x", "KIROKU_CONFIG": "f",
	}})
	if err != nil || len(warnings) != 1 || !strings.Contains(warnings[0], "the nearest is KIROKU_STORE_CONNECTION") {
		t.Errorf("%v, %q", err, warnings)
	}
}

// TestBounds also shows that a message names the setting and where it came
// from, and never a password that was put into the wrong place.
func TestBounds(t *testing.T) {
	for _, c := range []struct{ key, value string }{
		{"ledger.record_shards", "0"},
		{"ledger.record_shards", "many"},
		{"ledger.anchor_interval", "500ms"},
		{"ledger.anchor_interval", "60"},
		{"ledger.anchor_interval", "3 minutes"},
		{"ledger.anchor_interval", "2h"},
		{"hsm.sessions", "65"},
		{"hsm.token.label", strings.Repeat("x", 33)},
		{"hsm.juki_bits", "1024"},
		{"admin.listen", "0.0.0.0:9440"},
		{"admin.listen", "127.0.0.1"},
		{"admin.listen", "127.0.0.1:99999"},
		{"store.listen", "192.0.2.1:2113"},
		{"log.level", "loud"},
		{"store.connection", "http://node:2113"},
		{"store.connection", "esdb://kiroku:hunter2@node:2113"},
		{"store.user", "kiroku"},
		{"retention.interval", "10s"},
		{"retention.interval", "25h"},
		{"retention.copies", "backup-1,backup-1"},
		{"retention.copies", "Backup One"},
		{"retention.copies", strings.Repeat("x", 65)},
		{"retention.copies", strings.Repeat("a,b,c,d,", 9) + "e"},
	} {
		_, _, err := config.Load(config.Sources{Environment: map[string]string{"HOME": "/h", config.Variable(c.key): c.value}})
		if !errors.Is(err, config.ErrOutOfBounds) {
			t.Errorf("%s=%s: %v", c.key, c.value, err)
			continue
		}
		if !strings.Contains(err.Error(), c.key) || !strings.Contains(err.Error(), config.Variable(c.key)) {
			t.Errorf("%s=%s: %v\nshould name the setting and its origin", c.key, c.value, err)
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: a password is shown: %v", c.key, err)
		}
	}
}

func TestCluster(t *testing.T) {
	c, _, err := config.Load(config.Sources{Environment: home, Flags: map[string]string{
		"store.connection": "esdb://node1:2113,node2:2113,node3:2113?tls=true", "store.user": "kiroku", "store.password_file": "/run/secrets/store",
	}})
	if err != nil || c.Store.Connection == config.Embedded {
		t.Error(c.Store, err)
	}
}

func TestPathsOfTheFileAreRelativeToIt(t *testing.T) {
	path := file(t, "data: here\nhsm:\n  token:\n    module: /usr/lib/p11.so\n    pin_file: secrets/pin\n")
	c, _, err := config.Load(config.Sources{File: path, Environment: home})
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Dir(path)
	if c.Data != filepath.Join(folder, "here") || c.HSM.Token.PINFile != filepath.Join(folder, "secrets/pin") || c.HSM.Token.Module != "/usr/lib/p11.so" {
		t.Errorf("%+v", c)
	}
}

func TestEveryKeyCanBeSetByVariable(t *testing.T) {
	seen := map[string]string{}
	for _, key := range config.Keys() {
		variable := config.Variable(key)
		if other, taken := seen[variable]; taken {
			t.Errorf("%s means both %s and %s", variable, key, other)
		}
		seen[variable] = key
	}
	if !slices.Contains(config.Keys(), "hsm.purposes.signing.pin_file") {
		t.Error(config.Keys())
	}
}

// TestCopiesOfTheKeysAreAList: in the file as a list, and in a variable or on the command line with commas.
func TestCopiesOfTheKeysAreAList(t *testing.T) {
	want := []string{"backup-tokyo", "replica-1"}
	const key = "retention.copies"
	for name, sources := range map[string]config.Sources{
		"list":     {File: file(t, "retention:\n  copies: [backup-tokyo, replica-1]\n")},
		"text":     {File: file(t, "retention:\n  copies: backup-tokyo, replica-1\n")},
		"variable": {Environment: map[string]string{config.Variable(key): "backup-tokyo,replica-1"}},
		"flag":     {File: file(t, "retention:\n  copies: [other]\n"), Flags: map[string]string{key: "backup-tokyo, replica-1"}},
	} {
		if sources.Environment == nil {
			sources.Environment = map[string]string{}
		}
		sources.Environment["HOME"] = "/home/someone"
		c, _, err := config.Load(sources)
		if err != nil || !slices.Equal(c.Retention.Copies, want) {
			t.Errorf("%s: %q, %v", name, c.Retention.Copies, err)
		}
	}
	c, _, err := config.Load(config.Sources{Environment: home})
	if err != nil || len(c.Retention.Copies) > 0 || c.Officials.CAFile != "" {
		t.Errorf("built in: %q, %q, %v", c.Retention.Copies, c.Officials.CAFile, err)
	}
	path := file(t, "officials:\n  ca_file: officials.pem\n")
	if c, _, err := config.Load(config.Sources{File: path, Environment: home}); err != nil || c.Officials.CAFile != filepath.Join(filepath.Dir(path), "officials.pem") {
		t.Errorf("relative to the file: %q, %v", c.Officials.CAFile, err)
	}
}

// FuzzFile looks for files that get past the bounds or end in a panic.
func FuzzFile(f *testing.F) {
	f.Add("log:\n  level: info\n")
	f.Add("ledger: {record_shards: [1]}\n")
	f.Add("ledger: {record_shards: 1.5}\nlog: {level: null}\n")
	f.Add("store: {connection: {a: b}}\n? [x]\n: y\n")
	f.Add("1: 2\n")
	f.Fuzz(func(t *testing.T, text string) {
		c, _, err := config.Load(config.Sources{File: file(t, text), Environment: home})
		if err != nil {
			return
		}
		if c.Data == "" || c.Ledger.RecordShards < 1 || c.Ledger.AnchorInterval < time.Second || c.HSM.Token.Label == "" || c.Admin.Listen == "" {
			t.Errorf("accepted: %q as %+v", text, c)
		}
	})
}

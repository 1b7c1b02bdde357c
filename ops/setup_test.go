// Package ops_test runs ops/setup on machines that lack something. It promises
// whoever comes new to the tree that the script says what to do.
package ops_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"kiroku/adapters/clickhouse/embedded"
)

// machine is a folder of the commands that a machine has.
func machine(t *testing.T, commands ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range append(commands, "bash", "dirname", "awk", "sort", "head", "sed", "env", "cat", "rm", "touch", "chmod") {
		path, err := exec.LookPath(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// program puts a script of its own among the commands.
func program(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte("#!"+filepath.Join(dir, "bash")+"\n"+text), 0o700); err != nil {
		t.Fatal(err)
	}
}

// setup runs the script there and returns its exit status and what it said.
func setup(t *testing.T, dir string, arguments ...string) (int, string) {
	t.Helper()
	command := exec.CommandContext(t.Context(), filepath.Join(dir, "bash"), append([]string{"setup"}, arguments...)...)
	command.Env = []string{"PATH=" + dir, "HOME=" + os.Getenv("HOME"), "MACHINE=" + dir, "XDG_CACHE_HOME=" + filepath.Join(dir, "cache")}
	said, _ := command.CombinedOutput()
	return command.ProcessState.ExitCode(), string(said)
}

// engine puts a library where the script would put the ClickHouse engine.
func engine(t *testing.T, dir string) {
	t.Helper()
	path := filepath.Join(dir, "cache", "kiroku", "chdb-"+embedded.Version, "libchdb.so")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("a library"), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestSetupNamesWhatIsMissing(t *testing.T) {
	for _, c := range []struct {
		name     string
		commands []string
		script   map[string]string
		status   int
		says     []string
	}{
		{"a compiler", []string{"go"}, nil, 1, []string{"gcc", "libc6-dev"}},
		{"Go", nil, map[string]string{"gcc": "exit 0"}, 1, []string{"Go 1.", "PATH"}},
		{"a newer Go", nil, map[string]string{"gcc": "exit 0", "go": "echo go1.20.1"}, 1, []string{"too old", "1.20.1"}},
		{"a Go that runs", nil, map[string]string{"gcc": "exit 0", "go": "exit 1"}, 1, []string{"too old"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := machine(t, c.commands...)
			for name, text := range c.script {
				program(t, dir, name, text)
			}
			status, said := setup(t, dir, "--check")
			if status != c.status {
				t.Errorf("exit status %d, want %d", status, c.status)
			}
			for _, want := range c.says {
				if !strings.Contains(said, want) {
					t.Errorf("it does not say %q but:\n%s", want, said)
				}
			}
		})
	}
}

// With apt-get at hand the package is installed, after bringing the lists up to
// date where that is needed, and the script is silent the next time.
func TestSetupInstalls(t *testing.T) {
	dir := machine(t)
	engine(t, dir)
	program(t, dir, "go", `case $* in *CGO*) echo 1 ;; *) echo go99.1 ;; esac`)
	// sudo runs what it is given; apt-get knows gcc only after an update.
	program(t, dir, "sudo", `while [[ $1 == -* ]]; do shift; done; exec "$@"`)
	program(t, dir, "true", `exit 0`)
	program(t, dir, "apt-get", `
case " $* " in
*" update "*) touch "$MACHINE/updated" ;;
*" install "*)
	[[ -e $MACHINE/updated ]] || exit 100
	printf '#!%s\nexit 0\n' "$MACHINE/bash" >"$MACHINE/gcc"
	chmod +x "$MACHINE/gcc"
	;;
esac`)
	if status, said := setup(t, dir); status != 0 || !strings.Contains(said, "installing gcc libc6-dev") {
		t.Fatalf("exit status %d, and it says:\n%s", status, said)
	}
	if status, said := setup(t, dir); status != 0 || said != "" {
		t.Errorf("the second time: exit status %d, and it says:\n%s", status, said)
	}
}

// Without the ClickHouse engine the machine is ready all the same: it is said
// that statistics are off, why, and what to do. Only who asks for statistics is
// refused.
func TestSetupWithoutStatistics(t *testing.T) {
	tools := []string{"tar", "gzip", "sha256sum", "sha512sum", "mktemp", "mv", "mkdir", "find", "sync"}
	for _, c := range []struct {
		name     string
		commands []string
		npm      string
		says     string
	}{
		{"no npm", nil, "", "npm is missing"},
		{"no network", tools, "echo 'getaddrinfo ENOTFOUND' >&2; exit 1", "ENOTFOUND"},
		{"another archive", tools, "while [[ $1 != --pack-destination ]]; do shift; done; echo other >$2/x.tgz", "not the archive"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := machine(t, c.commands...)
			program(t, dir, "gcc", "exit 0")
			program(t, dir, "go", `case $* in *CGO*) echo 1 ;; *) echo go99.1 ;; esac`)
			if c.npm != "" {
				program(t, dir, "npm", c.npm)
			}
			for arguments, status := range map[string]int{"": 0, "--statistics": 1} {
				got, said := setup(t, dir, strings.Fields(arguments)...)
				if got != status {
					t.Errorf("%s: exit status %d, want %d", arguments, got, status)
				}
				for _, want := range []string{"statistics are off", c.says, "ops/setup again"} {
					if !strings.Contains(said, want) {
						t.Errorf("%s: it does not say %q but:\n%s", arguments, want, said)
					}
				}
			}
			left, err := filepath.Glob(filepath.Join(dir, "cache", "kiroku", "*", "*"))
			hidden, err2 := filepath.Glob(filepath.Join(dir, "cache", "kiroku", "*", ".fetch*"))
			if len(left)+len(hidden) != 0 || err != nil || err2 != nil {
				t.Errorf("it leaves %q and %q", left, hidden)
			}
		})
	}
}

// The version that is fetched is the one that is looked for.
func TestSetupFetchesTheVersionLookedFor(t *testing.T) {
	script, err := os.ReadFile("setup")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(script), "engine_version="+embedded.Version+"\n") {
		t.Errorf("the script fetches another version than %s", embedded.Version)
	}
}

// Package ops_test runs ops/setup on machines that lack something. It promises
// whoever comes new to the tree that the script says what to do.
package ops_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
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
	command.Env = []string{"PATH=" + dir, "HOME=" + os.Getenv("HOME"), "MACHINE=" + dir}
	said, _ := command.CombinedOutput()
	return command.ProcessState.ExitCode(), string(said)
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

package datadir_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kiroku/adapters/datadir"
)

func write(t *testing.T, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestReadSecret(t *testing.T) {
	for name, c := range map[string]struct {
		text    string
		mode    os.FileMode
		want    string
		refused string
	}{
		"plain":            {text: "1234", mode: 0o600, want: "1234"},
		"from an editor":   {text: "1234\r\n", mode: 0o400, want: "1234"},
		"spaces are kept":  {text: " 12 34 \n", mode: 0o600, want: " 12 34 "},
		"group can read":   {text: "1234", mode: 0o640, refused: "chmod 600"},
		"others can write": {text: "1234", mode: 0o602, refused: "chmod 600"},
		"empty":            {text: "\n", mode: 0o600, refused: "empty"},
		"some other file":  {text: strings.Repeat("x", 5000), mode: 0o600, refused: "too many"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := datadir.ReadSecret(write(t, c.text, c.mode))
			if c.refused != "" {
				if err == nil || !strings.Contains(err.Error(), c.refused) || strings.Contains(err.Error(), "1234") {
					t.Errorf("error %v should say %q and not the secret", err, c.refused)
				}
				return
			}
			if err != nil || string(got.Expose()) != c.want {
				t.Errorf("%v", err)
			}
			got.Destroy()
		})
	}
	if _, err := datadir.ReadSecret(t.TempDir()); err == nil {
		t.Error("a folder was read as a secret")
	}
}

func TestWritePrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	for _, text := range []string{"first", "second"} {
		if err := datadir.WritePrivate(path, []byte(text)); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil || string(got) != text {
			t.Errorf("%q, %v", got, err)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestFailedWriteKeepsTheOldFile(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "dump")
	if err := datadir.WritePrivate(path, []byte("old")); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("the store went away")
	err := datadir.WriteStream(path, func(w io.Writer) error {
		if _, err := w.Write([]byte("half of the new")); err != nil {
			return err
		}
		return broken
	})
	if !errors.Is(err, broken) {
		t.Error(err)
	}
	if text, _ := os.ReadFile(path); string(text) != "old" {
		t.Errorf("the file is %q", text)
	}
	if left, _ := os.ReadDir(folder); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}

func TestHold(t *testing.T) {
	folder := t.TempDir()
	lock, err := datadir.Hold(folder)
	if err != nil {
		t.Fatal(err)
	}
	var held *datadir.HeldError
	if _, err := datadir.Hold(folder); !errors.As(err, &held) || held.PID != os.Getpid() {
		t.Errorf("a second holder: %v", err)
	}
	if yes, err := datadir.Held(folder); !yes || err != nil {
		t.Error(yes, err)
	}
	if err := lock.Release(); err != nil {
		t.Fatal(err)
	}
	if yes, err := datadir.Held(folder); yes || err != nil {
		t.Error(yes, err)
	}
}

func TestEndpointIsFoundAsAnnounced(t *testing.T) {
	d := datadir.Dir(filepath.Join(t.TempDir(), "data"))
	if _, err := d.Find("store"); !errors.Is(err, datadir.ErrNotRunning) {
		t.Errorf("before: %v", err)
	}
	password := datadir.NewCredential()
	said := datadir.Endpoint{
		Address: "127.0.0.1:2113", PID: 7, Started: time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC), CAFile: "/a b/ca.pem",
		Passwords: map[string]datadir.Credential{"kiroku": password}, Token: datadir.NewCredential(),
	}
	if err := d.Announce("store", said); err != nil {
		t.Fatal(err)
	}
	found, err := d.Find("store")
	if err != nil || fmt.Sprint(found.Passwords["kiroku"].Expose(), found.Token.Expose()) != fmt.Sprint(password.Expose(), said.Token.Expose()) {
		t.Fatal("not the same", err)
	}
	connection, err := found.StoreConnection("kiroku")
	if want := "esdb://kiroku:" + password.Expose() + "@127.0.0.1:2113?tls=true&tlsCaFile=%2Fa+b%2Fca.pem"; connection != want || err != nil {
		t.Errorf("connection string %s, %v", connection, err)
	}
	if _, err := found.StoreConnection("root"); err == nil {
		t.Error("a user that does not exist")
	}
	path := filepath.Join(d.Run(), "store.json")
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Error(info.Mode(), err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Find("store"); !errors.Is(err, datadir.ErrExposed) {
		t.Errorf("a file that others can read was believed: %v", err)
	}
	if err := errors.Join(d.Retract("store"), d.Retract("store")); err != nil {
		t.Error(err)
	}
}

// TestCredentialsDoNotShow tries the ways in which values reach a log.
func TestCredentialsDoNotShow(t *testing.T) {
	e := datadir.Endpoint{Address: "127.0.0.1:1", Passwords: map[string]datadir.Credential{"kiroku": datadir.NewCredential()}, Token: datadir.NewCredential()}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%T"} {
		fmt.Fprintf(&out, verb+verb, e, e.Token)
	}
	for _, h := range []slog.Handler{slog.NewJSONHandler(&out, nil), slog.NewTextHandler(&out, nil)} {
		slog.New(h).Info("endpoint", "value", e, "token", e.Token, "passwords", e.Passwords)
	}
	if err := json.NewEncoder(&out).Encode(e); err != nil {
		t.Error(err)
	}
	for _, c := range []datadir.Credential{e.Token, e.Passwords["kiroku"]} {
		if strings.Contains(out.String(), c.Expose()) || strings.Contains(out.String(), fmt.Sprintf("%x", c.Expose())) {
			t.Errorf("shown in:\n%s", out.String())
		}
	}
	if !strings.Contains(out.String(), "redacted") {
		t.Error("the test shows nothing at all")
	}
}

func TestMakeRefusesADirectoryOthersCanWrite(t *testing.T) {
	d := datadir.Dir(t.TempDir())
	if err := os.Chmod(string(d), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := d.Make(d.Run()); !errors.Is(err, datadir.ErrExposed) {
		t.Error(err)
	}
}

package evidence_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"kiroku/adapters/hsm"
	"kiroku/adapters/hsm/hsmtest"
	"kiroku/cmd/kiroku/internal/evidence/leaktest"
	"kiroku/domain/ledger"
)

// built is the program as it is shipped, and a ledger that its demonstration wrote. Both are made once.
var built struct {
	once sync.Once
	err  error
	dir  string
	mu   sync.Mutex
	said bytes.Buffer // by every command that ran; guarded by mu
}

const (
	shownPeople    = 60
	shownInquiries = 80
)

func TestMain(m *testing.M) {
	code := m.Run()
	if built.dir != "" {
		os.RemoveAll(built.dir)
	}
	os.Exit(code)
}

// program builds kiroku and runs its demonstration, the first time that it is called.
func program(t *testing.T) {
	t.Helper()
	built.once.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "kiroku-evidence-"); built.err != nil {
			return
		}
		out, err := exec.Command("go", "build", "-o", filepath.Join(built.dir, "kiroku"), "kiroku/cmd/kiroku").CombinedOutput()
		if err != nil {
			built.err = fmt.Errorf("building kiroku: %w\n%s", err, out)
			return
		}
		code, text := kiroku("demo", "--people", fmt.Sprint(shownPeople), "--agencies", "4", "--inquiries", fmt.Sprint(shownInquiries),
			"--log-level", "debug", "--report", file("report.json"))
		if code != 0 {
			built.err = fmt.Errorf("kiroku demo: exit status %d\n%s", code, text)
			return
		}
		for _, arguments := range [][]string{
			{"dump", "--out", file("ledger.jsonl")}, {"heads", "--out", file("heads.json")}, {"keys", "export-public", "--out", file("keys.pem")},
		} {
			if code, text := kiroku(arguments...); code != 0 {
				built.err = fmt.Errorf("kiroku %v: exit status %d\n%s", arguments, code, text)
				return
			}
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
}

func file(name string) string { return filepath.Join(built.dir, name) }
func data() string            { return file("data") }

// kiroku runs a command on the data directory to its end and returns its exit status and all it said.
func kiroku(arguments ...string) (code int, said string) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, file("kiroku"), append(arguments, "--data", data())...)
	command.Env = environment()
	out, err := command.CombinedOutput()
	built.mu.Lock()
	built.said.Write(out)
	built.mu.Unlock()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return -1, err.Error()
	}
	return command.ProcessState.ExitCode(), string(out)
}

func environment() (clean []string) {
	for _, entry := range os.Environ() {
		if !strings.HasPrefix(entry, "KIROKU_") && !strings.HasPrefix(entry, "XDG_") && !strings.HasPrefix(entry, "SOFTHSM2_CONF=") {
			clean = append(clean, entry)
		}
	}
	return clean
}

// dumped reads the demonstration's ledger.
func dumped(t *testing.T) (events []ledger.Event) {
	t.Helper()
	in, err := os.Open(file("ledger.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	for e, err := range ledger.ReadDump(in) {
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, e)
	}
	return events
}

// served is what a core said while it served, on its endpoints and on its log, and the credentials it had meanwhile.
func served(t *testing.T) (said map[string]string, credentials []leaktest.Secret) {
	t.Helper()
	said = map[string]string{}
	log, err := os.Create(file("serve.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	core := exec.Command(file("kiroku"), "serve", "--log-level", "debug", "--data", data())
	core.Env, core.Stdout, core.Stderr = environment(), log, log
	if err := core.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- core.Wait() }()
	defer func() {
		_ = core.Process.Signal(syscall.SIGTERM)
		if err := <-ended; err != nil {
			t.Errorf("kiroku serve: %v", err)
		}
		text, _ := os.ReadFile(log.Name())
		said["log of kiroku serve"] = string(text)
	}()
	var admin struct{ Address, Token string }
	ready := func() bool {
		text, err := os.ReadFile(filepath.Join(data(), "run", "admin.json"))
		if err != nil || json.Unmarshal(text, &admin) != nil {
			return false
		}
		answer, err := http.Get("http://" + admin.Address + "/health/ready")
		if err != nil {
			return false
		}
		answer.Body.Close()
		return answer.StatusCode == http.StatusOK
	}
	for end := time.Now().Add(time.Minute); !ready(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Error("kiroku serve is never ready")
			return said, nil
		}
	}
	for _, path := range []string{"/metrics", "/health/ready", "/health/live", "/", "/projections"} {
		answer, err := http.Get("http://" + admin.Address + path)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		said["answer to "+path] = fmt.Sprintf("%v\n%s", answer.Header, text)
	}
	credentials = append(credentials, leaktest.Secret{Name: "token of the admin endpoint", Value: []byte(admin.Token)})
	private(t, "admin.json", filepath.Join(data(), "run", "admin.json"))
	for _, arguments := range [][]string{{"projections", "status"}, {"verify"}, {"keys", "list"}, {"projections", "rebuild", "dedup"}} {
		code, text := kiroku(arguments...)
		if code != 0 {
			t.Errorf("kiroku %v: exit status %d\n%s", arguments, code, text)
		}
		said[fmt.Sprint("output of kiroku ", arguments)] = text
	}
	return said, credentials
}

// held are the credentials in the files of the data directory that are made for them. Their owner alone may read these.
func held(t *testing.T) (all []leaktest.Secret) {
	t.Helper()
	for _, name := range []string{"user.pin", "so.pin"} {
		all = append(all, private(t, name, filepath.Join(data(), "hsm", name)))
	}
	var store struct{ Passwords map[string]string }
	if err := json.Unmarshal(private(t, "store.json", filepath.Join(data(), "run", "store.json")).Value, &store); err != nil || len(store.Passwords) == 0 {
		t.Fatalf("credentials of the store: %v", err)
	}
	for user, password := range store.Passwords {
		all = append(all, leaktest.Secret{Name: "password of " + user, Value: []byte(password)})
	}
	keys, err := filepath.Glob(filepath.Join(data(), "tls", "*"))
	if err != nil {
		t.Fatal(err)
	}
	n := len(all)
	for _, path := range keys {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		block, _ := pem.Decode(text)
		if block == nil || !strings.Contains(block.Type, "PRIVATE") {
			continue
		}
		private(t, filepath.Base(path), path)
		all = append(all, leaktest.Secret{Name: "private key in " + filepath.Base(path), Value: scalar(t, block.Bytes)})
	}
	if len(all) == n {
		t.Error("no private key of TLS was found")
	}
	return all
}

func scalar(t *testing.T, der []byte) []byte {
	t.Helper()
	if key, err := x509.ParsePKCS8PrivateKey(der); err == nil {
		return key.(*ecdsa.PrivateKey).D.FillBytes(make([]byte, 32))
	}
	key, err := x509.ParseECPrivateKey(der)
	if err != nil {
		t.Fatal(err)
	}
	return key.D.FillBytes(make([]byte, 32))
}

// token opens the token of the data directory in this process: SoftHSM has one folder for each process, so a copy of the
// token is put beside the tests' own.
func token(t *testing.T) *hsm.HSM {
	t.Helper()
	own := hsmtest.Blank(t).Config
	if err := os.CopyFS(hsmtest.TokensDir(), os.DirFS(filepath.Join(data(), "hsm", "tokens"))); err != nil {
		t.Fatal(err)
	}
	own.Token.Label, own.Token.PINFile = "kiroku", filepath.Join(data(), "hsm", "user.pin")
	h, err := hsm.Open(t.Context(), own)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

// TestComplaintsShowNoCredential gives the program credentials where none belong.
func TestComplaintsShowNoCredential(t *testing.T) {
	program(t)
	const secret = "canary-7f1c55d0a9"
	s, err := leaktest.New(leaktest.Secret{Name: "credential", Value: []byte(secret)})
	if err != nil {
		t.Fatal(err)
	}
	wrong := file("wrong.yaml")
	defer os.Remove(wrong)
	for _, text := range []string{
		"store: {password: %s}", "store: %s", "store: {connection: 'esdb://user:%s@127.0.0.1:1'}", "hsm: {pin: %s}", "hsm: {token: %s}",
		"hsm: {token: {pin: %s}}", "hsm: {sessions: %s}", "store: {password: [%s", "hsm: {token: {pin_file: %s}",
	} {
		if err := os.WriteFile(wrong, fmt.Appendf(nil, text, secret), 0o600); err != nil {
			t.Fatal(err)
		}
		complains(t, s, "dump", "--config", wrong)
	}
	for _, setting := range []string{
		"store.connection=esdb://user:%s@127.0.0.1:1", "store.connection=esdb://user:x?%s@127.0.0.1:1", "store.connection=esdb://user:x#%s@127.0.0.1:1",
		"store.connection=%s", "store.password=%s", "hsm.pin=%s", "hsm.token=%s", "hsm.token.pin=%s", "hsm.sessions=%s", "admin.listen=%s", "log.level=%s",
	} {
		complains(t, s, "dump", "--set", fmt.Sprintf(setting, secret))
	}
}

func complains(t *testing.T, s *leaktest.Scanner, arguments ...string) {
	t.Helper()
	code, said := kiroku(arguments...)
	if code != 2 {
		t.Errorf("kiroku %v: exit status %d\n%s", arguments, code, said)
	}
	report(t, s.Scan(fmt.Sprint("output of kiroku ", arguments[:2]), []byte(said)))
}

// TestTheProgramLeavesNoSecret searches what the shipped program leaves after its demonstration and after it served.
func TestTheProgramLeavesNoSecret(t *testing.T) {
	program(t)
	said, credentials := served(t)
	events := dumped(t)
	k := learn(t, token(t), events, codes(t, shownPeople, 0))
	k.checkPersons(shownPeople)
	allowed := map[string]string{"content of user.pin": "data/hsm/user.pin", "content of so.pin": "data/hsm/so.pin",
		"password of admin": "data/run/store.json", "password of kiroku": "data/run/store.json"}
	for _, s := range held(t) {
		credentials = append(credentials, s)
		if name, ok := strings.CutPrefix(s.Name, "private key in "); ok {
			allowed[s.Name] = "data/tls/" + name
		}
	}
	outside, inside := k.scanners(credentials...)
	found := searchEvents(outside, events)
	said["output of the first commands"] = built.said.String()
	for where, text := range said {
		if text == "" && !strings.HasPrefix(where, "output of the first") {
			t.Errorf("nothing was said: %s", where)
		}
		found = append(found, outside.Scan(where, []byte(text))...)
	}
	below, n, err := outside.Tree(built.dir) // data directory, report, dump, heads, public keys, the program itself
	if err != nil {
		t.Fatal(err)
	}
	secrets, forms := outside.Secrets()
	t.Logf("%d secrets in %d forms; %+v; %d events", secrets, forms, n, len(events))
	found = append(found, below...)
	seen := map[string]bool{}
	report(t, leaktest.Allow(found, func(f leaktest.Finding) bool {
		ok := f.Where == "file "+allowed[f.Secret]
		seen[f.Secret] = seen[f.Secret] || ok
		return ok
	}))
	for name := range allowed {
		if !seen[name] {
			t.Errorf("%s is not found where it belongs: the search does not know it", name)
		}
	}
	found = nil
	for where, plain := range k.opened {
		found = append(found, inside.Scan("the sealed payload of "+where, []byte(plain))...)
	}
	report(t, found)
}

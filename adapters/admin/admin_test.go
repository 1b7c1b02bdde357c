package admin_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"kiroku/adapters/admin"
	"kiroku/adapters/datadir"
)

func open(t *testing.T) (*admin.Server, datadir.Credential) {
	t.Helper()
	token := datadir.NewCredential()
	s, err := admin.Open(admin.Config{Listen: "127.0.0.1:0", Token: token, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s, token
}

// get asks for a path and returns status and body.
func get(t *testing.T, s *admin.Server, path string, change ...func(*http.Request)) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.Address()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range change {
		c(r)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(body)
}

func TestReadinessTellsWhatIsMissing(t *testing.T) {
	s, _ := open(t)
	missing := errors.New("the token is gone")
	s.Ready("hsm", func(context.Context) error { return missing })
	s.Ready("store", func(context.Context) error { return nil })
	status, body := get(t, s, "/health/ready")
	var answer struct {
		Status  string
		Reasons map[string]string
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		t.Fatal(err)
	}
	if status != 503 || answer.Status != "not ready" || len(answer.Reasons) != 1 || answer.Reasons["hsm"] != "the token is gone" {
		t.Errorf("%d %s", status, body)
	}
	if status, _ := get(t, s, "/health/live"); status != 200 {
		t.Errorf("not ready is not dead: %d", status)
	}
	missing = nil
	if status, body := get(t, s, "/health/ready"); status != 200 || !strings.Contains(body, `"ready"`) {
		t.Errorf("%d %s", status, body)
	}
}

func TestMetrics(t *testing.T) {
	s, _ := open(t)
	served := prometheus.NewCounter(prometheus.CounterOpts{Name: "kiroku_inquiries_total", Help: "Inquiries."})
	s.Metrics().MustRegister(served)
	served.Add(3)
	if status, body := get(t, s, "/metrics"); status != 200 || !strings.Contains(body, "kiroku_inquiries_total 3") || !strings.Contains(body, "go_goroutines") {
		t.Errorf("%d %s", status, body)
	}
}

func TestOnlyTheTokenOpens(t *testing.T) {
	s, token := open(t)
	s.Handle("POST /projections/{name}/rebuild", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			admin.Fail(w, http.StatusRequestEntityTooLarge, err)
			return
		}
		admin.Answer(w, 200, map[string]string{"name": r.PathValue("name"), "body": string(body)})
	}))
	call := func(authorization string, body io.Reader) (int, string) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+s.Address()+"/projections/dedup/rebuild", body)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", authorization)
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode, string(text)
	}
	for _, wrong := range []string{"", "Bearer ", "Bearer x", token.Expose(), "Basic " + token.Expose()} {
		if status, body := call(wrong, nil); status != 401 || strings.Contains(body, token.Expose()) {
			t.Errorf("%d %s", status, body)
		}
	}
	if status, body := call("Bearer "+token.Expose(), strings.NewReader("x")); status != 200 || !strings.Contains(body, `"dedup"`) {
		t.Errorf("%d %s", status, body)
	}
	if status, _ := call("Bearer "+token.Expose(), bytes.NewReader(make([]byte, 2<<20))); status != 413 {
		t.Errorf("2 MiB: %d", status)
	}
}

func TestAnotherHostNameIsRefused(t *testing.T) {
	s, _ := open(t)
	for host, want := range map[string]int{"localhost": 200, "127.0.0.1:80": 200, "[::1]": 200, "attacker.example": 421, "attacker.example:80": 421} {
		if status, _ := get(t, s, "/health/live", func(r *http.Request) { r.Host = host }); status != want {
			t.Errorf("%s: %d", host, status)
		}
	}
}

func TestOpenRefusesOtherInterfaces(t *testing.T) {
	for _, listen := range []string{"0.0.0.0:0", ":0", "192.0.2.1:0", "nonsense"} {
		if s, err := admin.Open(admin.Config{Listen: listen, Token: datadir.NewCredential(), Log: slog.New(slog.DiscardHandler)}); err == nil {
			t.Errorf("%q was opened", listen)
			_ = s.Close(t.Context())
		}
	}
}

func TestClient(t *testing.T) {
	d := datadir.Dir(filepath.Join(t.TempDir(), "data"))
	if _, err := admin.Connect(d); !errors.Is(err, datadir.ErrNotRunning) {
		t.Errorf("before: %v", err)
	}
	s, token := open(t)
	s.Handle("POST /double", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var n int
		if err := json.NewDecoder(r.Body).Decode(&n); err != nil {
			admin.Fail(w, http.StatusBadRequest, errors.New("that is no number"))
			return
		}
		admin.Answer(w, 200, 2*n)
	}))
	if err := d.Announce(admin.Name, datadir.Endpoint{Address: s.Address(), Token: token}); err != nil {
		t.Fatal(err)
	}
	client, err := admin.Connect(d)
	if err != nil {
		t.Fatal(err)
	}
	var n int
	if err := client.Call(t.Context(), "POST", "/double", 21, &n); err != nil || n != 42 {
		t.Errorf("%d, %v", n, err)
	}
	var refused *admin.RefusedError
	if err := client.Call(t.Context(), "POST", "/double", "x", &n); !errors.As(err, &refused) || refused.Status != 400 || refused.Message != "that is no number" {
		t.Errorf("%v", err)
	}
	if err := client.Call(t.Context(), "GET", "/nothing", nil, nil); !errors.As(err, &refused) || refused.Status != 404 {
		t.Errorf("%v", err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := client.Call(t.Context(), "POST", "/double", 21, &n); !errors.Is(err, datadir.ErrNotRunning) {
		t.Errorf("after: %v", err)
	}
}

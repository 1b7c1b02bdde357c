package main_test

import (
	"bytes"
	"encoding/json"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/uuid"

	"kiroku/cmd/kiroku/internal/node/nodetest"
	"kiroku/domain/event"
	"kiroku/domain/ledger"
)

// storeSettings is the environment with which kiroku finds the store of a world.
func storeSettings(t *testing.T, w *nodetest.World) []string {
	t.Helper()
	u, err := url.Parse(w.Files.ConnectionString(w.Server))
	if err != nil {
		t.Fatal(err)
	}
	password, _ := u.User.Password()
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte(password), 0o600); err != nil {
		t.Fatal(err)
	}
	return append(clean(), "KIROKU_STORE_CONNECTION=esdb://"+u.Host+"?tls=true", "KIROKU_STORE_USER="+u.User.Username(),
		"KIROKU_STORE_PASSWORD_FILE="+file, "KIROKU_STORE_CA_FILE="+u.Query().Get("tlsCAFile"))
}

// TestAnAuditorOfATruncatedLedger takes the dump, the heads and the verdict of a ledger whose first records are gone, before
// the store has freed their space and after. Heads that were written down before the truncation are good for ever; a
// beginning that the registry does not name is found.
func TestAnAuditorOfATruncatedLedger(t *testing.T) {
	w := nodetest.New(t)
	c := w.Lead("a")
	c.Register("a", "b")
	person := c.Issue("a", 1)
	c.Issue("b", 1)
	for range 30 { // over two streams
		if _, err := c.Core.SubmitInquiry(t.Context(), c.Inquiry("a", "b", person)); err != nil {
			t.Fatal(err)
		}
	}
	environment, data, away := storeSettings(t, w), filepath.Join(t.TempDir(), "data"), t.TempDir()
	run := func(arguments ...string) result {
		return kirokuIn(t, environment, append(arguments, "--data", data)...)
	}
	before, dump := filepath.Join(away, "before.json"), filepath.Join(away, "ledger.jsonl")
	run("heads", "--out", before).must(t)
	const first = 3
	stream := event.RecordStream(0)
	events, err := c.Store.ReadForward(t.Context(), stream, 0, 100)
	if err != nil || len(events) <= first+2 {
		t.Fatal(len(events), err)
	}
	checked, err := ledger.CheckEvent(events[first-1], c.SigningKeys())
	if err != nil {
		t.Fatal(err)
	}
	truncation := ledger.Truncation{Stream: stream, First: first, Prev: checked.Leaf}
	if _, err := c.Core.RecordFact(t.Context(), uuid.New(), ledger.TypeStreamTruncated, []any{truncation}, nil); err != nil {
		t.Fatal(err)
	}
	verifies := func(what string, arguments ...string) {
		t.Helper()
		var v struct {
			OK           bool
			HeadsChecked int `json:"heads_checked"`
		}
		got := run(append(arguments, "--json")...).must(t)
		if err := json.Unmarshal([]byte(got.out), &v); err != nil || !v.OK {
			t.Errorf("%s: %v %s", what, err, got.out)
		}
	}
	if err := c.Store.SetTruncateBefore(t.Context(), stream, first); err != nil {
		t.Fatal(err)
	}
	for _, space := range []string{"hidden", "freed"} {
		if space == "freed" {
			if done, err := w.Server.Scavenge(t.Context()); err != nil || done.Events == 0 {
				t.Fatal(done, err)
			}
		}
		after := filepath.Join(away, space+".json")
		run("heads", "--out", after).must(t)
		dumped := run("dump", "--out", dump)
		dumped.must(t)
		verifies(space, "verify", "--heads", before, "--heads", after)
		verifies(space+", from the dump", "verify", "--from", dump, "--heads", before, "--heads", after)
		text, err := os.ReadFile(dump)
		if err != nil || bytes.Contains(text, []byte(`"stream":"`+stream+`","revision":2,`)) || !bytes.Contains(text, []byte(`"stream":"`+stream+`","revision":3,`)) {
			t.Errorf("%s: the dump does not begin where the stream does: %v", space, err)
		}
	}
	if err := c.Store.SetTruncateBefore(t.Context(), stream, first+1); err != nil {
		t.Fatal(err)
	}
	if got := run("verify"); got.code != 1 || !bytes.Contains([]byte(got.out), []byte(ledger.KindStartNotTrusted)) {
		t.Errorf("a beginning that nothing authorises: exit status %d\n%s%s", got.code, got.out, got.err)
	}
}

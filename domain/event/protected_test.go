package event_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"log/slog"
	"strings"
	"testing"

	"kiroku/domain/event"
)

// TestNothingProtectedIsLoggedOrMarshalled, whichever way it gets there.
func TestNothingProtectedIsLoggedOrMarshalled(t *testing.T) {
	const canary = "canary-of-a-symbol"
	p := event.Protected(canary)
	type Holder struct{ P event.Protected }
	holder := Holder{p}
	var out bytes.Buffer
	for _, h := range []slog.Handler{slog.NewJSONHandler(&out, nil), slog.NewTextHandler(&out, nil)} {
		log := slog.New(h)
		log.Info("a message", "value", p, "pointer", &p, "inside", holder, "list", []event.Protected{p})
	}
	for _, v := range []any{p, &p, holder, []event.Protected{p}, map[string]event.Protected{"x": p}} {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(text)
	}
	text, err := xml.Marshal(holder)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(text)
	for _, leak := range []string{"canary", "Y2FuYXJ5", "63616e617279", "99 97 110", "99,97,110"} {
		if strings.Contains(out.String(), leak) {
			t.Errorf("%q shows in %s", leak, out.String())
		}
	}
	if strings.Count(out.String(), "[redacted]") < 10 {
		t.Errorf("where is it redacted? %s", out.String())
	}
}

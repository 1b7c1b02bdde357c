package register_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"testing"

	"kiroku/domain/event"
	"kiroku/domain/register"
)

func TestASubjectIDSurvivesAPayload(t *testing.T) {
	id := register.NewSubjectID([16]byte{1, 2, 3})
	if got, ok := register.SubjectIDFrom(id.Protected()); !ok || got != id {
		t.Error("it came back as another")
	}
	for _, wrong := range []event.Protected{nil, {}, make(event.Protected, 15), make(event.Protected, 17)} {
		if got, ok := register.SubjectIDFrom(wrong); ok || got != (register.SubjectID{}) {
			t.Errorf("%d octets are taken for an id", len(wrong))
		}
	}
}

func TestWhoHoldsASymbol(t *testing.T) {
	h := register.Holder{Holdings: []register.Holding{{Agency: "13101"}, {Agency: "13102", Scheme: 2}}}
	for agency, want := range map[string]bool{"13101": true, "13102": true, "13103": false, "": false, "1310": false} {
		if h.Holds(agency) != want {
			t.Errorf("agency %q holds it: %v", agency, h.Holds(agency))
		}
	}
	if (register.Holder{}).Holds("13101") {
		t.Error("nobody's symbol is held")
	}
}

// TestASubjectIsNeverPrinted, by whatever it is inside.
func TestASubjectIsNeverPrinted(t *testing.T) {
	id := register.NewSubjectID([16]byte([]byte("canary-of-an-id!")))
	values := []any{id, &id, register.Resolution{Subject: id}, &register.Resolution{Subject: id}, register.Holder{Subject: id},
		&register.Holder{Subject: id}, []register.SubjectID{id}, map[register.SubjectID]int{id: 1}}
	values = append(values, values, struct{ A []any }{values})
	var out bytes.Buffer
	for _, value := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%c", "%U", "%t", "%e"} {
			fmt.Fprintf(&out, verb+"\n", value)
		}
		slog.New(slog.NewTextHandler(&out, nil)).Info("x", "value", value)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "value", value)
	}
	text, err := json.Marshal([]any{id, &id, register.Holder{Subject: id}, map[register.SubjectID]int{id: 1}})
	if err != nil {
		t.Fatal(err)
	}
	out.Write(text)
	leaks := regexp.MustCompile(`(?i)canary|63616e617279|99 97 110|99,97,110|63, ?61, ?6e|Y2FuYXJ5|U\+0063 U\+0061`)
	for line := range strings.Lines(out.String()) {
		if leaks.MatchString(line) {
			t.Errorf("shown: %s", line)
		}
	}
}

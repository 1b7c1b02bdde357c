package retention_test

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/uuid"

	"kiroku/domain/calendar"
	"kiroku/domain/retention"
)

func valid(t testing.TB) retention.Hold {
	return retention.Hold{ID: uuid.UUID{1}, From: day(t, "2026-11-01"), To: day(t, "2026-11-30"), Until: day(t, "2035-03-31"),
		Reason: "証拠保全の決定", Authority: "東京地方裁判所 令和15年(モ)第1号"}
}

func TestAHoldHasDaysAReasonAndAnAuthority(t *testing.T) {
	if h, err := retention.NewHold(valid(t)); err != nil || h != valid(t) {
		t.Fatalf("%+v, %v", h, err)
	}
	for name, change := range map[string]func(*retention.Hold){
		"no id":                  func(h *retention.Hold) { h.ID = uuid.Nil },
		"no first day":           func(h *retention.Hold) { h.From = calendar.Day{} },
		"no last day":            func(h *retention.Hold) { h.To = calendar.Day{} },
		"no expiry":              func(h *retention.Hold) { h.Until = calendar.Day{} },
		"days out of order":      func(h *retention.Hold) { h.From, h.To = h.To, h.From },
		"no reason":              func(h *retention.Hold) { h.Reason = "" },
		"a reason of two lines":  func(h *retention.Hold) { h.Reason = "a\nb" },
		"a reason of 201":        func(h *retention.Hold) { h.Reason = strings.Repeat("字", 201) },
		"no authority":           func(h *retention.Hold) { h.Authority = "" },
		"an authority of spaces": func(h *retention.Hold) { h.Authority = "　" },
		"bytes that are no text": func(h *retention.Hold) { h.Authority = "\xff" },
	} {
		h := valid(t)
		change(&h)
		if got, err := retention.NewHold(h); !errors.Is(err, retention.ErrHold) || got != (retention.Hold{}) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestWhatAHoldCovers(t *testing.T) {
	for _, row := range []struct {
		day, today string
		want       bool
	}{
		{"2026-11-01", "2033-11-02", true},
		{"2026-11-30", "2033-12-01", true},
		{"2026-10-31", "2033-11-02", false},
		{"2026-12-01", "2033-12-02", false},
		{"2026-11-15", "2035-03-31", true},
		{"2026-11-15", "2035-04-01", false},
	} {
		h := valid(t)
		h.Shown = day(t, row.today).Start()
		if got := h.Covers(day(t, row.day), day(t, row.today)); got != row.want {
			t.Errorf("%s on %s: %v", row.day, row.today, got)
		}
		released := h
		released.Released = true
		if released.Covers(day(t, row.day), day(t, row.today)) {
			t.Errorf("%s on %s: held although released", row.day, row.today)
		}
	}
}

func FuzzNewHold(f *testing.F) {
	f.Add("証拠保全の決定", "東京地方裁判所", "2026-11-01", "2026-11-30", "2035-03-31")
	f.Add("a\u0301", "が", "2026-11-30", "2026-11-01", "")
	f.Fuzz(func(t *testing.T, reason, authority, from, to, until string) {
		h := retention.Hold{ID: uuid.UUID{1}, Reason: reason, Authority: authority}
		h.From, _ = calendar.Parse(from)
		h.To, _ = calendar.Parse(to)
		h.Until, _ = calendar.Parse(until)
		got, err := retention.NewHold(h)
		if err != nil {
			if !errors.Is(err, retention.ErrHold) || got != (retention.Hold{}) {
				t.Fatalf("%+v, %v", got, err)
			}
			return
		}
		for _, line := range []string{got.Reason, got.Authority} {
			if n := utf8.RuneCountInString(line); n < 1 || n > retention.MaxLine || strings.ContainsAny(line, "\n\r\x00") {
				t.Fatalf("%q was taken", line)
			}
		}
		if again, err := retention.NewHold(got); err != nil || again != got {
			t.Fatalf("taken once as %+v, again as %+v, %v", got, again, err)
		}
		if !got.Covers(got.From, got.From) && !got.From.After(got.Until) {
			t.Fatalf("%+v does not cover its first day", got)
		}
	})
}

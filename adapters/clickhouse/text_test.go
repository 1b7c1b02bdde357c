package clickhouse_test

import (
	"testing"

	"kiroku/adapters/clickhouse"
)

func TestText(t *testing.T) {
	for value, want := range map[any]string{
		nil: "–", uint64(7): "7", "市町村長": "市町村長", "\x1b[31mred\a\r\n": `\u001b[31mred\u0007\u000d\u000a`, "a\u202eb": `a\u202eb`, "c\u009b1m": `c\u009b1m`,
	} {
		if got := clickhouse.Text(value); got != want {
			t.Errorf("%q reads %q, want %q", value, got, want)
		}
	}
	for text, want := range map[string]int{"": 0, "abc": 3, "市町村": 6, "ア": 2, "ｱ": 1, "（a）": 5, "か\u3099": 2} {
		if got := clickhouse.Width(text); got != want {
			t.Errorf("%q takes %d columns, want %d", text, got, want)
		}
	}
}

func TestTermsOfCodes(t *testing.T) {
	for code, column := range map[string]string{"provided": "outcome", "out-of-scope": "refusal_reason", "new": "result"} {
		if clickhouse.Term(column, code) == "" {
			t.Errorf("%s has no term", code)
		}
	}
	if got := clickhouse.Term("refusal_reason", ""); got != "" {
		t.Errorf("no reason has the term %s", got)
	}
}

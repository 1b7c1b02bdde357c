package embedded

import "testing"

func TestInsertFromFile(t *testing.T) {
	const file = "FROM INFILE '/f' COMPRESSION 'none' "
	for statement, want := range map[string]string{
		"INSERT INTO t FORMAT Native":                              "INSERT INTO t " + file + "FORMAT Native",
		"insert into `a b`.t (x, `FORMAT`) format TSV;":            "insert into `a b`.t (x, `FORMAT`) " + file + "FORMAT TSV",
		"INSERT INTO t (a) VALUES":                                 "INSERT INTO t (a) " + file + "FORMAT Values",
		"INSERT INTO t SETTINGS a = 1, b = 'FORMAT X' FORMAT CSV":  "INSERT INTO t " + file + "SETTINGS a = 1, b = 'FORMAT X' FORMAT CSV",
		"/* SELECT */ INSERT INTO t -- VALUES\nFORMAT JSONEachRow": "/* SELECT */ INSERT INTO t -- VALUES\n" + file + "FORMAT JSONEachRow",
		"INSERT INTO t SELECT 1":                                   "",
		"INSERT INTO t VALUES (1)":                                 "",
		"INSERT INTO t FROM INFILE '/other' FORMAT CSV":            "",
		"SELECT 1 FORMAT CSV":                                      "",
		"":                                                         "",
	} {
		if got, ok := insertFrom(statement, "/f"); got != want || ok != (want != "") {
			t.Errorf("%s\nbecomes  %q\nand not  %q", statement, got, want)
		}
	}
}

func TestFormatOf(t *testing.T) {
	for statement, want := range map[string]string{
		"SELECT 1":                               "",
		"SELECT 1 FORMAT JSON":                   "JSON",
		"SELECT 1 format\n/* x */ CSV ; ":        "CSV",
		"SELECT 1 FORMAT CSV SETTINGS a = 1":     "CSV",
		"SELECT format('{}', 1) AS format":       "",
		"SELECT 'x FORMAT CSV'":                  "",
		"SELECT $$ FORMAT CSV$$, \"FORMAT CSV\"": "",
		"SELECT 1 -- FORMAT CSV":                 "",
	} {
		if got := formatOf(statement); got != want {
			t.Errorf("%s: %q, want %q", statement, got, want)
		}
	}
}

// FuzzTokens: whatever a statement is, its tokens are in order and within it.
func FuzzTokens(f *testing.F) {
	for _, statement := range []string{"SELECT 'a\\''", "`", "$a$ x $a$", "/* ", "--", "1e5.x", "\xff(", "'\\"} {
		f.Add(statement)
	}
	f.Fuzz(func(t *testing.T, statement string) {
		last := -1
		for _, token := range tokens(statement) {
			if token.start <= last || token.start >= len(statement) {
				t.Fatalf("a token at %d after one at %d in %q", token.start, last, statement)
			}
			last = token.start
		}
		_, _ = insertFrom(statement, "/f")
		_ = formatOf(statement)
	})
}

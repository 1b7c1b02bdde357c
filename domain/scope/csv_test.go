package scope

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"kiroku/domain/agency"
)

const head = "id,inquirer_class,affair,provider_class,information,legal_basis,valid_from,valid_to\n"

const (
	statute = "番号法19条8号・主務省令2条の表69の項"
	byLaw   = "番号法19条9号・届出13101-2024-3・公表2024-06-01"
)

func class(t testing.TB, s string) agency.Class {
	t.Helper()
	c, err := agency.ParseClass(s)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func known(t testing.TB) Classes {
	return NewClasses([]agency.Class{class(t, "市町村長"), class(t, "法務大臣"), class(t, "医療保険者")}, []agency.Class{class(t, "架空市の条例事務")})
}

// row is a good line with some cells replaced: column, text, column, text …
func row(replace ...string) string {
	cells := map[string]string{
		"id": "A1", "inquirer_class": "市町村長", "affair": "国民健康保険の給付", "provider_class": "医療保険者",
		"information": "医療保険給付関係情報", "legal_basis": statute, "valid_from": "2024-05-27", "valid_to": "",
	}
	for i := 0; i+1 < len(replace); i += 2 {
		cells[replace[i]] = replace[i+1]
	}
	var line []string
	for _, c := range columns {
		line = append(line, cells[c])
	}
	return strings.Join(line, ",") + "\n"
}

func TestCheckSaysWhatIsWrongAndWhere(t *testing.T) {
	for _, c := range []struct {
		name, file string
		want       []string
	}{
		{"good", head + row(), nil},
		{"byte order mark and CR LF", "\ufeff" + strings.ReplaceAll(head+row(), "\n", "\r\n"), nil},
		{"no last line end", strings.TrimSuffix(head+row(), "\n"), nil},
		{"columns in another order", "valid_to,id,inquirer_class,affair,provider_class,information,legal_basis,valid_from\n,A1,市町村長,給付,医療保険者,情報," + statute + ",2024-05-27\n", nil},
		{"two periods that touch", head + row("valid_to", "2025-03-31") + row("id", "A2", "valid_from", "2025-04-01"), nil},
		{"one day", head + row("valid_to", "2024-05-27"), nil},
		{"by-law", head + row("inquirer_class", "架空市の条例事務", "legal_basis", byLaw, "valid_from", "2024-06-01"), nil},

		{"nothing", "", []string{"f.csv: is empty; the first line names the columns"}},
		{"only the header", head, []string{"f.csv: holds no rule"}},
		{"blank lines count", head + "\n\n" + row("id", "ä"), []string{"f.csv:4: id: may hold ASCII"}},
		{"duplicate id", head + row() + row("affair", "別の事務"), []string{"f.csv:3: id: A1 is the id of line 2 already"}},
		{"overlap", head + row("valid_to", "2025-03-31") + row("id", "A2", "valid_from", "2025-03-31"), []string{"f.csv:3: valid_from: overlaps line 2 (A1), which permits the same exchange from 2024-05-27 to 2025-03-31"}},
		{"overlap of the same, open", head + row() + row("id", "A2"), []string{"overlaps line 2 (A1), which permits the same exchange from 2024-05-27 on"}},
		{"overlap by another spelling", head + row("affair", "が") + row("id", "A2", "affair", "か\u3099"), []string{"overlaps line 2"}},
		{"unknown column", "colour," + head + "x," + row(), []string{"f.csv:1: colour: is an unknown column"}},
		{"missing column", strings.Replace(head, ",affair", "", 1), []string{"f.csv:1: affair: column is missing"}},
		{"column twice", strings.Replace(head, "affair", "id", 1), []string{"f.csv:1: id: column is there twice", "f.csv:1: affair: column is missing"}},
		{"too few cells", head + "A1,市町村長\n", []string{"f.csv:2: has 2 cells, the first line has 8"}},
		{"empty cells", head + row("affair", "", "legal_basis", ""), []string{"f.csv:2: affair: is empty", "f.csv:2: legal_basis: is empty"}},
		{"unknown class", head + row("inquirer_class", "市長町村", "provider_class", "国王"), []string{"f.csv:2: inquirer_class: 市長町村 is not a known agency class", "f.csv:2: provider_class: 国王 is not"}},
		{"day that is none", head + row("valid_from", "2024-02-30", "valid_to", "令和7年"), []string{"f.csv:2: valid_from: is not a day; write it as 2024-05-27", "f.csv:2: valid_to: is not a day"}},
		{"ends before it begins", head + row("valid_to", "2024-05-26"), []string{"f.csv:2: valid_to: is before valid_from"}},
		{"basis of nothing", head + row("legal_basis", "地方税法"), []string{"f.csv:2: legal_basis: legal basis begins neither with 番号法19条8号"}},
		{"basis of old", head + row("legal_basis", "番号法19条7号・別表"), []string{"f.csv:2: legal_basis:"}},
		{"basis without place", head + row("legal_basis", "番号法19条8号"), []string{"f.csv:2: legal_basis: legal basis does not say where"}},
		{"before the numbering", head + row("valid_from", "2021-08-31"), []string{"f.csv:2: valid_from: the Act numbers this item so only from 2021-09-01 on"}},
		{"by-law without filing", head + row("legal_basis", "番号法19条9号・条例"), []string{"f.csv:2: legal_basis: a by-law affair needs its filing number"}},
		{"by-law published on no day", head + row("legal_basis", "番号法19条9号・届出1・公表きのう"), []string{"f.csv:2: legal_basis: day of publication"}},
		{"by-law before publication", head + row("inquirer_class", "架空市の条例事務", "legal_basis", byLaw), []string{"f.csv:2: valid_from: the commission published this by-law affair on 2024-06-01"}},
		{"by-law for everybody", head + row("legal_basis", byLaw, "valid_from", "2024-06-01"), []string{"f.csv:2: inquirer_class: 市町村長 is a class of the statute, but a by-law affair belongs to the one agency"}},
		{"by-law class under the statute", head + row("inquirer_class", "架空市の条例事務"), []string{"f.csv:2: inquirer_class: 架空市の条例事務 is a by-law class"}},
		{"by-law tax under another name", head + row("inquirer_class", "架空市の条例事務", "legal_basis", byLaw, "valid_from", "2024-06-01", "information", "住民税の課税額"), []string{"f.csv:2: information: is tax or income information on a by-law basis; name it 地方税関係情報"}},
		{"invisible character", head + row("affair", "給\u200b付"), []string{"f.csv:2: affair: character 2 of affair is an invisible one (U+200B)"}},
		{"long text", head + row("affair", strings.Repeat("長", 501)), []string{"f.csv:2: affair: affair has 501 characters, the limit is 500"}},
		{"Shift_JIS", head + row() + "A2,\x8e\x73", []string{"f.csv:3: is not UTF-8; if a spreadsheet saved it as Shift_JIS"}},
		{"stray quotation mark", head + row("affair", `給"付`) + row("id", "ä"), []string{"f.csv:2: quotation marks are wrong", "f.csv:3: id: may hold"}},
		{"quotation mark never closed", head + row("affair", `"給付`), []string{"f.csv:2: quotation marks are wrong"}},
		{"every line is told", head + row("id", "é") + row() + row("id", "A2", "valid_from", "x"), []string{"f.csv:2: id", "f.csv:4: valid_from"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := Check("f.csv", strings.NewReader(c.file), known(t))
			if len(got) != len(c.want) {
				t.Fatalf("problems %q, want %q", got, c.want)
			}
			for i, want := range c.want {
				if !strings.Contains(got[i], want) || strings.Contains(got[i], "\n") {
					t.Errorf("problem %q, want %q", got[i], want)
				}
			}
		})
	}
}

func TestWithoutAListOfClassesAnyClassWillDo(t *testing.T) {
	if s, p := ParseCSV(strings.NewReader(head+row("inquirer_class", "国王")), Classes{}); len(p) > 0 || s.Len() != 1 {
		t.Errorf("%d rules, problems %v", s.Len(), p)
	}
}

func TestAFileWithAProblemGivesNoSet(t *testing.T) {
	s, p := ParseCSV(strings.NewReader(head+row()+row()), known(t))
	if len(p) != 1 || s.Len() != 0 {
		t.Errorf("%d rules, problems %v", s.Len(), p)
	}
}

func TestAHopelessFileIsGivenUpOn(t *testing.T) {
	got := Check("f.csv", strings.NewReader(head+strings.Repeat("x\n", 5000)), known(t))
	if len(got) > maxProblems+1 || !slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, "only the first are listed") }) {
		t.Errorf("%d problems, the first %q", len(got), got[0])
	}
}

func TestAFileThatCannotBeReadIsAProblem(t *testing.T) {
	_, p := ParseCSV(iotest.ErrReader(errors.New("disk gone")), Classes{})
	if len(p) != 1 || !strings.Contains(p[0].Message, "disk gone") {
		t.Errorf("problems %v", p)
	}
}

func TestWriteCSVReportsItsError(t *testing.T) {
	s, p := ParseCSV(strings.NewReader(head+row()), known(t))
	if len(p) > 0 {
		t.Fatal(p)
	}
	if err := WriteCSV(full{}, s); !errors.Is(err, errFull) {
		t.Errorf("error %v", err)
	}
}

var errFull = errors.New("disk full")

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errFull }

func TestParseClasses(t *testing.T) {
	c, p := ParseClasses(strings.NewReader("class,kind,held_by\n市町村長,statutory,市町村\n架空市の条例事務,by-law,\n"))
	if len(p) > 0 || !c.Knows(class(t, "市町村長")) || c.Knows(class(t, "国王")) || len(c.List()) != 2 {
		t.Errorf("classes %v, problems %v", c.List(), p)
	}
	for file, want := range map[string]string{
		"class,kind,held_by\n市町村長,statutory,\n市町村長,by-law,\n": "3: class: 市町村長 is on line 2 already",
		"class,kind,held_by\n市町村長,royal,\n":                   "2: kind: is neither",
		"class,held_by\n":                          "1: kind: column is missing",
		"class,kind,held_by\n,statutory,\n":        "2: class: is empty",
		"class,kind,held_by\n市\u200b,statutory,\n": "2: class: character 2",
	} {
		if _, p := ParseClasses(strings.NewReader(file)); len(p) != 1 || !strings.HasPrefix(p[0].String(), want) {
			t.Errorf("%q: problems %v, want %q", file, p, want)
		}
	}
}

func FuzzParseCSV(f *testing.F) {
	f.Add([]byte(head + row()))
	f.Add([]byte("\ufeff" + strings.ReplaceAll(head+row(), "\n", "\r\n")))
	f.Add([]byte(head + row("affair", `"給付`)))
	f.Add([]byte(head + row("affair", `"給""付`+"\n"+`x"`)))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, found := ParseCSV(bytes.NewReader(data), Classes{})
		lines := bytes.Count(data, []byte("\n")) + 1
		for _, p := range found {
			if p.Message == "" || p.Line < 0 || p.Line > lines || strings.ContainsAny(p.String(), "\n\r") {
				t.Errorf("problem %+v in %d lines", p, lines)
			}
		}
		if len(found) > 0 {
			return
		}
		var out bytes.Buffer
		if err := WriteCSV(&out, s); err != nil {
			t.Fatal(err)
		}
		again, found := ParseCSV(&out, Classes{})
		if len(found) > 0 || again.Hash() != s.Hash() {
			t.Errorf("written and read again: %v, %x, was %x", found, again.Hash(), s.Hash())
		}
	})
}

func ExampleCheck() {
	for _, line := range Check("rules.csv", strings.NewReader(head+row("valid_from", "2024/5/27")), Classes{}) {
		fmt.Println(line)
	}
	// Output: rules.csv:2: valid_from: is not a day; write it as 2024-05-27
}

package inquiry

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"kiroku/domain/agency"
)

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func fields(t testing.TB) Fields {
	return Fields{
		Inquirer:    must[agency.Code](t)(agency.ParseCode("13101")),
		Department:  must[agency.Department](t)(agency.ParseDepartment("保険年金課")),
		Provider:    must[agency.Code](t)(agency.ParseCode("KENPO-1")),
		Affair:      "国民健康保険の給付",
		Procedure:   "高額療養費の支給",
		Information: "医療保険給付関係情報",
		Items:       []string{"給付の種類", "支給額"},
	}
}

func request(t testing.TB, change func(*Fields)) Request {
	f := fields(t)
	if change != nil {
		change(&f)
	}
	return must[Request](t)(NewRequest(f))
}

func TestNewRequestRefuses(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Fields)
		want   string
	}{
		{"no inquirer", func(f *Fields) { f.Inquirer = agency.Code{} }, "no inquirer"},
		{"no provider", func(f *Fields) { f.Provider = agency.Code{} }, "no provider"},
		{"no department", func(f *Fields) { f.Department = agency.Department{} }, "no department"},
		{"no affair", func(f *Fields) { f.Affair = "" }, "affair is empty"},
		{"long procedure", func(f *Fields) { f.Procedure = strings.Repeat("x", 501) }, "procedure has 501"},
		{"no information", func(f *Fields) { f.Information = "\t" }, "information name"},
		{"no item", func(f *Fields) { f.Items = nil }, "no information item"},
		{"empty item", func(f *Fields) { f.Items = []string{"a", ""} }, "item 2 is empty"},
		{"item twice, spelt in two ways", func(f *Fields) { f.Items = []string{"が", "か\u3099"} }, "item 2 is there twice"},
		{"long item", func(f *Fields) { f.Items = []string{strings.Repeat("項", 201)} }, "item 1 has 201"},
		{"many items", func(f *Fields) {
			f.Items = nil
			for i := range 65 {
				f.Items = append(f.Items, fmt.Sprint("項目", i))
			}
		}, "65 information items"},
		{"short validity", func(f *Fields) { f.Validity = time.Millisecond }, "validity"},
		{"negative validity", func(f *Fields) { f.Validity = -time.Hour }, "validity"},
		{"long validity", func(f *Fields) { f.Validity = MaxValidity + 1 }, "validity"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := fields(t)
			c.change(&f)
			r, err := NewRequest(f)
			if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), c.want) || !r.IsZero() {
				t.Errorf("NewRequest gives %v, %v; want %q", r, err, c.want)
			}
		})
	}
}

func TestARequestDoesNotChangeUnderItsHolder(t *testing.T) {
	f := fields(t)
	r := must[Request](t)(NewRequest(f))
	f.Items[0], r.Items()[0], r.Fields().Items[0] = "別", "別", "別"
	if r.Items()[0] != "給付の種類" || r.Validity() != DefaultValidity {
		t.Errorf("request became %+v", r.Fields())
	}
}

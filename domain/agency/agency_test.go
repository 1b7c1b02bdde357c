package agency

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func valid(t testing.TB) Fields {
	t.Helper()
	code, err := ParseCode("13101-01")
	if err != nil {
		t.Fatal(err)
	}
	name, err := ParseName("架空市長")
	if err != nil {
		t.Fatal(err)
	}
	return Fields{code, name, []Class{class(t, "市町村長"), class(t, "医療保険者"), class(t, "市町村長")}, Parameter{1}, Active}
}

func class(t testing.TB, s string) Class {
	t.Helper()
	c, err := ParseClass(s)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestParseCode(t *testing.T) {
	for in, ok := range map[string]bool{
		"1": true, "A-1": true, "13101-01": true, strings.Repeat("a", 32): true,
		"": false, "-1": false, "1-": false, "a b": false, "機関": false, "a_b": false, "a\n": false, strings.Repeat("a", 33): false,
	} {
		c, err := ParseCode(in)
		if (err == nil) != ok || ok && c.String() != in || !ok && (!c.IsZero() || !errors.Is(err, ErrInvalid)) {
			t.Errorf("ParseCode(%q) = %v, %v", in, c, err)
		}
	}
}

func TestNewRefusesWhatIsMissing(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Fields)
		want   string
	}{
		{"code", func(f *Fields) { f.Code = Code{} }, "no agency code"},
		{"name", func(f *Fields) { f.Name = Name{} }, "13101-01: no name"},
		{"classes", func(f *Fields) { f.Classes = nil }, "no class"},
		{"empty class", func(f *Fields) { f.Classes = []Class{{}} }, "an empty class"},
		{"too many classes", func(f *Fields) { f.Classes = make([]Class, MaxClasses+1) }, "33 classes"},
		{"parameter", func(f *Fields) { f.Parameter = Parameter{} }, "no agency parameter"},
		{"status", func(f *Fields) { f.Status = 0 }, "no status"},
		{"unknown status", func(f *Fields) { f.Status = 9 }, "no status"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := valid(t)
			c.change(&f)
			a, err := New(f)
			if err == nil || !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), c.want) || !a.IsZero() {
				t.Errorf("New gives %v, %v; want %q", a, err, c.want)
			}
		})
	}
}

func TestAnAgencyDoesNotChangeUnderItsHolder(t *testing.T) {
	f := valid(t)
	a, err := New(f)
	if err != nil {
		t.Fatal(err)
	}
	same, _ := New(f)
	f.Classes[0] = class(t, "法務大臣")
	a.Classes()[0] = class(t, "法務大臣")
	a.Fields().Classes[0] = class(t, "法務大臣")
	if !a.Equal(same) || a.Holds(class(t, "法務大臣")) || !a.Holds(class(t, "市町村長")) {
		t.Errorf("classes became %v", a.Classes())
	}
	if got := a.Classes(); len(got) != 2 || !slices.IsSortedFunc(got, func(x, y Class) int { return strings.Compare(x.String(), y.String()) }) {
		t.Errorf("classes %v, want two in order", got)
	}
}

func TestSuspensionIsAnotherValue(t *testing.T) {
	a, _ := New(valid(t))
	b, err := a.WithStatus(Suspended)
	if err != nil || b.IsActive() || !a.IsActive() || a.Equal(b) || b.Code() != a.Code() {
		t.Errorf("suspended %v, %v", b, err)
	}
	if _, err := a.WithStatus(7); !errors.Is(err, ErrInvalid) {
		t.Errorf("status 7: %v", err)
	}
}

func TestTextFormsReadBack(t *testing.T) {
	type all struct {
		Code       Code
		Name       Name
		Department Department
		Class      Class
		Parameter  Parameter
		Status     Status
	}
	f := valid(t)
	d, err := ParseDepartment("福祉課")
	if err != nil {
		t.Fatal(err)
	}
	in := all{f.Code, f.Name, d, f.Classes[0], f.Parameter, Suspended}
	b, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	var out all
	if err := json.Unmarshal(b, &out); err != nil || out != in {
		t.Errorf("%s reads back as %v, %v", b, out, err)
	}
	for _, bad := range []string{`{"Code":"a b"}`, `{"Name":""}`, `{"Status":"gone"}`, `{"Parameter":"00"}`, `{"Class":"\n"}`, `{"Department":" "}`} {
		if err := json.Unmarshal([]byte(bad), &out); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestParseParameter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var p Parameter
		copy(p[:], rapid.SliceOfN(rapid.Byte(), ParameterSize, ParameterSize).Draw(t, "p"))
		got, err := ParseParameter(p.String())
		if p.IsZero() != (err != nil) || err == nil && got != p {
			t.Fatalf("%v reads back as %v, %v", p, got, err)
		}
	})
	for _, bad := range []string{"", "zz", strings.Repeat("g", 32), strings.Repeat("0", 32), strings.Repeat("a", 34)} {
		if _, err := ParseParameter(bad); !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func FuzzParseCode(f *testing.F) {
	f.Add("13101-01")
	f.Add("機関")
	f.Fuzz(func(t *testing.T, s string) {
		c, err := ParseCode(s)
		if err == nil && (c.String() != s || c.IsZero() || len(s) > MaxCode) {
			t.Errorf("%q became %q", s, c)
		}
	})
}

package scope_test

import (
	"encoding/csv"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"kiroku/domain/calendar"
	"kiroku/domain/scope"
	files "kiroku/ops/scope"
)

func startingSet(t *testing.T) scope.Set {
	t.Helper()
	classes, problems := scope.ParseClasses(strings.NewReader(files.Classes))
	for _, p := range problems {
		t.Errorf("classes.csv:%v", p)
	}
	for _, line := range scope.Check("rules.csv", strings.NewReader(files.Rules), classes) {
		t.Error(line)
	}
	set, _ := scope.ParseCSV(strings.NewReader(files.Rules), classes)
	return set
}

func TestTheStartingSetIsFreeOfProblemsAndWideEnough(t *testing.T) {
	set := startingSet(t)
	affairs := map[string]bool{}
	for r := range set.All() {
		affairs[r.Affair] = true
		if r.ValidFrom != calendar.Of(2024, time.May, 27) {
			t.Errorf("%s holds from %v, but the order came into force on 2024-05-27", r.ID, r.ValidFrom)
		}
	}
	if len(affairs) < 40 {
		t.Errorf("%d affairs, want at least 40", len(affairs))
	}
}

func TestNoRuleCopiesTheProseOfTheOrder(t *testing.T) {
	for r := range startingSet(t).All() {
		for _, phrase := range []string{r.Affair, r.Information} {
			if len([]rune(phrase)) > 30 || strings.Contains(phrase, "で定めるもの") {
				t.Errorf("%s: %q reads like the order, not like a name", r.ID, phrase)
			}
		}
	}
}

var cited = regexp.MustCompile(`^番号法19条8号・主務省令2条の表([0-9]+(?:-[0-9]+)?)の項$`)

func TestEveryRuleCitesARow(t *testing.T) {
	for r := range startingSet(t).All() {
		if !cited.MatchString(r.Basis.String()) {
			t.Errorf("%s: legal basis %q cites no row", r.ID, r.Basis)
		}
	}
}

// The order's own table is not part of the program; where it lies beside the
// tree (or KIROKU_SCOPE_TABLE names it) every citation is compared with it.
func TestCitedRowsSayWhatTheRulesSay(t *testing.T) {
	table := orderTable(t)
	if table == nil {
		return
	}
	for r := range startingSet(t).All() {
		row := cited.FindStringSubmatch(r.Basis.String())[1]
		rows := table[row]
		if len(rows) == 0 {
			t.Errorf("%s: the order has no row %s", r.ID, row)
			continue
		}
		if !slices.Contains(organisations(rows[0].inquirer), r.InquirerClass.String()) {
			t.Errorf("%s: row %s has the inquirer %s, not %s", r.ID, row, rows[0].inquirer, r.InquirerClass)
		}
		if !slices.ContainsFunc(rows, func(o orderRow) bool {
			return slices.Contains(organisations(o.provider), r.ProviderClass.String()) && o.speaksOf(r.Information)
		}) {
			t.Errorf("%s: row %s has no provider %s with %s", r.ID, row, r.ProviderClass, r.Information)
		}
	}
}

type orderRow struct{ inquirer, provider, information string }

// inFull gives, for names that the starting set writes short, words of the
// order that must stand in the information column instead.
var inFull = map[string]string{
	"地方税関係情報":          "地方税",
	"住民票関係情報":          "住民",
	"介護保険給付等関係情報":      "介護保険",
	"医療保険給付関係情報":       "医療",
	"年金給付関係情報":         "年金",
	"失業等給付関係情報":        "給付",
	"生活保護関係情報":         "生活保護",
	"公的給付支給等口座登録簿関係情報": "口座",
	"障害者関係情報":          "障害者",
	"特別児童扶養手当関係情報":     "特別児童扶養手当",
	"児童扶養手当関係情報":       "児童扶養手当",
	"障害者自立支援給付関係情報":    "自立支援給付",
	"児童手当関係情報":         "児童手当",
	"特別障害給付金関係情報":      "特別障害給付金",
	"予防接種の実施に関する情報":    "予防接種",
	"母子保健の健康診査等に関する情報": "母子保健法",
	"労働者災害補償関係情報":      "労働者災害補償",
	"地方公務員災害補償関係情報":    "地方公務員災害補償",
}

func (o orderRow) speaksOf(information string) bool {
	if strings.Contains(o.information, information) {
		return true
	}
	words, ok := inFull[information]
	return ok && strings.Contains(o.information, words)
}

func orderTable(t *testing.T) map[string][]orderRow {
	t.Helper()
	path := os.Getenv("KIROKU_SCOPE_TABLE")
	if path == "" {
		path = filepath.Join("..", "..", "..", "shared", "data", "scope_order_2024_no9_art2.csv")
		if _, err := os.Stat(path); err != nil {
			return nil
		}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	records, err := csv.NewReader(strings.NewReader(strings.TrimPrefix(string(data), "\ufeff"))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	table := make(map[string][]orderRow)
	for _, r := range records[1:] {
		table[r[0]] = append(table[r[0]], orderRow{r[1], r[3], r[4]})
	}
	return table
}

var parenthesis = regexp.MustCompile(`（[^（）]*）`)

// organisations takes a cell of the order apart into the organisations it lists.
func organisations(cell string) []string {
	for parenthesis.MatchString(cell) {
		cell = parenthesis.ReplaceAllString(cell, "")
	}
	// The order defines two of its short names in the cell where they first occur.
	switch {
	case strings.Contains(cell, "福祉に関する事務所を管理する町村長"):
		return []string{"都道府県知事等"}
	case strings.Contains(cell, "第四十八条に規定する後期高齢者医療広域連合"):
		return []string{"医療保険者", "後期高齢者医療広域連合"}
	}
	for _, and := range []string{"又は", "若しくは", "、"} {
		cell = strings.ReplaceAll(cell, and, "\n")
	}
	return strings.Split(cell, "\n")
}

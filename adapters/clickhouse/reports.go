package clickhouse

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"kiroku/domain/calendar"
)

// Report is a question that the database answers for a period.
type Report struct {
	Name   string // of the view, which takes the parameters from and to
	Title  string // in Japanese and English
	About  string
	Public bool // for publication: small counts are kept back
}

// Reports returns all reports, in the order in which an official would read them.
func Reports() (all []Report) {
	for _, v := range statutory {
		all = append(all, Report{v.name, v.title, v.about, false})
	}
	for _, v := range publication {
		all = append(all, Report{v.name, v.title, v.about, true})
	}
	return all
}

// WhyNothing says why a report can have no rows though there were exchanges; empty where it cannot.
func WhyNothing(name string) string {
	if !slices.ContainsFunc(publication, func(v view) bool { return v.name == name }) {
		return ""
	}
	return "Published are months that are over and lie wholly within the period, and of them cells with at least as many as the threshold (statistics.publish_from). 公表するのは期間内に全日が含まれる終了した月の、しきい値以上のセルに限る。"
}

// ErrNoReport is returned for a name that no report has.
var ErrNoReport = errors.New("there is no such report")

// Column is a column of a result.
type Column struct {
	Name  string `json:"name"`
	Type  string `json:"type"`            // as ClickHouse names it
	About string `json:"about,omitempty"` // empty where nothing is known of it
}

// Table is a result. Values are strings, numbers, bools, nil, lists of them, calendar days as YYYY-MM-DD and times as
// YYYY-MM-DD hh:mm:ss in Japan.
type Table struct {
	Columns []Column `json:"columns"`
	Rows    [][]any  `json:"rows"`
}

// reportKey is by what the embedded engine knows a report: it keeps a place for it.
const reportKey = "report"

// Report answers a report for the days from ≤ day ≤ to. A report for publication takes the months that lie wholly within.
func (d *DB) Report(ctx context.Context, name string, from, to calendar.Day) (Table, error) {
	views := slices.Concat(statutory, publication)
	i := slices.IndexFunc(views, func(v view) bool { return v.name == name })
	if i < 0 {
		return Table{}, fmt.Errorf("report %q: %w", name, ErrNoReport)
	}
	ctx = clickhouse.Context(ctx, clickhouse.WithQuotaKey(reportKey))
	t, err := d.Query(ctx, fmt.Sprintf("SELECT * FROM %s.%s(from = '%s', to = '%s')", d.database, name, from, to))
	if err != nil {
		return Table{}, fmt.Errorf("report %s: %w", name, err)
	}
	for c := range t.Columns {
		if c < len(views[i].columns) {
			t.Columns[c].About = views[i].columns[c].comment
		}
	}
	return t, nil
}

// Query answers one statement.
func (d *DB) Query(ctx context.Context, statement string) (t Table, err error) {
	c, err := d.connection()
	if err != nil {
		return t, err
	}
	defer func() { d.failed(err) }()
	rows, err := c.Query(ctx, statement)
	if err != nil {
		return t, err
	}
	defer rows.Close()
	kinds := rows.ColumnTypes()
	for i, name := range rows.Columns() {
		t.Columns = append(t.Columns, Column{Name: name, Type: kinds[i].DatabaseTypeName()})
	}
	t.Rows = [][]any{}
	for rows.Next() {
		into := make([]any, len(kinds))
		for i, k := range kinds {
			into[i] = reflect.New(k.ScanType()).Interface()
		}
		if err := rows.Scan(into...); err != nil {
			return t, err
		}
		for i := range into {
			into[i] = plain(reflect.ValueOf(into[i]).Elem(), t.Columns[i].Type)
		}
		t.Rows = append(t.Rows, into)
	}
	return t, rows.Err()
}

// plain makes a value one that prints as what it is.
func plain(v reflect.Value, kind string) any {
	if !v.IsValid() {
		return nil
	}
	for v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return nil
		}
		v = v.Elem()
	}
	switch value := v.Interface().(type) {
	case time.Time:
		if strings.Contains(kind, "DateTime") {
			return value.In(calendar.JST).Format(time.DateTime)
		}
		return value.Format(time.DateOnly)
	case []byte:
		return string(value)
	case big.Int:
		return json.Number(value.String())
	case float64:
		return finite(value, v)
	case float32:
		return finite(float64(value), v)
	}
	switch v.Kind() {
	case reflect.Slice, reflect.Array:
		list := make([]any, v.Len())
		for i := range list {
			list[i] = plain(v.Index(i), kind)
		}
		return list
	case reflect.Interface:
		if !v.IsNil() {
			return plain(v.Elem(), kind)
		}
	}
	return v.Interface()
}

// finite is a number, and nil for what JSON has no number for, as ClickHouse itself writes it.
func finite(n float64, v reflect.Value) any {
	if math.IsNaN(n) || math.IsInf(n, 0) {
		return nil
	}
	return v.Interface()
}

// Codes of ClickHouse's errors.
const (
	unknownTable    = 60
	unknownDatabase = 81
	unknownFunction = 46 // a view that takes parameters and is not there looks like one
)

// NothingThere reports whether a question failed because the tables have not been made yet.
func NothingThere(err error) bool {
	exception, ok := errors.AsType[*clickhouse.Exception](err)
	return ok && (exception.Code == unknownTable || exception.Code == unknownDatabase || exception.Code == unknownFunction)
}

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

// Report answers a report for the days from ≤ day ≤ to. A report for publication takes the months that lie wholly within.
func (d *DB) Report(ctx context.Context, name string, from, to calendar.Day) (Table, error) {
	views := slices.Concat(statutory, publication)
	i := slices.IndexFunc(views, func(v view) bool { return v.name == name })
	if i < 0 {
		return Table{}, fmt.Errorf("report %q: %w", name, ErrNoReport)
	}
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
	case big.Int:
		return json.Number(value.String())
	case float64:
		return finite(value, v)
	case float32:
		return finite(float64(value), v)
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

// Text is a value of a Table as people read it.
func Text(value any) string {
	if value == nil {
		return "–"
	}
	return fmt.Sprint(value)
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

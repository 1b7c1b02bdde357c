package clickhouse_test

import (
	"encoding/json"
	"testing"

	"kiroku/adapters/clickhouse/clickhousetest"
)

// What an analyst asks for can be printed as JSON, whatever type it has.
func TestValuesPrint(t *testing.T) {
	db := clickhousetest.Start(t).Open()
	for statement, want := range map[string]string{
		"SELECT nan, inf, toFloat32(nan), 0.5":                                  `[[null,null,null,0.5]]`,
		"SELECT toInt128(-5), toUInt256('1' || '000')":                          `[[-5,1000]]`,
		"SELECT [toDate('2026-01-01')], [[toNullable(toDate('2026-01-01'))]]":   `[[["2026-01-01"],[["2026-01-01"]]]]`,
		"SELECT toDate('2026-01-01'), toDateTime('2026-01-01 00:00:00', 'UTC')": `[["2026-01-01","2026-01-01 09:00:00"]]`,
	} {
		table, err := db.Query(t.Context(), statement)
		if err != nil {
			t.Errorf("%s: %v", statement, err)
			continue
		}
		if got, err := json.Marshal(table.Rows); err != nil || string(got) != want {
			t.Errorf("%s: %s, %v; want %s", statement, got, err, want)
		}
	}
}

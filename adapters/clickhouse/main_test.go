package clickhouse_test

import (
	"testing"

	"kiroku/adapters/clickhouse/clickhousetest"
)

func TestMain(m *testing.M) { clickhousetest.Main(m) }

package page

import (
	"cmp"
	"fmt"
	"math"
	"strconv"
	"strings"

	"kiroku/adapters/clickhouse"
)

// figure is a value as a number, if it is one.
func figure(v any) (n float64, ok bool) {
	switch n := v.(type) {
	case uint64:
		return float64(n), true
	case int64:
		return float64(n), true
	case uint32:
		return float64(n), true
	case uint16:
		return float64(n), true
	case uint8:
		return float64(n), true
	case float64:
		return n, true
	}
	return 0, false
}

func descending(a, b float64) int { return cmp.Compare(b, a) }

// cell is a value as it is printed.
func cell(v any) string {
	n, ok := figure(v)
	switch {
	case !ok:
		return clickhouse.Text(v)
	case n == math.Trunc(n) && math.Abs(n) < 1<<53:
		return thousands(strconv.FormatFloat(n, 'f', 0, 64))
	}
	return fmt.Sprintf("%.2f", n)
}

// thousands parts the digits of a whole number in threes.
func thousands(digits string) string {
	sign := ""
	if strings.HasPrefix(digits, "-") {
		sign, digits = "-", digits[1:]
	}
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return sign + digits
}

// step is the distance between two marks of an axis that ends at or above a value: 1, 2 or 5 times a power of ten, at most
// six of them.
func step(greatest float64) float64 {
	for unit := 1.0; ; unit *= 10 {
		for _, times := range []float64{1, 2, 5} {
			if greatest <= 6*times*unit {
				return times * unit
			}
		}
	}
}

package clickhouse

import "kiroku/domain/inquiry"

var terms = map[string]map[string]string{
	"outcome": {"provided": "提供済み", "no-such-information": "該当情報なし", "cannot-provide": "提供不可", "lapsed": "有効期間満了", "refused": "不媒介"},
	"result":  {"new": "新規", "already-acquired": "取得済み"},
}

// Term is the Japanese term for a code that stands in a column of that name; empty where there is none.
func Term(column, code string) string {
	if column != "refusal_reason" {
		return terms[column][code]
	}
	reason, err := inquiry.ParseReason(code)
	if err != nil {
		return ""
	}
	return reason.Term()
}

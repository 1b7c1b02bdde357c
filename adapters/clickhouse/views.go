package clickhouse

import (
	"fmt"
	"strings"
)

// view is a question with its answer's columns as analysts read them. In its text the tables stand without their
// database, in braces.
type view struct {
	name, title string // title in Japanese and English
	about       string
	columns     []column
	text        string
	ranged      bool // takes the parameters from and to, the first and the last day
}

const inRange = "day BETWEEN {from:Date} AND {to:Date}"

// The months that lie wholly in the range are from ≤ month < to.
const (
	fromMonth = "if(toStartOfMonth({from:Date}) = {from:Date}, {from:Date}, addMonths(toStartOfMonth({from:Date}), 1))"
	toMonth   = "greatest(" + fromMonth + ", toStartOfMonth(addDays({to:Date}, 1)))"
)

// over reads columns of a rollup by month where a month lies wholly in the range, and of that by day at both ends. What
// is read has to be summed.
func over(m monthly, columns string) string {
	return "(SELECT month, " + columns + " FROM {" + m.name + "} WHERE month >= " + fromMonth + " AND month < " + toMonth +
		" UNION ALL SELECT toStartOfMonth(day) AS month, " + columns + " FROM {" + m.from.name + "} WHERE " + inRange + " AND (day < " + fromMonth + " OR day >= " + toMonth + ")) AS d "
}

// Views of what lies in several tables or has to be summed.
var plainViews = []view{
	{
		name: "agencies", title: "機関 Agencies", about: "Agencies (情報照会者等) as the registry has them now",
		columns: []column{{"code", "String", "機関コード"}, {"name", "String", "機関名"}, {"classes", "Array(String)", "classes for which scope rules are written"}, {"suspended", "Bool", "利用停止中"}},
		text: `SELECT r.code AS code, r.name AS name, r.classes AS classes, s.suspended AS suspended
			FROM (SELECT * FROM {agency_registrations} FINAL) AS r LEFT JOIN (SELECT * FROM {agency_statuses} FINAL) AS s ON r.code = s.code`,
	},
	{
		name: "rules", title: "提供の根拠規定 Scope rules", about: "The set of scope rules in force: the last that was published whole",
		columns: []column{
			{"id", "String", "id of the rule"}, {"inquirer_class", "String", "class of the inquirer"}, affairColumn, {"provider_class", "String", "class of the provider"},
			infoColumn, {"legal_basis", "String", "根拠規定"}, {"valid_from", "Date32", "first day"}, {"valid_to", "Nullable(Date32)", "last day; null: until further notice"},
		},
		text: `SELECT id, inquirer_class, affair, provider_class, information, legal_basis, valid_from, valid_to FROM {published_rules} FINAL
			WHERE rule_set = (SELECT max(rule_set) FROM (SELECT rule_set FROM {published_rules} FINAL GROUP BY rule_set HAVING uniqExact(part) = any(parts)))`,
	},
	{
		name: "exchanges_monthly", title: "月別の情報連携 Exchanges by month", about: "The daily rollup by month",
		columns: []column{monthColumn, inquirerColumn, providerColumn, affairColumn, infoColumn, keptColumn, refusalColumn, ruleColumn, countColumn},
		text: `SELECT toStartOfMonth(day) AS month, inquirer, provider, affair, information, outcome, refusal_reason, rule, sum(d.exchanges) AS exchanges
			FROM {exchanges_daily} AS d GROUP BY month, inquirer, provider, affair, information, outcome, refusal_reason, rule`,
	},
	{
		name: "issuances_monthly", title: "月別の符号取得 Issuance by month", about: "The daily rollup by month",
		columns: []column{monthColumn, agencyColumn, schemeColumn, resultColumn, issuedColumn},
		text: `SELECT toStartOfMonth(day) AS month, agency, scheme, result, sum(d.issuances) AS issuances
			FROM {issuances_daily} AS d GROUP BY month, agency, scheme, result`,
	},
}

var (
	monthColumn = column{"month", "Date", "first day of the month"}
	nameColumn  = column{"name", "String", "機関名; empty if no such agency is registered"}
)

func counted(name, comment string) column { return column{name, "UInt64", comment} }

var outcomeColumns = []column{
	counted("exchanges", "件数"), counted("provided", "提供済み"), counted("no_such_information", "該当情報なし"),
	counted("cannot_provide", "提供不可"), counted("lapsed", "有効期間満了"), counted("refused", "不媒介"),
	counted("suppressed", "結果を秘匿した件数, of days that were destroyed: the outcome was kept back"),
}

const byOutcome = `sum(d.exchanges) AS exchanges, sumIf(d.exchanges, outcome = 'provided') AS provided,
	sumIf(d.exchanges, outcome = 'no-such-information') AS no_such_information, sumIf(d.exchanges, outcome = 'cannot-provide') AS cannot_provide,
	sumIf(d.exchanges, outcome = 'lapsed') AS lapsed, sumIf(d.exchanges, outcome = 'refused') AS refused, sumIf(d.exchanges, outcome = 'suppressed') AS suppressed`

func with(first []column, more ...column) []column {
	return append(append([]column(nil), first...), more...)
}

// statutory are the reports on what happened, exact.
var statutory = []view{
	{
		name: "by_month", title: "月別件数 Exchanges by month", ranged: true, about: "How much is exchanged",
		columns: with([]column{monthColumn}, outcomeColumns...),
		text:    `SELECT month, ` + byOutcome + ` FROM ` + over(inquiriesMonthly, "outcome, exchanges") + `GROUP BY month ORDER BY month`,
	},
	{
		name: "by_agency", title: "機関別件数 Exchanges by agency", ranged: true, about: "What each agency asked, and what it was asked. What the summary of a day that was destroyed kept back stands under " + suppressed + "; without its outcome it is no request",
		columns: []column{
			{"agency", "String", "機関コード"}, nameColumn,
			counted("inquiries", "照会件数, as inquirer"), counted("obtained", "うち提供を受けた件数, of those provided"), counted("refused", "うち不媒介, of those refused"),
			counted("requests", "提供の求めの件数, as provider"), counted("provided", "うち提供した件数"), counted("unanswerable", "うち該当情報なし・提供不可"), counted("lapsed", "うち有効期間満了"),
		},
		text: `SELECT e.agency AS agency, a.name AS name, e.inquiries AS inquiries, e.obtained AS obtained, e.refused AS refused,
				e.requests AS requests, e.provided AS provided, e.unanswerable AS unanswerable, e.lapsed AS lapsed
			FROM (
				SELECT agency, sum(i) AS inquiries, sum(o) AS obtained, sum(x) AS refused, sum(r) AS requests, sum(p) AS provided, sum(u) AS unanswerable, sum(l) AS lapsed
				FROM (
					SELECT toString(inquirer) AS agency, sum(exchanges) AS i, sumIf(exchanges, outcome = 'provided') AS o, sumIf(exchanges, outcome = 'refused') AS x,
						toUInt64(0) AS r, toUInt64(0) AS p, toUInt64(0) AS u, toUInt64(0) AS l
					FROM ` + over(inquiriesMonthly, "inquirer, outcome, exchanges") + `GROUP BY inquirer
					UNION ALL
					SELECT toString(provider), 0, 0, 0, sum(exchanges), sumIf(exchanges, outcome = 'provided'),
						sumIf(exchanges, outcome IN ('no-such-information', 'cannot-provide')), sumIf(exchanges, outcome = 'lapsed')
					FROM ` + over(provisionsMonthly, "provider, outcome, exchanges") + `WHERE outcome NOT IN ('refused', 'suppressed') GROUP BY provider
				) GROUP BY agency
			) AS e LEFT JOIN {agencies} AS a ON e.agency = a.code ORDER BY agency`,
	},
	{
		name: "by_affair", title: "事務・特定個人情報別件数 Exchanges by affair and information", ranged: true, about: "What is exchanged for what",
		columns: with([]column{affairColumn, infoColumn}, outcomeColumns...),
		text:    `SELECT affair, information, ` + byOutcome + ` FROM ` + over(inquiriesMonthly, "affair, information, outcome, exchanges") + `GROUP BY affair, information ORDER BY affair, information`,
	},
	{
		name: "by_outcome", title: "結果・不媒介理由別件数 Exchanges by outcome and reason of refusal", ranged: true, about: "How exchanges end",
		columns: []column{keptColumn, refusalColumn, countColumn},
		text: `SELECT outcome, refusal_reason, sum(d.exchanges) AS exchanges FROM ` + over(inquiriesMonthly, "outcome, refusal_reason, exchanges") + `
			GROUP BY outcome, refusal_reason ORDER BY outcome, refusal_reason`,
	},
	{
		name: "answer_times", title: "回答所要時間 Time to answer", ranged: true, about: "Seconds from the inquiry to the provider's answer within which so many are answered. Not known of days that were destroyed",
		columns: []column{affairColumn, infoColumn, counted("answers", "回答件数"),
			{"p50", "UInt32", "half of them, seconds"}, {"p90", "UInt32", "90 %"}, {"p95", "UInt32", "95 %"}, {"p99", "UInt32", "99 %"}},
		text: `SELECT affair, information, n AS answers, q[1] AS p50, q[2] AS p90, q[3] AS p95, q[4] AS p99
			FROM (SELECT affair, information, sum(answers) AS n, quantilesExactWeightedMerge(0.5, 0.9, 0.95, 0.99)(seconds) AS q
				FROM ` + over(answersMonthly, "affair, information, answers, seconds") + `GROUP BY affair, information) ORDER BY affair, information`,
	},
	{
		name: "hourly_peaks", title: "日別の最多時間帯 Busiest hour of each day", ranged: true,
		about:   "In which hour most inquiries were received, by the day of receipt; inquiries that are still open are not in it. Not known of days that were destroyed",
		columns: []column{{"received", "Date", "照会受付日"}, {"peak", "DateTime('Asia/Tokyo')", "the busiest hour, the first if there are several"}, counted("in_peak", "inquiries in it"), counted("in_day", "inquiries of the day")},
		text: `SELECT toDate(h) AS received, argMax(h, (n, -toInt64(toUnixTimestamp(h)))) AS peak, max(n) AS in_peak, sum(n) AS in_day
			FROM (SELECT hour AS h, sum(exchanges) AS n FROM {exchanges_hourly} WHERE day >= {from:Date} AND toDate(hour) BETWEEN {from:Date} AND {to:Date} GROUP BY hour)
			GROUP BY received ORDER BY received`,
	},
	{
		name: "hours_of_day", title: "時間帯別件数 Inquiries by hour of the day", ranged: true, about: "When inquiries are received, over all days of receipt",
		columns: []column{{"hour_of_day", "UInt8", "0 to 23, Japan Standard Time"}, counted("inquiries", "照会件数")},
		text: `SELECT toHour(hour) AS hour_of_day, sum(exchanges) AS inquiries FROM {exchanges_hourly}
			WHERE day >= {from:Date} AND toDate(hour) BETWEEN {from:Date} AND {to:Date} GROUP BY hour_of_day ORDER BY hour_of_day`,
	},
	{
		name: "issuance_by_agency", title: "機関・月別の符号取得 Issuance by agency and month", ranged: true, about: "How many symbols are issued (符号生成の統計)",
		columns: []column{monthColumn, {"agency", "String", "機関コード; empty where the person was deleted from the register since"}, nameColumn, counted("issued", "新規"), counted("already_acquired", "取得済み")},
		text: `SELECT i.month AS month, i.agency AS agency, a.name AS name, i.issued AS issued, i.again AS already_acquired
			FROM (SELECT toStartOfMonth(day) AS month, toString(d.agency) AS agency, sumIf(issuances, result = 'new') AS issued, sumIf(issuances, result = 'already-acquired') AS again
				FROM {issuances_daily} AS d WHERE ` + inRange + ` GROUP BY month, agency) AS i
			LEFT JOIN {agencies} AS a ON i.agency = a.code ORDER BY month, agency`,
	},
	{
		name: "never_used", title: "許可されているが利用のない連携 Permitted but never used", ranged: true,
		about: "Rules in force by which an agency, not suspended, may ask, and by which it had no exchange that ended in the period; an inquiry that was refused is none. Complete only for periods of which no day was destroyed",
		columns: []column{{"rule", "String", "id of the rule"}, {"agency", "String", "機関コード of the inquirer"}, {"name", "String", "機関名"},
			affairColumn, {"provider_class", "String", "class of the provider"}, infoColumn, {"legal_basis", "String", "根拠規定"}},
		text: `SELECT r.id AS rule, a.code AS agency, a.name AS name, r.affair AS affair, r.provider_class AS provider_class, r.information AS information, r.legal_basis AS legal_basis
			FROM (SELECT code, name, arrayJoin(classes) AS class FROM {agencies} WHERE NOT suspended) AS a INNER JOIN {rules} AS r ON r.inquirer_class = a.class
			WHERE r.valid_from <= {to:Date} AND (r.valid_to IS NULL OR r.valid_to >= {from:Date})
				AND (r.id, a.code) NOT IN (SELECT toString(d.rule), toString(d.inquirer) FROM ` + over(inquiriesMonthly, "rule, inquirer, outcome") + `WHERE d.outcome != 'refused')
			ORDER BY rule, agency`,
	},
}

// The publication shows cells of a month that is over, an inquirer, an affair, an information name and an outcome, and
// only cells with at least k exchanges. Everything published is a sum of published cells. So a cell that was kept back
// is in no figure at all, no difference of figures holds it, and what is published is the same whatever number below k
// it has. The price is that the figures are not totals: they say so. A month of which a day was destroyed is published no
// more: its cells would differ from those published before by what the summary of that day kept back.
const belowIsKeptBack = "Cells below publication_threshold are in no figure, so figures of the publication are sums of its own cells, not totals (しきい値未満のセルはどの数値にも含まれない). A month of which a day was destroyed is not published any more (廃棄した日を含む月は公表しない)"

const (
	threshold = "(SELECT threshold FROM {publication_threshold} ORDER BY since DESC LIMIT 1)"
	today     = "toDate(now('Asia/Tokyo'))"
	inMonths  = "month >= {from:Date} AND addMonths(month, 1) <= addDays({to:Date}, 1)"
)

var publicationCells = []view{
	{
		name: "publication_cells", title: "公表用の集計単位 Cells of the publication", about: belowIsKeptBack,
		columns: []column{monthColumn, inquirerColumn, affairColumn, infoColumn, keptColumn, countColumn},
		text: `SELECT month, inquirer, affair, information, outcome, sum(d.exchanges) AS exchanges FROM {inquiries_monthly} AS d
			WHERE month < toStartOfMonth(` + today + `) AND month NOT IN (SELECT toStartOfMonth(day) FROM {destroyed_days})
			GROUP BY month, inquirer, affair, information, outcome HAVING exchanges >= ` + threshold,
	},
	{
		name: "publication_issuance_cells", title: "公表用の符号取得の集計単位 Cells of the publication of issuance", about: belowIsKeptBack,
		columns: []column{monthColumn, agencyColumn, resultColumn, issuedColumn},
		text: `SELECT toStartOfMonth(day) AS month, agency, result, sum(d.issuances) AS issuances FROM {issuances_daily} AS d WHERE day < toStartOfMonth(` + today + `)
			GROUP BY month, agency, result HAVING issuances >= ` + threshold,
	},
}

// publication are the reports for publication.
var publication = []view{
	{
		name: "published_by_inquirer", title: "公表用：照会者別 For publication: by inquirer", ranged: true, about: belowIsKeptBack,
		columns: []column{monthColumn, {"agency", "String", "機関コード"}, nameColumn, countColumn},
		text: `SELECT c.month AS month, c.agency AS agency, a.name AS name, c.n AS exchanges FROM
			(SELECT month, toString(inquirer) AS agency, sum(exchanges) AS n FROM {publication_cells} WHERE ` + inMonths + ` GROUP BY month, agency) AS c
			LEFT JOIN {agencies} AS a ON c.agency = a.code ORDER BY month, agency`,
	},
	{
		name: "published_by_affair", title: "公表用：事務・特定個人情報別 For publication: by affair and information", ranged: true, about: belowIsKeptBack,
		columns: []column{monthColumn, affairColumn, infoColumn, countColumn},
		text: `SELECT month, affair, information, sum(c.exchanges) AS exchanges FROM {publication_cells} AS c WHERE ` + inMonths + `
			GROUP BY month, affair, information ORDER BY month, affair, information`,
	},
	{
		name: "published_by_outcome", title: "公表用：結果別 For publication: by outcome", ranged: true, about: belowIsKeptBack,
		columns: []column{monthColumn, outcomeColumn, countColumn},
		text: `SELECT month, outcome, sum(c.exchanges) AS exchanges FROM {publication_cells} AS c WHERE ` + inMonths + `
			GROUP BY month, outcome ORDER BY month, outcome`,
	},
	{
		name: "published_issuance", title: "公表用：符号取得 For publication: issuance", ranged: true, about: belowIsKeptBack,
		columns: []column{monthColumn, {"agency", "String", "機関コード"}, nameColumn, resultColumn, issuedColumn},
		text: `SELECT c.month AS month, toString(c.agency) AS agency, a.name AS name, c.result AS result, c.issuances AS issuances
			FROM {publication_issuance_cells} AS c LEFT JOIN {agencies} AS a ON toString(c.agency) = a.code WHERE ` + inMonths + ` ORDER BY month, agency, result`,
	},
}

func (s schema) define(v view) string {
	var columns []string
	for _, c := range v.columns {
		columns = append(columns, fmt.Sprintf("%s %s COMMENT %s", c.name, c.kind, quote(c.comment)))
	}
	text := reference.ReplaceAllString(v.text, s.database+".$1")
	head := "(" + strings.Join(columns, ", ") + ") "
	if v.ranged {
		head = "" // the engine takes no list of columns where there are parameters
	}
	return fmt.Sprintf("CREATE OR REPLACE VIEW %s.%s%s %sAS %s COMMENT %s", s.database, v.name, s.onCluster(), head, text, quote(v.title+": "+v.about))
}

func (s schema) defineAll(groups ...[]view) (statements []string) {
	for _, views := range groups {
		for _, v := range views {
			statements = append(statements, s.define(v))
		}
	}
	return statements
}

func (s schema) reports() []string {
	return s.defineAll(plainViews, statutory, publicationCells, publication)
}

package clickhouse

import (
	"fmt"
	"slices"
)

// The columns that several tables have.
var (
	dayColumn      = column{"day", "Date", "Japanese calendar day on which the end of the exchange was recorded (記録日); the rows die with the day"}
	inquirerColumn = column{"inquirer", "LowCardinality(String)", "code of the inquirer (情報照会者の機関コード)"}
	providerColumn = column{"provider", "LowCardinality(String)", "code of the provider (情報提供者の機関コード)"}
	affairColumn   = column{"affair", "LowCardinality(String)", "affair (事務)"}
	infoColumn     = column{"information", "LowCardinality(String)", "information name (特定個人情報名)"}
	outcomeColumn  = column{"outcome", "Enum8('provided' = 1, 'no-such-information' = 2, 'cannot-provide' = 3, 'lapsed' = 4, 'refused' = 5)",
		"how it ended: provided 提供済み, no such information 該当情報なし, cannot provide 提供不可, lapsed 有効期間満了, refused 媒介せず"}
	keptColumn = column{"outcome", "Enum8('provided' = 1, 'no-such-information' = 2, 'cannot-provide' = 3, 'lapsed' = 4, 'refused' = 5, 'suppressed' = 6)",
		outcomeColumn.comment + ", suppressed 秘匿: kept back by the summary of a day that was destroyed"}
	refusalColumn  = column{"refusal_reason", "LowCardinality(String)", "why it was refused (不媒介の理由); empty unless refused"}
	ruleColumn     = column{"rule", "LowCardinality(String)", "id of the scope rule that permitted it (提供の根拠規定); empty if none did"}
	countColumn    = column{"exchanges", "UInt64", "how many exchanges"}
	issueDayColumn = column{"day", "Date", "Japanese calendar day on which the issuance was recorded"}
	agencyColumn   = column{"agency", "LowCardinality(String)", "code of the agency (機関コード); empty where the person was deleted from the register since"}
	schemeColumn   = column{"scheme", "UInt8", "version of the agency-symbol scheme (情報提供用個人識別符号の方式の版)"}
	resultColumn   = column{"result", "Enum8('new' = 1, 'already-acquired' = 2)", "new: a symbol was issued (新規); already acquired: the agency had it (取得済み)"}
	issuedColumn   = column{"issuances", "UInt64", "how many requests for a symbol"}
)

func hourColumn(comment string) column { return column{"hour", "DateTime('Asia/Tokyo')", comment} }

const (
	byDay      = "toYYYYMMDD(day)"
	byInquirer = "cityHash64(inquirer)"
	byAgency   = "cityHash64(agency)"
)

// Facts: a row each. Everything that is no fact but its number is in the key, so that not even the order of rows tells
// which came first.
var (
	exchangesTable = table{
		name: "exchanges", engine: "MergeTree", partition: byDay, shard: byInquirer,
		comment: "Exchanges (情報連携), one row each, counted when they end. No row is a handle on a person",
		columns: []column{
			dayColumn, hourColumn("hour in which the inquiry was received (照会受付の時間帯)"),
			inquirerColumn, {"department", "LowCardinality(String)", "department of the inquirer (照会部署)"}, providerColumn,
			affairColumn, {"procedure", "LowCardinality(String)", "procedure (事務手続)"}, infoColumn,
			outcomeColumn, refusalColumn, ruleColumn,
			{"answer_seconds", "Nullable(UInt32)", "whole seconds from the inquiry to the provider's answer; null without an answer"},
		},
		order: "inquirer, provider, affair, information, outcome, refusal_reason, hour, department, procedure, rule",
	}
	issuancesTable = table{
		name: "issuances", engine: "MergeTree", partition: byDay, shard: byAgency,
		comment: "Requests for an agency symbol (情報提供用個人識別符号の取得), one row each. No row is a handle on a person",
		columns: []column{issueDayColumn, hourColumn("hour of issue"), agencyColumn, schemeColumn, resultColumn},
		order:   "agency, scheme, result, hour",
	}
)

// Rollups: kept up by what is inserted into the facts. What is read from them has to be summed.
var (
	exchangesHourlyTable = table{
		name: "exchanges_hourly", engine: "SummingMergeTree", arguments: "exchanges", partition: byDay, shard: byInquirer,
		comment: "Exchanges by hour, inquirer and outcome; sum(exchanges) when reading",
		columns: []column{dayColumn, hourColumn("hour in which the inquiries were received"), inquirerColumn, outcomeColumn, countColumn},
		order:   "day, hour, inquirer, outcome",
	}
	exchangesDailyTable = table{
		name: "exchanges_daily", engine: "SummingMergeTree", arguments: "exchanges", partition: byDay, shard: byInquirer,
		comment: "Exchanges by day and everything that the reports ask for; sum(exchanges) when reading. Of a day that was destroyed it holds what the day's summary kept; what that kept back is named " + suppressed,
		columns: []column{dayColumn, inquirerColumn, providerColumn, affairColumn, infoColumn, keptColumn, refusalColumn, ruleColumn, countColumn},
		order:   "day, inquirer, provider, affair, information, outcome, refusal_reason, rule",
	}
	latencyDailyTable = table{
		name: "answers_daily", engine: "AggregatingMergeTree", partition: byDay, shard: "cityHash64(affair)",
		comment: "How long answers took, by day, affair and information; quantilesExactWeightedMerge(0.5, 0.9, 0.95, 0.99)(seconds) when reading",
		columns: []column{dayColumn, affairColumn, infoColumn,
			{"answers", "SimpleAggregateFunction(sum, UInt64)", "how many inquiries were answered"},
			{"seconds", "AggregateFunction(quantilesExactWeighted(0.5, 0.9, 0.95, 0.99), UInt32, UInt64)", "seconds from the inquiry to the answer"}},
		order: "day, affair, information",
	}
	issuancesHourlyTable = table{
		name: "issuances_hourly", engine: "SummingMergeTree", arguments: "issuances", partition: byDay, shard: byAgency,
		comment: "Requests for an agency symbol by hour; sum(issuances) when reading",
		columns: []column{issueDayColumn, hourColumn("hour of issue"), agencyColumn, resultColumn, issuedColumn},
		order:   "day, hour, agency, result",
	}
	issuancesDailyTable = table{
		name: "issuances_daily", engine: "SummingMergeTree", arguments: "issuances", partition: byDay, shard: byAgency,
		comment: "Requests for an agency symbol by day; sum(issuances) when reading",
		columns: []column{issueDayColumn, agencyColumn, schemeColumn, resultColumn, issuedColumn},
		order:   "day, agency, scheme, result",
	}
)

const byMonth = "toYYYYMM(month)"

// monthly is a rollup by month of one by day, from which it can be made again when a day of it is destroyed.
type monthly struct {
	table
	from      table
	selecting string // of from, but for the month
	grouping  string
	counter   string // column that says how many they are, as in from
}

var (
	inquiriesMonthly = monthly{
		table: table{
			name: "inquiries_monthly", engine: "SummingMergeTree", arguments: "exchanges", partition: byMonth, shard: byInquirer,
			comment: "Exchanges by month and everything that the reports ask for but the provider; sum(exchanges) when reading",
			columns: []column{monthColumn, inquirerColumn, affairColumn, infoColumn, keptColumn, refusalColumn, ruleColumn, countColumn},
			order:   "month, inquirer, affair, information, outcome, refusal_reason, rule",
		},
		from: exchangesDailyTable, selecting: "inquirer, affair, information, outcome, refusal_reason, rule, sum(d.exchanges) AS exchanges",
		grouping: "inquirer, affair, information, outcome, refusal_reason, rule", counter: "exchanges",
	}
	provisionsMonthly = monthly{
		table: table{
			name: "provisions_monthly", engine: "SummingMergeTree", arguments: "exchanges", partition: byMonth, shard: "cityHash64(provider)",
			comment: "Exchanges by month, provider and outcome; sum(exchanges) when reading",
			columns: []column{monthColumn, providerColumn, keptColumn, countColumn},
			order:   "month, provider, outcome",
		},
		from: exchangesDailyTable, selecting: "provider, outcome, sum(d.exchanges) AS exchanges", grouping: "provider, outcome", counter: "exchanges",
	}
	answersMonthly = monthly{
		table: table{
			name: "answers_monthly", engine: "AggregatingMergeTree", partition: byMonth, shard: "cityHash64(affair)",
			comment: "How long answers took, by month, affair and information; quantilesExactWeightedMerge(0.5, 0.9, 0.95, 0.99)(seconds) when reading",
			columns: append([]column{monthColumn}, latencyDailyTable.columns[1:]...),
			order:   "month, affair, information",
		},
		from: latencyDailyTable, selecting: "affair, information, sum(d.answers) AS answers, quantilesExactWeightedMergeState(0.5, 0.9, 0.95, 0.99)(d.seconds) AS seconds",
		grouping: "affair, information", counter: "answers",
	}
	monthlies = []monthly{inquiriesMonthly, provisionsMonthly, answersMonthly}
)

// sums is the question of which the rollup is the answer, about the rows of a table like from.
func (m monthly) sums(from, where string) string {
	return "SELECT toStartOfMonth(day) AS month, " + m.selecting + " FROM " + from + " AS d " + where + "GROUP BY month, " + m.grouping
}

var revisionColumn = column{"revision", "UInt64", "revision of the event in the stream registry; the greatest counts"}

// The registry, to name what the facts know by code.
var (
	registrationsTable = table{
		name: "agency_registrations", engine: "ReplacingMergeTree", arguments: "revision", order: "code",
		comment: "Agencies as registered; read them in agencies",
		columns: []column{{"code", "String", "機関コード"}, {"name", "String", "機関名"}, {"classes", "Array(String)", "classes for which scope rules are written (市町村長 …)"}, revisionColumn},
	}
	statusesTable = table{
		name: "agency_statuses", engine: "ReplacingMergeTree", arguments: "revision", order: "code",
		comment: "Suspensions of agencies (利用停止); read them in agencies",
		columns: []column{{"code", "String", "機関コード"}, {"suspended", "Bool", "whether the agency is suspended"}, revisionColumn},
	}
	rulesTable = table{
		name: "published_rules", engine: "ReplacingMergeTree", order: "rule_set, id",
		comment: "Scope rules of every set published; read the set in force in rules",
		columns: []column{
			{"rule_set", "UInt64", "revision of the set's first part in the stream registry"}, {"part", "UInt32", "part of the set"}, {"parts", "UInt32", "parts that the set has"},
			{"id", "String", "id of the rule"}, {"inquirer_class", "String", "class of the inquirer"}, affairColumn,
			{"provider_class", "String", "class of the provider"}, infoColumn, {"legal_basis", "String", "根拠規定"},
			{"valid_from", "Date32", "first day"}, {"valid_to", "Nullable(Date32)", "last day; null: until further notice"},
		},
	}
	thresholdTable = table{
		name: "publication_threshold", engine: "MergeTree", order: "since",
		comment: "k: a cell that counts fewer is not published; the newest row counts",
		columns: []column{{"threshold", "UInt32", "k"}, {"since", "DateTime64(6, 'Asia/Tokyo') DEFAULT now64(6)", "from when on"}},
	}
)

// How far the statistics have come.
var (
	versionsTable = table{
		name: "versions", engine: "MergeTree", order: "version", state: true, comment: "Changes made to the tables",
		columns: []column{{"version", "UInt32", ""}, {"name", "String", ""}, {"applied", "DateTime DEFAULT now()", ""}},
	}
	generationsTable = table{
		name: "generations", engine: "MergeTree", order: "generation", state: true,
		comment: "Each time the statistics began from nothing; two rows once they were empty",
		columns: []column{{"generation", "UInt64", ""}, {"emptied", "Bool", ""}, {"at", "DateTime DEFAULT now()", ""}},
	}
	// A later chunk replaces an earlier one: it was agreed on after that was finished.
	agreementsTable = table{
		name: "agreements", engine: "ReplacingMergeTree", arguments: "first", order: "generation, stream", state: true,
		comment: "Where the newest chunk of each stream begins and ends",
		columns: []column{{"generation", "UInt64", ""}, {"stream", "String", ""}, {"first", "UInt64", ""}, {"next", "UInt64", ""}},
	}
	// How many facts they brought came later, see withTotals and withEndedDays.
	positionsTable = table{
		name: "positions", engine: "ReplacingMergeTree", arguments: "next", order: "generation, stream", state: true,
		comment: "Up to where each stream is in the tables",
		columns: []column{{"generation", "UInt64", ""}, {"stream", "String", ""}, {"next", "UInt64", ""}, {"leaf", "FixedString(32)", ""}, {"epoch", "UInt64", ""}},
	}
)

// Days that have ended, and what is left of them.
var (
	destroyedTable = table{
		name: "destroyed_days", engine: "ReplacingMergeTree", order: "day",
		comment: "Days whose records were destroyed when their time was over (保存期間満了): of their exchanges only a summary is left",
		columns: []column{{"day", "Date", "Japanese calendar day"}},
	}
	summariesTable = table{
		name: "day_summaries", engine: "ReplacingMergeTree", order: "day, part, row", state: true,
		comment: "What is left of the days that were destroyed, as exchanges_daily holds it",
		columns: []column{{"day", "Date", ""}, {"part", "UInt32", ""}, {"row", "UInt32", ""}, {"inquirer", "String", ""}, {"provider", "String", ""}, {"affair", "String", ""},
			{"information", "String", ""}, {"outcome", "String", ""}, {"refusal_reason", "String", ""}, {"rule", "String", ""}, {"exchanges", "UInt64", ""}},
	}
	unreadableTable = table{
		name: "unreadable_days", engine: "ReplacingMergeTree", order: "day", state: true,
		comment: "Days of which events came that nobody can read any more",
		columns: []column{{"day", "Date", ""}},
	}
	rotationsTable = table{
		name: "rotations", engine: "ReplacingMergeTree", order: "vault, day", state: true,
		comment: "Days of which persons were deleted, and the generation of the vault from which on they are gone",
		columns: []column{{"vault", "UInt64", ""}, {"day", "Date", ""}},
	}
	endingTables = []table{destroyedTable, summariesTable, unreadableTable, rotationsTable}
)

// suppressed stands where a summary kept something back.
const suppressed = "秘匿 (suppressed)"

var (
	exchangeTables = []table{exchangesTable, exchangesHourlyTable, exchangesDailyTable, latencyDailyTable}
	firstFilled    = slices.Concat(exchangeTables, []table{
		issuancesTable, issuancesHourlyTable, issuancesDailyTable, registrationsTable, statusesTable, rulesTable, agreementsTable, positionsTable,
	})
	issuanceTables = []table{issuancesTable, issuancesHourlyTable, issuancesDailyTable}
	filledTables   = slices.Concat(firstFilled, []table{inquiriesMonthly.table, provisionsMonthly.table, answersMonthly.table}, endingTables)
)

// rollup is a table that is kept up by what is inserted into another.
type rollup struct {
	of, into             table
	selecting, condition string // of the rows of the one that are in the other
	grouping             string
	counter              string // column that says how many they are
}

var rollups = []rollup{
	{exchangesTable, exchangesHourlyTable, "day, hour, inquirer, outcome, count() AS exchanges", "", "day, hour, inquirer, outcome", "exchanges"},
	{exchangesTable, exchangesDailyTable, "day, inquirer, provider, affair, information, outcome, refusal_reason, rule, count() AS exchanges", "",
		"day, inquirer, provider, affair, information, outcome, refusal_reason, rule", "exchanges"},
	{exchangesTable, latencyDailyTable,
		"day, affair, information, count() AS answers, quantilesExactWeightedState(0.5, 0.9, 0.95, 0.99)(assumeNotNull(answer_seconds), toUInt64(1)) AS seconds",
		"answer_seconds IS NOT NULL", "day, affair, information", "answers"},
	{issuancesTable, issuancesHourlyTable, "day, hour, agency, result, count() AS issuances", "", "day, hour, agency, result", "issuances"},
	{issuancesTable, issuancesDailyTable, "day, agency, scheme, result, count() AS issuances", "", "day, agency, scheme, result", "issuances"},
}

func (s schema) firstTables() (statements []string) {
	for _, t := range append([]table{thresholdTable, generationsTable}, firstFilled...) {
		statements = append(statements, s.create(t)...)
	}
	for _, r := range rollups {
		statements = append(statements, s.feed(r))
	}
	return statements
}

// withTotals lets the statistics be audited: what each stream has brought so far.
func (s schema) withTotals() []string {
	return []string{fmt.Sprintf("ALTER TABLE %s%s ADD COLUMN IF NOT EXISTS exchanges UInt64, ADD COLUMN IF NOT EXISTS issuances UInt64", s.local(positionsTable), s.onCluster())}
}

// withEndedDays lets days end: the exchanges that each stream has brought are known by day, and what a summary keeps back
// has a name. What was counted before is counted anew.
func (s schema) withEndedDays() (statements []string) {
	statements = append(statements, fmt.Sprintf("ALTER TABLE %s%s DROP COLUMN IF EXISTS exchanges, ADD COLUMN IF NOT EXISTS days Array(Date), ADD COLUMN IF NOT EXISTS counts Array(UInt64)",
		s.local(positionsTable), s.onCluster()))
	for _, t := range endingTables {
		statements = append(statements, s.create(t)...)
	}
	for _, t := range []table{exchangesDailyTable, inquiriesMonthly.table, provisionsMonthly.table} {
		for _, name := range slices.Compact([]string{s.local(t), s.name(t)}) {
			statements = append(statements, fmt.Sprintf("ALTER TABLE %s%s MODIFY COLUMN outcome %s COMMENT %s", name, s.onCluster(), keptColumn.kind, quote(keptColumn.comment)))
		}
	}
	for _, m := range monthlies { // a view knows the types that it was made with
		statements = append(statements, fmt.Sprintf("DROP TABLE IF EXISTS %s_feed%s SYNC", s.name(m.table), s.onCluster()), s.feedMonth(m))
	}
	return append(append(statements, s.beginAnew()), s.reports()...)
}

func (s schema) feedMonth(m monthly) string {
	return fmt.Sprintf("CREATE MATERIALIZED VIEW IF NOT EXISTS %s_feed%s TO %s AS %s", s.name(m.table), s.onCluster(), s.local(m.table), m.sums(s.local(m.from), ""))
}

// beginAnew begins a generation, where anything was counted.
func (s schema) beginAnew() string {
	return fmt.Sprintf("INSERT INTO %s (generation, emptied) SELECT max(generation) + 1, false FROM %s HAVING (SELECT count() FROM %s) > 0",
		s.name(generationsTable), s.name(generationsTable), s.name(positionsTable))
}

// monthlyTables are fed by the day's rollups, which have fewer rows than the facts. What was counted before they were
// there is counted anew: a generation begins.
func (s schema) monthlyTables() (statements []string) {
	for _, m := range monthlies {
		statements = append(statements, s.create(m.table)...)
		statements = append(statements, s.feedMonth(m))
	}
	return append(statements, s.beginAnew())
}

package record

import (
	"slices"
	"strings"
	"time"
)

// PersonEntry is one inquiry as the person concerned, or their representative,
// is shown it (Act 23, 評価書 Ⅱ-5): who asked whom, when, for what, and the
// statutory remarks.
type PersonEntry struct {
	Number      string     `json:"processing_number"` // 処理通番, to refer to the entry; tells no order
	Inquirer    string     `json:"inquirer"`          // 情報照会者の名称
	Department  string     `json:"inquirer_department"`
	Provider    string     `json:"provider"` // 情報提供者の名称
	RequestedAt time.Time  `json:"requested_at"`
	ProvidedAt  *time.Time `json:"provided_at"` // null: not provided
	Affair      string     `json:"affair"`
	Procedure   string     `json:"procedure"`
	Information string     `json:"information"`
	Items       []string   `json:"items"`            // those provided; where not provided, those asked for
	Article21   bool       `json:"article_21"`       // 番号法21条2項各号に該当する旨
	Amendment   string     `json:"amendment_reason"` // 記録事項変更事由; "" for none
}

// PersonView gives what the person is shown of their records: one entry for
// each inquiry, the latest request first. records are all that are kept of one
// person, in any order, each once.
//
// What is withheld (Act 23(2)) must not show through (評価書 Ⅲ), so the view is
// by construction the view of the records without the withheld ones:
//
//   - Where the latest record of an inquiry withholds the request, the inquiry
//     is left out with all its branches: a provision tells of its request.
//   - Where it withholds the provision, the records that tell of the provision
//     are left out. What remains is an inquiry that was not provided, and such
//     an entry looks the same whether it is open, lapsed, answered without
//     information or withheld: no state is shown.
//   - An entry without a provision is shown only as long as the record of its
//     request is kept. Else one whose provision is withheld would disappear on
//     another day than one that was never answered.
//   - Branch numbers are not shown, for they would have gaps; nor is the reason
//     for which a non-disclosure was lifted. Order and numbers depend on what
//     is shown only. Pages and counts have to be made of the view, not of the
//     records.
func PersonView(records []ProvisionRecord) []PersonEntry {
	view := []PersonEntry{}
	for _, history := range inquiries(records) {
		if shown, ok := disclosed(history); ok {
			view = append(view, shown.personEntry())
		}
	}
	slices.SortFunc(view, func(a, b PersonEntry) int {
		if c := b.RequestedAt.Compare(a.RequestedAt); c != 0 {
			return c
		}
		return strings.Compare(a.Number, b.Number)
	})
	return view
}

// inquiries parts records by processing number, each part as it came about.
func inquiries(records []ProvisionRecord) [][]ProvisionRecord {
	sorted := slices.Clone(records)
	slices.SortStableFunc(sorted, func(a, b ProvisionRecord) int {
		if c := slices.Compare(a.f.Number[:], b.f.Number[:]); c != 0 {
			return c
		}
		return follow(a, b)
	})
	var out [][]ProvisionRecord
	for len(sorted) > 0 {
		n := 1
		for n < len(sorted) && sorted[n].f.Number == sorted[0].f.Number {
			n++
		}
		out = append(out, sorted[:n])
		sorted = sorted[n:]
	}
	return out
}

// disclosed picks, from one inquiry as it came about, the record that the
// person is shown.
func disclosed(history []ProvisionRecord) (ProvisionRecord, bool) {
	latest := history[len(history)-1]
	if latest.f.RequestNonDisclosed {
		return ProvisionRecord{}, false
	}
	if latest.f.ProvisionNonDisclosed {
		history = slices.DeleteFunc(slices.Clone(history), ProvisionRecord.tellsOfProvision)
	}
	if len(history) == 0 {
		return ProvisionRecord{}, false
	}
	shown := history[len(history)-1]
	if !shown.IsProvided() && !slices.ContainsFunc(history, ProvisionRecord.isRequest) {
		return ProvisionRecord{}, false
	}
	return shown, true
}

func (r ProvisionRecord) tellsOfProvision() bool {
	return r.IsProvided() || r.f.ProvisionNonDisclosed
}

func (r ProvisionRecord) isRequest() bool { return r.f.Fact == Requested || r.f.Fact == Refused }

func (r ProvisionRecord) personEntry() PersonEntry {
	e := PersonEntry{
		Number:      r.f.Number.String(),
		Inquirer:    r.f.Inquirer.display(),
		Department:  r.f.Department.String(),
		Provider:    r.f.Provider.display(),
		RequestedAt: r.f.RequestedAt,
		Affair:      r.f.Affair,
		Procedure:   r.f.Procedure,
		Information: r.f.Information,
		Items:       slices.Clone(r.f.Items),
		Article21:   r.f.Article21,
		ProvidedAt:  optional(r.f.ProvidedAt),
	}
	if r.f.AmendmentReason != LiftReason {
		e.Amendment = r.f.AmendmentReason
	}
	return e
}

func optional(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// display gives the name, or the code of an agency that had none.
func (p Party) display() string {
	if p.Name.IsZero() {
		return p.Code.String()
	}
	return p.Name.String()
}

// CommissionEntry is one record as the commission is given it on its demand
// (Act 35(1), 19(13)): every field but the record symbol, by which the records
// were found and which no official sees.
type CommissionEntry struct {
	Number                string     `json:"processing_number"`
	Branch                string     `json:"branch_number"`
	Fact                  string     `json:"fact"`
	RecordedAt            time.Time  `json:"recorded_at"`
	Affair                string     `json:"affair"`
	Procedure             string     `json:"procedure"`
	InquirerCode          string     `json:"inquirer_code"`
	Inquirer              string     `json:"inquirer"`
	Department            string     `json:"inquirer_department"`
	ProviderCode          string     `json:"provider_code"`
	Provider              string     `json:"provider"`
	RequestedAt           time.Time  `json:"requested_at"`
	ProvidedAt            *time.Time `json:"provided_at"`
	Information           string     `json:"information"`
	Items                 []string   `json:"items"`
	RequestNonDisclosed   bool       `json:"request_non_disclosed"`
	ProvisionNonDisclosed bool       `json:"provision_non_disclosed"`
	AmendmentReason       string     `json:"amendment_reason"`
	Article21             bool       `json:"article_21"`
}

// CommissionView gives every record with what is withheld from the person, by
// time of request, each inquiry as it came about.
func CommissionView(records []ProvisionRecord) []CommissionEntry {
	histories := inquiries(records)
	slices.SortStableFunc(histories, func(a, b []ProvisionRecord) int {
		return a[0].f.RequestedAt.Compare(b[0].f.RequestedAt)
	})
	view := []CommissionEntry{}
	for _, h := range histories {
		for _, r := range h {
			view = append(view, r.commissionEntry())
		}
	}
	return view
}

func (r ProvisionRecord) commissionEntry() CommissionEntry {
	return CommissionEntry{
		Number:                r.f.Number.String(),
		Branch:                r.f.Branch.String(),
		Fact:                  r.f.Fact.String(),
		RecordedAt:            r.f.RecordedAt,
		Affair:                r.f.Affair,
		Procedure:             r.f.Procedure,
		InquirerCode:          r.f.Inquirer.Code.String(),
		Inquirer:              r.f.Inquirer.Name.String(),
		Department:            r.f.Department.String(),
		ProviderCode:          r.f.Provider.Code.String(),
		Provider:              r.f.Provider.Name.String(),
		RequestedAt:           r.f.RequestedAt,
		ProvidedAt:            optional(r.f.ProvidedAt),
		Information:           r.f.Information,
		Items:                 slices.Clone(r.f.Items),
		RequestNonDisclosed:   r.f.RequestNonDisclosed,
		ProvisionNonDisclosed: r.f.ProvisionNonDisclosed,
		AmendmentReason:       r.f.AmendmentReason,
		Article21:             r.f.Article21,
	}
}

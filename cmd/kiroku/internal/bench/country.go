package bench

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/google/uuid"

	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/domain/inquiry"
	"kiroku/domain/ledger"
	"kiroku/domain/scope"
	rulefiles "kiroku/ops/scope"
	"kiroku/projections"
)

// The agencies of a country: as many municipalities and prefectures as Japan has, and one agency for every other class
// that a rule names.
const (
	municipalities = 1741
	prefectures    = 47
)

// country is what the facts are made of: agencies, and the rules that kiroku comes with.
type country struct {
	first    calendar.Day
	days     int
	rules    []scope.Rule
	holders  map[string][]string // agencies by class
	registry []projections.Opened
}

func newCountry(first calendar.Day, o StatsOptions) (*country, error) {
	classes, problems := scope.ParseClasses(strings.NewReader(rulefiles.Classes))
	set, more := scope.ParseCSV(strings.NewReader(rulefiles.Rules), classes)
	if len(problems)+len(more) > 0 {
		return nil, fmt.Errorf("the rules that kiroku comes with have %d problems", len(problems)+len(more))
	}
	c := &country{first: first, days: o.Days, holders: map[string][]string{}}
	for r := range set.All() {
		c.rules = append(c.rules, r)
		for _, class := range []string{r.InquirerClass.String(), r.ProviderClass.String()} {
			if c.holders[class] == nil {
				c.holders[class] = c.found(class)
			}
		}
	}
	return c, c.register()
}

// found makes the codes of the agencies that hold a class.
func (c *country) found(class string) (codes []string) {
	prefix, n := fmt.Sprintf("K%03d-", len(c.holders)), 1
	switch class {
	case "市町村長":
		prefix, n = "M-", municipalities
	case "都道府県知事":
		prefix, n = "P-", prefectures
	}
	for i := range n {
		codes = append(codes, fmt.Sprintf("%s%04d", prefix, i+1))
	}
	return codes
}

// register makes the events of the registry.
func (c *country) register() error {
	s := &factStream{name: event.StreamRegistry, country: c}
	at := c.first.Start()
	for class, codes := range c.holders {
		for _, code := range codes {
			if err := s.add(event.TypeAgencyRegistered, at, event.AgencyRegistered{Code: code, Name: "見本 " + code, Classes: []string{class}, Parameter: make([]byte, 16)}); err != nil {
				return err
			}
		}
	}
	published := event.ScopeRulesPublished{SetHash: make([]byte, 32), Parts: 1}
	for _, r := range c.rules {
		published.Rules = append(published.Rules, event.RuleRow{ID: r.ID, InquirerClass: r.InquirerClass.String(), Affair: r.Affair, ProviderClass: r.ProviderClass.String(),
			Information: r.Information, LegalBasis: r.Basis.String(), ValidFrom: r.ValidFrom.String()})
	}
	if err := s.add(event.TypeScopeRulesPublished, at, published); err != nil {
		return err
	}
	c.registry = s.made
	return nil
}

// streams are those that rows exchanges and their share of requests for symbols come in.
func (c *country) streams(rows int) (all []*factStream) {
	for i := range statsStreams {
		all = append(all, c.stream(event.RecordStream(i), uint64(i), (rows+i)/statsStreams, (*factStream).exchange))
	}
	return append(all, c.stream(event.StreamIssuance, statsStreams, rows/requestsShare, (*factStream).request))
}

func (c *country) stream(name string, seed uint64, total int, next func(*factStream) error) *factStream {
	random := rand.New(rand.NewPCG(seed, 7)) // the same every time
	s := &factStream{name: name, country: c, total: total, next: next, random: random, holder: map[string]*rand.Zipf{}}
	s.rule = rand.NewZipf(random, 1.1, 8, uint64(len(c.rules)-1))
	for class, codes := range c.holders {
		s.holder[class] = rand.NewZipf(random, 1.1, 40, uint64(len(codes)-1))
	}
	return s
}

// factStream makes opened events of one stream in the order of their days.
type factStream struct {
	name    string
	country *country
	total   int
	next    func(*factStream) error

	random *rand.Rand
	rule   *rand.Zipf            // a few rules are used most
	holder map[string]*rand.Zipf // by class: a few agencies exchange most
	count  int
	made   []projections.Opened
}

// take makes the next events, at most so many.
func (s *factStream) take(most int) ([]projections.Opened, error) {
	s.made = make([]projections.Opened, 0, min(most, s.total-s.count))
	for len(s.made) < most && s.count < s.total {
		if err := s.next(s); err != nil {
			return nil, err
		}
	}
	return s.made, nil
}

func (s *factStream) applied(tell func(int), n int) {
	if tell != nil {
		tell(n)
	}
}

// add makes an event of a payload. Nothing is sealed or signed; the header's bytes are only as long as real ones.
func (s *factStream) add(eventType string, at time.Time, payload any) error {
	plain, err := event.Encode(payload)
	if err != nil {
		return err
	}
	s.made = append(s.made, projections.Opened{
		Event:       ledger.Event{Stream: s.name, Revision: uint64(s.count), Type: eventType},
		Header:      ledger.Header{Stream: s.name, Revision: uint64(s.count), Epoch: 1, Type: eventType, Time: at},
		HeaderBytes: make([]byte, 250), Payload: plain,
	})
	s.count++
	return nil
}

// when is a time of the day that the next event belongs to, mostly in office hours.
func (s *factStream) when() time.Time {
	day := s.country.first.AddDays(s.count * s.country.days / s.total)
	hour := 8 + s.random.IntN(10)
	if s.random.IntN(20) == 0 {
		hour = s.random.IntN(22)
	}
	return day.Start().Add(time.Duration(hour)*time.Hour + time.Duration(s.random.IntN(3600_000_000))*time.Microsecond)
}

func (s *factStream) of(class string) string {
	return s.country.holders[class][s.holder[class].Uint64()]
}

func (s *factStream) bytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(s.random.Uint32())
	}
	return b
}

func (s *factStream) command() event.Command {
	return event.Command{ID: uuid.UUID(s.bytes(16)), Actor: event.Actor{Identity: "gateway", Role: "agency-system"}, Digest: s.bytes(16)}
}

func (s *factStream) exchange() error {
	r := s.country.rules[s.rule.Uint64()]
	asked := s.when()
	record := event.Record{
		Symbol: s.bytes(16), Subject: s.bytes(16), ProcessingNumber: s.bytes(16), Affair: r.Affair, Procedure: "審査",
		Inquirer: s.of(r.InquirerClass.String()), Department: fmt.Sprint("第", 1+s.random.IntN(3), "係"), Provider: s.of(r.ProviderClass.String()),
		RequestedAt: asked.UnixMicro(), Information: r.Information, Items: []string{"項目一", "項目二"}, RuleSet: s.bytes(32), Rule: r.ID,
		ValidUntil: asked.Add(7 * 24 * time.Hour).UnixMicro(),
	}
	seconds := min(5400, 1+int(20*s.random.ExpFloat64()))
	if s.random.IntN(50) == 0 {
		seconds = min(5400, seconds*100)
	}
	answered := asked.Add(time.Duration(seconds) * time.Second)
	answer := inquiry.Provided
	switch n := s.random.IntN(100); {
	case n < 2:
		record.Rule = ""
		return s.add(event.TypeInquiryRefused, asked, event.InquiryRefused{Command: s.command(), Record: record, Reason: inquiry.OutOfScope.Code()})
	case n < 3:
		return s.add(event.TypeInquiryLapsed, answered, event.InquiryLapsed{Command: s.command(), Record: record, At: answered.UnixMicro()})
	case n < 6:
		answer = inquiry.NoSuchInformation
	case n < 7:
		answer = inquiry.CannotProvide
	default:
		record.ProvidedAt = answered.UnixMicro()
	}
	return s.add(event.TypeProvisionReported, answered, event.ProvisionReported{Command: s.command(), Record: record, Answer: answer.String(), At: answered.UnixMicro()})
}

func (s *factStream) request() error {
	at := s.when()
	in := event.Issuance{Agency: s.of("市町村長"), Parameter: s.bytes(16), Scheme: 1, At: at.UnixMicro()}
	if s.random.IntN(10) == 0 {
		return s.add(event.TypeSymbolAlreadyAcquired, at, event.SymbolAlreadyAcquired{Command: s.command(), Subject: s.bytes(16), Issuance: in})
	}
	subject := event.Subject{ID: s.bytes(16), Linkage: s.bytes(16), LinkageVersion: 1, Management: s.bytes(32), IndexVersion: 1, Salt: s.bytes(16)}
	return s.add(event.TypeSymbolIssued, at, event.SymbolIssued{Command: s.command(), Subject: subject, Issuance: in, NewPerson: true})
}

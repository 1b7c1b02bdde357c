package event

// The forms of the common payloads, member by member as the struct tags name them; the tests hold the two to each other.

var actorForm = form(
	text("identity", func(a *Actor) *string { return &a.Identity }),
	text("role", func(a *Actor) *string { return &a.Role }),
	text("agency", func(a *Actor) *string { return &a.Agency }).orNone(),
	text("request_id", func(a *Actor) *string { return &a.RequestID }).orNone(),
)

var commandForm = form(
	of("id", func(in *input, c *Command) { c.ID = in.id() }),
	nested("actor", func(c *Command) *Actor { return &c.Actor }, actorForm),
	octets("digest", func(c *Command) *[]byte { return &c.Digest }),
)

var recordForm = form(
	octets("symbol", func(r *Record) *Protected { return &r.Symbol }).orNone(),
	octets("subject", func(r *Record) *Protected { return &r.Subject }).orNone(),
	octets("processing_number", func(r *Record) *[]byte { return &r.ProcessingNumber }),
	number("branch", func(r *Record) *int { return &r.Branch }),
	text("affair", func(r *Record) *string { return &r.Affair }),
	text("procedure", func(r *Record) *string { return &r.Procedure }),
	text("inquirer", func(r *Record) *string { return &r.Inquirer }),
	text("inquirer_name", func(r *Record) *string { return &r.InquirerName }),
	text("department", func(r *Record) *string { return &r.Department }),
	text("provider", func(r *Record) *string { return &r.Provider }),
	text("provider_name", func(r *Record) *string { return &r.ProviderName }),
	number("requested_at", func(r *Record) *int64 { return &r.RequestedAt }),
	number("provided_at", func(r *Record) *int64 { return &r.ProvidedAt }).orNone(),
	text("information", func(r *Record) *string { return &r.Information }),
	of("items", func(in *input, r *Record) { r.Items = in.texts() }),
	flag("withheld_request", func(r *Record) *bool { return &r.WithheldRequest }).orNone(),
	flag("withheld_provision", func(r *Record) *bool { return &r.WithheldProvision }).orNone(),
	text("amendment_reason", func(r *Record) *string { return &r.AmendmentReason }).orNone(),
	flag("article_21", func(r *Record) *bool { return &r.Article21 }).orNone(),
	flag("consent", func(r *Record) *bool { return &r.Consent }).orNone(),
	octets("rule_set", func(r *Record) *[]byte { return &r.RuleSet }).orNone(),
	text("rule", func(r *Record) *string { return &r.Rule }).orNone(),
	number("valid_until", func(r *Record) *int64 { return &r.ValidUntil }).orNone(),
)

var inquiryNotifiedForm = form(
	nested("command", func(p *InquiryNotified) *Command { return &p.Command }, commandForm),
	nested("record", func(p *InquiryNotified) *Record { return &p.Record }, recordForm),
)

func (p *InquiryNotified) readFrom(in *input) { readMap(in, inquiryNotifiedForm, p) }

var inquiryRefusedForm = form(
	nested("command", func(p *InquiryRefused) *Command { return &p.Command }, commandForm),
	nested("record", func(p *InquiryRefused) *Record { return &p.Record }, recordForm),
	text("reason", func(p *InquiryRefused) *string { return &p.Reason }),
)

func (p *InquiryRefused) readFrom(in *input) { readMap(in, inquiryRefusedForm, p) }

var provisionReportedForm = form(
	nested("command", func(p *ProvisionReported) *Command { return &p.Command }, commandForm),
	nested("record", func(p *ProvisionReported) *Record { return &p.Record }, recordForm),
	text("answer", func(p *ProvisionReported) *string { return &p.Answer }),
	number("at", func(p *ProvisionReported) *int64 { return &p.At }),
)

func (p *ProvisionReported) readFrom(in *input) { readMap(in, provisionReportedForm, p) }

var inquiryLapsedForm = form(
	nested("command", func(p *InquiryLapsed) *Command { return &p.Command }, commandForm),
	nested("record", func(p *InquiryLapsed) *Record { return &p.Record }, recordForm),
	number("at", func(p *InquiryLapsed) *int64 { return &p.At }),
)

func (p *InquiryLapsed) readFrom(in *input) { readMap(in, inquiryLapsedForm, p) }

var subjectForm = form(
	octets("id", func(s *Subject) *Protected { return &s.ID }),
	octets("linkage", func(s *Subject) *Protected { return &s.Linkage }),
	number("linkage_version", func(s *Subject) *int { return &s.LinkageVersion }),
	octets("management", func(s *Subject) *Protected { return &s.Management }),
	number("index_version", func(s *Subject) *int { return &s.IndexVersion }),
	octets("salt", func(s *Subject) *Protected { return &s.Salt }).orNone(),
)

var issuanceForm = form(
	text("agency", func(i *Issuance) *string { return &i.Agency }),
	octets("parameter", func(i *Issuance) *[]byte { return &i.Parameter }),
	number("scheme", func(i *Issuance) *int { return &i.Scheme }),
	number("at", func(i *Issuance) *int64 { return &i.At }),
)

var symbolIssuedForm = form(
	nested("command", func(p *SymbolIssued) *Command { return &p.Command }, commandForm),
	nested("subject", func(p *SymbolIssued) *Subject { return &p.Subject }, subjectForm),
	nested("issuance", func(p *SymbolIssued) *Issuance { return &p.Issuance }, issuanceForm),
	flag("new_person", func(p *SymbolIssued) *bool { return &p.NewPerson }),
)

func (p *SymbolIssued) readFrom(in *input) { readMap(in, symbolIssuedForm, p) }

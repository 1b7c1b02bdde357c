package commands

import (
	"context"
	"fmt"
	"time"

	"kiroku/domain/agency"
	"kiroku/domain/event"
	"kiroku/domain/inquiry"
	"kiroku/domain/register"
	"kiroku/domain/symbol"
)

// Notification tells a provider of an inquiry that it may answer (Ordinance 41).
type Notification struct {
	ProcessingNumber inquiry.ProcessingNumber
	Symbol           symbol.Agency // the provider's own symbol of the person, derived for this answer only
	Inquirer         string        // agency code
	InquirerName     string
	Department       string
	Affair           string
	Procedure        string
	Information      string
	Items            []string
	RequestedAt      time.Time
	ValidUntil       time.Time
}

// MaxNotifications bounds one answer of TakeNotifications.
const MaxNotifications = 1000

// TakeNotifications returns up to limit open notifications of the actor's agency, those that lapse first before the
// others. It changes nothing: a notification is open until it is answered or lapses.
func (c *Core) TakeNotifications(ctx context.Context, actor event.Actor, limit int) ([]Notification, error) {
	if err := mustBe(actor, RoleGateway); err != nil {
		return nil, err
	}
	code, err := agency.ParseCode(actor.Agency)
	if err != nil {
		return nil, fmt.Errorf("actor's agency: %w: %w", ErrNotAllowed, err)
	}
	if err := c.writer(); err != nil {
		return nil, err
	}
	provider, err := c.activeAgency(ctx, code)
	if err != nil {
		return nil, err
	}
	open, err := c.d.Inquiries.OpenFor(ctx, provider.Code().String(), min(max(limit, 1), MaxNotifications))
	if err != nil {
		return nil, fmt.Errorf("find open notifications: %w", err)
	}
	out := make([]Notification, 0, len(open))
	persons := make([]symbol.Linkage, 0, len(open))
	for _, v := range open {
		n, l, ok, err := c.notification(ctx, v)
		if err != nil {
			return nil, err
		}
		if ok {
			out, persons = append(out, n), append(persons, l)
		}
	}
	if len(out) == 0 {
		return nil, nil
	}
	syms, err := c.symbols.agency(ctx, provider.Parameter(), persons...)
	if err != nil {
		return nil, err
	}
	for i := range out {
		out[i].Symbol = syms[i]
	}
	return out, nil
}

// notification opens one; false where it was answered or lapsed and the view is behind.
func (c *Core) notification(ctx context.Context, v register.Standing) (Notification, symbol.Linkage, bool, error) {
	number := inquiry.ProcessingNumber(v.ProcessingNumber)
	s, err := c.standing(ctx, number)
	if err != nil {
		return Notification{}, symbol.Linkage{}, false, err
	}
	life, err := s.life()
	if err != nil || s.state != inquiry.Notified || life.Due(c.now()) {
		return Notification{}, symbol.Linkage{}, false, err
	}
	id, ok := register.SubjectIDFrom(s.record.Subject)
	if !ok {
		return Notification{}, symbol.Linkage{}, false, fmt.Errorf("inquiry %s names no person: %w", number, event.ErrMalformed)
	}
	p, err := c.person(ctx, id)
	if c.d.Keyring.Deleted(id) { // it cannot be answered under any symbol any more: it lapses
		if err == nil {
			p.destroy()
		}
		return Notification{}, symbol.Linkage{}, false, nil
	}
	if err != nil {
		return Notification{}, symbol.Linkage{}, false, err
	}
	defer p.destroy()
	r := s.record
	return Notification{
		ProcessingNumber: number, Inquirer: r.Inquirer, InquirerName: r.InquirerName, Department: r.Department,
		Affair: r.Affair, Procedure: r.Procedure, Information: r.Information, Items: r.Items,
		RequestedAt: micros(r.RequestedAt), ValidUntil: micros(r.ValidUntil),
	}, p.linkage, true, nil
}

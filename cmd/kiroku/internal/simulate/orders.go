package simulate

import (
	"context"
	"fmt"
	"time"

	"kiroku/commands"
	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/domain/inquiry"
)

// approve has two officials approve a proposal.
func (s *Simulation) approve(ctx context.Context, p commands.Proposed) error {
	for _, by := range s.signers {
		given, err := by.Approve(p.Hash)
		if err != nil {
			return err
		}
		_, err = s.Node.Core.Approve(ctx, commands.Approve{Meta: s.meta(commands.RoleOperator, ""), Proposal: p.Hash, Kind: p.Made.Kind,
			Given: given})
		if err != nil {
			return fmt.Errorf("approve a proposal: %w", err)
		}
	}
	return nil
}

// Orders come at intervals of days since the first day is due, and holds that never delay anything before.
const (
	earlyHoldEvery = 211
	holdEvery      = 17
	releaseAfter   = 9  // days after the hold, of every third
	deleteAt       = 23 // the first physical deletion
	deleteEvery    = 300
)

// order adds and releases holds, and has people deleted.
func (s *Simulation) order(ctx context.Context, day calendar.Day) error {
	n := day.DaysSince(due(s.o.From))
	if n < 0 {
		if n%earlyHoldEvery == 0 {
			return s.hold(ctx, day, day.AddDays(-30), day.AddDays(30))
		}
		return nil
	}
	if n%holdEvery == 2 {
		// Days that fall due from the day after tomorrow on: the hold is there before them.
		from := s.o.From.AddDays(n + 2 + s.random.IntN(3))
		if err := s.hold(ctx, day, from, from.AddDays(s.random.IntN(4))); err != nil {
			return err
		}
	}
	if n%(3*holdEvery) == 2+releaseAfter {
		if err := s.release(ctx, day); err != nil {
			return err
		}
	}
	if n%deleteEvery == deleteAt {
		return s.remove(ctx)
	}
	return nil
}

func (s *Simulation) hold(ctx context.Context, day, from, to calendar.Day) error {
	h := order{from: from, to: to, until: day.AddDays(12 + s.random.IntN(20))}
	var err error
	h.id, err = s.Node.Core.AddHold(ctx, commands.AddHold{Meta: s.meta(commands.RoleOperator, ""), From: h.from, To: h.to, Until: h.until,
		Reason: "証拠保全", Authority: "見本地方裁判所 決定"})
	if err != nil {
		return fmt.Errorf("add a hold: %w", err)
	}
	s.books.holds = append(s.books.holds, h)
	s.report.Holds++
	return nil
}

// release has two officials end the last hold.
func (s *Simulation) release(ctx context.Context, day calendar.Day) error {
	h := &s.books.holds[len(s.books.holds)-1]
	if day.After(h.until) {
		return nil
	}
	p, err := s.Node.Core.ProposeRelease(ctx, commands.ProposeRelease{Meta: s.meta(commands.RoleOperator, ""), Hold: h.id,
		Asked: commands.Asked{Reason: "the order was withdrawn", Within: 24 * time.Hour}})
	if err != nil {
		return fmt.Errorf("propose to release a hold: %w", err)
	}
	if err := s.approve(ctx, p); err != nil {
		return err
	}
	h.released = day
	s.report.Released++
	return nil
}

// remove deletes a person from the register and looks whether that is all that happened.
func (s *Simulation) remove(ctx context.Context) error {
	gone, other := s.offices.people[1+2*s.report.Deletions], s.offices.people[2+2*s.report.Deletions]
	code, err := codeOf(gone.number)
	if err != nil {
		return err
	}
	p, err := s.Node.Core.RequestDeletion(ctx, commands.RequestDeletion{Meta: s.meta(commands.RoleJukiNet, ""), Code: code, Number: "D-1",
		Asked: commands.Asked{Reason: "a clerical error", Within: 24 * time.Hour}})
	if err != nil {
		return fmt.Errorf("request a physical deletion: %w", err)
	}
	if p.Made.Kind != event.ProposalDeletion {
		return wrong("a deletion was proposed as %s", p.Made.Kind)
	}
	if err := s.approve(ctx, p); err != nil {
		return err
	}
	out, err := s.Node.RotateVault(ctx, s.meta(commands.RoleOperator, ""), nil)
	if err != nil {
		return fmt.Errorf("rotate the vault: %w", err)
	}
	if out.Deletions != 1 {
		return wrong("the rotation of the vault carried out %d deletions, and 1 was approved", out.Deletions)
	}
	s.report.Deletions++
	gone.gone = true
	return s.removed(ctx, gone, other)
}

func (s *Simulation) removed(ctx context.Context, gone, other *person) error {
	for _, who := range []struct {
		*person
		want inquiry.Reason
	}{{gone, inquiry.UnknownPerson}, {other, 0}} {
		r := inquiry.Fields{Inquirer: s.offices.asks, Department: s.offices.department, Provider: s.offices.answers, Affair: affair, Procedure: "認定",
			Information: information, Items: []string{item}, Validity: 72 * time.Hour}
		a, err := s.Node.Core.SubmitInquiry(ctx, commands.SubmitInquiry{Meta: s.meta(commands.RoleGateway, s.offices.asks.String()), Symbol: who.at, Request: r})
		if err != nil {
			return err
		}
		if a.Refusal != who.want {
			return wrong("after a physical deletion an inquiry came out with %q, not with %q", a.Refusal.Code(), who.want.Code())
		}
		s.report.Inquiries++
		if a.Refusal != 0 {
			s.report.Refused++
		} else if err := s.answer(ctx, a.ProcessingNumber); err != nil {
			return err
		}
	}
	anew, err := s.issue(ctx, s.offices.asks, gone.number)
	if err == nil && anew == gone.at {
		err = wrong("the deleted person's new symbol is the old one")
	}
	return err
}

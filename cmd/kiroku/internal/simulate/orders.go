package simulate

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"kiroku/cmd/kiroku/internal/pki"
	"kiroku/commands"
	"kiroku/domain/approval"
	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/domain/inquiry"
)

// signer is a made-up official.
type signer struct {
	certificate []byte
	key         crypto.Signer
}

// newOfficials certifies the officials of a year.
func (s *Simulation) newOfficials() error {
	s.year = yearOf(calendar.DayOf(s.clock.now()))
	folder := filepath.Join(s.folder, "officials-"+strconv.Itoa(s.year))
	made, err := pki.Develop(folder, approval.Needed, s.clock.now())
	if err != nil {
		return fmt.Errorf("make the officials' certificates: %w", err)
	}
	text, err := os.ReadFile(made.Authority)
	if err != nil {
		return err
	}
	if s.known, err = approval.ParseOfficials(text); err != nil {
		return err
	}
	s.signers = nil
	for _, o := range made.Officials {
		certificate, err := readPEM(o.Certificate)
		if err != nil {
			return err
		}
		der, err := readPEM(o.Key)
		if err != nil {
			return err
		}
		key, err := x509.ParsePKCS8PrivateKey(der)
		if err != nil {
			return fmt.Errorf("read a made-up official's key: it is not PKCS #8")
		}
		s.signers = append(s.signers, signer{certificate, key.(crypto.Signer)})
	}
	return nil
}

func readPEM(name string) ([]byte, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("there is no PEM in " + name)
	}
	return block.Bytes, nil
}

// approve has two officials approve a proposal.
func (s *Simulation) approve(ctx context.Context, p commands.Proposed) error {
	for _, by := range s.signers {
		signature, err := approval.Sign(by.key, p.Hash)
		if err != nil {
			return err
		}
		_, err = s.Node.Core.Approve(ctx, commands.Approve{Meta: s.meta(commands.RoleOperator, ""), Proposal: p.Hash, Kind: p.Made.Kind,
			Given: approval.Given{Certificate: by.certificate, Signature: signature}})
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

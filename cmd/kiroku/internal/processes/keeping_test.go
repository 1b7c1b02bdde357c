package processes

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"kiroku/commands"
	"kiroku/domain/approval"
	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/domain/retention"
)

// oneYear is a policy under which a day ends after a year and a notice of three days.
var oneYear = retention.Policy{Years: 1, Notice: 3, Lead: 1, LeastAnchorDays: 3, LongestGap: 7, Unproven: 400}

// marks are texts of records, and nothing else's, for a number other than 0. Both sides of the pipe make them, so that
// what carries requests holds none.
type marks struct{ Department, Procedure, Item, Receipt string }

func marksOf(n int) marks {
	if n == 0 {
		return marks{"福祉課", "認定", "世帯", "R-1"}
	}
	return marks{"福祉課" + mark("department", n), "認定" + mark("procedure", n), "世帯" + mark("item", n), mark("receipt", n)}
}

// mark is the part of a text by which it is found.
func mark(what string, n int) string {
	digest := sha256.Sum256(fmt.Appendf(nil, "%s %d", what, n))
	return hex.EncodeToString(digest[:10])
}

// keep does what concerns the end of days.
func (c *core) keep(ctx context.Context, r request) (answer, error) {
	switch r.Kind {
	case anchors:
		return answer{Outcome: "anchored"}, c.Anchor(ctx)
	case ends:
		done, err := c.RetentionProcess.Run(ctx, nil)
		return answer{Outcome: fmt.Sprintf("%d announced, %d certified", len(done.Announced), len(done.Certified))}, err
	case holds, plans, rotates:
		return c.order(ctx, r)
	}
	s, err := c.symbolOf(ctx, r)
	if err != nil {
		return answer{}, err
	}
	actor := event.Actor{Identity: "discloser-" + r.Agency, Role: commands.RoleDisclosure, Agency: r.Agency}
	shown, err := c.Core.DiscloseRecords(ctx, commands.DiscloseRecords{Meta: commands.Meta{Actor: actor, ID: r.ID}, Symbol: s, Receipt: marksOf(r.Mark).Receipt,
		Audience: commands.AudiencePerson, From: calendar.DayOf(r.At).Start(), To: c.now()})
	return answer{Outcome: fmt.Sprintf("%d shown", len(shown.Person))}, err
}

// order does what an operator asks for.
func (c *core) order(ctx context.Context, r request) (answer, error) {
	day := calendar.DayOf(r.At)
	m := commands.Meta{Actor: event.Actor{Identity: "official", Role: commands.RoleOperator}, ID: r.ID}
	switch r.Kind {
	case holds:
		_, err := c.Core.AddHold(ctx, commands.AddHold{Meta: m, From: day, To: day, Until: calendar.DayOf(c.now()).AddDays(30), Reason: "証拠保全", Authority: "見本地方裁判所"})
		return answer{Outcome: "held"}, err
	case rotates:
		if r.Mark > 0 {
			if err := c.approveRotation(ctx); err != nil {
				return answer{}, err
			}
		}
		done, err := c.RotateVault(ctx, m, nil)
		return answer{Outcome: fmt.Sprintf("generation %d", done.Generation)}, err
	}
	plan, err := c.RetentionProcess.Plan(ctx)
	for _, d := range plan.Days {
		if d.Day == day {
			return answer{Outcome: fmt.Sprintf("%s, key %v", d.Stage, d.Key)}, err
		}
	}
	return answer{Outcome: "ended"}, err
}

// approveRotation has two officials approve a rotation of the vault.
func (c *core) approveRotation(ctx context.Context) error {
	meta := func() commands.Meta {
		return commands.Meta{Actor: event.Actor{Identity: "official", Role: commands.RoleOperator}, ID: idAt(c.now())}
	}
	p, err := c.Core.ProposeRotation(ctx, commands.ProposeRotation{Meta: meta(), Asked: commands.Asked{Reason: "a new root key", Within: 24 * time.Hour}})
	for _, by := range c.officials {
		if err != nil {
			break
		}
		var given approval.Given
		if given, err = by.Approve(p.Hash); err == nil {
			_, err = c.Core.Approve(ctx, commands.Approve{Meta: meta(), Proposal: p.Hash, Kind: p.Made.Kind, Given: given})
		}
	}
	return err
}

// noon is how far the clock has to be turned to noon in Japan of a day.
func noon(day calendar.Day) time.Duration { return time.Until(day.Start().Add(12 * time.Hour)) }

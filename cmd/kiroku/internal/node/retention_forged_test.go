package node_test

import (
	"context"
	"errors"
	"testing"

	"kiroku/cmd/kiroku/internal/node"
	ends "kiroku/commands/retention"
	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/domain/keyring"
)

// slip writes a fact that no rule allows, as whoever has only the signing key could.
func (k *keeping) slip(eventType string, fact any) {
	k.t.Helper()
	if _, err := k.core.Core.RecordFact(k.t.Context(), k.ID(), eventType, []any{fact}, nil); err != nil {
		k.t.Fatal(err)
	}
}

// An end that somebody wrote who has the signing key, and who judged nothing, is carried out by no core: the key stays, and
// somebody is told. When the day is due it ends as any other.
func TestAnEndThatNobodyJudged(t *testing.T) {
	for name, forge := range map[string]func(*keeping, calendar.Day){
		"decided": func(k *keeping, d calendar.Day) {
			k.slip(event.TypeDaySummarised, event.DaySummarised{Day: d.String(), Parts: 1})
			k.slip(event.TypeDestructionDecided, event.DestructionDecided{Day: d.String(), Due: brief.Due(d).String(), At: k.Now().UnixMicro()})
		},
		"destroyed": func(k *keeping, d calendar.Day) {
			k.slip(event.TypeDayKeyDestroyed, event.DayKeyDestroyed{Day: d.String(), Label: keyring.DayLabel(d), Due: brief.Due(d).String(), At: k.Now().UnixMicro()})
		},
	} {
		t.Run(name, func(t *testing.T) {
			k := newKeeping(t, brief)
			first := k.today()
			k.live(2)
			forge(k, first)
			r, err := k.core.RetentionProcess.Run(t.Context(), nil)
			if !k.hasKey(first) || len(r.Destroyed)+len(r.Returned)+len(r.Certified) > 0 {
				t.Fatalf("a day was ended years early: %+v, %v", r, err)
			}
			if !errors.Is(err, ends.ErrNotDecided) && len(k.core.RefusedFacts()) == 0 {
				t.Errorf("nobody is told: %v", err)
			}
			k.cannotButGoOn(first)
			if k.hasKey(first) || len(k.certificates()[first.String()]) != 1 {
				t.Errorf("%+v", k.stands(first))
			}
		})
	}
}

// cannotButGoOn lives on until a day is due, and a day longer, whatever the passes say.
func (k *keeping) cannotButGoOn(d calendar.Day) {
	k.t.Helper()
	for k.goTo(brief.AnnounceFrom(d)); !brief.Due(d).Before(k.today()); k.Turn(day) {
		_, _ = k.core.RetentionProcess.Run(k.t.Context(), nil)
		k.anchor()
	}
	_, _ = k.core.RetentionProcess.Run(k.t.Context(), nil)
}

type damaged struct {
	ends.Ledger
	bad map[calendar.Day]bool
}

func (d *damaged) Open(ctx context.Context, day calendar.Day, stream string, first, next uint64, visit func(string, []byte) error) error {
	if d.bad[day] {
		return errFault
	}
	return d.Ledger.Open(ctx, day, stream, first, next, visit)
}

// Days that cannot be counted keep no other day from its end, and neither do days whose keys the token refuses to destroy.
func TestDaysThatCannotEndKeepNoOther(t *testing.T) {
	for _, how := range []string{"damaged", "refused"} {
		t.Run(how, func(t *testing.T) {
			ledger, token := &damaged{bad: map[calendar.Day]bool{}}, &tokenFault{}
			k := newKeeping(t, brief, func(c *node.Config) {
				c.Shards = 1
				c.RetentionPorts = func(d *ends.Deps) {
					d.Pause, ledger.Ledger, token.HSM = 1, d.Ledger, d.HSM
					d.Ledger, d.HSM = ledger, token
				}
			})
			first := k.today()
			k.live(5)
			bad := map[calendar.Day]bool{first: true, first.AddDays(1): true}
			if how == "damaged" {
				ledger.bad = bad
			}
			token.destroy = func(ctx context.Context, d calendar.Day) error {
				if how == "refused" && bad[d] {
					return errFault
				}
				return token.HSM.Destroy(ctx, d)
			}
			k.cannotButGoOn(first.AddDays(4))
			if _, err := k.core.RetentionProcess.Run(t.Context(), nil); err == nil {
				t.Error("nobody is told")
			}
			for i := range 5 {
				if d := first.AddDays(i); k.hasKey(d) != bad[d] {
					t.Errorf("day %d: its key is there: %t", i+1, k.hasKey(d))
				}
			}
		})
	}
}

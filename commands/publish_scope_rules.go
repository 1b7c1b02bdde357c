package commands

import (
	"context"

	"kiroku/domain/event"
	"kiroku/domain/scope"
)

// PublishScopeRules puts a whole rule set in force (Act 19(8), 19(9)); the set before it stays in the ledger.
type PublishScopeRules struct {
	Meta
	Rules scope.Set
}

// rulesPerEvent keeps one part of a set at some 100 KiB.
const rulesPerEvent = 200

// PublishScopeRules publishes. A set beyond what one append carries is refused with sequencer.ErrTooLarge
// (about 4,000 rules of the usual length). Errors: ErrInvalid, ErrConflict, ErrTooOld, and those of the sequencer.
func (c *Core) PublishScopeRules(ctx context.Context, cmd PublishScopeRules) error {
	if err := c.checkAs(cmd.Meta, RoleOperator); err != nil {
		return err
	}
	hash := cmd.Rules.Hash()
	x := newCall(cmd.Meta, c.d.Keyring.Digest("publish-scope-rules", hash[:]))
	parts := (cmd.Rules.Len() + rulesPerEvent - 1) / rulesPerEvent
	facts := []event.ScopeRulesPublished{}
	for i := range max(parts, 1) {
		facts = append(facts, event.ScopeRulesPublished{Command: c.openCommand(x), SetHash: hash[:], Part: i, Parts: max(parts, 1)})
	}
	n := 0
	for rule := range cmd.Rules.All() {
		row := rule.Row()
		f := &facts[n/rulesPerEvent]
		f.Rules = append(f.Rules, event.RuleRow(row))
		n++
	}
	payloads := make([]any, len(facts))
	for i, f := range facts {
		payloads[i] = f
	}
	return c.registerFact(ctx, x, event.TypeScopeRulesPublished, payloads, func(uint64) error { return nil })
}

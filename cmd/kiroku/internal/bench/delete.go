package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"kiroku/commands"
	"kiroku/domain/event"
	"kiroku/domain/ledger"
	"kiroku/domain/symbol"
)

// DeletionOptions say how much.
type DeletionOptions struct {
	People  int // in the register
	At      int // deletions that the second rotation carries out; default 100
	Callers int // that ask for symbols while the vault is rotated; default 64

	Officials *Officials // Configured into the node
}

// Deletions measures physical deletions (物理削除): the rotation of the vault without any, with one, with several, and how
// long who asks for symbols meanwhile waits.
func Deletions(ctx context.Context, p Parts, o DeletionOptions) (Report, error) {
	if o.At == 0 {
		o.At = 100
	}
	if o.Callers == 0 {
		o.Callers = 64
	}
	r := newReport("deletions", p)
	offices, err := openOffices(ctx, p, 1)
	if err != nil {
		return r, err
	}
	if _, err := offices[0].take(ctx, p, o.People); err != nil {
		return r, err
	}
	if err := p.Node.CaughtUp(ctx); err != nil {
		return r, err
	}
	next := 0
	for _, n := range []int{0, 1, o.At} {
		deletions, err := requestDeletions(ctx, p, o.Officials, next, n)
		if err != nil {
			return r, err
		}
		next += n
		if n == 0 {
			if err := proposeRotation(ctx, p, o.Officials); err != nil {
				return r, err
			}
		}
		m, waited, err := rotate(ctx, p, o, offices[0], deletions)
		if err != nil {
			return r, err
		}
		m.Name = fmt.Sprintf("rotation of the vault with %d deletions, %d people in the register", n, o.People)
		m.Waiting = waiting(waited)
		m.Acknowledged = "the old root key is destroyed and that is certified; waiting is that of who asks for symbols meanwhile"
		r.Measures = append(r.Measures, m)
	}
	return r, nil
}

// proposeRotation has a rotation approved that deletes nobody.
func proposeRotation(ctx context.Context, p Parts, by *Officials) error {
	asked, err := p.Node.Core.ProposeRotation(ctx, commands.ProposeRotation{Meta: operator(), Asked: commands.Asked{Reason: "benchmark", Within: 24 * time.Hour}})
	if err != nil {
		return err
	}
	return by.approve(ctx, p, asked)
}

func operator() commands.Meta {
	return commands.Meta{Actor: event.Actor{Identity: "bench-official", Role: commands.RoleOperator}, ID: uuid.Must(uuid.NewV7())}
}

// requestDeletions asks for the deletion of n people from the first on, and has it approved.
func requestDeletions(ctx context.Context, p Parts, by *Officials, first, n int) ([]commands.Deletion, error) {
	out := make([]commands.Deletion, n)
	for i := range n {
		code, err := symbol.WithCheckDigit(fmt.Appendf(nil, "%010d", first+i), symbol.Mod11)
		if err != nil {
			return nil, err
		}
		asked, err := p.Node.Core.RequestDeletion(ctx, commands.RequestDeletion{
			Meta: commands.Meta{Actor: event.Actor{Identity: "bench-juki", Role: commands.RoleJukiNet}, ID: uuid.Must(uuid.NewV7())},
			Code: code, Number: "D-1", Asked: commands.Asked{Reason: "benchmark", Within: 24 * time.Hour},
		})
		if err != nil {
			return nil, err
		}
		if err := by.approve(ctx, p, asked); err != nil {
			return nil, err
		}
		out[i] = commands.Deletion{Proposal: asked.Hash, Revision: asked.Made.Revision, Leaf: ledger.Hash(asked.Made.Deletion)}
	}
	return out, nil
}

// rotate rotates the vault while callers ask for symbols that the agency has already.
func rotate(ctx context.Context, p Parts, o DeletionOptions, asks *office, deletions []commands.Deletion) (Measure, []time.Duration, error) {
	running, stop := context.WithCancel(ctx)
	defer stop()
	type asked struct {
		waited []time.Duration
		err    error
	}
	done := make(chan asked, o.Callers)
	for caller := range o.Callers {
		go func() {
			var a asked
			for i := 0; running.Err() == nil && a.err == nil; i++ {
				at := time.Now()
				a.err = asks.ask(ctx, p, o.People-1-(caller+i*o.Callers)%(o.People/2))
				a.waited = append(a.waited, time.Since(at))
			}
			done <- a
		}()
	}
	m, err := p.start(ctx)
	if err != nil {
		return Measure{}, nil, err
	}
	_, err = p.Node.Core.RotateVault(ctx, commands.RotateVault{Meta: operator(), Deletions: deletions, Rotations: p.Node.Core.ApprovedRotations()}, nil)
	measured, stopErr := m.stop(ctx, "", "rotations", 1, nil)
	stop()
	var waited []time.Duration
	for range o.Callers {
		a := <-done
		waited = append(waited, a.waited...)
		if err == nil {
			err = a.err
		}
	}
	if err == nil {
		err = stopErr
	}
	return measured, waited, err
}

// ask asks for one person's symbol again.
func (o *office) ask(ctx context.Context, p Parts, person int) error {
	code, err := symbol.WithCheckDigit(fmt.Appendf(nil, "%010d", person), symbol.Mod11)
	if err != nil {
		return err
	}
	_, err = p.Node.Core.IssueSymbol(ctx, commands.IssueSymbol{Meta: o.meta(), Agency: o.code, AcquisitionNumber: "A-1", Code: code})
	return err
}

package main

import (
	"context"
	"slices"

	"kiroku/cmd/kiroku/internal/bench"
)

// benchRetentionCmd is kiroku bench retention.
type benchRetentionCmd struct {
	profiled
	Events    []int `default:"10000,100000" help:"Events of the days that are shredded; a measure for each number."`
	People    []int `default:"10000" help:"People in the register when some are deleted; a ledger for each number."`
	Deletions int   `default:"100" help:"People whom one rotation of the vault deletes, besides rotations with none and with one."`
	AskedOf   int   `default:"1000" help:"People whom the inquiries of the days are about."`
}

// Help teaches.
func (benchRetentionCmd) Help() string {
	return `Measures how days end and how people are deleted. Days of different sizes are filled, seven years pass by a clock of the benchmark's own, and the pass of the retention on which each day is due is measured in its parts: what the token does, which must take the same however much the day held, and summary, views, registry and store, which grow with it. Then, in ledgers with different numbers of people, the vault is rotated without and with physical deletions (物理削除), while others ask for symbols.` + benchHelp + `

Examples:

    kiroku bench retention
    kiroku bench retention --events 10000,100000,1000000 --people 10000,1000000 --json`
}

// Run measures.
func (cmd benchRetentionCmd) Run(c *call) error {
	if err := positive(slices.Concat(cmd.Events, cmd.People, []int{cmd.Deletions, cmd.AskedOf})...); err != nil {
		return err
	}
	shredding := bench.NewShredding(bench.ShreddingOptions{Events: cmd.Events, People: cmd.AskedOf})
	report, err := cmd.measured(c, shredding.Configure, shredding.Run)
	if err != nil {
		return err
	}
	for _, people := range cmd.People {
		o := bench.DeletionOptions{People: people, At: min(cmd.Deletions, max(1, people/3))}
		deletions, err := cmd.measured(c, nil, func(ctx context.Context, p bench.Parts) (bench.Report, error) { return bench.Deletions(ctx, p, o) })
		if err != nil {
			return err
		}
		report.Measures = append(report.Measures, deletions.Measures...)
	}
	return c.print(report, report.Text())
}

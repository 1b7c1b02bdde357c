package main

import (
	"fmt"
	"os"
	"strings"

	"kiroku/domain/scope"
	shipped "kiroku/ops/scope"
)

// rulesCmd is kiroku rules.
type rulesCmd struct {
	Check rulesCheckCmd `cmd:"" help:"Check a file of scope rules."`
}

// rulesCheckCmd is kiroku rules check.
type rulesCheckCmd struct {
	File    string `arg:"" help:"The rules, as CSV."`
	Classes string `placeholder:"FILE" help:"The known classes of agencies, as CSV; none: those that come with kiroku."`
}

// Help teaches.
func (rulesCheckCmd) Help() string {
	return `Checks a file of scope rules (Act 19(8), 19(9)) before it is published: columns, empty cells, days, unknown classes, duplicates and overlaps. Each problem names its line. If there is none, the rule set's size and hash are printed; the hash is what every decision will name.

The columns are id, inquirer_class, affair, provider_class, information, legal_basis, valid_from and valid_to, of which only the last may be empty.

Example:

    kiroku rules check rules.csv`
}

// Run checks.
func (cmd rulesCheckCmd) Run(c *call) error {
	known, err := cmd.classes()
	if err != nil {
		return err
	}
	file, err := os.Open(cmd.File)
	if err != nil {
		return fmt.Errorf("reading the rules: %w", err)
	}
	defer file.Close()
	set, problems := scope.ParseCSV(file, known)
	if len(problems) > 0 {
		return cmd.refuse(c, problems)
	}
	hash := set.Hash()
	result := map[string]any{"ok": true, "rules": set.Len(), "hash": fmt.Sprintf("%x", hash[:])}
	return c.print(result, fmt.Sprintf("%s: %d rules, rule set %x", cmd.File, set.Len(), hash[:]))
}

func (cmd rulesCheckCmd) classes() (scope.Classes, error) {
	if cmd.Classes == "" {
		classes, problems := scope.ParseClasses(strings.NewReader(shipped.Classes))
		if len(problems) > 0 {
			return scope.Classes{}, fmt.Errorf("reading the classes that come with kiroku: line %d: %s", problems[0].Line, problems[0].Message)
		}
		return classes, nil
	}
	file, err := os.Open(cmd.Classes)
	if err != nil {
		return scope.Classes{}, fmt.Errorf("reading the classes: %w", err)
	}
	defer file.Close()
	classes, problems := scope.ParseClasses(file)
	if len(problems) > 0 {
		return scope.Classes{}, fmt.Errorf("reading the classes: %s:%d: %s", cmd.Classes, problems[0].Line, problems[0].Message)
	}
	return classes, nil
}

// problem is a scope.Problem as --json prints it.
type problem struct {
	Line    int    `json:"line"`
	Column  string `json:"column,omitempty"`
	Message string `json:"message"`
}

func (cmd rulesCheckCmd) refuse(c *call, problems []scope.Problem) error {
	var text strings.Builder
	shown := make([]problem, 0, len(problems))
	for _, p := range problems {
		shown = append(shown, problem{p.Line, p.Column, p.Message})
		column := ""
		if p.Column != "" {
			column = p.Column + ": "
		}
		fmt.Fprintf(&text, "%s:%d: %s%s\n", cmd.File, p.Line, column, p.Message)
	}
	if err := c.print(map[string]any{"ok": false, "problems": shown}, text.String()); err != nil {
		return err
	}
	return fmt.Errorf("checking the rules in %s: %w: %d problems", cmd.File, errFoundWrong, len(problems))
}

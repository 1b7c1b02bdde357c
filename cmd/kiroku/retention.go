package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"text/tabwriter"

	"github.com/google/uuid"

	"kiroku/commands/retention"
	"kiroku/domain/calendar"
)

// retentionCmd is kiroku retention.
type retentionCmd struct {
	Plan retentionPlanCmd `cmd:"" help:"Show what falls due when, what is held and what is overdue."`
	Run  retentionRunCmd  `cmd:"" help:"End the days that are due now, or show which those are."`

	Lost lostCmd `cmd:"" help:"State that the key of a day is gone though nobody destroyed it here."`

	Certificates retentionCertificatesCmd `cmd:"" help:"List, export and prove the certificates of what was destroyed."`
}

// retentionPlanCmd is kiroku retention plan.
type retentionPlanCmd struct {
	Days int  `default:"60" placeholder:"N" help:"Show days that fall due within N days, besides those in any stage but kept."`
	All  bool `help:"Show every day that is kept."`
}

// Help teaches.
func (retentionPlanCmd) Help() string {
	return `Shows, for each Japanese calendar day of records, how far its end has come. Records and audit events are kept for seven years (Order 30, 番号法施行令30条); then the running core destroys that day's key in the HSM, by itself, and nobody can read them again. Nothing here destroys a day before it is due, and no setting does.

Stages:

    kept         not due
    unnoticed    the notice of destruction is given by the next pass
    noticed      the notice was given, and its 30 days are not over
    unproven     due by the clock, but the anchors do not show that the time truly passed
    held         due, but kept by an order; see kiroku hold list
    ready        the next pass decides that the key is destroyed, and destroys it
    decided      no order is taken any more; the token has not destroyed the key yet, or that is not recorded
    destroyed    the key is gone; the certificate waits until every view is cleared
    key missing  the token lacks the key of a day that must be kept: restore the token, or see kiroku retention lost
    certified    shown only where something is left to do: the day's key is in the token again, or a loss is to be acknowledged

Exit status 1 means that something is wrong: a key is missing, a key of a day that ended is in the token again, a day is overdue though no order holds it, or the last pass failed.

Examples:

    kiroku retention plan
    kiroku retention plan --days 365
    kiroku retention plan --all --json`
}

// retentionDay is how a day stands, as the endpoint and --json show it.
type retentionDay struct {
	Day      calendar.Day    `json:"day"`
	Stage    retention.Stage `json:"stage"`
	Due      calendar.Day    `json:"due"`               // first day on which it may be destroyed
	Notice   calendar.Day    `json:"notice"`            // first day on which that is announced
	Earliest calendar.Day    `json:"earliest,omitzero"` // before which it is not destroyed, as far as is known now
	Overdue  bool            `json:"overdue,omitempty"`
	Key      bool            `json:"key"` // the token holds its key
	Events   uint64          `json:"events"`
	Hold     *uuid.UUID      `json:"hold,omitempty"`
	Reason   string          `json:"reason,omitempty"`
	Lost     bool            `json:"lost,omitempty"`  // the day ended because its key was missing
	Early    bool            `json:"early,omitempty"` // that was before it was due, and is not acknowledged
}

// retentionPlan is a plan, as the endpoint and --json show it.
type retentionPlan struct {
	Today   calendar.Day            `json:"today"`
	Ended   int                     `json:"ended"` // days certified
	Overdue int                     `json:"overdue"`
	Counts  map[retention.Stage]int `json:"counts"` // of days that are not certified, by stage
	Days    []retentionDay          `json:"days"`
	Failed  string                  `json:"failed,omitempty"` // why the last pass did
}

func planOf(p retention.Plan, failed error) retentionPlan {
	out := retentionPlan{Today: p.Today, Ended: p.Ended, Overdue: p.Overdue(), Counts: map[retention.Stage]int{}, Days: []retentionDay{}}
	for _, d := range p.Days {
		out.Counts[d.Stage]++
		day := retentionDay{Day: d.Day, Stage: d.Stage, Due: d.Due, Notice: d.Notice, Earliest: d.Earliest, Overdue: d.Overdue, Key: d.Key, Events: d.Events, Reason: d.Reason, Lost: d.Lost, Early: d.Early}
		if d.Hold != nil {
			day.Hold = &d.Hold.ID
		}
		out.Days = append(out.Days, day)
	}
	if failed != nil {
		out.Failed = failed.Error()
	}
	return out
}

// wrong says what is not as the law wants it, nil if all is.
func (p retentionPlan) wrong() error {
	var late []string
	for _, d := range p.Days {
		switch {
		case d.Stage == retention.KeyMissing:
			return fmt.Errorf("looking at the retention: %w: the token lacks the key of %s", errFoundWrong, d.Day)
		case d.Lost && d.Key:
			return fmt.Errorf("looking at the retention: %w: the token holds the key of %s, which was lost; it is kept until the day could be destroyed", errFoundWrong, d.Day)
		case d.Early:
			return fmt.Errorf("looking at the retention: %w: the key of %s was lost before the day was due; see kiroku retention lost acknowledge --help", errFoundWrong, d.Day)
		case d.Stage == retention.Certified && d.Key:
			return fmt.Errorf("looking at the retention: %w: the token holds the key of %s, which was destroyed; it is an older copy", errFoundWrong, d.Day)
		case d.Overdue && d.Stage != retention.Held:
			late = append(late, d.Day.String())
		}
	}
	if len(late) > 0 {
		return fmt.Errorf("looking at the retention: %w: %d days are overdue and no order holds them, the first is %s", errFoundWrong, len(late), late[0])
	}
	if p.Failed != "" {
		return fmt.Errorf("looking at the retention: %w: %s", errFoundWrong, p.Failed)
	}
	return nil
}

// within keeps the days that fall due until then, and those whose end has begun.
func (p retentionPlan) within(days int) retentionPlan {
	until := p.Today.AddDays(days)
	kept := []retentionDay{}
	for _, d := range p.Days {
		if d.Stage != retention.Kept || !d.Due.After(until) {
			kept = append(kept, d)
		}
	}
	p.Days = kept
	return p
}

func (p retentionPlan) text() (string, error) {
	var text strings.Builder
	if len(p.Days) > 0 {
		table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
		fmt.Fprintln(table, "DAY\tSTAGE\tDUE\tEARLIEST\tEVENTS\tWHY")
		for _, d := range p.Days {
			due := d.Due.String()
			if d.Overdue {
				due += " overdue"
			}
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%d\t%s\n", d.Day, d.Stage, due, d.Earliest, d.Events, d.Reason)
		}
		if err := table.Flush(); err != nil {
			return "", fmt.Errorf("printing the plan: %w", err)
		}
		fmt.Fprintln(&text)
	}
	fmt.Fprintf(&text, "today %s: %d days kept, %d ready, %d held, %d overdue, %d ended", p.Today,
		p.Counts[retention.Kept], p.Counts[retention.Ready], p.Counts[retention.Held], p.Overdue, p.Ended)
	if p.Failed != "" {
		fmt.Fprintf(&text, "\nthe last pass failed: %s", p.Failed)
	}
	return text.String(), nil
}

func (c *call) retentionPlan() (plan retentionPlan, err error) {
	client, err := c.admin()
	if err != nil {
		return plan, err
	}
	err = client.Call(c.ctx, http.MethodGet, "/retention", nil, &plan)
	return plan, err
}

// Run asks the core.
func (cmd retentionPlanCmd) Run(c *call) error {
	plan, err := c.retentionPlan()
	if err != nil {
		return err
	}
	shown := plan
	if !cmd.All {
		shown = plan.within(cmd.Days)
	}
	text, err := shown.text()
	if err != nil {
		return err
	}
	if err := c.print(shown, text); err != nil {
		return err
	}
	return plan.wrong()
}

// retentionRunCmd is kiroku retention run.
type retentionRunCmd struct {
	DryRun bool `required:"" xor:"how" help:"Show what a pass would do now; change nothing."`
	Once   bool `required:"" xor:"how" help:"Run one pass now."`
}

// Help teaches.
func (retentionRunCmd) Help() string {
	return `Has the running core end the days that are due: their summaries, the destruction of their keys, the clearing of the views, the certificates, and the truncation of the streams. The active core does the same by itself, every hour and shortly after midnight in Japan, so this is for not waiting, as after a repair of the token.

It destroys nothing that is not due. Interrupting it ends the pass at the next step; the next pass goes on there.

Examples:

    kiroku retention run --dry-run
    kiroku retention run --once --json`
}

// Run asks the core.
func (cmd retentionRunCmd) Run(c *call) error {
	if cmd.DryRun {
		return cmd.dry(c)
	}
	client, err := c.admin()
	if err != nil {
		return err
	}
	var end *retentionEnd
	shown := isTerminal(c.err)
	err = client.Follow(c.ctx, http.MethodPost, "/retention/run", func(d *json.Decoder) error {
		var step retentionStep
		if err := d.Decode(&step); err != nil {
			return fmt.Errorf("reading the core's answer: %w", err)
		}
		if end = step.End; end == nil && shown {
			fmt.Fprintln(c.err, step.text())
		}
		return nil
	})
	if err != nil {
		return err
	}
	if end == nil {
		return errors.New("running the retention: the core stopped before the pass was done; the next one goes on")
	}
	text := fmt.Sprintf("%d days announced, %d destroyed with %d events, %d certified, %d streams truncated",
		len(end.Announced), len(end.Destroyed), end.Events, len(end.Certified), len(end.Truncated))
	if len(end.Lost) > 0 {
		text += fmt.Sprintf("; %d recorded as lost%s", len(end.Lost), list(end.Lost))
	}
	if err := c.print(end, text); err != nil {
		return err
	}
	if end.Error != "" {
		return fmt.Errorf("running the retention: %w: %s", errFoundWrong, end.Error)
	}
	return nil
}

// dry shows what would be done.
func (retentionRunCmd) dry(c *call) error {
	plan, err := c.retentionPlan()
	if err != nil {
		return err
	}
	would := map[string][]calendar.Day{"announce": {}, "destroy": {}, "certify": {}}
	step := map[retention.Stage]string{retention.Unnoticed: "announce", retention.Ready: "destroy", retention.Destroyed: "certify"}
	for _, d := range plan.Days {
		if what := step[d.Stage]; what != "" {
			would[what] = append(would[what], d.Day)
		}
	}
	var text strings.Builder
	for _, what := range []string{"announce", "destroy", "certify"} {
		fmt.Fprintf(&text, "would %s %d days%s\n", what, len(would[what]), list(would[what]))
	}
	return c.print(would, text.String())
}

func list(days []calendar.Day) string {
	var b strings.Builder
	for i, d := range days {
		b.WriteString([]string{": ", ", "}[min(i, 1)] + d.String())
	}
	return b.String()
}

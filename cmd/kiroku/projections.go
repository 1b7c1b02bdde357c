package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"text/tabwriter"
	"time"

	"kiroku/adapters/admin"
	"kiroku/projections"
	"kiroku/projections/statistics"
)

// projectionsCmd is kiroku projections.
type projectionsCmd struct {
	Status  projectionsStatusCmd  `cmd:"" help:"Show how far each read model is."`
	Rebuild projectionsRebuildCmd `cmd:"" help:"Make a read model again from the ledger."`
}

// projectionsStatusCmd is kiroku projections status.
type projectionsStatusCmd struct{}

// Help teaches.
func (projectionsStatusCmd) Help() string {
	return `Shows, for each read model of the running core and each stream it follows, how far it is, how many events it is behind and why it is not going on, if it is not. Exit status 1 means that a stream was halted: verification found something in it.

Example:

    kiroku projections status`
}

// streamStatus is how a read model stands in a stream, as the admin endpoint
// tells it.
type streamStatus struct {
	Projection string  `json:"projection"`
	Stream     string  `json:"stream"`
	State      string  `json:"state"`
	Next       uint64  `json:"next"`
	Behind     uint64  `json:"behind"`
	LagSeconds float64 `json:"lag_seconds"` // -1: not known
	Halted     bool    `json:"halted"`
	Reason     string  `json:"reason,omitempty"`
}

// Run asks the core.
func (projectionsStatusCmd) Run(c *call) error {
	settings, err := c.configuration()
	if err != nil {
		return err
	}
	client, err := admin.Connect(dir(settings))
	if err != nil {
		return err
	}
	var statuses []streamStatus
	if err := client.Call(c.ctx, http.MethodGet, "/projections", nil, &statuses); err != nil {
		return err
	}
	var text strings.Builder
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "PROJECTION\tSTREAM\tSTATE\tNEXT\tBEHIND\tREASON")
	halted := 0
	for _, s := range statuses {
		fmt.Fprintf(table, "%s\t%s\t%s\t%d\t%d\t%s\n", s.Projection, s.Stream, s.State, s.Next, s.Behind, s.Reason)
		if s.Halted {
			halted++
		}
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("printing the status: %w", err)
	}
	if err := c.print(map[string]any{"projections": statuses}, text.String()); err != nil {
		return err
	}
	if halted > 0 {
		return fmt.Errorf("following the ledger: %w: %d streams halted", errFoundWrong, halted)
	}
	return nil
}

// projectionsRebuildCmd is kiroku projections rebuild.
type projectionsRebuildCmd struct {
	Name string `arg:"" help:"Of the read model, as kiroku projections status shows it."`
}

// Help teaches.
func (projectionsRebuildCmd) Help() string {
	return `Makes a read model of the running core again, from the ledger and the HSM alone. The core goes on answering, from the old rows until the new ones have caught up. Interrupting the command gives the rebuild up and keeps the old rows.

Example:

    kiroku projections rebuild dedup`
}

// rebuildStep is one line of what the admin endpoint says of a rebuild.
type rebuildStep struct {
	Stream string `json:"stream,omitempty"`
	Done   uint64 `json:"done"`
	Of     uint64 `json:"of"`
	End    bool   `json:"end,omitempty"`
	Error  string `json:"error,omitempty"` // of the end
}

// Run asks the core and shows how it goes on.
func (cmd projectionsRebuildCmd) Run(c *call) error {
	settings, err := c.configuration()
	if err != nil {
		return err
	}
	client, err := admin.Connect(dir(settings))
	if err != nil {
		return err
	}
	progress := c.progress("rebuilding")
	defer progress.end()
	done := map[string]uint64{}
	var last rebuildStep
	err = client.Follow(c.ctx, http.MethodPost, "/projections/"+cmd.Name+"/rebuild", func(d *json.Decoder) error {
		var step rebuildStep
		if err := d.Decode(&step); err != nil {
			return fmt.Errorf("reading the core's answer: %w", err)
		}
		if last = step; !step.End {
			progress.add(int(step.Done - done[step.Stream]))
			done[step.Stream] = step.Done
		}
		return nil
	})
	progress.end()
	switch {
	case err != nil:
		return err
	case last.Error != "":
		return fmt.Errorf("rebuilding %s: %s", cmd.Name, last.Error)
	case !last.End:
		return fmt.Errorf("rebuilding %s: the core stopped before it was done; the old rows stay", cmd.Name)
	}
	var events uint64
	for _, n := range done {
		events += n
	}
	return c.print(map[string]any{"projection": cmd.Name, "events": events}, fmt.Sprintf("%s rebuilt from %d events", cmd.Name, events))
}

// registerProjections lets the endpoint answer the two commands.
func registerProjections(endpoint *admin.Server, core *Core) {
	endpoint.Handle("GET /projections", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		admin.Answer(w, http.StatusOK, streamStatuses(core.statuses()))
	}))
	endpoint.Handle("POST /projections/{name}/rebuild", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := r.PathValue("name")
		runner := core.Node.Runner
		if name == statistics.Name && core.Statistics != nil {
			runner = core.Statistics.runner
		}
		if _, err := runner.Status(name); err != nil {
			admin.Fail(w, http.StatusNotFound, err)
			return
		}
		w.Header().Set("Content-Type", "application/x-ndjson")
		out := json.NewEncoder(w)
		flush := http.NewResponseController(w).Flush
		say := func(step rebuildStep) { _ = errors.Join(out.Encode(step), flush()) } // a caller that is gone ends the context
		end := rebuildStep{End: true}
		err := runner.Rebuild(r.Context(), name, func(p projections.Progress) { say(rebuildStep{Stream: p.Stream, Done: p.Done, Of: p.Of}) })
		switch {
		case err != nil:
			end.Error = err.Error()
		case core.Statistics != nil && runner == core.Statistics.runner:
			core.Statistics.db.Rebuilt()
		}
		say(end)
	}))
}

func streamStatuses(all []projections.Status) []streamStatus {
	statuses := []streamStatus{}
	for _, p := range all {
		for _, s := range p.Streams {
			status := streamStatus{
				Projection: p.Name, Stream: s.Stream, State: s.State.String(), Next: s.Next, Behind: s.Behind,
				LagSeconds: lagSeconds(s), Halted: s.State == projections.StateHalted,
			}
			if s.Err != nil {
				status.Reason = s.Err.Error()
			}
			statuses = append(statuses, status)
		}
	}
	return statuses
}

// lagSeconds is a stream's lag, -1 if it is not known.
func lagSeconds(s projections.StreamStatus) float64 {
	if s.Lag < 0 {
		return -1
	}
	return s.Lag.Seconds()
}

// behind is a readiness check: a halted stream means that the ledger cannot be
// trusted from there on, one that is retried that commands wait for its views.
func behind(all []projections.Status) error {
	for _, p := range all {
		for _, s := range p.Streams {
			if s.State == projections.StateHalted {
				return fmt.Errorf("%s does not follow %s any further: %w", p.Name, s.Stream, s.Err)
			}
			if s.State == projections.StateRetrying && s.Err != nil {
				return fmt.Errorf("%s of %s: retrying since %s: %w", p.Name, s.Stream, s.Since.UTC().Format(time.RFC3339), s.Err)
			}
		}
	}
	return nil
}

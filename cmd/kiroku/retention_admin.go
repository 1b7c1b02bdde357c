package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"

	"kiroku/adapters/admin"
	"kiroku/commands/retention"
	"kiroku/commands/sequencer"
	"kiroku/domain/calendar"
)

// retentionStep is one line of what the endpoint says of a pass; End is the last.
type retentionStep struct {
	What string        `json:"what,omitempty"`
	Day  calendar.Day  `json:"day,omitzero"`
	Done int           `json:"done,omitempty"`
	Of   int           `json:"of,omitempty"`
	End  *retentionEnd `json:"end,omitempty"`
}

func (s retentionStep) text() string {
	text := s.What
	if !s.Day.IsZero() {
		text += " " + s.Day.String()
	}
	if s.Of > 0 {
		text += fmt.Sprintf(" (%d of %d done)", s.Done, s.Of)
	}
	return text
}

// retentionEnd is what a pass did, as the endpoint and --json show it.
type retentionEnd struct {
	Announced []calendar.Day    `json:"announced"`
	Destroyed []calendar.Day    `json:"destroyed"`
	Returned  []calendar.Day    `json:"returned,omitempty"` // keys of ended days that were in the token again
	Lost      []calendar.Day    `json:"lost,omitempty"`     // whose keys were missing, recorded as ended by that
	Certified []calendar.Day    `json:"certified"`
	Truncated map[string]uint64 `json:"truncated"`
	Events    uint64            `json:"events"` // that became unreadable
	Error     string            `json:"error,omitempty"`
}

func endOf(r retention.Report, err error) *retentionEnd {
	some := func(days []calendar.Day) []calendar.Day { return append([]calendar.Day{}, days...) }
	end := &retentionEnd{Announced: some(r.Announced), Destroyed: some(r.Destroyed), Returned: r.Returned, Lost: r.Lost, Certified: some(r.Certified), Truncated: r.Truncated, Events: r.Events}
	if err != nil {
		end.Error = err.Error()
	}
	return end
}

// registerRetention lets the endpoint answer, warn and count.
func registerRetention(endpoint *admin.Server, core *Core) {
	process := core.Node.RetentionProcess
	registerLosses(endpoint, core)
	endpoint.Handle("GET /retention", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		plan, err := process.Plan(r.Context())
		if err != nil {
			admin.Fail(w, http.StatusServiceUnavailable, err)
			return
		}
		admin.Answer(w, http.StatusOK, planOf(plan, process.Check()))
	}))
	endpoint.Handle("POST /retention/run", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !core.Node.Active() {
			admin.Fail(w, http.StatusServiceUnavailable, fmt.Errorf("running the retention: %w", standsBy(r.Context(), core)))
			return
		}
		w.Header().Set("Content-Type", "application/x-ndjson")
		out := json.NewEncoder(w)
		flush := http.NewResponseController(w).Flush
		say := func(step retentionStep) { _ = errors.Join(out.Encode(step), flush()) } // a caller that is gone ends the context
		report, err := process.Run(r.Context(), func(s retention.Step) {
			say(retentionStep{What: s.What, Day: s.Day, Done: s.Done, Of: s.Of})
		})
		if errors.Is(err, sequencer.ErrNotWriter) { // it was replaced meanwhile
			err = standsBy(r.Context(), core)
		}
		say(retentionStep{End: endOf(report, err)})
	}))
	endpoint.Ready("retention", func(context.Context) error {
		if !core.Node.Active() {
			return nil // it is the active core's
		}
		return process.Check()
	})
	endpoint.Ready("day-keys", func(context.Context) error { return core.Node.DayKeysFailed() })
	endpoint.Metrics().MustRegister(retentionMetrics{process})
}

// errStandsBy is what a core says of what only the active one does.
var errStandsBy = errors.New("this core stands by, and changes nothing")

// standsBy says who does instead what this core does not do.
func standsBy(ctx context.Context, core *Core) error {
	if why := core.Node.TakeoverFailed(); why != nil {
		return fmt.Errorf("%w; it tried to become active and could not: %w", errStandsBy, why)
	}
	switch name, err := core.Node.ActiveCore(ctx); {
	case err != nil:
		return fmt.Errorf("%w; which core is active cannot be read: %w", errStandsBy, err)
	case name == "":
		return fmt.Errorf("%w; no core is active now: try again when one has taken over, it does this by itself then", errStandsBy)
	default:
		return fmt.Errorf("%w; the active core, or the last one, is %s: it does this by itself; give the command there if it cannot wait", errStandsBy, name)
	}
}

// retentionMetrics is what Prometheus is told of the retention, as of the last pass of this core.
type retentionMetrics struct{ process *retention.Process }

var (
	retentionDaysDesc     = prometheus.NewDesc("kiroku_retention_days", "Japanese calendar days that are not certified, by stage, after the last pass.", []string{"stage"}, nil)
	retentionOverdueDesc  = prometheus.NewDesc("kiroku_retention_overdue_days", "Days that were due before today and are not destroyed, held ones included.", nil, nil)
	retentionPassesDesc   = prometheus.NewDesc("kiroku_retention_passes_total", "Passes of the retention.", nil, nil)
	retentionFailuresDesc = prometheus.NewDesc("kiroku_retention_failures_total", "Passes of the retention with an error. An alarm.", nil, nil)
	retentionLastDesc     = prometheus.NewDesc("kiroku_retention_last_pass_timestamp_seconds", "When the last pass began; 0 if there was none.", nil, nil)
	retentionGoodDesc     = prometheus.NewDesc("kiroku_retention_last_success_timestamp_seconds", "When the last pass without an error began; 0 if there was none.", nil, nil)
)

// Describe makes it a prometheus.Collector.
func (retentionMetrics) Describe(out chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{retentionDaysDesc, retentionOverdueDesc, retentionPassesDesc, retentionFailuresDesc, retentionLastDesc, retentionGoodDesc} {
		out <- desc
	}
}

// Collect asks the process.
func (m retentionMetrics) Collect(out chan<- prometheus.Metric) {
	s := m.process.Status()
	for _, stage := range retention.Stages() {
		out <- prometheus.MustNewConstMetric(retentionDaysDesc, prometheus.GaugeValue, float64(s.Plan.Count(stage)), string(stage))
	}
	out <- prometheus.MustNewConstMetric(retentionOverdueDesc, prometheus.GaugeValue, float64(s.Plan.Overdue()))
	out <- prometheus.MustNewConstMetric(retentionPassesDesc, prometheus.CounterValue, float64(s.Passes))
	out <- prometheus.MustNewConstMetric(retentionFailuresDesc, prometheus.CounterValue, float64(s.Failures))
	last, good := 0.0, 0.0
	if !s.Last.IsZero() {
		last = float64(s.Last.Unix())
	}
	if !s.Succeeded.IsZero() {
		good = float64(s.Succeeded.Unix())
	}
	out <- prometheus.MustNewConstMetric(retentionLastDesc, prometheus.GaugeValue, last)
	out <- prometheus.MustNewConstMetric(retentionGoodDesc, prometheus.GaugeValue, good)
}

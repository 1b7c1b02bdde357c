// Package bench measures a whole core on its real parts. Each benchmark gives rates and waiting times of what was
// acknowledged, says what the acknowledgement means, counts what it cost (bytes, disk syncs, calls of the token), and
// compares with a floor that was measured in the same run on the same machine: the work without the core around it.
// Only such ratios travel from one machine to another.
package bench

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"kiroku/adapters/hsm"
)

// Report is the outcome of one benchmark.
type Report struct {
	Benchmark string    `json:"benchmark"`
	Store     string    `json:"store"` // which store was measured
	Token     string    `json:"token"` // which token was measured
	CPUs      int       `json:"cpus"`
	Measures  []Measure `json:"measures"`
}

// Measure is one kind of work.
type Measure struct {
	Name         string   `json:"name"`
	Unit         string   `json:"unit"`
	Units        int      `json:"units"`
	Seconds      float64  `json:"seconds"`
	Rate         float64  `json:"rate_per_second"`
	Waiting      *Waiting `json:"waiting,omitempty"` // of each unit, from command to acknowledgement
	Acknowledged string   `json:"acknowledged,omitempty"`
	Cost         *Cost    `json:"cost,omitempty"`
	Floor        *Floor   `json:"floor,omitempty"`
	Ratio        float64  `json:"ratio,omitempty"` // of the rate to the floor's
	Targets      []Target `json:"targets,omitempty"`
	Parts        []Part   `json:"parts,omitempty"` // of the seconds
}

// Waiting is the distribution of the waiting times.
type Waiting struct {
	P50  float64 `json:"p50_ms"`
	P99  float64 `json:"p99_ms"`
	P999 float64 `json:"p999_ms"`
	Max  float64 `json:"max_ms"`
}

// Cost is what the work took of disk and token.
type Cost struct {
	Bytes        uint64  `json:"bytes"` // sent to the store: payloads, metadata, types
	Appends      uint64  `json:"appends"`
	Syncs        uint64  `json:"syncs"` // of the store's disk
	HSM          HSM     `json:"hsm"`
	HSMPerUnit   float64 `json:"hsm_per_unit"`
	BytesPerUnit float64 `json:"bytes_per_unit"`

	CPUPerUnit      float64 `json:"cpu_us_per_unit"`       // processor time of the core, callers included
	StoreCPUPerUnit float64 `json:"store_cpu_us_per_unit"` // and of the store's process
}

// HSM counts calls of the token; a merged call counts once.
type HSM struct {
	HMAC    uint64 `json:"hmac"`
	Encrypt uint64 `json:"encrypt"`
	Decrypt uint64 `json:"decrypt"`
	Sign    uint64 `json:"sign"`
}

// Floor is the same work with nothing around it.
type Floor struct {
	What string  `json:"what"`
	Rate float64 `json:"rate_per_second"` // in the measure's unit
}

// Target is a figure that the design asks for.
type Target struct {
	What string  `json:"what"`
	Want float64 `json:"want"`
	Got  float64 `json:"got"`
	Met  bool    `json:"met"`
}

func newReport(name string, p Parts) Report {
	return Report{Benchmark: name, Store: p.StoreIs, Token: p.TokenIs, CPUs: runtime.GOMAXPROCS(0)}
}

func (m *Measure) against(f Floor) {
	m.Floor = &f
	if f.Rate > 0 {
		m.Ratio = m.Rate / f.Rate
	}
}

func (m *Measure) atLeast(what string, want, got float64) {
	m.Targets = append(m.Targets, Target{what, want, got, got >= want})
}

func (m *Measure) atMost(what string, want, got float64) {
	m.Targets = append(m.Targets, Target{what, want, got, got <= want})
}

func waiting(all []time.Duration) *Waiting {
	if len(all) == 0 {
		return nil
	}
	slices.Sort(all)
	at := func(share float64) float64 {
		return float64(all[min(len(all)-1, int(share*float64(len(all))))]) / float64(time.Millisecond)
	}
	return &Waiting{P50: at(0.50), P99: at(0.99), P999: at(0.999), Max: at(1)}
}

func tokenCalls(c hsm.Calls) HSM {
	return HSM{HMAC: c.HMAC, Encrypt: c.Encrypt, Decrypt: c.Decrypt, Sign: c.Sign}
}

// Text is the report for a person.
func (r Report) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "kiroku bench %s\n  store: %s\n  token: %s\n  processors: %d\n", r.Benchmark, r.Store, r.Token, r.CPUs)
	for _, m := range r.Measures {
		m.text(&b)
	}
	return b.String()
}

func (m Measure) text(b *strings.Builder) {
	fmt.Fprintf(b, "%s\n  %.0f %s/s (%d in %.2f s)\n", m.Name, m.Rate, m.Unit, m.Units, m.Seconds)
	if w := m.Waiting; w != nil {
		fmt.Fprintf(b, "  waiting: p50 %.2f ms, p99 %.2f ms, p99.9 %.2f ms, max %.2f ms\n", w.P50, w.P99, w.P999, w.Max)
	}
	if m.Acknowledged != "" {
		fmt.Fprintf(b, "  acknowledged: %s\n", m.Acknowledged)
	}
	if c := m.Cost; c != nil {
		fmt.Fprintf(b, "  cost: %.0f bytes sent to the store, %.4f syncs of its disk and %.4f token calls for each (%d appends; hmac %d, encrypt %d, decrypt %d, sign %d)\n",
			c.BytesPerUnit, float64(c.Syncs)/float64(max(1, m.Units)), c.HSMPerUnit, c.Appends, c.HSM.HMAC, c.HSM.Encrypt, c.HSM.Decrypt, c.HSM.Sign)
		fmt.Fprintf(b, "  processor time: %.1f µs in the core and its callers, %.1f µs in the store for each\n", c.CPUPerUnit, c.StoreCPUPerUnit)
	}
	for _, p := range m.Parts {
		fmt.Fprintf(b, "  %8.3f s  %5d token calls  %s\n", p.Seconds, p.Calls, p.Name)
	}
	if f := m.Floor; f != nil {
		fmt.Fprintf(b, "  floor: %.0f %s/s, %s; ratio %.1f %%\n", f.Rate, m.Unit, f.What, 100*m.Ratio)
	}
	for _, t := range m.Targets {
		verdict := "met"
		if !t.Met {
			verdict = "MISSED"
		}
		fmt.Fprintf(b, "  target %s: %.4g, got %.4g: %s\n", t.What, t.Want, t.Got, verdict)
	}
}

package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"kiroku/projections"
)

// metrics is what Prometheus is told of a core. Labels are names of streams,
// projections and operations; none can name a person.
type metrics struct {
	core       *Core
	applied    *prometheus.CounterVec // by projection, stream
	unreadable *prometheus.CounterVec // by projection, stream
	retried    *prometheus.CounterVec // by stream
	halted     *prometheus.CounterVec // by stream
}

var (
	activeDesc   = prometheus.NewDesc("kiroku_active", "1 if this core writes to the ledger, 0 if it stands by.", nil, nil)
	lagDesc      = prometheus.NewDesc("kiroku_projection_lag_seconds", "Age of the last event applied while there are newer ones; 0 when caught up, -1 if not known.", []string{"projection", "stream"}, nil)
	behindDesc   = prometheus.NewDesc("kiroku_projection_behind_events", "Events known to exist and not applied yet.", []string{"projection", "stream"}, nil)
	hsmDesc      = prometheus.NewDesc("kiroku_hsm_calls_total", "Calls to the tokens.", []string{"operation"}, nil)
	storeDesc    = prometheus.NewDesc("kiroku_store_operations_total", "What the event store's client did.", []string{"what"}, nil)
	vaultDesc    = prometheus.NewDesc("kiroku_vault_generation", "Generation of the vault that is in force.", nil, nil)
	rotationDesc = prometheus.NewDesc("kiroku_vault_rotation_failing", "1 if a rotation of the vault that was begun does not come to its end. An alarm.", nil, nil)
	unheededDesc = prometheus.NewDesc("kiroku_configuration_unheeded", "In how many points the configuration differs from what officials decided, and does not count. An alarm.", nil, nil)
	endDesc      = prometheus.NewDesc("kiroku_authorities_end_timestamp_seconds", "When the last authority of officials in force ends, and nobody can approve anything any more; 0 where none is. An alarm from 90 days before.", nil, nil)
	refusedDesc  = prometheus.NewDesc("kiroku_registry_refused_facts", "Facts in the registry that need two officials' approval and stand there without it. They change nothing. An alarm.", nil, nil)
	restartsDesc = prometheus.NewDesc("kiroku_child_restarts_total", "Restarts of a child process.", []string{"child"}, nil)
)

func newMetrics(core *Core) *metrics {
	vector := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	return &metrics{
		core:       core,
		applied:    vector("kiroku_projection_events_total", "Events applied.", "projection", "stream"),
		unreadable: vector("kiroku_projection_unreadable_events_total", "Events applied whose key was destroyed.", "projection", "stream"),
		retried:    vector("kiroku_stream_retries_total", "Failures to follow a stream that are tried again.", "stream"),
		halted:     vector("kiroku_stream_halts_total", "Streams not followed any further because verification found something. An alarm.", "stream"),
	}
}

// Applied counts, as the other methods that make it a projections.Metrics.
func (m *metrics) Applied(projection, stream string, events, unreadable int) {
	m.applied.WithLabelValues(projection, stream).Add(float64(events))
	m.unreadable.WithLabelValues(projection, stream).Add(float64(unreadable))
}

// Retried counts.
func (m *metrics) Retried(stream string) { m.retried.WithLabelValues(stream).Inc() }

// Halted counts.
func (m *metrics) Halted(stream string) { m.halted.WithLabelValues(stream).Inc() }

func (m *metrics) counted() []*prometheus.CounterVec {
	return []*prometheus.CounterVec{m.applied, m.unreadable, m.retried, m.halted}
}

// Describe makes it a prometheus.Collector.
func (m *metrics) Describe(out chan<- *prometheus.Desc) {
	for _, vector := range m.counted() {
		vector.Describe(out)
	}
	for _, desc := range []*prometheus.Desc{activeDesc, lagDesc, behindDesc, hsmDesc, storeDesc, vaultDesc, rotationDesc, unheededDesc, endDesc, refusedDesc, restartsDesc} {
		out <- desc
	}
}

// Collect asks the parts of the core how they stand.
func (m *metrics) Collect(out chan<- prometheus.Metric) {
	for _, vector := range m.counted() {
		vector.Collect(out)
	}
	gauge := func(desc *prometheus.Desc, value float64) {
		out <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value)
	}
	gauge(activeDesc, oneIf(m.core.Node.Active()))
	gauge(vaultDesc, float64(m.core.Node.Keyring.Generation()))
	gauge(rotationDesc, oneIf(m.core.Node.RotationFailed() != nil))
	gauge(unheededDesc, float64(len(m.core.Node.Core.Unheeded())))
	end, _ := m.core.Node.Core.OfficialsUntil()
	gauge(endDesc, float64(max(0, end.Unix()))) // the zero time lies before 1970
	gauge(refusedDesc, float64(len(m.core.Node.RefusedFacts())))
	for _, p := range m.core.statuses() {
		for _, s := range p.Streams {
			out <- prometheus.MustNewConstMetric(lagDesc, prometheus.GaugeValue, lagSeconds(s), p.Name, s.Stream)
			out <- prometheus.MustNewConstMetric(behindDesc, prometheus.GaugeValue, float64(s.Behind), p.Name, s.Stream)
		}
	}
	count := func(desc *prometheus.Desc, values map[string]uint64) {
		for label, value := range values {
			out <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(value), label)
		}
	}
	calls := m.core.HSM.Calls()
	count(hsmDesc, map[string]uint64{
		"hmac": calls.HMAC, "encrypt": calls.Encrypt, "decrypt": calls.Decrypt, "sign": calls.Sign,
		"generate": calls.Generate, "destroy": calls.Destroy, "find": calls.Find,
	})
	stats := m.core.Store.Stats()
	count(storeDesc, map[string]uint64{
		"appends": stats.Appends, "events appended": stats.AppendedEvents, "bytes appended": stats.AppendedBytes,
		"append retries": stats.AppendRetries, "appends of unknown outcome": stats.OutcomesUnknown, "wrong revisions": stats.WrongRevisions,
		"events read": stats.ReadEvents, "connects": stats.Connects, "failed connects": stats.ConnectFailures,
	})
	for _, k := range []*keeper{m.core.keeper, m.core.Statistics.kept()} {
		if child := k.running(); child != nil {
			count(restartsDesc, map[string]uint64{k.name: uint64(child.Status().Restarts)})
		}
	}
}

func oneIf(holds bool) float64 {
	if holds {
		return 1
	}
	return 0
}

var _ projections.Metrics = (*metrics)(nil)

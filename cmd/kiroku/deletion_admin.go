package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"kiroku/adapters/admin"
	"kiroku/adapters/jukinet"
	"kiroku/commands"
)

const (
	longestRequest = 64 << 10 // octets of a message that asks for deletions
	mostDeletions  = 500      // in one message
)

// deletionOrder carries Juki-net's message as it came.
type deletionOrder struct {
	order
	asked
	Message []byte `json:"message"`
}

// registerDeletions lets the endpoint answer kiroku deletion propose, and count what waits.
func registerDeletions(endpoint *admin.Server, core *Core) {
	endpoint.Metrics().MustRegister(deletionMetrics{core.Node.Core})
	handleOrders(endpoint, "POST /deletions", func(ctx context.Context, _ *http.Request, o deletionOrder) (any, error) {
		requests, err := openRequests(ctx, core.HSM, o.Message)
		if err != nil {
			return nil, err
		}
		answer := deletionAnswer{Requests: []deletionLine{}}
		for i, r := range requests {
			line := deletionLine{Number: string(r.AcquisitionNumber)}
			made, err := o.request(ctx, core.Node.Core, i, r)
			if err != nil {
				line.Error = err.Error()
			} else {
				line.Proposal, answer.Until = &made.Hash, time.UnixMicro(made.Made.Until).UTC()
			}
			answer.Requests = append(answer.Requests, line)
		}
		return answer, nil
	})
}

// request is a person's request in a message, or why it is none.
type request struct {
	jukinet.Delivery
	refused error
}

func (o deletionOrder) request(ctx context.Context, core *commands.Core, index int, r request) (commands.Proposed, error) {
	if r.refused != nil {
		return commands.Proposed{}, r.refused
	}
	meta := o.meta(commands.RoleOperator)
	meta.ID = requestID(meta.ID, index)
	return core.RequestDeletion(ctx, commands.RequestDeletion{Meta: meta, Code: r.Code, Number: r.AcquisitionNumber, Asked: o.command()})
}

// requestID is the id of one request in a message: the command's own, and further ones of the same time derived from it,
// so that the message again is the same commands.
func requestID(id uuid.UUID, index int) uuid.UUID {
	if index == 0 {
		return id
	}
	derived := uuid.NewSHA1(id, fmt.Appendf(nil, "deletion %d", index))
	copy(derived[:6], id[:6])
	derived[6] = derived[6]&0x0f | 0x70 // UUIDv7, RFC 9562 §5.7
	return derived
}

// openRequests opens a message whole, before anything is done for a request in it.
func openRequests(ctx context.Context, hsm jukinet.Decrypter, message []byte) (requests []request, err error) {
	defer func() {
		if err != nil {
			for _, r := range requests {
				r.Code.Destroy()
			}
			requests = nil
		}
	}()
	for d, err := range jukinet.OpenDeletions(ctx, hsm, bytes.NewReader(message), nil) {
		if err != nil && !jukinet.Refused(err) {
			return requests, err
		}
		if requests = append(requests, request{d, err}); len(requests) > mostDeletions {
			return requests, errTooManyRequests
		}
	}
	return requests, nil
}

var errTooManyRequests = fmt.Errorf("more than %d deletions in one message: %w", mostDeletions, commands.ErrInvalid)

// unreadable reports whether a message of Juki-net can never be read.
func unreadable(err error) bool {
	return errors.Is(err, jukinet.ErrFormat) || errors.Is(err, jukinet.ErrAltered) || errors.Is(err, jukinet.ErrTruncated) || errors.Is(err, jukinet.ErrTooMany)
}

// deletionMetrics is what Prometheus is told of physical deletions that wait to be carried out.
type deletionMetrics struct{ core *commands.Core }

var (
	deletionsDesc      = prometheus.NewDesc("kiroku_deletions_waiting", "Physical deletions that are approved and wait for a rotation of the vault.", nil, nil)
	deletionsSinceDesc = prometheus.NewDesc("kiroku_deletions_waiting_seconds", "Time since the oldest of them was approved; 0 if none waits. An alarm.", nil, nil)
)

// Describe makes it a prometheus.Collector.
func (deletionMetrics) Describe(out chan<- *prometheus.Desc) {
	out <- deletionsDesc
	out <- deletionsSinceDesc
}

// Collect asks the core.
func (m deletionMetrics) Collect(out chan<- prometheus.Metric) {
	n, since := m.core.PendingDeletions()
	age := 0.0
	if n > 0 {
		age = time.Since(since).Seconds()
	}
	out <- prometheus.MustNewConstMetric(deletionsDesc, prometheus.GaugeValue, float64(n))
	out <- prometheus.MustNewConstMetric(deletionsSinceDesc, prometheus.GaugeValue, age)
}

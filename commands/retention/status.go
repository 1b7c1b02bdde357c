package retention

import (
	"fmt"
	"sync"
	"time"
)

// Status is how the retention stands by the last pass of this process, for metrics and readiness.
type Status struct {
	Last      time.Time // when the last pass began; zero: there was none
	Succeeded time.Time // when the last pass without an error began
	Err       error     // of the last pass
	Passes    uint64
	Failures  uint64 // passes with an error
	Plan      Plan   // after the last pass that could make one
}

type status struct {
	mu sync.Mutex // guards s
	s  Status
}

func (s *status) ran(began time.Time, after Plan, planned bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.s.Last, s.s.Err = began, err
	s.s.Passes++
	if err != nil {
		s.s.Failures++
	} else {
		s.s.Succeeded = began
	}
	if planned {
		s.s.Plan = after
	}
}

// Status returns how the last pass ended.
func (p *Process) Status() Status {
	p.status.mu.Lock()
	defer p.status.mu.Unlock()
	return p.status.s
}

// Check is nil unless the last pass failed.
func (p *Process) Check() error {
	if s := p.Status(); s.Err != nil {
		return fmt.Errorf("the retention's last pass, of %s, failed: %w", s.Last.UTC().Format(time.RFC3339), s.Err)
	}
	return nil
}

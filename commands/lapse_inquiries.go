package commands

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"

	"kiroku/domain/event"
	"kiroku/domain/inquiry"
)

// system is the actor of what the core does by itself.
var system = event.Actor{Identity: "kiroku", Role: roleSystem}

// lapseNamespace makes the id of the one lapse that an inquiry can have.
var lapseNamespace = uuid.MustParse("b6f0a0de-6a0b-5e8a-8b51-0f3a0a7a2f64")

// LapseInquiries lapses up to limit notifications that were not answered within their validity
// (Ordinance 41(3)). It returns how many it lapsed. An inquiry answered meanwhile is passed over.
func (c *Core) LapseInquiries(ctx context.Context, limit int) (int, error) {
	if err := c.d.Steady(); err != nil {
		return 0, err
	}
	due, err := c.d.Inquiries.Expired(c.now(), limit)
	if err != nil {
		return 0, fmt.Errorf("find inquiries past their validity: %w", err)
	}
	errs := make([]error, len(due))
	done := make([]bool, len(due))
	var wg sync.WaitGroup
	slots := make(chan struct{}, lapsesAtOnce)
	for i, v := range due {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			switch err := c.lapse(ctx, inquiry.ProcessingNumber(v.ProcessingNumber)); {
			case err == nil:
				done[i] = true
			case errors.Is(err, inquiry.ErrAnswered), errors.Is(err, inquiry.ErrLapsed), errors.Is(err, inquiry.ErrNotLapsed):
				// Decided meanwhile: the view is behind.
			default:
				errs[i] = fmt.Errorf("lapse inquiry %s: %w", inquiry.ProcessingNumber(v.ProcessingNumber), err)
			}
		})
	}
	wg.Wait()
	lapsed := 0
	for _, d := range done {
		if d {
			lapsed++
		}
	}
	return lapsed, errors.Join(errs...)
}

// lapsesAtOnce fills an append.
const lapsesAtOnce = 128

func (c *Core) lapse(ctx context.Context, n inquiry.ProcessingNumber) error {
	x := newCall(Meta{Actor: system, ID: uuid.NewSHA1(lapseNamespace, n[:])}, c.d.Keyring.Digest("lapse", n[:]))
	line := c.recordLine(n)
	if err := line.confirm(ctx, x); err != nil {
		return unlessRepeated(err)
	}
	return unlessRepeated(c.step(ctx, line, x, n, event.TypeInquiryLapsed, func(s standing, at time.Time) (standing, any, error) {
		life, err := s.life()
		if err != nil {
			return s, nil, err
		}
		if life, err = life.Take(inquiry.Lapse, at); err != nil {
			return s, nil, err
		}
		return standing{life.State(), s.record}, event.InquiryLapsed{Command: x.command(), Record: s.record, At: at.UnixMicro()}, nil
	}))
}

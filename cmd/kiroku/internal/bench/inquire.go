package bench

import (
	"context"
	"fmt"
)

// InquireOptions say how much.
type InquireOptions struct {
	People    int
	Inquiries int
	InFlight  []int // callers of each measure under load
	Alone     int   // inquiries submitted by a single caller
}

// Inquire measures inquiries from the command to the durable outcome, in process.
func Inquire(ctx context.Context, p Parts, o InquireOptions) (Report, error) {
	r := newReport("inquire", p)
	offices, err := populate(ctx, p, 2, o.People)
	if err != nil {
		return r, err
	}
	submit := func(ctx context.Context, i int) error {
		return offices[0].inquire(ctx, p, offices[1], i%o.People)
	}
	if _, err := together(ctx, 64, 512, submit); err != nil { // opens the day in every stream
		return r, err
	}
	if err := p.Node.CaughtUp(ctx); err != nil {
		return r, err
	}
	type load struct {
		callers, inquiries int
		calls, rate        float64 // what the design asks for
	}
	loads := []load{{1, o.Alone, 3, 0}}
	for _, callers := range o.InFlight {
		loads = append(loads, load{callers, o.Inquiries, 0.1, 12_000})
	}
	for _, m := range loads {
		began, err := p.start(ctx)
		if err != nil {
			return r, err
		}
		waited, err := together(ctx, m.callers, m.inquiries, submit)
		if err != nil {
			return r, err
		}
		measured, err := began.stop(ctx, fmt.Sprintf("%d in flight", m.callers), "inquiries", m.inquiries, waited)
		if err != nil {
			return r, err
		}
		measured.Acknowledged = "the decision and its record are " + durable
		floor, err := bareDisk(p.Dir, int(measured.Cost.BytesPerUnit))
		if err != nil {
			return r, err
		}
		if m.rate > 0 {
			measured.against(floor)
			measured.atLeast("inquiries/s", m.rate, measured.Rate)
		}
		measured.atMost("token calls for each", m.calls, measured.Cost.HSMPerUnit)
		r.Measures = append(r.Measures, measured)
	}
	return r, nil
}

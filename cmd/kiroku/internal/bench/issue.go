package bench

import (
	"context"
	"fmt"
)

// IssueOptions say how much.
type IssueOptions struct {
	People int
}

const bareToken = "the calls of the token that this measure made, made again with nothing around them"

// Issue measures bulk issuance for one agency: first of people whom nobody knows, then, for another agency, of the same.
func Issue(ctx context.Context, p Parts, o IssueOptions) (Report, error) {
	r := newReport("issue", p)
	offices, err := openOffices(ctx, p, 3)
	if err != nil {
		return r, err
	}
	if _, err := offices[2].take(ctx, p, 100); err != nil { // warm
		return r, err
	}
	for i, name := range []string{"bulk issuance, new people", "bulk issuance, people known by another agency's symbol"} {
		m, err := p.start(ctx)
		if err != nil {
			return r, err
		}
		waited, err := offices[i].take(ctx, p, o.People)
		if err != nil {
			return r, err
		}
		measured, err := m.stop(ctx, name, "symbols", o.People, waited)
		if err != nil {
			return r, err
		}
		measured.Acknowledged = "the issuance is " + durable + "; waiting is from the request being read out of the delivery"
		bare, err := bareCalls(ctx, p.HSM, measured.Cost.HSM, o.People)
		if err != nil {
			return r, err
		}
		measured.against(Floor{What: bareToken, Rate: float64(o.People) / bare.Seconds()})
		measured.atLeast("share of the floor", 0.75, measured.Ratio)
		r.Measures = append(r.Measures, measured)
		if err := p.Node.CaughtUp(ctx); err != nil {
			return r, err
		}
	}
	if err := checkCounts(p, o.People); err != nil {
		return r, err
	}
	return r, nil
}

// checkCounts makes sure that what was measured was done.
func checkCounts(p Parts, people int) error {
	counts, err := p.Node.Dedup.Counts()
	if err != nil {
		return err
	}
	if want := int64(max(people, 100)); counts.People != want {
		return fmt.Errorf("the register counts %d people instead of %d", counts.People, want)
	}
	return nil
}

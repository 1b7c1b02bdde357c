package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"

	"kiroku/commands"
)

// DiscloseOptions say how much.
type DiscloseOptions struct {
	People      int
	Records     int // inquiries recorded about them
	Disclosures int
}

// Disclose measures how long a person's own records take to be shown, among many.
func Disclose(ctx context.Context, p Parts, o DiscloseOptions) (Report, error) {
	r := newReport("disclose", p)
	offices, err := fill(ctx, p, o.People, o.Records)
	if err != nil {
		return r, err
	}
	if p.Node, err = p.Afresh(ctx, false); err != nil {
		return r, err
	}
	if err := p.Node.WaitActive(ctx); err != nil {
		return r, err
	}
	order := rand.New(rand.NewPCG(1, 1)).Perm(o.People)
	show := func(ctx context.Context, i int) error {
		person := order[i%len(order)]
		meta := offices[0].meta()
		meta.Actor.Role = commands.RoleDisclosure
		got, err := p.Node.Core.DiscloseRecords(ctx, commands.DiscloseRecords{Meta: meta, Symbol: offices[0].holds[person],
			Receipt: fmt.Sprintf("bench-%d", i), Audience: commands.AudiencePerson})
		if err == nil && len(got.Person) == 0 {
			err = errors.New("nothing was shown")
		}
		return err
	}
	for _, name := range []string{"first disclosure of each person after a start", "the same people again"} {
		m, err := p.start(ctx)
		if err != nil {
			return r, err
		}
		n := min(o.Disclosures, o.People)
		waited, err := together(ctx, 1, n, show)
		if err != nil {
			return r, err
		}
		measured, err := m.stop(ctx, fmt.Sprintf("%s, one in flight, among %d records", name, o.Records), "disclosures", n, waited)
		if err != nil {
			return r, err
		}
		measured.Acknowledged = "the records are opened, and the fact of their disclosure is " + durable
		r.Measures = append(r.Measures, measured)
	}
	warm := &r.Measures[1]
	warm.atMost("p99 in ms", 5, warm.Waiting.P99)
	return r, nil
}

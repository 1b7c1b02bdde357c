package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"

	"github.com/google/uuid"

	"kiroku/commands"
	"kiroku/domain/event"
	"kiroku/domain/inquiry"
	"kiroku/domain/ledger"
	"kiroku/domain/record"
)

const lapseWithin = time.Minute

// lapse waits until the core has lapsed every notification that nobody answered.
func (w *world) lapse(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, lapseWithin, errors.New("the core did not lapse what is unanswered"))
	defer cancel()
	for {
		if err := w.n.CaughtUp(ctx); err != nil {
			return "", err
		}
		open := 0
		for n := range w.unanswered {
			s, found, err := w.n.Mediation.Standing(uuid.UUID(n))
			switch {
			case err != nil:
				return "", err
			case found && s.State == inquiry.Lapsed.String():
				w.report.Lapsed++
				delete(w.unanswered, n)
			default:
				open++
			}
		}
		if open == 0 {
			return fmt.Sprintf("%d notifications lapsed, none is open", w.report.Lapsed), nil
		}
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("%d notifications are open: %w", open, context.Cause(ctx))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// shown is how many people ask for their records.
const shown = 25

func (w *world) disclose(ctx context.Context) (string, error) {
	system := w.agencies[disclosureAt]
	var example []record.PersonEntry
	for i := range shown {
		person := i * w.o.People / shown
		got, err := w.n.Core.DiscloseRecords(ctx, commands.DiscloseRecords{Meta: meta("disclosure-system", commands.RoleDisclosure, system.code.String()), Symbol: system.holds[person],
			Receipt: fmt.Sprintf("demo-receipt-%d", i+1), Audience: commands.AudiencePerson})
		if err != nil {
			return "", err
		}
		w.report.DisclosedRecords += len(got.Person)
		if better(got.Person, example) {
			example = got.Person
		}
		w.progress("disclose", 1)
	}
	if w.report.DisclosedRecords == 0 {
		return "", fmt.Errorf("nobody was shown any record: %w", ErrUnexpected)
	}
	table(w.out, example)
	return fmt.Sprintf("%d people asked and were shown %d records; each disclosure is itself recorded", shown, w.report.DisclosedRecords), nil
}

// exampleLines is how much of what one person saw is printed.
const exampleLines = 5

// better prefers a list that shows what was provided and what was not, and fits the page.
func better(a, b []record.PersonEntry) bool {
	worth := func(entries []record.PersonEntry) int {
		provided := 0
		for _, e := range entries {
			if e.ProvidedAt != nil {
				provided++
			}
		}
		return min(provided, len(entries)-provided, 2)*10 + min(len(entries), exampleLines)
	}
	return worth(a) > worth(b)
}

// table shows what one person saw.
func table(out io.Writer, entries []record.PersonEntry) {
	fmt.Fprintln(out, "what one of them saw:")
	for i, e := range entries {
		if i == exampleLines {
			fmt.Fprintf(out, "    … and %d more\n", len(entries)-exampleLines)
			break
		}
		given := "not provided (提供なし)"
		if e.ProvidedAt != nil {
			given = "provided " + e.ProvidedAt.In(jst).Format(time.DateTime)
		}
		fmt.Fprintf(out, "    %s  %s asked %s for %s (%s), for %s; %s\n", e.RequestedAt.In(jst).Format(time.DateTime),
			e.Inquirer, e.Provider, e.Information, strings.Join(e.Items, "、"), e.Affair, given)
	}
}

var jst = time.FixedZone("JST", 9*60*60)

// prove anchors the heads and verifies every event of the ledger, as anybody can who has the public keys.
func (w *world) prove(ctx context.Context) (string, error) {
	if err := w.n.Anchor(ctx); err != nil {
		return "", err
	}
	result, err := ledger.Verify(w.n.SigningKeys(), ledger.Options{}, w.events(ctx))
	if err != nil {
		return "", err
	}
	if !result.OK() {
		return "", fmt.Errorf("%d findings, the first: %v: %w", result.FindingsTotal, &result.Findings[0], ErrUnexpected)
	}
	for _, s := range result.Streams {
		w.report.Events += s.Count
	}
	w.report.VerifiedEvents = result.Events
	return fmt.Sprintf("%d events in %d streams verify: %d batches, %d signatures, %d anchors", result.Events, len(result.Streams),
		result.Batches, result.Signatures, result.Anchors), nil
}

func (w *world) events(ctx context.Context) iter.Seq2[ledger.Event, error] {
	return func(yield func(ledger.Event, error) bool) {
		for _, stream := range event.Streams(w.n.Shards) {
			for e, err := range w.n.Events(ctx, stream) {
				w.progress("verify", 1)
				if !yield(e, err) || err != nil {
					return
				}
			}
		}
	}
}

package demo

import (
	"context"
	"errors"
	"fmt"

	"kiroku/commands"
	"kiroku/domain/inquiry"
)

// clearEarlier has the providers report on what an earlier run, which was interrupted, left open: that they cannot
// provide it. It would stand before this run's notifications, and be waited for, until it lapses.
func (w *world) clearEarlier(ctx context.Context) error {
	for _, p := range w.agencies {
		for {
			if err := w.n.CaughtUp(ctx); err != nil {
				return err
			}
			notes, err := w.n.Core.TakeNotifications(ctx, p.meta().Actor, commands.MaxNotifications)
			if err != nil {
				return err
			}
			if len(notes) == 0 {
				break
			}
			for _, note := range notes {
				err := w.n.Core.ReportProvision(ctx, commands.ReportProvision{Meta: p.meta(), ProcessingNumber: note.ProcessingNumber,
					Answer: inquiry.AnswerFields{Kind: inquiry.CannotProvide}})
				if err != nil && !errors.Is(err, inquiry.ErrLapsed) {
					return fmt.Errorf("report on inquiry %s of an earlier run: %w", note.ProcessingNumber, err)
				}
			}
		}
	}
	return nil
}

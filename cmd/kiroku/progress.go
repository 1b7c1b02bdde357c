package main

import (
	"io"
	"os"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/sys/unix"
)

// progress shows that work goes on, on standard error and on a terminal only.
// Without a terminal it does nothing.
type progress struct {
	container *mpb.Progress
	bar       *mpb.Bar
}

// progress begins to show work whose total is not known.
func (c *call) progress(doing string) *progress {
	if !isTerminal(c.err) {
		return &progress{}
	}
	container := mpb.NewWithContext(c.ctx, mpb.WithOutput(c.err))
	bar := container.AddSpinner(0,
		mpb.PrependDecorators(decor.Name(doing+" ")),
		mpb.AppendDecorators(decor.CurrentNoUnit("%d events"), decor.AverageSpeed(0, "  %.0f/s")),
		mpb.BarRemoveOnComplete(),
	)
	return &progress{container, bar}
}

func (p *progress) add(n int) {
	if p.bar != nil {
		p.bar.IncrBy(n)
	}
}

// end removes the display. It may be called more than once.
func (p *progress) end() {
	if p.bar == nil {
		return
	}
	p.bar.SetTotal(-1, true)
	p.container.Wait()
	p.bar = nil
}

// isTerminal reports whether w is a terminal.
func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(file.Fd()), unix.TCGETS)
	return err == nil
}

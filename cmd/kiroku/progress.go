package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/sys/unix"
)

// lineEach is how often work that goes on says so where there is no terminal: rarely enough for a log.
const lineEach = time.Minute

// progress shows on standard error that work goes on: by a bar on a terminal, elsewhere by a line each minute.
type progress struct {
	container *mpb.Progress // nil where there is no terminal, as bar
	bar       *mpb.Bar
	count     atomic.Int64
	err       io.Writer
	quit      func() // ends the lines; nil on a terminal
}

// progress begins to show work whose total is not known.
func (c *call) progress(doing string) *progress {
	if !isTerminal(c.err) {
		p := &progress{err: c.err}
		p.quit = c.lines(doing, &p.count)
		return p
	}
	container := mpb.NewWithContext(c.ctx, mpb.WithOutput(c.err))
	bar := container.AddSpinner(0,
		mpb.PrependDecorators(decor.Name(doing+" ")),
		mpb.AppendDecorators(decor.CurrentNoUnit("%d events"), decor.AverageSpeed(0, "  %.0f/s")),
		mpb.BarRemoveOnComplete(),
	)
	return &progress{container: container, bar: bar, err: c.err}
}

// lines writes one now and then until the function returned was called, which may be more than once.
func (c *call) lines(doing string, count *atomic.Int64) (quit func()) {
	ctx, cancel := context.WithCancel(c.ctx)
	var done sync.WaitGroup
	done.Go(func() {
		ticker := time.NewTicker(lineEach)
		defer ticker.Stop()
		for began := time.Now(); ; {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				fmt.Fprintf(c.err, "%s: %d events after %s\n", doing, count.Load(), time.Since(began).Round(time.Second))
			}
		}
	})
	return func() {
		cancel()
		done.Wait()
	}
}

// say writes a line that stays, above the bar where there is one.
func (p *progress) say(line string) {
	out := p.err
	if p.bar != nil {
		out = p.container
	}
	fmt.Fprintln(out, line)
}

func (p *progress) add(n int) {
	p.count.Add(int64(n))
	if p.bar != nil {
		p.bar.IncrBy(n)
	}
}

// end removes the display. It may be called more than once.
func (p *progress) end() {
	if p.quit != nil {
		p.quit()
	}
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

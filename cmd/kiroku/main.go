// Command kiroku runs the core of the Information Provision Network
// (情報提供ネットワークシステム コアシステム), the event store below it, and
// the tools of the people who operate and supervise it.
//
// Exit status: 0 done, 1 checked and found wrong, 2 could not run.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"kiroku/cmd/kiroku/internal/freed"
)

const (
	exitDone       = 0
	exitFoundWrong = 1
	exitCouldNot   = 2
)

// errFoundWrong is wrapped by a command that did its work and found something
// wrong, as opposed to one that could not do its work.
var errFoundWrong = errors.New("found wrong")

func main() {
	_ = freed.Overwrite() // kiroku serve tells where it could not
	ctx, stop := untilTold()
	defer stop()
	os.Exit(run(ctx, os.Args[1:], environment()))
}

// untilTold returns a context that ends with the first SIGINT or SIGTERM. The
// second ends the process at once, for whoever does not want to wait until
// what is under way is drained.
func untilTold() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		cancel(fmt.Errorf("told to stop: %v", <-signals))
		<-signals
		os.Exit(exitCouldNot)
	}()
	return ctx, func() { cancel(nil) }
}

func environment() map[string]string {
	variables := map[string]string{}
	for _, entry := range os.Environ() {
		name, value, _ := strings.Cut(entry, "=")
		variables[name] = value
	}
	return variables
}

// isSetting reports whether an entry of the environment is one of kiroku's settings.
func isSetting(entry string) bool {
	return strings.HasPrefix(entry, "KIROKU_") && !strings.HasPrefix(entry, "KIROKU_CHDB=")
}

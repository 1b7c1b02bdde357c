package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"syscall"
	"time"

	"kiroku/adapters/datadir"
	"kiroku/adapters/eventstore/embedded"
	"kiroku/adapters/localtls"
	"kiroku/adapters/supervise"
	"kiroku/cmd/kiroku/internal/config"
)

// storeName is the embedded store's among what a data directory announces.
const storeName = "store"

// Users of the embedded store.
const (
	storeAdmin = "admin"  // everything
	storeUser  = "kiroku" // what the core needs; it may scavenge
)

// How long the store is given for what may take time.
const (
	storeDrain = 10 * time.Second // to finish calls when told to stop
	portWait   = 3 * time.Second  // for its previous port to become free
	portPause  = 100 * time.Millisecond
)

// storeCmd is kiroku store.
type storeCmd struct {
	Supervised bool `hidden:"" help:"End when standard input does."`
}

// Help teaches.
func (storeCmd) Help() string {
	return `Runs the embedded event store: a single-node server of EventStoreDB's protocol on the data directory's store folder. kiroku serve starts and supervises one by itself wherever none runs on the data directory, so this command is for running the store apart from the core.

It listens on the loopback only, with TLS. Its address and the generated passwords of its users admin and kiroku are in DIR/run/store.json, its authority's certificate in DIR/tls/ca.pem. It keeps its port and passwords from one start to the next, and prints one line when it is ready. SIGTERM stops it once running calls are finished.

Example:

    kiroku store --data /var/lib/kiroku --set store.listen=127.0.0.1:2113`
}

// Run serves until told to stop.
func (cmd storeCmd) Run(c *call) error {
	settings, err := c.configuration()
	if err != nil {
		return err
	}
	ctx := c.ctx
	if cmd.Supervised {
		var stop context.CancelFunc
		ctx, stop = supervise.AwaitParent(ctx, os.Stdin)
		defer stop()
	}
	return runStore(ctx, settings, c.out, c.logger(settings))
}

func runStore(ctx context.Context, settings config.Config, out io.Writer, log *slog.Logger) error {
	spendMemory()
	d := dir(settings)
	if err := d.Make(d.Store()); err != nil {
		return err
	}
	lock, err := datadir.Hold(d.Store())
	if err != nil {
		return fmt.Errorf("starting the event store: %w", err)
	}
	defer lock.Release() //nolint:errcheck // the process ends
	endpoint, server, err := openStore(ctx, settings, log)
	if err != nil {
		return fmt.Errorf("starting the event store: %w", err)
	}
	if err := d.Announce(storeName, endpoint); err != nil {
		return errors.Join(err, closeStore(server))
	}
	log.Info("event store ready", "address", endpoint.Address, "folder", d.Store())
	fmt.Fprintf(out, "event store ready on %s; credentials in %s\n", endpoint.Address, d.Run())
	select {
	case <-ctx.Done():
		log.Info("event store stopping", "why", context.Cause(ctx).Error())
		return closeStore(server)
	case <-server.Failed():
		return errors.Join(fmt.Errorf("the event store's disk refused a write: %w", server.Err()), closeStore(server))
	}
}

func closeStore(server *embedded.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), storeDrain)
	defer cancel()
	if err := server.Close(ctx); err != nil {
		return fmt.Errorf("closing the event store: %w", err)
	}
	return nil
}

// openStore starts the server with the passwords and, where it is free, the
// port it had before: whoever knew them finds it again.
func openStore(ctx context.Context, settings config.Config, log *slog.Logger) (datadir.Endpoint, *embedded.Server, error) {
	d := dir(settings)
	files, err := localtls.Ensure(d.TLS(), time.Now())
	if err != nil {
		return datadir.Endpoint{}, nil, err
	}
	certificate, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	if err != nil {
		return datadir.Endpoint{}, nil, fmt.Errorf("reading the server certificate: %w", err)
	}
	previous, err := d.Find(storeName)
	if err != nil && !errors.Is(err, datadir.ErrNotRunning) {
		return datadir.Endpoint{}, nil, err
	}
	endpoint := datadir.Endpoint{PID: os.Getpid(), CAFile: files.CA, Passwords: map[string]datadir.Credential{}}
	server := embedded.Config{Dir: d.Store(), Certificate: &certificate, Logger: log}
	for user, groups := range map[string][]string{storeAdmin: {embedded.GroupAdmins}, storeUser: {embedded.GroupOperations}} {
		password := previous.Passwords[user]
		if password.IsZero() {
			password = datadir.NewCredential()
		}
		endpoint.Passwords[user] = password
		server.Users = append(server.Users, embedded.User{Name: user, Password: embedded.Password(password.Expose()), Groups: groups})
	}
	opened, err := listenStore(ctx, server, settings.Store.Listen, previous.Address)
	if err != nil {
		return datadir.Endpoint{}, nil, err
	}
	endpoint.Address, endpoint.Started = opened.Addr(), time.Now().UTC()
	return endpoint, opened, nil
}

// listenStore opens the server where it is configured to listen. Where any
// port will do it waits a little for the one of last time.
func listenStore(ctx context.Context, server embedded.Config, listen, previous string) (*embedded.Server, error) {
	server.Listen = listen
	if _, port, err := net.SplitHostPort(listen); err != nil || port != "0" || previous == "" {
		return embedded.Open(server)
	}
	server.Listen = previous
	for deadline := time.Now().Add(portWait); ; {
		opened, err := embedded.Open(server)
		if !errors.Is(err, syscall.EADDRINUSE) {
			return opened, err
		}
		if time.Now().After(deadline) {
			server.Listen = listen
			return embedded.Open(server)
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(portPause):
		}
	}
}

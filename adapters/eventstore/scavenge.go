package eventstore

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
)

// scavengeWithin bounds the answer of one node: the embedded store answers when it is done, a server when it has begun.
const scavengeWithin = 30 * time.Minute

// Scavenge has every node that the connection string names remove what stream metadata hides. A cluster scavenges node
// by node, so name them all there. The user must be in $ops or $admins.
//
// The embedded store answers when the events are gone from its files. A server of EventStoreDB answers when it has begun;
// it also leaves what lies in the chunk that it writes now to a later scavenge. Repeating the call is harmless.
//
// Errors: ErrDenied, ErrRefused (the node answers otherwise than with success, as where a scavenge is under way),
// ErrUnavailable.
func (s *Store) Scavenge(ctx context.Context) error {
	op, end, err := s.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	s.locating.Lock()
	conf, _, err := s.config.client(nil)
	s.locating.Unlock()
	if err != nil {
		return fmt.Errorf("scavenge: %w: %w", ErrUnavailable, err)
	}
	client, err := scavenger(conf)
	if err != nil {
		return fmt.Errorf("scavenge: %w: %w", ErrUnavailable, err)
	}
	defer client.CloseIdleConnections()
	op, cancel := context.WithTimeout(op, scavengeWithin)
	defer cancel()
	var errs []error
	for _, node := range nodesOf(conf) {
		if err := scavengeNode(op, client, conf, node); err != nil {
			errs = append(errs, fmt.Errorf("scavenge node %s: %w", node, err))
		}
	}
	return errors.Join(errs...)
}

// nodesOf are the nodes of a connection string, host:port.
func nodesOf(conf *esdb.Configuration) []string {
	var nodes []string
	for _, seed := range conf.GossipSeeds {
		nodes = append(nodes, net.JoinHostPort(seed.Host, strconv.Itoa(int(seed.Port))))
	}
	if len(nodes) == 0 {
		nodes = append(nodes, conf.Address)
	}
	return nodes
}

// scavenger trusts what the client trusts.
func scavenger(conf *esdb.Configuration) (*http.Client, error) {
	trust := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: conf.RootCAs, InsecureSkipVerify: conf.SkipCertificateVerification} //nolint:gosec // as tlsVerifyCert says
	if conf.UserCertFile != "" {
		own, err := tls.LoadX509KeyPair(conf.UserCertFile, conf.UserKeyFile)
		if err != nil {
			return nil, errors.New("the user certificate or its key cannot be read")
		}
		trust.Certificates = []tls.Certificate{own}
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: trust, Proxy: nil}}, nil
}

func scavengeNode(ctx context.Context, client *http.Client, conf *esdb.Configuration, node string) error {
	scheme := "https"
	if conf.DisableTLS {
		scheme = "http"
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, scheme+"://"+node+"/admin/scavenge", http.NoBody)
	if err != nil {
		return fmt.Errorf("%w: not an address", ErrInvalid)
	}
	if !conf.DisableTLS && conf.Username != "" {
		r.SetBasicAuth(conf.Username, conf.Password)
	}
	r.Header.Set("Accept", "application/json")
	answer, err := client.Do(r)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	defer answer.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, 1<<16))
	switch {
	case answer.StatusCode/100 == 2:
		return nil
	case answer.StatusCode == http.StatusUnauthorized, answer.StatusCode == http.StatusForbidden:
		return fmt.Errorf("%w: the user has to be in $ops", ErrDenied)
	}
	return fmt.Errorf("%w: the node answers %s", ErrRefused, answer.Status)
}

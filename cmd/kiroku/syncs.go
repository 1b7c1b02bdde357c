package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
)

const syncsMetric = "kiroku_embedded_store_syncs_total "

// storeSyncs asks the embedded store how often it has synced its disk since it started.
func (c *Core) storeSyncs(ctx context.Context) (uint64, error) {
	endpoint, err := c.Dir.Find(storeName)
	if err != nil {
		return 0, err
	}
	authority, err := os.ReadFile(endpoint.CAFile)
	if err != nil {
		return 0, fmt.Errorf("reading the store's authority: %w", err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+endpoint.Address+"/metrics", nil)
	if err != nil {
		return 0, fmt.Errorf("asking the store for its metrics: %w", err)
	}
	request.SetBasicAuth(storeUser, endpoint.Passwords[storeUser].Expose())
	answer, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return 0, fmt.Errorf("asking the store for its metrics: %w", err)
	}
	defer answer.Body.Close()
	lines := bufio.NewScanner(answer.Body)
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), syncsMetric); ok {
			return strconv.ParseUint(value, 10, 64)
		}
	}
	return 0, errors.Join(lines.Err(), fmt.Errorf("the store's metrics (%s) do not tell its syncs", answer.Status))
}

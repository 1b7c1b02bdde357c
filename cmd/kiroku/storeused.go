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
	"time"

	"kiroku/cmd/kiroku/internal/bench"
)

// storeUsed asks the embedded store what it has used since it started.
func (c *Core) storeUsed(ctx context.Context) (used bench.StoreUsed, err error) {
	endpoint, err := c.Dir.Find(storeName)
	if err != nil {
		return used, err
	}
	authority, err := os.ReadFile(endpoint.CAFile)
	if err != nil {
		return used, fmt.Errorf("reading the store's authority: %w", err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+endpoint.Address+"/metrics", nil)
	if err != nil {
		return used, fmt.Errorf("asking the store for its metrics: %w", err)
	}
	request.SetBasicAuth(storeUser, endpoint.Passwords[storeUser].Expose())
	answer, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return used, fmt.Errorf("asking the store for its metrics: %w", err)
	}
	defer answer.Body.Close()
	found := map[string]float64{}
	lines := bufio.NewScanner(answer.Body)
	for lines.Scan() {
		if name, value, ok := strings.Cut(lines.Text(), " "); ok {
			found[name], _ = strconv.ParseFloat(value, 64) // comments have no number there
		}
	}
	syncs, told := found["kiroku_embedded_store_syncs_total"]
	if err := lines.Err(); err != nil || !told {
		return used, errors.Join(err, fmt.Errorf("the store's metrics (%s) do not tell its syncs", answer.Status))
	}
	cpu := time.Duration(found["process_cpu_seconds_total"] * float64(time.Second))
	return bench.StoreUsed{Syncs: uint64(syncs), CPU: cpu}, nil
}

package datadir

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"time"
)

// Endpoint is what a running process of the data directory tells the others,
// as a file in Run().
type Endpoint struct {
	Address   string                // host:port, loopback
	PID       int                   // of the process that serves it
	Started   time.Time             // when that process became ready
	CAFile    string                // PEM of the authority that certified it; empty: no TLS
	Passwords map[string]Credential // by user
	Token     Credential            // bearer token of the admin endpoint
}

// stored is an Endpoint as its file has it, credentials in clear.
type stored struct {
	Address   string            `json:"address"`
	PID       int               `json:"pid"`
	Started   time.Time         `json:"started"`
	CAFile    string            `json:"ca_file,omitempty"`
	Passwords map[string]string `json:"passwords,omitempty"`
	Token     string            `json:"token,omitempty"`
}

func (e Endpoint) stored() stored {
	s := stored{Address: e.Address, PID: e.PID, Started: e.Started, CAFile: e.CAFile, Passwords: map[string]string{}, Token: e.Token.text}
	for user, password := range e.Passwords {
		s.Passwords[user] = password.text
	}
	return s
}

func (s stored) endpoint() Endpoint {
	e := Endpoint{Address: s.Address, PID: s.PID, Started: s.Started, CAFile: s.CAFile, Passwords: map[string]Credential{}, Token: Credential{s.Token}}
	for user, password := range s.Passwords {
		e.Passwords[user] = Credential{password}
	}
	return e
}

// StoreConnection is the connection string of an event store endpoint for one
// of its users. It contains that user's password.
func (e Endpoint) StoreConnection(user string) (string, error) {
	password, ok := e.Passwords[user]
	if !ok {
		return "", fmt.Errorf("connecting to the event store at %s: it has no user %s", e.Address, user)
	}
	query := url.Values{"tls": {"true"}, "tlsCaFile": {e.CAFile}}
	connection := url.URL{Scheme: "esdb", User: url.UserPassword(user, password.text), Host: e.Address, RawQuery: query.Encode()}
	return connection.String(), nil
}

// ErrNotRunning is returned when no process of the data directory has said
// where it is.
var ErrNotRunning = errors.New("not running")

// longestEndpoint bounds an endpoint file, in bytes.
const longestEndpoint = 1 << 16

// Announce writes the endpoint of the named process ("store", "admin").
func (d Dir) Announce(name string, endpoint Endpoint) error {
	text, err := json.MarshalIndent(endpoint.stored(), "", "  ")
	if err != nil {
		return fmt.Errorf("announcing %s: %w", name, err)
	}
	if err := d.Make(d.Run()); err != nil {
		return fmt.Errorf("announcing %s: %w", name, err)
	}
	return WritePrivate(d.endpointFile(name), append(text, '\n'))
}

// Find reads the endpoint last announced under name. It fails with
// ErrNotRunning if there never was one; that there is one does not mean that
// its process still runs.
func (d Dir) Find(name string) (Endpoint, error) {
	text, err := readPrivate(d.endpointFile(name), longestEndpoint)
	if errors.Is(err, fs.ErrNotExist) {
		return Endpoint{}, fmt.Errorf("finding %s of the data directory %s: %w", name, d, ErrNotRunning)
	}
	if err != nil {
		return Endpoint{}, fmt.Errorf("finding %s of the data directory: %w", name, err)
	}
	var s stored
	if err := json.Unmarshal(text, &s); err != nil {
		// The parser's own words could quote a credential.
		return Endpoint{}, fmt.Errorf("finding %s: %s is not as kiroku writes it; remove it, it is written again at the next start", name, d.endpointFile(name))
	}
	return s.endpoint(), nil
}

// Retract removes the endpoint announced under name; it is no error if there
// is none.
func (d Dir) Retract(name string) error {
	if err := os.Remove(d.endpointFile(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("retracting %s: %w", name, err)
	}
	return nil
}

func (d Dir) endpointFile(name string) string {
	return filepath.Join(d.Run(), name+".json")
}

// Loopback reports whether host names this machine only.
func Loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

package eventstore

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
)

// Defaults of Config.
const (
	DefaultTimeout  = 10 * time.Second
	DefaultPatience = 30 * time.Second
)

// DefaultReconnect is the pause between connection attempts unless Config says
// otherwise.
var DefaultReconnect = Backoff{Min: 50 * time.Millisecond, Max: 2 * time.Second}

// Config says where the ledger is and how long to wait for it.
type Config struct {
	// ConnectionString is EventStoreDB's: esdb://host:port for one node,
	// esdb://a,b,c or esdb+discover://name for a cluster. TLS is on unless it
	// says tls=false; credentials are sent over TLS only. Required unless Locate
	// is given.
	ConnectionString string
	// Locate, if given, is asked for the connection string before every
	// connection, one call at a time: for a store whose address or password may be
	// another one after a restart. Its errors are passing ones.
	Locate func() (connectionString string, err error)
	// User and PasswordFile replace the credentials of ConnectionString. The
	// file is read at every connection, so that a changed password needs no
	// restart; line ends at its end are not part of the password.
	User         string
	PasswordFile string
	// CAFile names the PEM certificates to trust instead of the system's; read
	// at every connection. Empty: what ConnectionString says.
	CAFile string
	// Logger receives what an operator should see. Nil: nothing is logged.
	Logger *slog.Logger
	// AppendTimeout bounds one Append with all it waits for. Zero: DefaultTimeout.
	AppendTimeout time.Duration
	// ReadTimeout bounds one attempt of a read of few events, and the wait for a
	// subscription to be confirmed. Zero: DefaultTimeout.
	ReadTimeout time.Duration
	// Patience is how long a read (not a subscription, which never gives up, and
	// not an append) tries anew without receiving anything. Zero: DefaultPatience.
	Patience time.Duration
	// Reconnect is the pause between connection attempts. Zero: DefaultReconnect.
	Reconnect Backoff
}

// Format implements fmt.Formatter: whatever the verb, the connection string, which
// may hold a password, is not shown.
func (c Config) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "event store configuration (user %q, credentials not shown)", c.User)
}

// LogValue implements slog.LogValuer likewise.
func (c Config) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(c)) }

// MarshalJSON implements json.Marshaler likewise.
func (c Config) MarshalJSON() ([]byte, error) { return json.Marshal(fmt.Sprint(c)) }

// Backoff is a pause that doubles from Min to Max, each time shortened by a
// random part of up to a half, so that many clients do not return at once.
type Backoff struct{ Min, Max time.Duration }

// delay is the pause before the n-th repetition, n from 1; 0 for n = 0.
func (b Backoff) delay(n int) time.Duration {
	if n <= 0 {
		return 0
	}
	d := b.Max
	if n < 32 && b.Min<<(n-1)>>(n-1) == b.Min {
		d = min(b.Min<<(n-1), b.Max)
	}
	return d - rand.N(d/2+1)
}

func (c *Config) setDefaults() {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.AppendTimeout <= 0 {
		c.AppendTimeout = DefaultTimeout
	}
	if c.ReadTimeout <= 0 {
		c.ReadTimeout = DefaultTimeout
	}
	if c.Patience <= 0 {
		c.Patience = DefaultPatience
	}
	if c.Reconnect.Min <= 0 {
		c.Reconnect.Min = DefaultReconnect.Min
	}
	if c.Reconnect.Max < c.Reconnect.Min {
		c.Reconnect.Max = max(DefaultReconnect.Max, c.Reconnect.Min)
	}
}

// settings are the parameters of a connection string that the client knows. It
// only warns about others on the process's log; a misspelt tlsCAFile must not
// pass.
var settings = map[string]bool{
	"discoveryinterval": true, "gossiptimeout": true, "maxdiscoverattempts": true,
	"nodepreference": true, "keepaliveinterval": true, "keepalivetimeout": true,
	"tls": true, "tlscafile": true, "usercertfile": true, "userkeyfile": true,
	"tlsverifycert": true, "defaultdeadline": true,
}

// client builds the configuration of one esdb client from what the files say
// now, and a fingerprint of the credentials in it. hook receives the client's
// log lines; nil drops them.
func (c *Config) client(hook esdb.LoggingFunc) (*esdb.Configuration, [sha256.Size]byte, error) {
	var none [sha256.Size]byte
	connection, err := c.locate()
	if err != nil {
		return nil, none, err
	}
	if err := c.checkParameters(connection); err != nil {
		return nil, none, err
	}
	conf, err := esdb.ParseConnectionString(connection)
	if err != nil {
		// The client's text quotes pieces of the string, which may hold a password.
		return nil, none, errors.New("the connection string is not valid (not shown, it may hold a password): " +
			"expected esdb://[user:password@]host:port[,host:port…][?tls=…&tlsCAFile=…], reserved characters of a password percent-encoded, and a readable tlsCAFile")
	}
	if conf.NodePreference != esdb.NodePreferenceLeader {
		return nil, none, errors.New("nodePreference must be leader: a follower may answer with less than has been appended")
	}
	if conf.DefaultDeadline != nil && *conf.DefaultDeadline <= 0 {
		return nil, none, errors.New("defaultDeadline must be a whole number of milliseconds above zero")
	}
	if err := c.readFiles(conf); err != nil {
		return nil, none, err
	}
	// One round only: the pause between rounds is ours, and what comes after the
	// last round kills the client.
	conf.MaxDiscoverAttempts = 1
	conf.DiscoveryInterval = 0
	conf.Logger = hook
	if hook == nil {
		conf.Logger = esdb.NoopLogging()
	}
	return conf, sha256.Sum256([]byte(conf.Username + "\x00" + conf.Password)), nil
}

func (c *Config) locate() (string, error) {
	if c.Locate == nil {
		return c.ConnectionString, nil
	}
	connection, err := c.Locate()
	if err != nil {
		return "", fmt.Errorf("find out where the event store is: %w", err)
	}
	return connection, nil
}

func (c *Config) checkParameters(connection string) error {
	if connection == "" {
		return errors.New("no connection string: give esdb://host:port or the embedded server's")
	}
	if (c.User == "") != (c.PasswordFile == "") {
		return errors.New("user and password file belong together: give both or neither")
	}
	_, query, found := strings.Cut(connection, "?")
	if !found {
		return nil
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return errors.New("the parameters of the connection string cannot be read: expected name=value&name=value")
	}
	for name := range values {
		switch {
		case settings[strings.ToLower(name)]:
		case strings.Contains(query, "@"): // these may be the rest of a password with a question mark in it
			return errors.New("the connection string has an unknown parameter (not shown, it may be part of a password: in one, a question mark is written %3F)")
		default:
			return fmt.Errorf("the connection string has the unknown parameter %q", name)
		}
	}
	return nil
}

func (c *Config) readFiles(conf *esdb.Configuration) error {
	if c.PasswordFile != "" {
		password, err := os.ReadFile(c.PasswordFile)
		if err != nil {
			return fmt.Errorf("read the password of user %q: %w", c.User, err)
		}
		password = bytes.TrimRight(password, "\r\n")
		if len(password) == 0 {
			return fmt.Errorf("the password file %s is empty", c.PasswordFile)
		}
		conf.Username, conf.Password = c.User, string(password)
	}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return fmt.Errorf("read the certificates to trust: %w", err)
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("no PEM certificate in %s", c.CAFile)
		}
	}
	if conf.DisableTLS && conf.Username != "" {
		c.Logger.Warn("event store: the connection string turns TLS off, so the credentials are not sent")
	}
	return nil
}

// remaining is the time until ctx's deadline, at most limit.
func remaining(ctx context.Context, limit time.Duration) time.Duration {
	if deadline, ok := ctx.Deadline(); ok {
		return min(time.Until(deadline), limit)
	}
	return limit
}

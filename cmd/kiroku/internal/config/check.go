package config

import (
	"fmt"
	"log/slog"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"kiroku/adapters/datadir"
	"kiroku/domain/event"
)

// bound is what a setting must be.
type bound struct {
	key  string
	ok   bool
	must string
}

// check refuses values outside their bounds, naming the setting and where it
// came from.
func (l *loader) check(c Config) error {
	bounds := []bound{
		{"store.connection", c.Store.Connection == Embedded || isConnection(c.Store.Connection), `must be "embedded" or an address such as esdb://node1:2113,node2:2113?tls=true, without a user and password: those come from store.user and store.password_file`},
		{"store.user", c.Store.Connection != Embedded || c.Store.User == "", "is for a store that is not embedded; set store.connection to its address"},
		{"store.password_file", (c.Store.User == "") == (c.Store.PasswordFile == ""), "must be given together with store.user"},
		{"store.listen", isLoopback(c.Store.Listen), "must be host:port of this machine only, such as 127.0.0.1:2113"},
		{"hsm.token.label", within(len(c.HSM.Token.Label), 1, 32), "must be 1 to 32 bytes"},
		{"hsm.sessions", within(c.HSM.Sessions, 1, 64), "must be 1 to 64"},
		{"hsm.juki_bits", c.HSM.JukiBits == 2048 || c.HSM.JukiBits == 3072, "must be 2048 or 3072"},
		{"hsm.so_pin_file", c.HSM.SOPINFile == "" || !c.HSM.Development(), "is for a token of your own; give hsm.token.pin_file too"},
		{"ledger.record_shards", within(c.Ledger.RecordShards, 1, event.MaxRecordShards), fmt.Sprintf("must be 1 to %d", event.MaxRecordShards)},
		{"ledger.anchor_interval", within(c.Ledger.AnchorInterval, time.Second, time.Hour), "must be 1s to 1h"},
		{"admin.listen", isLoopback(c.Admin.Listen), "must be host:port of this machine only, such as 127.0.0.1:9440"},
		{"log.level", slices.Contains([]string{"debug", "info", "warn", "error"}, c.Log.Level), "must be debug, info, warn or error"},
	}
	bounds = append(bounds, c.Retention.bounds()...)
	for _, b := range append(bounds, c.Statistics.bounds()...) {
		if !b.ok {
			return fmt.Errorf("reading %s from %s: it %w: it %s", b.key, l.from(b.key), ErrOutOfBounds, b.must)
		}
	}
	return nil
}

const maxCopies = 32

var copyName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)

func (r Retention) bounds() []bound {
	named, seen := true, map[string]bool{}
	for _, name := range r.Copies {
		named = named && copyName.MatchString(name)
		seen[name] = true
	}
	return []bound{
		{"retention.interval", within(r.Interval, time.Minute, 24*time.Hour), "must be 1m to 24h"},
		{"retention.copies", named, "must be names such as backup-tokyo,replica-1: up to 64 small letters, digits, dots, hyphens and underscores each"},
		{"retention.copies", len(seen) == len(r.Copies), "must not have a name twice"},
		{"retention.copies", len(r.Copies) <= maxCopies, fmt.Sprintf("must be at most %d names", maxCopies)},
	}
}

var identifier = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]{0,62}$`)

func (s Statistics) bounds() []bound {
	server := s.Connection != Embedded && s.Connection != Off
	return []bound{
		{"statistics.connection", !server || isAddresses(s.Connection), `must be "embedded", "off", or addresses such as node1:9440,node2:9440`},
		{"statistics.user", server == (s.User != ""), "is for a ClickHouse server, and needed there"},
		{"statistics.password_file", (s.User == "") == (s.PasswordFile == ""), "must be given together with statistics.user"},
		{"statistics.analyst", server || s.Analyst == "", "is for a ClickHouse server"},
		{"statistics.analyst_password_file", (s.Analyst == "") == (s.AnalystFile == ""), "must be given together with statistics.analyst"},
		{"statistics.cluster", s.Cluster == "" || server && identifier.MatchString(s.Cluster), "must be the name of a cluster of a ClickHouse server"},
		{"statistics.database", identifier.MatchString(s.Database), "must be a name of letters, digits and underscores"},
		{"statistics.database", server || s.Database == "statistics", "is for a ClickHouse server; the embedded engine has the database statistics"},
		{"statistics.publish_from", within(s.PublishFrom, 1, 1_000_000), "must be 1 to 1000000"},
		{"statistics.listen", isLoopback(s.Listen), "must be host:port of this machine only"},
		{"statistics.memory_mib", within(s.MemoryMiB, 256, 1<<20), "must be 256 to 1048576"},
	}
}

// isAddresses reports whether text is host:port, once or several times.
func isAddresses(text string) bool {
	for address := range strings.SplitSeq(text, ",") {
		host, port, err := net.SplitHostPort(address)
		if _, bad := strconv.ParseUint(port, 10, 16); err != nil || host == "" || bad != nil {
			return false
		}
	}
	return true
}

func (l *loader) from(key string) string {
	if origin, ok := l.origin[key]; ok {
		return origin
	}
	return "the built-in defaults"
}

func within[T int | time.Duration](v, least, most T) bool { return least <= v && v <= most }

// isConnection reports whether text is an EventStoreDB connection string that
// holds no credentials. It may name several nodes, which net/url refuses.
func isConnection(text string) bool {
	scheme, rest, found := strings.Cut(text, "://")
	nodes, _, _ := strings.Cut(rest, "?")
	return found && (scheme == "esdb" || scheme == "esdb+discover") && nodes != "" && !strings.ContainsAny(rest, "@ \t\n")
}

func isLoopback(address string) bool {
	host, port, err := net.SplitHostPort(address)
	if err != nil || !datadir.Loopback(host) {
		return false
	}
	_, err = strconv.ParseUint(port, 10, 16)
	return err == nil
}

// SlogLevel is the level as log/slog has it.
func (l Log) SlogLevel() slog.Level {
	var level slog.Level
	if err := level.UnmarshalText([]byte(l.Level)); err != nil {
		return slog.LevelInfo // cannot be: Load has checked it
	}
	return level
}

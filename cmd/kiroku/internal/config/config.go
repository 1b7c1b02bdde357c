// Package config gathers what kiroku is told from four places and says where
// each setting came from: built-in defaults, a YAML file, environment
// variables and the command line, the later ones winning. It promises the
// wiring a configuration that is complete and within bounds, and the person a
// message that names the setting, its origin and what to do.
//
// No secret is a setting: PINs and passwords are named by the file that holds
// them.
package config

import (
	"fmt"
	"path/filepath"
	"time"
)

// Config is everything kiroku can be told. The koanf tags are the keys of the
// file; the environment variable of a key is KIROKU_ and the key in capitals,
// with underscores for dots (KIROKU_STORE_CONNECTION).
type Config struct {
	Data   string `koanf:"data"` // the data directory
	Store  Store  `koanf:"store"`
	HSM    HSM    `koanf:"hsm"`
	Ledger Ledger `koanf:"ledger"`
	Admin  Admin  `koanf:"admin"`

	Officials  Officials  `koanf:"officials"`
	Retention  Retention  `koanf:"retention"`
	Statistics Statistics `koanf:"statistics"`
	Log        Log        `koanf:"log"`
}

// Embedded is the store connection that means kiroku's own event store.
const Embedded = "embedded"

// Store says where the event store is.
type Store struct {
	Connection   string `koanf:"connection"`    // Embedded, or esdb://host:port?… without credentials
	User         string `koanf:"user"`          // of a store that is not embedded
	PasswordFile string `koanf:"password_file"` // of that user
	CAFile       string `koanf:"ca_file"`       // PEM; empty: the system's authorities
	Listen       string `koanf:"listen"`        // of the embedded store; loopback host:port; port 0: the one it had last, or any free one
}

// HSM names the token, and where a purpose has a token of its own, that one.
type HSM struct {
	Token     Token    `koanf:"token"`
	Purposes  Purposes `koanf:"purposes"`
	Sessions  int      `koanf:"sessions"`    // at most so many at a time with each token, 1 to 64
	JukiBits  int      `koanf:"juki_bits"`   // of a new RSA key for Juki-net, 2048 or 3072
	SOPINFile string   `koanf:"so_pin_file"` // security officer's PIN; only for making a token
}

// Development reports whether the token is the one of the data directory: no
// library and no PIN of another are given.
func (h HSM) Development() bool { return h.Token.Module == "" && h.Token.PINFile == "" }

// Purposes lets production keep keys of different use on different tokens,
// under different users. What is empty in one is as in HSM.Token.
type Purposes struct {
	Index   Token `koanf:"index"`
	Symbols Token `koanf:"symbols"`
	Days    Token `koanf:"days"`
	Vault   Token `koanf:"vault"`
	Signing Token `koanf:"signing"`
}

// Token is a PKCS#11 token and how to log in to it.
type Token struct {
	Module  string `koanf:"module"`   // library; empty: SoftHSM where it is usually installed
	Label   string `koanf:"label"`    // 1 to 32 bytes
	User    string `koanf:"user"`     // for libraries that name users
	PINFile string `koanf:"pin_file"` // user PIN; empty: the development token's, in the data directory
}

// Ledger shapes the streams.
type Ledger struct {
	RecordShards   int           `koanf:"record_shards"`   // 1 to event.MaxRecordShards; counts only at a ledger's first start
	AnchorInterval time.Duration `koanf:"anchor_interval"` // 1 s to 1 h
}

// Admin is the endpoint for health, metrics and operation.
type Admin struct {
	Listen string `koanf:"listen"` // loopback host:port; port 0: any free one
}

// Officials says who is an official.
type Officials struct {
	CAFile string `koanf:"ca_file"` // PEM: the authorities of officials' certificates; the first that are configured are put in force, in the registry

	AllowDevelopment bool `koanf:"allow_development"` // let authorities of kiroku pki dev count though the token is not a development token
}

// Retention says what a destruction has to reach, and how often the core looks for days that are due. How long they are
// kept is the law's, and no setting.
type Retention struct {
	Interval time.Duration `koanf:"interval"` // between two passes, besides one shortly after midnight in Japan; 1 m to 24 h

	Copies []string `koanf:"copies"` // names of the copies of the HSM's keys: backups, replicas; without an attestation for each no day is called unrecoverable
}

// Off is the connection of the statistics that means none.
const Off = "off"

// Statistics says where ClickHouse is and what is published of it.
type Statistics struct {
	Connection   string `koanf:"connection"`    // Embedded, Off, or host:port[,host:port…] of the native protocol
	TLS          bool   `koanf:"tls"`           // of a server
	CAFile       string `koanf:"ca_file"`       // PEM; empty: the system's authorities
	User         string `koanf:"user"`          // that writes, of a server
	PasswordFile string `koanf:"password_file"` // of that user
	Analyst      string `koanf:"analyst"`       // that kiroku stats asks as, of a server
	AnalystFile  string `koanf:"analyst_password_file"`
	Cluster      string `koanf:"cluster"`      // on which tables are Replicated and Distributed; empty: one server
	Database     string `koanf:"database"`     // that analysts read
	PublishFrom  int    `koanf:"publish_from"` // k: smaller counts are in no figure for publication
	Listen       string `koanf:"listen"`       // of the embedded engine, as store.listen
	MemoryMiB    int    `koanf:"memory_mib"`   // of the embedded engine, 256 or more
}

// Log is how much is logged.
type Log struct {
	Level string `koanf:"level"` // debug, info, warn, error
}

// defaults are the built-in settings. Data is worked out only where nothing
// else gives it, because finding a home directory can fail.
func defaults() map[string]any {
	return map[string]any{
		"store.connection":       Embedded,
		"store.listen":           "127.0.0.1:0",
		"hsm.token.label":        "kiroku",
		"hsm.sessions":           "4",
		"hsm.juki_bits":          "3072",
		"ledger.record_shards":   "4",
		"ledger.anchor_interval": "1m",
		"retention.interval":     "1h",
		"admin.listen":           "127.0.0.1:0",
		"log.level":              "info",

		"statistics.connection":   Embedded,
		"statistics.database":     "statistics",
		"statistics.publish_from": "10",
		"statistics.listen":       "127.0.0.1:0",
		"statistics.memory_mib":   "2048",
	}
}

// defaultData is ${XDG_DATA_HOME:-~/.local/share}/kiroku. The base directory
// specification says to ignore a relative XDG_DATA_HOME.
func defaultData(environment map[string]string) (string, error) {
	if base := environment["XDG_DATA_HOME"]; filepath.IsAbs(base) {
		return filepath.Join(base, "kiroku"), nil
	}
	home := environment["HOME"]
	if !filepath.IsAbs(home) {
		return "", fmt.Errorf("choosing a data directory: there is no home directory; give --data DIR or set KIROKU_DATA")
	}
	return filepath.Join(home, ".local", "share", "kiroku"), nil
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"slices"

	"kiroku/adapters/datadir"
	"kiroku/adapters/eventstore"
	"kiroku/adapters/hsm"
	"kiroku/cmd/kiroku/internal/config"
	"kiroku/cmd/kiroku/internal/node"
	"kiroku/domain/approval"
	"kiroku/projections"
)

// Core is what a process that works on the ledger holds. Everything outside
// the domain is chosen here and nowhere else.
type Core struct {
	Settings config.Config
	Dir      datadir.Dir
	Log      *slog.Logger
	Store    *eventstore.Store
	HSM      *hsm.HSM   // nil until openHSM
	Node     *node.Node // nil until openNode

	officials  approval.Officials
	change     func(*node.Config) // of what openNode opens; nil: nothing
	Statistics *statisticsFeed    // nil until openStatistics, and where statistics are off

	keeper  *keeper        // of the embedded store; nil where the store is not embedded
	logs    io.Writer      // for log lines of children
	closers []func() error // run from the last to the first
}

// openCore is connect for a core that writes: it begins only where the disks have room for that.
func openCore(ctx context.Context, settings config.Config, log *slog.Logger, logs io.Writer) (*Core, error) {
	if err := roomToWrite(settings, statDisk); err != nil {
		return nil, err
	}
	known, err := officials(settings)
	if err != nil {
		return nil, err
	}
	c, err := connect(ctx, settings, log, logs)
	if err != nil {
		return nil, err
	}
	c.officials = known
	if known.Development() && !settings.HSM.Development() {
		log.Warn("OFFICIALS FOR DEVELOPMENT COUNT ON A TOKEN THAT IS NOT FOR DEVELOPMENT: whoever made their certificates can approve everything", "setting", "officials.allow_development=true")
	}
	return c, nil
}

// connect connects to the ledger's store, starting the embedded one where
// that is configured and nobody runs it yet. Log lines of a child go to logs.
func connect(ctx context.Context, settings config.Config, log *slog.Logger, logs io.Writer) (*Core, error) {
	c := &Core{Settings: settings, Dir: dir(settings), Log: log, logs: logs}
	connection := eventstore.Config{
		ConnectionString: settings.Store.Connection,
		User:             settings.Store.User, PasswordFile: settings.Store.PasswordFile, CAFile: settings.Store.CAFile,
		Logger: log,
	}
	if settings.Store.PasswordFile != "" {
		if err := readable(settings.Store.PasswordFile); err != nil {
			return nil, err
		}
	}
	if settings.Store.Connection == config.Embedded {
		keeper, endpoint, err := keepStore(ctx, settings, log, logs)
		if err != nil {
			return nil, err
		}
		c.keeper = keeper
		c.closers = append(c.closers, keeper.stop)
		if _, err := endpoint.StoreConnection(storeUser); err != nil {
			return nil, errors.Join(err, c.Close())
		}
		connection.Locate = c.locateStore // it may come back on another port
		connection.ConnectionString = ""
	}
	store, err := eventstore.Open(connection)
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	c.Store = store
	c.closers = append(c.closers, store.Close)
	return c, nil
}

// locateStore is where the embedded store says it is now.
func (c *Core) locateStore() (string, error) {
	endpoint, err := c.Dir.Find(storeName)
	if err != nil {
		return "", err
	}
	return endpoint.StoreConnection(storeUser)
}

// openLedger is connect for commands that only read: it begins nothing where
// there is nothing.
func openLedger(ctx context.Context, settings config.Config, log *slog.Logger) (*Core, error) {
	if settings.Store.Connection == config.Embedded {
		folder := dir(settings).Store()
		if _, err := os.Stat(folder); errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("opening the embedded store in %s: %w", folder, errNoLedger)
		}
	}
	return connect(ctx, settings, log, io.Discard)
}

// readable tells early, and in words, that a password file cannot be used.
func readable(passwordFile string) error {
	password, err := datadir.ReadSecret(passwordFile)
	if err != nil {
		return fmt.Errorf("reading store.password_file: %w", err)
	}
	password.Destroy()
	return nil
}

// openHSM opens the configured token. The development token is found in the
// data directory.
func (c *Core) openHSM(ctx context.Context) error {
	token, err := tokenConfig(c.Settings)
	if err != nil {
		return err
	}
	opened, err := hsm.Open(ctx, token)
	if err != nil {
		return fmt.Errorf("opening the token; kiroku keys init makes missing keys: %w", err)
	}
	c.HSM = opened
	c.closers = append(c.closers, opened.Close)
	return nil
}

// developmentCounts reports whether authorities for development may be in force.
func developmentCounts(settings config.Config) bool {
	return settings.HSM.Development() || settings.Officials.AllowDevelopment
}

// starter is who runs this process, "" where that is not known.
func starter() string {
	name, err := signedIn()
	if err != nil {
		return ""
	}
	return name
}

// ownName is where this core runs, for people who look for the active one.
func ownName() string {
	machine, err := os.Hostname()
	if err != nil {
		machine = "a machine without a name"
	}
	return fmt.Sprintf("process %d on %s", os.Getpid(), machine)
}

// openNode puts the core together; it then follows the ledger, and writes to it
// once it is elected. closeNode must follow before Close.
func (c *Core) openNode(ctx context.Context, metrics projections.Metrics) error {
	spendMemory()
	for _, folder := range []string{c.Dir.Views(), c.Dir.Anchors()} {
		if err := c.Dir.Make(folder); err != nil {
			return err
		}
	}
	config := node.Config{
		Store: c.Store, HSM: c.HSM, Views: c.Dir.Views(), Anchors: c.Dir.Anchors(), Name: ownName(),
		Shards: c.Settings.Ledger.RecordShards, AnchorInterval: c.Settings.Ledger.AnchorInterval,
		Elsewhere: c.elsewhere(), Officials: c.officials, Copies: c.Settings.Retention.Copies,
		Development: developmentCounts(c.Settings), Starter: starter(), RetentionInterval: c.Settings.Retention.Interval,
		Log: c.Log, Metrics: metrics,
	}
	if c.change != nil {
		c.change(&config)
	}
	opened, err := node.Open(ctx, config)
	if err != nil {
		return fmt.Errorf("opening the ledger: %w", err)
	}
	c.Node = opened
	return nil
}

// closeNode finishes what is under way, for as long as there is time.
func (c *Core) closeNode() error {
	ctx, cancel := context.WithTimeout(context.Background(), nodeDrain)
	defer cancel()
	if err := c.Node.Close(ctx); err != nil {
		return fmt.Errorf("closing the ledger: %w", err)
	}
	return nil
}

// errNoToken is returned when the development token has not been made.
var errNoToken = errors.New("there is no token yet")

// tokenConfig is the configuration of the token or tokens. It makes nothing.
func tokenConfig(settings config.Config) (hsm.Config, error) {
	if settings.HSM.Development() {
		folder := dir(settings).HSM()
		if _, err := os.Stat(folder); errors.Is(err, fs.ErrNotExist) {
			return hsm.Config{}, fmt.Errorf("looking for the development token in %s: %w; kiroku keys init makes one", folder, errNoToken)
		}
		return developmentToken(settings)
	}
	token := hsm.Config{
		Token: hsm.TokenConfig(settings.HSM.Token), Sessions: settings.HSM.Sessions,
		JukiBits: settings.HSM.JukiBits, SOPINFile: settings.HSM.SOPINFile, Purposes: purposes(settings.HSM.Purposes),
	}
	if token.Token.Module == "" {
		module, err := hsm.FindSoftHSM()
		if err != nil {
			return hsm.Config{}, err
		}
		token.Token.Module = module
	}
	return token, nil
}

// developmentToken prepares the data directory's own token, where it is not
// prepared yet, and returns how to open it.
func developmentToken(settings config.Config) (hsm.Config, error) {
	token, err := hsm.Provision(dir(settings).HSM(), settings.HSM.Token.Label)
	if err != nil {
		return hsm.Config{}, err
	}
	token.Sessions, token.JukiBits = settings.HSM.Sessions, settings.HSM.JukiBits
	return token, nil
}

func purposes(p config.Purposes) map[hsm.Purpose]hsm.TokenConfig {
	overridden := map[hsm.Purpose]hsm.TokenConfig{}
	for purpose, token := range map[hsm.Purpose]config.Token{
		hsm.PurposeIndex: p.Index, hsm.PurposeSymbols: p.Symbols, hsm.PurposeDays: p.Days,
		hsm.PurposeVault: p.Vault, hsm.PurposeSigning: p.Signing,
	} {
		if token != (config.Token{}) {
			overridden[purpose] = hsm.TokenConfig(token)
		}
	}
	return overridden
}

// Close closes what was opened, in the opposite order. A child that was
// started is stopped last.
func (c *Core) Close() error {
	var failures []error
	for _, closer := range slices.Backward(c.closers) {
		failures = append(failures, closer())
	}
	c.closers = nil
	return errors.Join(failures...)
}

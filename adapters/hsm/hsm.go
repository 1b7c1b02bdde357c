package hsm

import (
	"context"
	"fmt"
	"sync"
	"time"

	"kiroku/domain/secret"
)

// DefaultSessions is how many sessions a token is used with at a time. SoftHSM
// serialises its calls, so more gain nothing there; a network device gains.
const DefaultSessions = 4

// TokenConfig names a token and how to log in to it.
type TokenConfig struct {
	Module  string `koanf:"module"`   // path of the PKCS#11 library
	Label   string `koanf:"label"`    // token label, at most 32 bytes
	User    string `koanf:"user"`     // put before the PIN with a colon, for modules that name users so
	PINFile string `koanf:"pin_file"` // file of the user PIN, readable by its owner alone
}

// inherit fills what is empty from base.
func (c TokenConfig) inherit(base TokenConfig) TokenConfig {
	if c.Module == "" {
		c.Module = base.Module
	}
	if c.Label == "" {
		c.Label = base.Label
	}
	if c.User == "" {
		c.User = base.User
	}
	if c.PINFile == "" {
		c.PINFile = base.PINFile
	}
	return c
}

// Config is everything Open and Init need.
type Config struct {
	// Token serves every purpose that Purposes does not name.
	Token TokenConfig `koanf:"token"`
	// Purposes overrides the token of a purpose; what is empty is Token's.
	// Purposes with the same module and label share a token.
	Purposes map[Purpose]TokenConfig `koanf:"purposes"`
	// Sessions used at a time with each token; 0 is DefaultSessions.
	Sessions int `koanf:"sessions"`
	// JukiBits is the size of a new RSA key for Juki-net: 2048 or 3072;
	// 0 is 3072. Only Init and EnsureKey look at it.
	JukiBits int `koanf:"juki_bits"`
	// SOPINFile lets Init make a token that is missing. Open needs none.
	SOPINFile string `koanf:"so_pin_file"`
	// LockFile is held while keys are made or destroyed, by all processes that
	// name it. SoftHSM needs it (Provision sets it); a device that orders
	// changes itself does not, and nothing is locked where it is empty.
	LockFile string `koanf:"lock_file"`
	// TokenFiles is the directory of a token that consists of files and does
	// not write them through to the disk: after each change of keys that is
	// done here. SoftHSM needs it (Provision sets it).
	TokenFiles string `koanf:"token_files"`
	// ExpectedSentinel is what SentinelValue gave when the ledger was made. A
	// token that answers otherwise is ErrUnavailable. Nil: not known yet, then
	// the first answer counts for the life of the HSM.
	ExpectedSentinel []byte `koanf:"-"`
	// Clock paces the back-off; nil is time.Now.
	Clock func() time.Time `koanf:"-"`

	wrap func(cryptoki) cryptoki // faults, in tests
}

// HSM answers with the keys of the configured tokens. All methods may be called
// from several goroutines.
type HSM struct {
	tokens    []*token // distinct, in the order of Purposes
	byPurpose map[Purpose]*token
	jukiBits  int

	life   context.Context // of merged calls, which outlive a single caller
	end    context.CancelFunc
	mu     sync.Mutex
	merges map[mergeKey]*merger // guarded by mu
	closed bool                 // guarded by mu
	busy   sync.WaitGroup       // merged calls running

	public sync.Map // label → *ecdsa.PublicKey; a label's key pair never changes
}

// Open connects to every token, asserts the attributes of every key, requires
// every standing key and tries the signing key. It makes nothing; see Init.
//
// Errors: ErrUnavailable, ErrNoKey (a standing key is missing), ErrAttributes,
// ErrDuplicate.
func Open(ctx context.Context, config Config) (*HSM, error) {
	h, err := prepare(config)
	if err != nil {
		return nil, fmt.Errorf("opening the HSM: %w", err)
	}
	if err := h.inspect(ctx); err != nil {
		h.Close()
		return nil, fmt.Errorf("opening the HSM: %w", err)
	}
	return h, nil
}

// prepare makes an HSM that has not connected yet.
func prepare(config Config) (*HSM, error) {
	if config.Sessions <= 0 {
		config.Sessions = DefaultSessions
	}
	if config.Clock == nil {
		config.Clock = time.Now
	}
	if config.JukiBits == 0 {
		config.JukiBits = 3072
	}
	if config.JukiBits != 2048 && config.JukiBits != 3072 {
		return nil, fmt.Errorf("the RSA key for Juki-net has 2048 or 3072 bits, not %d", config.JukiBits)
	}
	for p := range config.Purposes {
		if !knownPurpose(p) {
			return nil, fmt.Errorf("unknown purpose %q; the purposes are %v", p, Purposes())
		}
	}
	h := &HSM{byPurpose: map[Purpose]*token{}, merges: map[mergeKey]*merger{}, jukiBits: config.JukiBits}
	h.life, h.end = context.WithCancel(context.Background())
	if err := h.assign(config); err != nil {
		h.Close()
		return nil, err
	}
	if err := h.expect(config.ExpectedSentinel); err != nil {
		h.Close()
		return nil, err
	}
	return h, nil
}

func knownPurpose(p Purpose) bool {
	for _, known := range Purposes() {
		if p == known {
			return true
		}
	}
	return false
}

// assign gives each purpose its token.
func (h *HSM) assign(config Config) error {
	type place struct{ module, label string }
	seen := map[place]*token{}
	for _, p := range Purposes() {
		c := config.Purposes[p].inherit(config.Token)
		if c.Module == "" || c.Label == "" || len(c.Label) > 32 {
			return fmt.Errorf("the token for %q needs a module and a label of 1 to 32 bytes", p)
		}
		at := place{c.Module, c.Label}
		t := seen[at]
		if t == nil {
			var err error
			if t, err = newToken(c, config); err != nil {
				return err
			}
			seen[at] = t
			h.tokens = append(h.tokens, t)
		}
		if t.config != c {
			return fmt.Errorf("two purposes name token %q with different users or PIN files; a process logs in to a token once", c.Label)
		}
		h.byPurpose[p] = t
	}
	return nil
}

// expect distributes the known sentinel values over the tokens.
func (h *HSM) expect(values []byte) error {
	if values == nil {
		return nil
	}
	if len(values) != sentinelSize*len(h.tokens) {
		return fmt.Errorf("%w: the ledger was made with %d token(s), the configuration names %d",
			ErrUnavailable, len(values)/sentinelSize, len(h.tokens))
	}
	for i, t := range h.tokens {
		t.pinned.admit(values[i*sentinelSize : (i+1)*sentinelSize])
	}
	return nil
}

// Close ends all sessions. Calls that are running end first; later calls get
// ErrClosed.
func (h *HSM) Close() error {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	h.end()
	h.busy.Wait()
	for _, t := range h.tokens {
		t.close()
	}
	return nil
}

// route finds the token of a label and checks that its key serves the use.
func (h *HSM) route(label string, serves ...kind) (*token, kind, error) {
	f, _, err := parseLabel(label)
	if err != nil {
		return nil, 0, err
	}
	for _, k := range serves {
		if f.kind != k {
			continue
		}
		if f.purpose == "" {
			return h.tokens[0], k, nil
		}
		return h.byPurpose[f.purpose], k, nil
	}
	return nil, 0, fmt.Errorf("%w: %q", ErrLabel, label)
}

// HMAC is HMAC-SHA256 of message under the key of a label, 32 bytes, to be
// destroyed by the caller. The message is not kept and not copied on this side
// of the module.
//
// Errors: ErrLabel, ErrUnavailable, ErrNoKey, ErrAttributes, ErrDuplicate, or
// the context's.
func (h *HSM) HMAC(ctx context.Context, label string, message []byte) (*secret.Bytes, error) {
	t, k, err := h.route(label, kindMAC)
	if err != nil {
		return nil, fmt.Errorf("computing an HMAC: %w", err)
	}
	out := secret.New(macKeyBytes)
	err = t.use(ctx, func(s *session) error {
		key, err := s.key(label, k)
		if err != nil {
			return err
		}
		return s.mac(key, message, out.Expose())
	})
	if err != nil {
		out.Destroy()
		return nil, fmt.Errorf("computing an HMAC under %q: %w", label, err)
	}
	return out, nil
}

// SentinelValue is what tells these tokens from all others: 32 bytes for each
// distinct token, in the order of Purposes. It is no secret; the ledger keeps
// it, for Config.ExpectedSentinel.
func (h *HSM) SentinelValue(ctx context.Context) ([]byte, error) {
	var all []byte
	for _, t := range h.tokens {
		if err := t.use(ctx, (*session).prove); err != nil {
			return nil, fmt.Errorf("asking the sentinel key: %w", err)
		}
		all = append(all, t.pinned.get()...)
	}
	return all, nil
}

package hsm

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"kiroku/domain/secret"

	"github.com/miekg/pkcs11"
)

// modulePlaces are where distributions put SoftHSM's module.
var modulePlaces = []string{
	"/usr/lib/softhsm/libsofthsm2.so",
	"/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
	"/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
	"/usr/lib64/pkcs11/libsofthsm2.so",
	"/usr/lib64/softhsm/libsofthsm2.so",
	"/usr/local/lib/softhsm/libsofthsm2.so",
	"/opt/homebrew/lib/softhsm/libsofthsm2.so",
}

// FindSoftHSM is the path of SoftHSM's module on this machine.
func FindSoftHSM() (string, error) {
	for _, path := range modulePlaces {
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("finding SoftHSM: none of %s exists; run ops/setup, or install the package softhsm2", strings.Join(modulePlaces, ", "))
}

// softHSM guards SOFTHSM2_CONF, which concerns the whole process.
var softHSM sync.Mutex

// Provision prepares a directory for a SoftHSM token of development and shows
// it to the process: a configuration file, a directory of tokens, and random
// SO and user PINs in files that only their owner can read. What is there
// already stays as it is. It must come before the first Init or Open of the
// process; the module reads its configuration when it is initialised.
//
// The Config names the token label and has no ExpectedSentinel.
func Provision(dir, label string) (Config, error) {
	config, err := provision(dir, label)
	if err != nil {
		return Config{}, fmt.Errorf("preparing a SoftHSM token in %s: %w", dir, err)
	}
	return config, nil
}

func provision(dir, label string) (Config, error) {
	module, err := FindSoftHSM()
	if err != nil {
		return Config{}, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return Config{}, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return Config{}, err
	}
	config := Config{
		Token:     TokenConfig{Module: module, Label: label, PINFile: filepath.Join(dir, "user.pin")},
		SOPINFile: filepath.Join(dir, "so.pin"),
		LockFile:  filepath.Join(dir, "keys.lock"),

		TokenFiles: filepath.Join(dir, "tokens"),
	}
	settings := filepath.Join(dir, "softhsm2.conf")
	if _, err := os.Stat(settings); errors.Is(err, os.ErrNotExist) {
		// Only a first preparation makes the directory of tokens. Were it made
		// again whenever it is missing, a token that was moved away would be
		// taken for one that never was.
		if err := os.MkdirAll(filepath.Join(dir, "tokens"), 0o700); err != nil {
			return Config{}, err
		}
	}
	text := "directories.tokendir = " + filepath.Join(dir, "tokens") +
		"\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n"
	for path, content := range map[string]func() ([]byte, error){
		config.Token.PINFile: randomPIN,
		config.SOPINFile:     randomPIN,
		settings:             func() ([]byte, error) { return []byte(text), nil },
	} {
		if err := writeOnce(path, content); err != nil {
			return Config{}, err
		}
	}
	// Without its PIN files a token is lost: their names must be durable too.
	if err := errors.Join(syncPath(dir), syncPath(filepath.Dir(dir))); err != nil {
		return Config{}, err
	}
	return config, adopt(module, settings)
}

// adopt sets SOFTHSM2_CONF, unless the module already runs with another.
func adopt(module, settings string) error {
	softHSM.Lock()
	defer softHSM.Unlock()
	if old := os.Getenv("SOFTHSM2_CONF"); old == settings {
		return nil
	}
	modules.mu.Lock()
	defer modules.mu.Unlock()
	if m := modules.loaded[module]; m != nil && m.refs > 0 {
		return errors.New("SoftHSM is in use in this process with another directory; one process has one")
	}
	return os.Setenv("SOFTHSM2_CONF", settings)
}

// randomPIN is 24 random letters and digits: 124 bits.
func randomPIN() ([]byte, error) {
	text := rand.Text()[:24]
	return []byte(text), nil
}

// writeOnce makes a file of mode 0600 with its content, complete or not at all.
func writeOnce(path string, content func() ([]byte, error)) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	b, err := content()
	if err != nil {
		return err
	}
	defer secret.Wipe(b)
	partial := path + ".partial"
	if err := writeSynced(partial, b); err != nil {
		return err
	}
	return os.Rename(partial, path)
}

func writeSynced(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Sync(), f.Close())
}

// Init makes what is missing before a first Open: each token (where SOPINFile
// is given, in the first free slot), its sentinel, and version 1 of every
// standing key that has no version. It can be repeated after an interruption.
//
// With an ExpectedSentinel the ledger exists: then Init makes no token and no
// sentinel, and keys only in a token that answers as expected.
//
// Errors: as Open.
func Init(ctx context.Context, config Config) error {
	h, err := prepare(config)
	if err != nil {
		return fmt.Errorf("setting up the HSM: %w", err)
	}
	defer h.Close()
	for _, t := range h.tokens {
		if err := t.setUp(ctx, config.SOPINFile, config.ExpectedSentinel == nil); err != nil {
			return fmt.Errorf("setting up token %q: %w", t.config.Label, err)
		}
	}
	keys, err := h.Keys(ctx)
	if err != nil {
		return fmt.Errorf("setting up the HSM: %w", err)
	}
	for _, f := range families {
		if f.standing && f.purpose != "" && !anyVersion(keys, f) {
			if err := h.EnsureKey(ctx, f.name+"/1"); err != nil {
				return fmt.Errorf("setting up the HSM: %w", err)
			}
		}
	}
	return nil
}

func anyVersion(keys []KeyInfo, f family) bool {
	for _, k := range keys {
		if strings.HasPrefix(k.Label, f.name+"/") {
			return true
		}
	}
	return false
}

// setUp makes the token and its sentinel where the ledger does not exist yet.
func (t *token) setUp(ctx context.Context, soPINFile string, mayMake bool) error {
	if !mayMake {
		return nil
	}
	if err := t.makeToken(ctx, soPINFile); err != nil {
		return unavailable(t.config.Label, err)
	}
	// There is no sentinel yet to prove the token by, however often another HSM
	// of this process makes it necessary to connect again.
	t.admit = func(*session) error { return nil }
	err := t.ensure(ctx, LabelSentinel, kindMAC, 0, (*session).empty)
	t.admit = (*session).prove
	if conn := t.conn.Load(); conn != nil {
		t.drop(conn) // the next one proves itself
	}
	return err
}

// empty refuses a token that has keys of the ledger and no sentinel: it is not
// a new one.
func (s *session) empty() error {
	keys, err := s.keys()
	if err != nil {
		return err
	}
	if len(keys) > 0 {
		return fmt.Errorf("%w: it holds %q and no sentinel key: restore it from its backup", ErrUnavailable, keys[0].Label)
	}
	return nil
}

// makeToken makes the token in a free slot and gives it its user PIN, where
// that is not done already. One process does it at a time, and looks with a
// module that was initialised after it got the lock: SoftHSM shows a process
// only the tokens that were there then.
func (t *token) makeToken(ctx context.Context, soPINFile string) error {
	if err := t.mod.renew(t.api, 0); err != nil {
		return err
	}
	if complete, err := t.tokenComplete(); complete || err != nil {
		return err
	}
	unlock, err := lockFile(ctx, t.lock)
	if err != nil {
		return err
	}
	defer unlock()
	generation, _ := t.mod.current()
	if err := t.mod.renew(t.api, generation); err != nil {
		return err
	}
	if complete, err := t.tokenComplete(); complete || err != nil {
		return err
	}
	if soPINFile == "" {
		return fmt.Errorf("%w and no file with an SO PIN is configured to make one; make it with the vendor's tools", errNoToken)
	}
	soPIN, err := readPIN(soPINFile, "")
	if err != nil {
		return err
	}
	defer soPIN.Destroy()
	return t.initialise(soPIN)
}

// tokenComplete reports whether the token is there with a user PIN.
func (t *token) tokenComplete() (bool, error) {
	t.mod.calls.RLock()
	defer t.mod.calls.RUnlock()
	_, info, err := t.locate()
	if errors.Is(err, errNoToken) {
		return false, nil
	}
	return err == nil && info.Flags&pkcs11.CKF_USER_PIN_INITIALIZED != 0, err
}

// initialise makes the token, or completes one that an interruption left
// without a user PIN.
func (t *token) initialise(soPIN *secret.Bytes) error {
	t.mod.calls.RLock()
	defer t.mod.calls.RUnlock()
	slot, _, err := t.locate()
	if errors.Is(err, errNoToken) {
		if slot, err = t.freeSlot(); err != nil {
			return err
		}
		err = call("C_InitToken", t.api.InitToken(slot, exposeString(soPIN), t.config.Label))
	}
	if err != nil {
		return err
	}
	return t.setUserPIN(slot, soPIN)
}

func (t *token) freeSlot() (uint, error) {
	slots, err := t.api.GetSlotList(true)
	if err != nil {
		return 0, call("C_GetSlotList", err)
	}
	for _, slot := range slots {
		info, err := t.api.GetTokenInfo(slot)
		if err == nil && info.Flags&pkcs11.CKF_TOKEN_INITIALIZED == 0 {
			return slot, nil
		}
	}
	return 0, fmt.Errorf("no slot holds a token that is not initialised")
}

func (t *token) setUserPIN(slot uint, soPIN *secret.Bytes) error {
	pin, err := readPIN(t.config.PINFile, "")
	if err != nil {
		return err
	}
	defer pin.Destroy()
	h, err := t.api.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
	if err != nil {
		return call("C_OpenSession", err)
	}
	defer t.api.CloseSession(h)
	if err := t.api.Login(h, pkcs11.CKU_SO, exposeString(soPIN)); err != nil {
		return call("C_Login (security officer)", err)
	}
	err = call("C_InitPIN", t.api.InitPIN(h, exposeString(pin)))
	return errors.Join(err, call("C_Logout", t.api.Logout(h)))
}

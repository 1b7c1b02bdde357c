package hsm

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/miekg/pkcs11"
)

// cryptoki is the part of a PKCS#11 module that is used here; *pkcs11.Ctx is
// one. Tests stand between it and the token to make each call fail in turn.
type cryptoki interface {
	Initialize() error
	Finalize() error
	GetSlotList(tokenPresent bool) ([]uint, error)
	GetTokenInfo(slot uint) (pkcs11.TokenInfo, error)
	InitToken(slot uint, pin string, label string) error
	InitPIN(sh pkcs11.SessionHandle, pin string) error
	OpenSession(slot uint, flags uint) (pkcs11.SessionHandle, error)
	CloseSession(sh pkcs11.SessionHandle) error
	Login(sh pkcs11.SessionHandle, userType uint, pin string) error
	Logout(sh pkcs11.SessionHandle) error
	FindObjectsInit(sh pkcs11.SessionHandle, template []*pkcs11.Attribute) error
	FindObjects(sh pkcs11.SessionHandle, max int) ([]pkcs11.ObjectHandle, bool, error)
	FindObjectsFinal(sh pkcs11.SessionHandle) error
	GetAttributeValue(sh pkcs11.SessionHandle, o pkcs11.ObjectHandle, a []*pkcs11.Attribute) ([]*pkcs11.Attribute, error)
	GenerateKey(sh pkcs11.SessionHandle, m []*pkcs11.Mechanism, template []*pkcs11.Attribute) (pkcs11.ObjectHandle, error)
	GenerateKeyPair(sh pkcs11.SessionHandle, m []*pkcs11.Mechanism, public, private []*pkcs11.Attribute) (pkcs11.ObjectHandle, pkcs11.ObjectHandle, error)
	DestroyObject(sh pkcs11.SessionHandle, o pkcs11.ObjectHandle) error
	SignInit(sh pkcs11.SessionHandle, m []*pkcs11.Mechanism, o pkcs11.ObjectHandle) error
	Sign(sh pkcs11.SessionHandle, message []byte) ([]byte, error)
	EncryptInit(sh pkcs11.SessionHandle, m []*pkcs11.Mechanism, o pkcs11.ObjectHandle) error
	Encrypt(sh pkcs11.SessionHandle, message []byte) ([]byte, error)
	DecryptInit(sh pkcs11.SessionHandle, m []*pkcs11.Mechanism, o pkcs11.ObjectHandle) error
	Decrypt(sh pkcs11.SessionHandle, cipher []byte) ([]byte, error)
}

// module is a loaded PKCS#11 library. C_Initialize and C_Finalize concern the
// whole process, so all tokens of a path share one module and count references.
type module struct {
	path string
	api  cryptoki
	refs int // guarded by modules.mu

	// calls is held for reading by every C call and for writing by initialise
	// and finalise, which would pull the library away under the others.
	calls      sync.RWMutex
	up         bool   // guarded by calls
	generation uint64 // guarded by calls; grows with each C_Initialize
}

var modules = struct {
	mu     sync.Mutex
	loaded map[string]*module
}{loaded: map[string]*module{}}

// loadModule gives a reference to the module at path and loads it the first
// time. A module stays loaded for the life of the process: libraries that use
// OpenSSL do not survive being unloaded and loaded again.
func loadModule(path string) (*module, error) {
	modules.mu.Lock()
	defer modules.mu.Unlock()
	m := modules.loaded[path]
	if m == nil {
		if _, err := os.Stat(path); err != nil {
			return nil, fmt.Errorf("loading the PKCS#11 module: %w; run ops/setup or name the module in the configuration", err)
		}
		ctx := pkcs11.New(path)
		if ctx == nil {
			return nil, fmt.Errorf("loading the PKCS#11 module %s: it is not a PKCS#11 library for this machine", path)
		}
		m = &module{path: path, api: ctx}
		modules.loaded[path] = m
	}
	m.refs++
	return m, nil
}

// release gives a reference back; the last one finalises the module.
func (m *module) release() {
	modules.mu.Lock()
	defer modules.mu.Unlock()
	if m.refs--; m.refs > 0 {
		return
	}
	m.calls.Lock()
	defer m.calls.Unlock()
	if m.up {
		_ = m.api.Finalize()
		m.up = false
	}
}

// renew initialises the module, or initialises it again when its generation is
// still the one the caller found faulty. api is the caller's view of the module.
func (m *module) renew(api cryptoki, faulty uint64) error {
	m.calls.Lock()
	defer m.calls.Unlock()
	if m.up && m.generation != faulty {
		return nil
	}
	if m.up {
		if err := api.Finalize(); err != nil && !isCode(err, pkcs11.CKR_CRYPTOKI_NOT_INITIALIZED) {
			return call("C_Finalize", err)
		}
		m.up = false
	}
	err := api.Initialize()
	if isCode(err, pkcs11.CKR_CRYPTOKI_ALREADY_INITIALIZED) {
		// Left over from an initialise that reported a failure and had none.
		err = errors.Join(api.Finalize(), api.Initialize())
	}
	if err != nil {
		return call("C_Initialize", err)
	}
	m.up = true
	m.generation++
	return nil
}

// current is the generation, 0 before the first initialise.
func (m *module) current() (generation uint64, up bool) {
	m.calls.RLock()
	defer m.calls.RUnlock()
	return m.generation, m.up
}

package hsm_test

import (
	"fmt"
	"sync"

	"kiroku/adapters/hsm"

	"github.com/miekg/pkcs11"
)

// fault makes one C call fail. Its String replays it.
type fault struct {
	call      string // name of the C function, without C_
	nth       int    // 1 is the first call of that name after arming
	done      bool   // the call has its effect and reports a failure nevertheless
	code      pkcs11.Error
	permanent bool // every later call of the name fails too
}

func (f fault) String() string {
	effect := "not-done"
	if f.done {
		effect = "done"
	}
	if f.permanent {
		effect += "-for-good"
	}
	return fmt.Sprintf("%s-%d-%s-%#x", f.call, f.nth, effect, uint(f.code))
}

// faulty is a module some of whose calls fail, or run a hook first.
type faulty struct {
	hsm.Cryptoki
	mu    sync.Mutex
	armed fault
	seen  map[string]int    // calls since arming
	fired bool              // the armed fault happened
	hooks map[string]func() // run before each call of a name
	twist func(sig []byte)  // changes each output of C_Sign
}

func newFaulty() *faulty { return &faulty{seen: map[string]int{}, hooks: map[string]func(){}} }

func (f *faulty) wrap(api hsm.Cryptoki) hsm.Cryptoki {
	f.Cryptoki = api
	return f
}

func (f *faulty) arm(next fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.armed, f.seen, f.fired = next, map[string]int{}, false
}

// disarm reports whether the fault happened.
func (f *faulty) disarm() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.armed = fault{}
	return f.fired
}

func (f *faulty) count(name string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.seen[name]
}

func (f *faulty) hook(name string, run func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hooks[name] = run
}

// do performs a call, or lets it fail as armed.
func (f *faulty) do(name string, real func() error) error {
	f.mu.Lock()
	f.seen[name]++
	n, a, hook := f.seen[name], f.armed, f.hooks[name]
	hit := a.call == name && (n == a.nth || a.permanent && n > a.nth)
	f.fired = f.fired || hit
	f.mu.Unlock()
	if hook != nil {
		hook()
	}
	if !hit {
		return real()
	}
	if a.done {
		_ = real()
	}
	return a.code
}

func (f *faulty) Initialize() error { return f.do("Initialize", f.Cryptoki.Initialize) }
func (f *faulty) Finalize() error   { return f.do("Finalize", f.Cryptoki.Finalize) }

func (f *faulty) GetSlotList(present bool) (slots []uint, err error) {
	err = f.do("GetSlotList", func() (err error) { slots, err = f.Cryptoki.GetSlotList(present); return err })
	return slots, err
}

func (f *faulty) GetTokenInfo(slot uint) (info pkcs11.TokenInfo, err error) {
	err = f.do("GetTokenInfo", func() (err error) { info, err = f.Cryptoki.GetTokenInfo(slot); return err })
	return info, err
}

func (f *faulty) InitToken(slot uint, pin, label string) error {
	return f.do("InitToken", func() error { return f.Cryptoki.InitToken(slot, pin, label) })
}

func (f *faulty) InitPIN(sh pkcs11.SessionHandle, pin string) error {
	return f.do("InitPIN", func() error { return f.Cryptoki.InitPIN(sh, pin) })
}

func (f *faulty) OpenSession(slot, flags uint) (sh pkcs11.SessionHandle, err error) {
	err = f.do("OpenSession", func() (err error) { sh, err = f.Cryptoki.OpenSession(slot, flags); return err })
	return sh, err
}

func (f *faulty) CloseSession(sh pkcs11.SessionHandle) error {
	return f.do("CloseSession", func() error { return f.Cryptoki.CloseSession(sh) })
}

func (f *faulty) Login(sh pkcs11.SessionHandle, user uint, pin string) error {
	return f.do("Login", func() error { return f.Cryptoki.Login(sh, user, pin) })
}

func (f *faulty) Logout(sh pkcs11.SessionHandle) error {
	return f.do("Logout", func() error { return f.Cryptoki.Logout(sh) })
}

func (f *faulty) FindObjectsInit(sh pkcs11.SessionHandle, t []*pkcs11.Attribute) error {
	return f.do("FindObjectsInit", func() error { return f.Cryptoki.FindObjectsInit(sh, t) })
}

func (f *faulty) FindObjects(sh pkcs11.SessionHandle, max int) (found []pkcs11.ObjectHandle, more bool, err error) {
	err = f.do("FindObjects", func() (err error) { found, more, err = f.Cryptoki.FindObjects(sh, max); return err })
	return found, more, err
}

func (f *faulty) FindObjectsFinal(sh pkcs11.SessionHandle) error {
	return f.do("FindObjectsFinal", func() error { return f.Cryptoki.FindObjectsFinal(sh) })
}

func (f *faulty) GetAttributeValue(sh pkcs11.SessionHandle, o pkcs11.ObjectHandle, a []*pkcs11.Attribute) (found []*pkcs11.Attribute, err error) {
	err = f.do("GetAttributeValue", func() (err error) { found, err = f.Cryptoki.GetAttributeValue(sh, o, a); return err })
	return found, err
}

func (f *faulty) GenerateKey(sh pkcs11.SessionHandle, m []*pkcs11.Mechanism, t []*pkcs11.Attribute) (o pkcs11.ObjectHandle, err error) {
	err = f.do("GenerateKey", func() (err error) { o, err = f.Cryptoki.GenerateKey(sh, m, t); return err })
	return o, err
}

func (f *faulty) GenerateKeyPair(sh pkcs11.SessionHandle, m []*pkcs11.Mechanism, pub, priv []*pkcs11.Attribute) (a, b pkcs11.ObjectHandle, err error) {
	err = f.do("GenerateKeyPair", func() (err error) { a, b, err = f.Cryptoki.GenerateKeyPair(sh, m, pub, priv); return err })
	return a, b, err
}

func (f *faulty) DestroyObject(sh pkcs11.SessionHandle, o pkcs11.ObjectHandle) error {
	return f.do("DestroyObject", func() error { return f.Cryptoki.DestroyObject(sh, o) })
}

func (f *faulty) SignInit(sh pkcs11.SessionHandle, m []*pkcs11.Mechanism, o pkcs11.ObjectHandle) error {
	return f.do("SignInit", func() error { return f.Cryptoki.SignInit(sh, m, o) })
}

func (f *faulty) Sign(sh pkcs11.SessionHandle, message []byte) (sig []byte, err error) {
	err = f.do("Sign", func() (err error) { sig, err = f.Cryptoki.Sign(sh, message); return err })
	if f.twist != nil && err == nil {
		f.twist(sig)
	}
	return sig, err
}

func (f *faulty) EncryptInit(sh pkcs11.SessionHandle, m []*pkcs11.Mechanism, o pkcs11.ObjectHandle) error {
	return f.do("EncryptInit", func() error { return f.Cryptoki.EncryptInit(sh, m, o) })
}

func (f *faulty) Encrypt(sh pkcs11.SessionHandle, message []byte) (out []byte, err error) {
	err = f.do("Encrypt", func() (err error) { out, err = f.Cryptoki.Encrypt(sh, message); return err })
	return out, err
}

func (f *faulty) DecryptInit(sh pkcs11.SessionHandle, m []*pkcs11.Mechanism, o pkcs11.ObjectHandle) error {
	return f.do("DecryptInit", func() error { return f.Cryptoki.DecryptInit(sh, m, o) })
}

func (f *faulty) Decrypt(sh pkcs11.SessionHandle, cipher []byte) (out []byte, err error) {
	err = f.do("Decrypt", func() (err error) { out, err = f.Cryptoki.Decrypt(sh, cipher); return err })
	return out, err
}

// createObject and setAttribute make calls beyond what the package uses.
func createObject(api hsm.Cryptoki, sh pkcs11.SessionHandle, t []*pkcs11.Attribute) error {
	_, err := api.(*pkcs11.Ctx).CreateObject(sh, t)
	return err
}

func setAttribute(api hsm.Cryptoki, sh pkcs11.SessionHandle, o pkcs11.ObjectHandle, a *pkcs11.Attribute) error {
	return api.(*pkcs11.Ctx).SetAttributeValue(sh, o, []*pkcs11.Attribute{a})
}

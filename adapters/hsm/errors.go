package hsm

import (
	"context"
	"errors"
	"fmt"

	"github.com/miekg/pkcs11"
)

var (
	// ErrUnavailable says that the token cannot be used now, or is not the one
	// the ledger was made with. Try again later; no restart is needed.
	ErrUnavailable = errors.New("the key token (HSM) is unavailable")
	// ErrNoKey says that the token proved itself through its sentinel key and
	// has no key of that label.
	ErrNoKey = errors.New("the token has no such key")
	// ErrAttributes says that a key exists with attributes that would let it be
	// read, changed, or used for a second purpose. It is not used.
	ErrAttributes = errors.New("a key's attributes break the rules for keys")
	// ErrDuplicate says that two keys bear the same label, so that it is not
	// known which of them made what is stored.
	ErrDuplicate = errors.New("two keys bear the same label")
	// ErrLabel says that a label names no key of the ledger, or that the key it
	// names does not serve the use asked for.
	ErrLabel = errors.New("not a key label for this use")
	// ErrNotErasable says that a key is one the ledger never destroys.
	ErrNotErasable = errors.New("this key is never destroyed")
	// ErrCiphertext says that a delivery does not decrypt under the key, which
	// was proved to be there.
	ErrCiphertext = errors.New("the ciphertext does not decrypt under this key")
	// ErrClosed says that the HSM was closed.
	ErrClosed = errors.New("the HSM connection is closed")
)

// errStale says that the module was initialised again since the connection was
// made, by another token's recovery. Nothing is wrong with the token.
var errStale = errors.New("the module was initialised again")

// call wraps the error of a C call with the call's name.
func call(name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", name, err)
}

func unavailable(label string, cause error) error {
	if errors.Is(cause, ErrUnavailable) {
		return cause
	}
	return fmt.Errorf("%w: token %q: %w", ErrUnavailable, label, cause)
}

// refusals are the return codes that speak about the request. All others may
// mean that the token, the session or the object handle is gone: modules are
// free with CKR_GENERAL_ERROR and CKR_FUNCTION_FAILED.
var refusals = map[pkcs11.Error]bool{
	pkcs11.CKR_ARGUMENTS_BAD:              true,
	pkcs11.CKR_ATTRIBUTE_READ_ONLY:        true,
	pkcs11.CKR_ATTRIBUTE_SENSITIVE:        true,
	pkcs11.CKR_ATTRIBUTE_TYPE_INVALID:     true,
	pkcs11.CKR_ATTRIBUTE_VALUE_INVALID:    true,
	pkcs11.CKR_KEY_FUNCTION_NOT_PERMITTED: true,
	pkcs11.CKR_KEY_SIZE_RANGE:             true,
	pkcs11.CKR_KEY_TYPE_INCONSISTENT:      true,
	pkcs11.CKR_MECHANISM_INVALID:          true,
	pkcs11.CKR_MECHANISM_PARAM_INVALID:    true,
	pkcs11.CKR_TEMPLATE_INCOMPLETE:        true,
	pkcs11.CKR_TEMPLATE_INCONSISTENT:      true,
	pkcs11.CKR_DATA_INVALID:               true,
	pkcs11.CKR_DATA_LEN_RANGE:             true,
	pkcs11.CKR_ENCRYPTED_DATA_INVALID:     true,
	pkcs11.CKR_ENCRYPTED_DATA_LEN_RANGE:   true,
}

// doubtful reports whether err leaves it open that the token is still there.
func doubtful(err error) bool {
	var code pkcs11.Error
	return errors.As(err, &code) && !refusals[code]
}

// pinRefused reports whether the token refused the PIN. Trying it again could
// lock the token.
func pinRefused(err error) bool {
	var code pkcs11.Error
	if !errors.As(err, &code) {
		return false
	}
	switch code {
	case pkcs11.CKR_PIN_INCORRECT, pkcs11.CKR_PIN_INVALID, pkcs11.CKR_PIN_LEN_RANGE,
		pkcs11.CKR_PIN_EXPIRED, pkcs11.CKR_PIN_LOCKED:
		return true
	}
	return false
}

func isCode(err error, want pkcs11.Error) bool {
	var code pkcs11.Error
	return errors.As(err, &code) && code == want
}

// ended reports whether err is the caller's own context, not the token.
func ended(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// errNoToken says that the module shows no token of the label.
var errNoToken = errors.New("the module shows no token of this label")

// errNotProved says that the sentinel did not answer as it must.
var errNotProved = errors.New("the token does not prove itself")

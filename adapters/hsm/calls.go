package hsm

import (
	"fmt"
	"sync/atomic"
)

// Calls counts what was asked of the tokens. One merged call counts once,
// however many blocks it carries.
type Calls struct {
	HMAC, Encrypt, Decrypt, Sign, Generate, Destroy, Find uint64
}

// Sub is the calls since an earlier snapshot.
func (c Calls) Sub(earlier Calls) Calls {
	return Calls{
		HMAC: c.HMAC - earlier.HMAC, Encrypt: c.Encrypt - earlier.Encrypt, Decrypt: c.Decrypt - earlier.Decrypt,
		Sign: c.Sign - earlier.Sign, Generate: c.Generate - earlier.Generate, Destroy: c.Destroy - earlier.Destroy,
		Find: c.Find - earlier.Find,
	}
}

// Crypto is how many calls computed with a key.
func (c Calls) Crypto() uint64 { return c.HMAC + c.Encrypt + c.Decrypt + c.Sign }

// Total is all calls.
func (c Calls) Total() uint64 { return c.Crypto() + c.Generate + c.Destroy + c.Find }

// String lists the counts by name.
func (c Calls) String() string {
	return fmt.Sprintf("hmac %d, encrypt %d, decrypt %d, sign %d, generate %d, destroy %d, find %d",
		c.HMAC, c.Encrypt, c.Decrypt, c.Sign, c.Generate, c.Destroy, c.Find)
}

func (c Calls) add(o Calls) Calls {
	return Calls{
		HMAC: c.HMAC + o.HMAC, Encrypt: c.Encrypt + o.Encrypt, Decrypt: c.Decrypt + o.Decrypt,
		Sign: c.Sign + o.Sign, Generate: c.Generate + o.Generate, Destroy: c.Destroy + o.Destroy, Find: c.Find + o.Find,
	}
}

// counters are one token's calls.
type counters struct {
	hmac, encrypt, decrypt, sign, generate, destroy, find atomic.Uint64
}

func (c *counters) snapshot() Calls {
	return Calls{
		HMAC: c.hmac.Load(), Encrypt: c.encrypt.Load(), Decrypt: c.decrypt.Load(), Sign: c.sign.Load(),
		Generate: c.generate.Load(), Destroy: c.destroy.Load(), Find: c.find.Load(),
	}
}

// Calls is a snapshot of the counts since Open, over all tokens.
func (h *HSM) Calls() Calls {
	var sum Calls
	for _, t := range h.tokens {
		sum = sum.add(t.calls.snapshot())
	}
	return sum
}

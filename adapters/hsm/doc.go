// Package hsm keeps every long-lived key of the ledger in a PKCS#11 token and
// answers with them: message authentication codes, cipher blocks, signatures.
// It is made for the commands (symbols and batch signatures), the key ring
// (data keys of a day) and the retention run (destruction).
//
// What it promises:
//
//   - A key is a token object that is private, sensitive, never extractable,
//     made in the token, not modifiable and fit for one use. This is asserted
//     for all keys by Open and Check, and for each key again before its first
//     use over a connection; a key that is otherwise is ErrAttributes.
//   - Absence means something only where it is proved: a module whose token was
//     taken away may open sessions and find nothing, without an error. ErrNoKey
//     is returned only when the sentinel key answered, with the value known of
//     it, in the same session. In every other case the answer is
//     ErrUnavailable: nothing was done, or what was done is found and used by
//     the next attempt.
//   - After ErrUnavailable nothing has to be restarted. The next call that the
//     back-off lets through initialises the module again, logs in and looks its
//     keys up anew.
//   - A call waits for a session no longer than its context lives. A call that
//     the module has begun cannot be interrupted: PKCS#11 has no means for it.
//
// Only mechanisms that every common HSM has are used: HMAC-SHA256, AES-256-ECB
// on single blocks, ECDSA P-256 over a digest, and RSA-OAEP for what Juki-net
// delivers.
//
// What it cannot promise: the C library copies inputs and outputs into memory
// of its own, which it frees without wiping. On this side of it every secret
// answer is moved into a secret.Bytes and the copy wiped.
//
// SoftHSM, the token of development, removes a destroyed key by unlinking its
// file: the blocks stay on the disk, sealed under the user's PIN, until they
// are written over. Production uses a device that zeroises.
package hsm

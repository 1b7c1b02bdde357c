package hsm

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/miekg/pkcs11"
)

// KeyInfo describes a key. It holds no value of one.
type KeyInfo struct {
	Label      string
	Purpose    Purpose // empty for the sentinel, which every token has
	Version    string  // "1", or the day of a day key
	Token      string  // label of the token
	Class      string  // "secret" or "private"
	Mechanisms []string
	Attributes map[string]bool // the flags of PKCS#11, all asserted
}

var mechanismNames = map[uint]string{
	pkcs11.CKM_SHA256_HMAC:   "CKM_SHA256_HMAC",
	pkcs11.CKM_AES_ECB:       "CKM_AES_ECB",
	pkcs11.CKM_ECDSA:         "CKM_ECDSA",
	pkcs11.CKM_RSA_PKCS_OAEP: "CKM_RSA_PKCS_OAEP",
}

// Keys lists the keys of all tokens by label, their attributes asserted. What
// bears no label of the ledger is left out.
//
// Errors: ErrAttributes, ErrDuplicate, ErrUnavailable, or the context's.
func (h *HSM) Keys(ctx context.Context) ([]KeyInfo, error) {
	var all []KeyInfo
	for _, t := range h.tokens {
		var found []KeyInfo
		err := t.use(ctx, func(s *session) (err error) {
			objects, err := s.objects()
			if err != nil {
				return fmt.Errorf("%w: %w", errNotProved, err)
			}
			if err := s.proveBy(objects[object{LabelSentinel, pkcs11.CKO_SECRET_KEY}]); err != nil {
				return err
			}
			found, err = s.described(objects)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("listing the keys of token %q: %w", t.config.Label, err)
		}
		for i := range found {
			found[i].Token = t.config.Label
		}
		all = append(all, found...)
	}
	slices.SortFunc(all, func(a, b KeyInfo) int {
		return strings.Compare(a.Label+"\x00"+a.Token, b.Label+"\x00"+b.Token)
	})
	return all, nil
}

// objects finds every object of the session's token, by what names it. A token looks through all it has for each search,
// and it has thousands of keys of days: so this is one search.
func (s *session) objects() (map[object][]pkcs11.ObjectHandle, error) {
	handles, err := s.find(pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true))
	if err != nil {
		return nil, err
	}
	found := make(map[object][]pkcs11.ObjectHandle, len(handles))
	for _, handle := range handles {
		o, err := s.name(handle)
		if err != nil {
			return nil, err
		}
		found[o] = append(found[o], handle)
	}
	return found, nil
}

// name reads what names an object.
func (s *session) name(handle pkcs11.ObjectHandle) (o object, err error) {
	a, err := s.attributes(handle, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_CLASS, nil), pkcs11.NewAttribute(pkcs11.CKA_LABEL, nil)})
	if err != nil {
		return o, err
	}
	for _, attribute := range a {
		switch attribute.Type {
		case pkcs11.CKA_CLASS:
			if len(attribute.Value) == 8 { // CK_ULONG, in the order of this machine
				o.class = uint(binary.NativeEndian.Uint64(attribute.Value))
			}
		case pkcs11.CKA_LABEL:
			o.label = string(attribute.Value)
		}
	}
	return o, nil
}

// keys reads and asserts every key of the session's token.
func (s *session) keys() ([]KeyInfo, error) {
	objects, err := s.objects()
	if err != nil {
		return nil, err
	}
	return s.described(objects)
}

// described asserts the keys among what was found, one of each name.
func (s *session) described(objects map[object][]pkcs11.ObjectHandle) ([]KeyInfo, error) {
	var keys []KeyInfo
	for o, handles := range objects {
		if o.class != pkcs11.CKO_SECRET_KEY && o.class != pkcs11.CKO_PRIVATE_KEY {
			continue
		}
		info, known, err := s.describe(handles[0], o)
		if err != nil {
			return nil, err
		}
		if !known {
			continue
		}
		if len(handles) > 1 {
			return nil, fmt.Errorf("%w: %q", ErrDuplicate, o.label)
		}
		keys = append(keys, info)
	}
	return keys, nil
}

func (s *session) describe(handle pkcs11.ObjectHandle, o object) (KeyInfo, bool, error) {
	f, version, err := parseLabel(o.label)
	if err != nil {
		return KeyInfo{}, false, nil // not the ledger's
	}
	sh := shapes[f.kind]
	if sh.class != o.class {
		return KeyInfo{}, false, fmt.Errorf("%w: key %q: object class is not %d", ErrAttributes, o.label, sh.class)
	}
	flags, err := s.flags(handle, o, sh)
	if err != nil {
		return KeyInfo{}, false, err
	}
	info := KeyInfo{Label: o.label, Purpose: f.purpose, Version: version, Class: "secret",
		Mechanisms: []string{mechanismNames[sh.mechanism]}, Attributes: flags}
	if sh.pair() {
		info.Class = "private"
	}
	return info, true, nil
}

// flags are the attributes of a key, asserted. Those of a key that was examined before over this connection are known:
// that nobody can modify them is one of them.
func (s *session) flags(handle pkcs11.ObjectHandle, o object, sh shape) (map[string]bool, error) {
	if known := s.conn.examined(o, handle); known != nil {
		return maps.Clone(known), nil
	}
	flags, err := s.examine(handle, o.label, sh)
	if err == nil {
		s.conn.keep(o, handle, flags)
	}
	return maps.Clone(flags), err
}

// Check is Open's examination of tokens that are open: each sentinel answers in
// a session of its own, all attributes of all keys are as they must be, every
// standing key is there, and the signing keys sign. Run it at intervals: a
// token that nobody calls on may be gone without anybody noticing.
//
// Errors: as Open.
func (h *HSM) Check(ctx context.Context) error {
	if err := h.inspect(ctx); err != nil {
		return fmt.Errorf("checking the HSM: %w", err)
	}
	return nil
}

func (h *HSM) inspect(ctx context.Context) error {
	for _, t := range h.tokens {
		if conn := t.conn.Load(); conn != nil {
			conn.forgetFlags()
		}
	}
	keys, err := h.Keys(ctx)
	if err != nil {
		return err
	}
	for _, f := range families {
		if !f.standing {
			continue
		}
		versions := slices.DeleteFunc(slices.Clone(keys), func(k KeyInfo) bool {
			return !strings.HasPrefix(k.Label, f.name+"/") || !h.serves(f, k)
		})
		if len(versions) == 0 {
			return fmt.Errorf("%w: no version of %q; the token was never set up for this purpose, or lost the key: run the first setup, or restore the token",
				ErrNoKey, f.name)
		}
		if f.kind != kindSign {
			continue
		}
		for _, k := range versions {
			if _, err := h.Sign(ctx, k.Label, sha256.Sum256([]byte(sentinelMessage))); err != nil {
				return err
			}
		}
	}
	return nil
}

// serves reports whether a key lies in the token of its purpose.
func (h *HSM) serves(f family, k KeyInfo) bool {
	return f.purpose == "" || h.byPurpose[f.purpose].config.Label == k.Token
}

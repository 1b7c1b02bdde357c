package hsm

import (
	"context"
	"fmt"
	"slices"

	"github.com/miekg/pkcs11"
)

// DayKeys lists the labels of the keys of days, rising, each once, of a token that proves itself by the same list: what is not in it is
// absent, not out of sight. It asserts no attributes, which makes it fit for thousands of keys; see Keys.
//
// Errors: ErrUnavailable, or the context's.
func (h *HSM) DayKeys(ctx context.Context) ([]string, error) {
	var labels []string
	err := h.byPurpose[PurposeDays].use(ctx, func(s *session) (err error) {
		labels, err = s.dayLabels()
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listing the keys of days: %w", err)
	}
	slices.Sort(labels)
	return slices.Compact(labels), nil
}

// dayLabels reads the labels of all secret keys, because a module cannot be asked for a part of a label. The sentinel must
// be among them, and answer afterwards: so it was this token that told them, and no search of its own is needed for it,
// which takes as long as the list where there are thousands of keys.
func (s *session) dayLabels() ([]string, error) {
	found, err := s.find(pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY), pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNotProved, err)
	}
	var labels []string
	var sentinels []pkcs11.ObjectHandle
	for _, handle := range found {
		a, err := s.attributes(handle, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_LABEL, nil)})
		if err != nil {
			return nil, err
		}
		label := string(a[0].Value)
		if label == LabelSentinel {
			sentinels = append(sentinels, handle)
		}
		if f, _, err := parseLabel(label); err == nil && f.name == dayFamily {
			labels = append(labels, label)
		}
	}
	return labels, s.proveBy(sentinels)
}

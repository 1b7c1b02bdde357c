package hsm

import (
	"context"
	"fmt"
	"slices"

	"github.com/miekg/pkcs11"
)

// DayKeys lists the labels of the keys of days, rising, each once, between two proofs of the token: what is not in it is
// absent, not out of sight. It asserts no attributes, which makes it fit for thousands of keys; see Keys.
//
// Errors: ErrUnavailable, or the context's.
func (h *HSM) DayKeys(ctx context.Context) ([]string, error) {
	var labels []string
	err := h.byPurpose[PurposeDays].use(ctx, func(s *session) (err error) {
		if err := s.prove(); err != nil {
			return err
		}
		if labels, err = s.dayLabels(); err != nil {
			return err
		}
		return s.prove()
	})
	if err != nil {
		return nil, fmt.Errorf("listing the keys of days: %w", err)
	}
	slices.Sort(labels)
	return slices.Compact(labels), nil
}

// dayLabels reads the labels of all secret keys, because a module cannot be asked for a part of a label.
func (s *session) dayLabels() ([]string, error) {
	found, err := s.find(pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY), pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true))
	if err != nil {
		return nil, err
	}
	var labels []string
	for _, handle := range found {
		a, err := s.attributes(handle, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_LABEL, nil)})
		if err != nil {
			return nil, err
		}
		if f, _, err := parseLabel(string(a[0].Value)); err == nil && f.name == dayFamily {
			labels = append(labels, string(a[0].Value))
		}
	}
	return labels, nil
}

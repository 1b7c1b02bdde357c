package hsm

import (
	"context"
	"fmt"
	"strings"
)

// TokenInfo is how a token names itself (PKCS #11 §3.2, CK_TOKEN_INFO).
type TokenInfo struct {
	Label, Manufacturer, Model, Serial string
}

// TokenOf names the token that holds the keys of a label's purpose, after it proved itself in the same session.
//
// Errors: ErrLabel, ErrUnavailable, or the context's.
func (h *HSM) TokenOf(ctx context.Context, label string) (TokenInfo, error) {
	f, _, err := parseLabel(label)
	if err == nil && f.purpose == "" {
		err = fmt.Errorf("%w: %q is in every token", ErrLabel, label)
	}
	if err != nil {
		return TokenInfo{}, fmt.Errorf("naming a token: %w", err)
	}
	var named TokenInfo
	err = h.byPurpose[f.purpose].use(ctx, func(s *session) error {
		if err := s.prove(); err != nil {
			return err
		}
		info, err := s.api.GetTokenInfo(s.conn.slot)
		if err != nil {
			return call("C_GetTokenInfo", err)
		}
		named = TokenInfo{Label: trimmed(info.Label), Manufacturer: trimmed(info.ManufacturerID), Model: trimmed(info.Model), Serial: trimmed(info.SerialNumber)}
		return nil
	})
	if err != nil {
		return TokenInfo{}, fmt.Errorf("naming the token of %q: %w", label, err)
	}
	return named, nil
}

// trimmed takes off the padding of the module, and whatever is not valid text.
func trimmed(s string) string { return strings.TrimRight(strings.ToValidUTF8(s, ""), " \x00") }

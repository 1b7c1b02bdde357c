package commands

import (
	"context"
	"fmt"
	"sync"

	"kiroku/commands/sequencer"
	"kiroku/domain/agency"
	"kiroku/domain/symbol"
)

// Versions of what makes symbols. A new version is a new key or scheme beside the old one (domain rule Symbols 5).
const (
	linkageVersion = 1
	indexVersion   = 1
	schemeVersion  = 1

	labelIndex   = "index/1"
	labelLinkage = "linkage/1"
	labelTweak   = "tweak/1"
	labelAgency  = "agency/1"
	labelRecord  = "record-symbol/1"
)

// symbols derives the three kinds of symbols. It keeps the agencies' tweaks, which are the same for
// all persons, and nothing of a person.
type symbols struct {
	hsm    HSM
	mu     sync.RWMutex
	tweaks map[agency.Parameter]symbol.Tweak
}

func newSymbols(h HSM) *symbols {
	return &symbols{hsm: h, tweaks: map[agency.Parameter]symbol.Tweak{}}
}

// unavailable marks what the HSM could not do as worth repeating.
func unavailable(doing string, err error) error {
	return fmt.Errorf("%s: %w: %w", doing, sequencer.ErrUnavailable, err)
}

func (s *symbols) management(ctx context.Context, code symbol.ResidentCode) (symbol.ManagementInfo, error) {
	message, err := symbol.IndexInput(code)
	if err != nil {
		return symbol.ManagementInfo{}, err
	}
	defer message.Destroy()
	mac, err := s.hsm.HMAC(ctx, labelIndex, message.Expose())
	if err != nil {
		return symbol.ManagementInfo{}, unavailable("derive the management information", err)
	}
	defer mac.Destroy()
	return symbol.ManagementInfoFrom(mac.Expose())
}

func (s *symbols) linkage(ctx context.Context, code symbol.ResidentCode, salt []byte) (symbol.Linkage, error) {
	message, err := symbol.LinkageInput(code, salt)
	if err != nil {
		return symbol.Linkage{}, err
	}
	defer message.Destroy()
	mac, err := s.hsm.HMAC(ctx, labelLinkage, message.Expose())
	if err != nil {
		return symbol.Linkage{}, unavailable("derive the linkage symbol", err)
	}
	defer mac.Destroy()
	return symbol.LinkageFrom(mac.Expose())
}

func (s *symbols) tweak(ctx context.Context, p agency.Parameter) (symbol.Tweak, error) {
	s.mu.RLock()
	t, ok := s.tweaks[p]
	s.mu.RUnlock()
	if ok {
		return t, nil
	}
	mac, err := s.hsm.HMAC(ctx, labelTweak, symbol.TweakInput(p, schemeVersion))
	if err != nil {
		return symbol.Tweak{}, unavailable("derive the agency's tweak", err)
	}
	defer mac.Destroy()
	if t, err = symbol.TweakFrom(mac.Expose()); err != nil {
		return symbol.Tweak{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tweaks[p] = t
	return t, nil
}

// agency derives the symbols of persons at one agency in one call of the HSM.
func (s *symbols) agency(ctx context.Context, p agency.Parameter, persons ...symbol.Linkage) ([]symbol.Agency, error) {
	t, err := s.tweak(ctx, p)
	if err != nil {
		return nil, err
	}
	blocks := make([][16]byte, len(persons))
	for i, l := range persons {
		blocks[i] = l.Masked(t)
	}
	if err := s.hsm.EncryptBlocks(ctx, labelAgency, blocks); err != nil {
		return nil, unavailable("derive agency symbols", err)
	}
	out := make([]symbol.Agency, len(blocks))
	for i, b := range blocks {
		out[i] = symbol.AgencyFrom(b, t, schemeVersion)
	}
	return out, nil
}

// invert returns the linkage symbol that an agency's symbol stands for. Every 16 octets invert to something:
// only the register says whether it is a person. False for a scheme version that never was.
func (s *symbols) invert(ctx context.Context, p agency.Parameter, sym symbol.Agency) (symbol.Linkage, bool, error) {
	if sym.Version() != schemeVersion {
		return symbol.Linkage{}, false, nil
	}
	t, err := s.tweak(ctx, p)
	if err != nil {
		return symbol.Linkage{}, false, err
	}
	blocks := [][16]byte{sym.Masked(t)}
	if err := s.hsm.DecryptBlocks(ctx, labelAgency, blocks); err != nil {
		return symbol.Linkage{}, false, unavailable("invert the agency symbol", err)
	}
	return symbol.LinkageFromBlock(blocks[0], t), true, nil
}

// record derives the record symbol of a person.
func (s *symbols) record(ctx context.Context, l symbol.Linkage) (symbol.Record, error) {
	blocks := [][16]byte{l.Expose()}
	if err := s.hsm.EncryptBlocks(ctx, labelRecord, blocks); err != nil {
		return symbol.Record{}, unavailable("derive the record symbol", err)
	}
	return symbol.RecordFromBlock(blocks[0]), nil
}

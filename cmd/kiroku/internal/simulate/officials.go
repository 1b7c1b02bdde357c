package simulate

import (
	"fmt"
	"time"

	"kiroku/cmd/kiroku/internal/pki"
)

// newOfficials makes an authority and as many officials as it takes, for all the years.
func (s *Simulation) newOfficials() (err error) {
	if s.known, s.signers, err = pki.InMemory("kiroku simulation", s.o.From.Start().Add(-time.Hour), s.o.From.AddDays(s.o.Days).End()); err != nil {
		return fmt.Errorf("make officials: %w", err)
	}
	return nil
}

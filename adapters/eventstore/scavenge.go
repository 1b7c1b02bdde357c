package eventstore

import "context"

// Scavenge is not there yet.
func (s *Store) Scavenge(ctx context.Context) error { return nil }

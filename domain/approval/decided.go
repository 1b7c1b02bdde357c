package approval

import (
	"time"

	"github.com/google/uuid"

	"kiroku/domain/event"
)

// What two officials decided is asked of the proposal that a fact names, with the approvals that stood in the registry
// before the fact. Of no proposal (nil) the answer is no.

func (s *Standing) decided(kind string) bool {
	return s != nil && s.Made.Kind == kind && s.Approved()
}

// Releases reports whether two officials approved the early end of a hold.
func (s *Standing) Releases(hold uuid.UUID) bool {
	return s.decided(event.ProposalHoldRelease) && string(s.Made.Hold) == string(hold[:])
}

// Loses reports whether two officials approved that a day (YYYY-MM-DD) ends because its key is gone, and that could still be
// approved at the time of the end: what they knew of a token says nothing of it long after.
func (s *Standing) Loses(day string, at time.Time) bool {
	return s.decided(event.ProposalKeyLoss) && s.Made.Day == day && !s.Expired(at)
}

// Deletes reports whether two officials approved a physical deletion (物理削除).
func (s *Standing) Deletes() bool { return s.decided(event.ProposalDeletion) }

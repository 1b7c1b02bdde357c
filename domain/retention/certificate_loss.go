package retention

import (
	"bytes"

	"kiroku/domain/approval"
	"kiroku/domain/calendar"
	"kiroku/domain/event"
)

// checkLoss proves the end of a day whose key was found missing: by what two officials approved in time before, without a
// summary, and marked as premature exactly if the day was not due.
func (d *checkedDay) checkLoss(end fact[event.DayKeyDestroyed]) {
	d.out.Lost, d.out.Premature = true, end.says.Premature
	if early := calendar.DayOf(end.at).Before(d.c.policy.Due(d.out.Day)); early != end.says.Premature {
		d.flaw("its key was lost before it was due: %t, and it says %t", early, end.says.Premature)
	}
	if end.says.Summary != 0 {
		d.flaw("its key was lost, and yet it names a summary")
	}
	if !d.lossApproved(end) {
		d.flaw("no proposal that two officials approved before says that its key was lost")
		return
	}
	d.out.Proposal = approval.Hash(end.says.Proposal).String()
}

func (d *checkedDay) lossApproved(end fact[event.DayKeyDestroyed]) bool {
	s := d.c.standing(end.says.Proposal, end.revision())
	if s == nil || s.Made.Kind != event.ProposalKeyLoss || s.Made.Day != d.out.Day.String() || s.Expired(end.at) {
		return false
	}
	counting := s.Counting()
	return len(counting) >= approval.Needed && counting[approval.Needed-1].At <= end.says.At
}

// sameLoss compares what the certificate says of a loss with the fact that it certifies.
func (d *checkedDay) sameLoss(end fact[event.DayKeyDestroyed], certificate event.DayCertified) {
	found := int64(0)
	if end.says.Lost {
		found = end.says.At
	}
	if certificate.Lost != end.says.Lost || certificate.Found != found || !bytes.Equal(certificate.Proposal, end.says.Proposal) {
		d.flaw("what its certificate says of the loss of its key is not what registry@%d says", end.revision())
	}
	if !end.says.Lost && (end.says.Premature || len(end.says.Proposal) > 0) {
		d.flaw("its key was destroyed, and what it says of a loss is out of place")
	}
}

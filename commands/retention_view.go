package commands

import (
	"github.com/google/uuid"

	"kiroku/domain/approval"
	"kiroku/domain/calendar"
	"kiroku/domain/retention"
)

// Retention answers from the read model of retention.
type Retention interface {
	// Proposal finds a proposal by its hash, with the approvals of it that were recorded.
	Proposal(approval.Hash) (approval.Standing, bool)
	// Proposals returns all of them, in the order in which they were made.
	Proposals() []approval.Standing
	// Hold finds a legal hold, released or not.
	Hold(uuid.UUID) (retention.Hold, bool)
	// Holds returns all of them, in the order in which they were added.
	Holds() []retention.Hold
	// Authorities returns which authorities of officials are in force when.
	Authorities() approval.Terms
	// Copies returns which copies of the HSM's keys there are when.
	Copies() retention.Copies
	// Days returns the days, from and to included, that the ledger holds something of or held, rising.
	Days(from, to calendar.Day) []DayEnd
}

// DayEnd is how far a day has come to its end.
type DayEnd struct {
	Day           calendar.Day
	Filled        bool // a stream holds something of it
	Decided       bool // its key is destroyed any moment, or is, and the registry does not say so yet
	Destroyed     bool // its key in the HSM
	Certified     bool // and what the core derived of it
	Unrecoverable bool // and every copy of its key, as officials attested
	Lost          bool // its key was not destroyed but found missing
	Premature     bool // that was before it was due
	Acknowledged  bool // and somebody acknowledged it

	Copies []string // of a destroyed day, sorted: those that may hold its key, as the registry says
}

// Holds returns every legal hold, in the order in which they were added.
func (c *Core) Holds() []retention.Hold { return c.d.Retention.Holds() }

// Copies names the copies of the HSM's keys that there are, as the registry says, sorted. A day is called unrecoverable
// only with an attestation for each that was among them when its key was destroyed, or since.
func (c *Core) Copies() []string { return c.d.Retention.Copies().InForce() }

// Authorities returns which authorities of officials are in force when, as the registry says.
func (c *Core) Authorities() approval.Terms { return c.d.Retention.Authorities() }

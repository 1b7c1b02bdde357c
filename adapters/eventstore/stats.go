package eventstore

import "sync/atomic"

// Stats counts what a Store did since it was opened.
type Stats struct {
	Appends         uint64 // appends that were answered with success
	AppendedEvents  uint64 // events in them
	AppendedBytes   uint64 // their size as the store counts it (see EventSize)
	AppendRetries   uint64 // appends sent anew because the first try surely was not sent
	OutcomesUnknown uint64 // appends that ended in ErrOutcomeUnknown
	WrongRevisions  uint64 // appends that ended in ErrWrongRevision
	ReadEvents      uint64 // events received by reads and subscriptions
	ReadBytes       uint64 // their size as the store counts it
	Resumed         uint64 // reads and subscriptions taken up again after a failure
	Connects        uint64 // connections made
	ConnectFailures uint64 // connection attempts that failed
}

type counters struct {
	appends, appendedEvents, appendedBytes         atomic.Uint64
	appendRetries, outcomesUnknown, wrongRevisions atomic.Uint64
	readEvents, readBytes, resumed                 atomic.Uint64
	connects, connectFailures                      atomic.Uint64
}

func (c *counters) snapshot() Stats {
	return Stats{
		Appends:         c.appends.Load(),
		AppendedEvents:  c.appendedEvents.Load(),
		AppendedBytes:   c.appendedBytes.Load(),
		AppendRetries:   c.appendRetries.Load(),
		OutcomesUnknown: c.outcomesUnknown.Load(),
		WrongRevisions:  c.wrongRevisions.Load(),
		ReadEvents:      c.readEvents.Load(),
		ReadBytes:       c.readBytes.Load(),
		Resumed:         c.resumed.Load(),
		Connects:        c.connects.Load(),
		ConnectFailures: c.connectFailures.Load(),
	}
}

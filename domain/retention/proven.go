package retention

import "time"

// Moment is an anchor (or now) as a measure of the time.
type Moment struct {
	At    time.Time
	Epoch uint64 // writer epoch of the registry in which it was written; 0: not known to be written in any
}

// Bounds of what one step between two anchors proves, and of what steps between epochs prove together.
const (
	// LongestStep is within one epoch: offices are closed at New Year, and something is anchored each day all the same.
	LongestStep = 7 * 24 * time.Hour
	// AcrossEpochs is from one epoch to the next. Nobody watched the clock in between, so this much, and no more, is gained
	// by whoever has the core begin again with a wrong one.
	AcrossEpochs = time.Hour
	// AcrossAll is for all steps between epochs, as far as they were not earned back: who has the core begin again and
	// again gains no more, but with the time.
	AcrossAll = 24 * time.Hour
	// EarnedBack is how much time has to pass within epochs until one part of it may be gained between epochs again.
	EarnedBack = 30
)

// Clock is the last anchor, and the time that the anchors up to it prove to have passed since the first one. The zero Clock
// is before the first anchor.
type Clock struct {
	Moment
	Proven time.Duration // the sum of the steps
	Spent  time.Duration // of AcrossAll, 0 to AcrossAll
}

// Step returns the time that an anchor, or now, that follows the last anchor in the ledger proves to have passed since.
// Within an epoch one process wrote both, and anchors no more once it sees its clock a minute off the monotonic one of its
// machine: the step is believed for what it is, back as well as forward, up to LongestStep. From one epoch to another it
// counts forward only, up to AcrossEpochs and what is left of AcrossAll.
func (c Clock) Step(to Moment) time.Duration {
	if c.At.IsZero() {
		return 0
	}
	step := to.At.Sub(c.At)
	if c.within(to) {
		return min(max(step, -LongestStep), LongestStep)
	}
	return min(max(step, 0), AcrossEpochs, AcrossAll-c.Spent)
}

func (c Clock) within(to Moment) bool { return c.Epoch > 0 && c.Epoch == to.Epoch }

// Pass returns the clock at the next anchor. What a step within an epoch earns back, one back in time spends.
func (c Clock) Pass(to Moment) Clock {
	step := c.Step(to)
	next := Clock{Moment: to, Proven: c.Proven + step, Spent: c.Spent + step}
	if c.within(to) {
		next.Spent = min(max(c.Spent-step/EarnedBack, 0), AcrossAll)
	}
	return next
}

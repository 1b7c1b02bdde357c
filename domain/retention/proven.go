package retention

import "time"

// Moment is an anchor (or now) as a measure of the time.
type Moment struct {
	At    time.Time
	Epoch uint64 // writer epoch of the registry in which it was written; 0: not known to be written in any
}

// Bounds of what one step between two anchors proves.
const (
	// LongestStep is within one epoch: offices are closed at New Year, and something is anchored each day all the same.
	LongestStep = 7 * 24 * time.Hour
	// AcrossEpochs is from one epoch to the next. Nobody watched the clock in between, so this much, and no more, is gained
	// by whoever has the core begin again with a wrong one.
	AcrossEpochs = time.Hour
)

// Step returns the time that two anchors, the second of which follows the first in the ledger, prove to have passed.
// Within an epoch one process wrote both, and anchors no more once it sees its clock a minute off the monotonic one of its
// machine: the step is believed for what it is, back as well as forward, up to LongestStep. From one epoch to
// another it counts forward only, up to AcrossEpochs.
func Step(from, to Moment) time.Duration {
	step := to.At.Sub(from.At)
	if from.Epoch > 0 && from.Epoch == to.Epoch {
		return min(max(step, -LongestStep), LongestStep)
	}
	return min(max(step, 0), AcrossEpochs)
}

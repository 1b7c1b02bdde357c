package mediation

import (
	"iter"
	"slices"

	"github.com/google/uuid"

	"kiroku/projections"
)

// rowsOf is where rows are read: the view, or a batch on its way into it.
type rowsOf interface {
	Get(t projections.Table, key []byte) (value []byte, found bool, err error)
}

const keySize = projections.PeriodSize + len(uuid.UUID{})

func standingKey(day projections.DayNumber, number uuid.UUID) []byte {
	return append(projections.AppendDay(make([]byte, 0, keySize), day), number[:]...)
}

func dayKey(of uint32, number uuid.UUID) []byte {
	return append(projections.AppendSpan(make([]byte, 0, keySize), of), number[:]...)
}

// dayValue is a day as a row of tableOpen or tableExpiry holds it.
func dayValue(day projections.DayNumber) []byte { return projections.AppendDay(nil, day) }

// dayIn looks for the day of an inquiry in one span.
func dayIn(rows rowsOf, of uint32, number uuid.UUID) (day projections.DayNumber, found bool, err error) {
	value, found, err := rows.Get(tableDay, dayKey(of, number))
	if err != nil || !found {
		return 0, false, err
	}
	if len(value) != 1 {
		return 0, false, projections.ErrDamaged
	}
	return span.Day(of, value[0]), true, nil
}

// latestDay looks for the day of an inquiry in the spans of a rising list from one on, the latest first, and among what
// dies with no day.
func latestDay(rows rowsOf, spans []uint32, from uint32, number uuid.UUID) (day projections.DayNumber, found bool, err error) {
	for i := len(spans) - 1; i >= 0 && !found && err == nil; i-- {
		if of := spans[i]; of >= from || of == 0 {
			day, found, err = dayIn(rows, of, number)
		}
	}
	return day, found, err
}

// find reads a standing while others may move it. A standing moves to later days only. So if it is nowhere, the latest span
// first, it is looked for once more, the earliest first: it cannot get past that.
func (m *Mediation) find(number uuid.UUID) (standing, bool, error) {
	s, found, err := m.findIn(slices.Backward(m.spans.All()), number)
	for before := -1; !found && err == nil && before != len(m.spans.All()); {
		before = len(m.spans.All()) // another span since: it may have moved there
		s, found, err = m.findIn(slices.All(m.spans.All()), number)
	}
	return s, found, err
}

func (m *Mediation) findIn(spans iter.Seq2[int, uint32], number uuid.UUID) (standing, bool, error) {
	for _, of := range spans {
		s, found, err := m.findWithin(of, number)
		if found || err != nil {
			return s, found, err
		}
	}
	return standing{}, false, nil
}

// findWithin looks again when a standing is no longer where it was said to be: it moved in between, or its day has ended.
func (m *Mediation) findWithin(of uint32, number uuid.UUID) (s standing, found bool, err error) {
	for range 10 {
		day, named, err := dayIn(m.rows, of, number)
		if err != nil || !named {
			return s, false, err
		}
		s, found, err = decodeStanding(m.rows.Get(tableStanding, standingKey(day, number)))
		if found || err != nil {
			return s, found, err
		}
	}
	return s, false, projections.ErrDamaged
}

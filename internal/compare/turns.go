package compare

import (
	"slices"
	"time"
)

// Turns measures any number of sides in one run, which needs no benchmark. In a turn
// each side has a round. Who begins, and who follows whom, changes from turn to turn,
// so that whatever else the machine does hits all alike.
type Turns struct {
	sides []Side
	times [][]time.Duration // per event: of each side, turn by turn
}

// NewTurns returns the turns of the sides, before the first.
func NewTurns(sides ...Side) *Turns {
	return &Turns{sides: sides, times: make([][]time.Duration, len(sides))}
}

// Next has each side run a round. After an error the turn does not count.
func (t *Turns) Next() error {
	took := make([]time.Duration, len(t.sides))
	for _, side := range order(len(t.times[0]), len(t.sides)) {
		var err error
		if took[side], err = t.sides[side].round(nil); err != nil {
			return err
		}
	}
	for side := range took {
		t.times[side] = append(t.times[side], took[side])
	}
	return nil
}

// order returns the order of the sides in a turn: each begins once in as many turns
// as there are sides, and then they go the other way round.
func order(turn, sides int) []int {
	all := make([]int, sides)
	for i := range all {
		all[i] = (i + turn) % sides
	}
	if turn/sides%2 == 1 {
		slices.Reverse(all)
	}
	return all
}

// PerEvent returns the median of a side's times per event.
func (t *Turns) PerEvent(side int) time.Duration { return Median(t.times[side]) }

// Ratio is how many times as fast one side is as another, turn by turn.
type Ratio struct {
	// Median is what lies in the middle; half of the turns gave what lies between
	// Low and High.
	Low, Median, High float64
}

// Ratio compares two sides.
func (t *Turns) Ratio(side, other int) Ratio {
	ratios := make([]float64, len(t.times[side]))
	for turn := range ratios {
		ratios[turn] = float64(t.times[other][turn]) / float64(t.times[side][turn])
	}
	slices.Sort(ratios)
	last := len(ratios) - 1
	return Ratio{Low: ratios[last/4], Median: Median(ratios), High: ratios[last-last/4]}
}

package lab

import (
	"fmt"
	"slices"
	"time"
)

// Times are measured times of the same thing.
type Times []time.Duration

// Median is the middle one, of an even number the lower of the two; 0 when
// there are none.
func (t Times) Median() time.Duration {
	if len(t) == 0 {
		return 0
	}
	return slices.Sorted(slices.Values(t))[(len(t)-1)/2]
}

// String tells the median and the extremes, in milliseconds.
func (t Times) String() string {
	if len(t) == 0 {
		return "never measured"
	}
	ms := func(d time.Duration) int64 { return d.Round(time.Millisecond).Milliseconds() }
	return fmt.Sprintf("median %d ms, %d to %d ms, of %d", ms(t.Median()), ms(slices.Min(t)), ms(slices.Max(t)), len(t))
}

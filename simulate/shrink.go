package simulate

import (
	"slices"
	"time"
)

// Shrink is a plan with as few stimuli as it takes for fails to say yes: it drops what it
// can, halves first and then one by one, and keeps the moments of the others.
func Shrink(p Plan, fails func(Plan) bool) Plan {
	for size := (len(p.Stimuli) + 1) / 2; size > 0; size /= 2 {
		for at := 0; at < len(p.Stimuli); {
			if less := p.without(at, min(at+size, len(p.Stimuli))); fails(less) {
				p = less
			} else {
				at += size
			}
		}
	}
	return p
}

// without is a plan without some of its stimuli; the others come when they came.
func (p Plan) without(from, to int) Plan {
	var gap time.Duration
	for _, s := range p.Stimuli[from:to] {
		gap += s.After
	}
	left := slices.Delete(slices.Clone(p.Stimuli), from, to)
	if from < len(left) {
		left[from].After += gap
	}
	return Plan{p.Seed, left}
}

package simulate

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// A Stimulus is one thing that befalls the world.
type Stimulus struct {
	// After is how long after the one before it.
	After time.Duration
	Kind  Kind
	// N is what everything about it is drawn from.
	N uint64
}

// String is the stimulus for a person.
func (s Stimulus) String() string { return fmt.Sprintf("%s later: %s (%x)", s.After, s.Kind, s.N) }

// A Kind is a kind of stimulus, by its name.
type Kind string

// A Plan is a world and what befalls it.
type Plan struct {
	Seed    uint64
	Stimuli []Stimulus
}

// NewPlan makes the plan of a seed: so many stimuli, in the mean so far apart.
func NewPlan(seed uint64, stimuli int, apart time.Duration) Plan {
	r := rand.New(rand.NewPCG(seed, 18))
	p := Plan{Seed: seed}
	total := 0
	for _, k := range kinds {
		total += k.weight
	}
	for range stimuli {
		n := r.IntN(total)
		for _, k := range kinds {
			if n -= k.weight; n < 0 {
				p.Stimuli = append(p.Stimuli, Stimulus{spacing(r.Uint64(), apart), k.kind, r.Uint64()})
				break
			}
		}
	}
	return p
}

// spacing is how far apart two stimuli are: often so close that the one falls into what
// follows from the other, and else around the mean.
func spacing(x uint64, apart time.Duration) time.Duration {
	switch y := mix(x, 1); x % 8 {
	case 0:
		return between(y, time.Millisecond, time.Second)
	case 1, 2:
		return between(y, time.Second, 20*time.Second)
	}
	return exponential(mix(x, 2), apart) + time.Millisecond
}

// Length is how long the plan takes.
func (p Plan) Length() (all time.Duration) {
	for _, s := range p.Stimuli {
		all += s.After
	}
	return all
}

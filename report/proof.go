package report

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"netwatch"
)

// A Proof is a step that asked as a caller does, and how often it was well.
type Proof struct {
	Step string `json:"step"`
	// Well, Failed and Unknown count how it ended; unknown is neither.
	Well    int `json:"well"`
	Failed  int `json:"failed"`
	Unknown int `json:"unknown"`
	// Last is when it was last made, and LastFailed when it last failed.
	Last       time.Time `json:"last"`
	LastFailed time.Time `json:"last_failed,omitzero"`
	// Said is what the last one found.
	Said string `json:"said,omitempty"`
}

// proofs gathers proofs by their step.
type proofs struct{ by map[string]*Proof }

// proofVerb is what the steps begin with that prove something.
const proofVerb = "verify "

func (p *proofs) add(e netwatch.Entry) {
	if e.Kind != netwatch.EntryStep || !strings.HasPrefix(e.Step, proofVerb) {
		return
	}
	if p.by == nil {
		p.by = map[string]*Proof{}
	}
	one := p.by[e.Step]
	if one == nil {
		one = &Proof{Step: e.Step}
		p.by[e.Step] = one
	}
	one.Last, one.Said = e.Time, cmp.Or(e.Error, e.Detail)
	switch e.Outcome {
	case netwatch.Failed:
		one.Failed++
		one.LastFailed = e.Time
	case netwatch.Changed, netwatch.Unchanged:
		one.Well++
	default:
		one.Unknown++
	}
}

// all are the proofs, by their step.
func (p *proofs) all() []Proof {
	all := []Proof{}
	for _, one := range p.by {
		done := *one
		done.Step, done.Said = clean(done.Step), clean(done.Said)
		all = append(all, done)
	}
	slices.SortFunc(all, func(a, b Proof) int { return cmp.Compare(a.Step, b.Step) })
	return all
}

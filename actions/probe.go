package actions

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"netwatch"
)

// probeUsage is what follows the verb.
const probeUsage = "[SOURCE]"

// A probeAction has a source look at once.
type probeAction struct {
	source string // empty is every source that can be asked
	probe  func(ctx context.Context, name string, followed bool) netwatch.Result
}

// newProbe makes the step `probe [SOURCE]`. It is no gate: what it finds
// changes nothing by itself.
func newProbe(env Env, verb string, words []string) (netwatch.Step, error) {
	if len(words) > 1 {
		return netwatch.Step{}, fmt.Errorf("%q after the source is not understood: %s %s", words[1], verb, probeUsage)
	}
	return netwatch.Step{Action: &probeAction{strings.Join(words, ""), env.Probe}}, nil
}

// Needs is the source.
func (p *probeAction) Needs() Needs { return Needs{Sources: []string{p.source}} }

// Do returns once the source has answered and what it found is emitted.
func (p *probeAction) Do(ctx context.Context, job netwatch.Job) netwatch.Result {
	if p.probe == nil {
		return netwatch.Failure(errors.New("asking the sources: there are none here"))
	}
	return p.probe(ctx, p.source, slices.ContainsFunc(job.Steps, actsOnIt))
}

// actsOnIt says whether a step of the same rule does more than to look or to tell.
func actsOnIt(s netwatch.Step) bool {
	_, looks := s.Action.(*probeAction)
	return !looks && !s.Notice
}

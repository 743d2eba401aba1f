package hooks

import (
	"context"
	"fmt"
	"slices"
	"time"

	"netwatch"
	"netwatch/state"
)

// revive takes up what a step has found. A proof that found its server dead is made
// again, once the steps before it have been done that can bring it to life: once in a
// run, and once for a finding, until the server was seen alive. They are done although
// nothing changed, but a unit that somebody has stopped stays so.
func (l *lane) revive(ctx context.Context, rule *Rule, r *run, found netwatch.Result) netwatch.Result {
	proof := rule.Do[r.next].Text
	if found.Dead == "" {
		l.alive(proof, found)
		return found
	}
	starts := slices.DeleteFunc(slices.Clone(rule.Do[:r.next]), func(s netwatch.Step) bool { return !s.Starts })
	if len(starts) == 0 || l.known(proof, r, found) {
		return found
	}
	for _, step := range starts {
		began := time.Now()
		l.does(step.Text, "")
		job := l.job(rule, r, step)
		job.Revives = true
		result := step.Do(ctx, job)
		l.did(rule, r, step, result, began)
		switch result.Outcome {
		case netwatch.Held:
			return result
		case netwatch.Failed:
			if !result.Refused { // Else nobody has started it yet
				l.revived(proof, r, found)
			}
			return result
		}
	}
	l.revived(proof, r, found)
	again := l.step(ctx, rule, r)
	l.alive(proof, again)
	return again
}

// known says that steps were done because of this finding already.
func (l *lane) known(proof string, r *run, found netwatch.Result) bool {
	return r.revived || l.d.store.Get().Dead[proof] == found.Dead
}

// revived notes that steps were done because of a finding.
func (l *lane) revived(proof string, r *run, found netwatch.Result) {
	r.revived = true
	l.d.save(func(s *state.State) { s.Dead[proof] = found.Dead })
}

// alive forgets what a proof found before, when it has seen its server alive: should
// that die again, this is another finding.
func (l *lane) alive(proof string, found netwatch.Result) {
	if _, ok := l.d.store.Get().Dead[proof]; ok && found.Outcome == netwatch.Unchanged {
		l.d.save(func(s *state.State) { delete(s.Dead, proof) })
	}
}

// saysKnown has the error of a known finding say that nothing more is done.
func (l *lane) saysKnown(proof string, r *run, found netwatch.Result) netwatch.Result {
	if found.Dead == "" || !l.known(proof, r, found) {
		return found
	}
	err := fmt.Errorf("%w; it was started because of that already", found.Err)
	found.Err = netwatch.WithHint(err, netwatch.Hint(found.Err))
	return found
}

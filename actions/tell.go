package actions

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"netwatch"
)

// tellUsage is what follows the verb.
const tellUsage = "[SOURCE]"

// A tellAction hands the events of a run on to other machines.
type tellAction struct {
	source string // empty is every source that can
	tell   func(ctx context.Context, name string, events []netwatch.Event) netwatch.Result
}

// newTell makes the step `tell [SOURCE]`. It is no notice: a run is done when the others
// can know of it, and is tried again otherwise.
func newTell(env Env, verb string, words []string) (netwatch.Step, error) {
	if len(words) > 1 {
		return netwatch.Step{}, fmt.Errorf("%q after the source is not understood: %s %s", words[1], verb, tellUsage)
	}
	return netwatch.Step{Action: &tellAction{strings.Join(words, ""), env.Tell}}, nil
}

// Needs is the source.
func (t *tellAction) Needs() Needs { return Needs{Tells: []string{t.source}} }

// Do returns when the broker has the newest event of each name.
func (t *tellAction) Do(ctx context.Context, job netwatch.Job) netwatch.Result {
	if t.tell == nil {
		return netwatch.Failure(errors.New("telling other machines: there is no source for it here"))
	}
	var newest []netwatch.Event
	for _, ev := range job.Events {
		newest = slices.DeleteFunc(newest, func(o netwatch.Event) bool { return o.Name == ev.Name })
		newest = append(newest, ev)
	}
	return t.tell(ctx, t.source, newest)
}

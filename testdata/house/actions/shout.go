package actions

import (
	"context"
	"errors"

	"netwatch"
)

const shoutUsage = "UNIT FILE"

// A shoutAction would shout at a unit what a file says.
type shoutAction struct {
	unit string
	file netwatch.Path
}

func newShout(_ Env, _ string, words []string) (netwatch.Step, error) {
	if len(words) != 2 {
		return netwatch.Step{}, errors.New("not understood: shout " + shoutUsage)
	}
	file, err := netwatch.ParsePath(words[1])
	return netwatch.Step{Action: &shoutAction{words[0], file}}, err
}

// Needs are the unit and the file.
func (a *shoutAction) Needs() Needs {
	return Needs{Units: []UnitNeed{{a.unit, "restart"}}, Reads: []netwatch.Path{a.file}}
}

// Do says so.
func (a *shoutAction) Do(context.Context, netwatch.Job) netwatch.Result {
	return netwatch.Result{Outcome: netwatch.Changed, Detail: a.unit + " heard it"}
}

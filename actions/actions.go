// Package actions does what rules say: each verb of a step is one line in the
// table Verbs and one file.
package actions

import (
	"context"

	"netwatch"
	"netwatch/systemd"
)

// An Env is what the daemon lends to actions.
type Env struct {
	// Probe asks the named source, or all that can be asked when name is empty.
	Probe func(ctx context.Context, name string) netwatch.Result
	// Starts remembers when units were started, across restarts of netwatch.
	Starts systemd.Starts
	// Files rewrites files that this process may not; nil when it may itself.
	Files Rewriter
	// AnyField says that the step is of a rule on an event that a user makes up,
	// which may have fields of any name.
	AnyField bool
}

// A Verb is the first word of a step.
type Verb struct {
	Name string
	// Usage is what follows the name, as in the manual page.
	Usage string
	// New makes the step from the words after the verb, without touching the
	// system. An error says what is wrong with the words.
	New func(env Env, verb string, words []string) (netwatch.Step, error)
}

// Verbs is every verb.
var Verbs = []Verb{
	{"restart", unitUsage, newUnit},
	{"try-restart", unitUsage, newUnit},
	{"reload", unitUsage, newUnit},
	{"reload-or-restart", unitUsage, newUnit},
	{"start", unitUsage, newUnit},
	{"stop", unitUsage, newUnit},
	{"signal", signalUsage, newSignal},
	{"exec", execUsage, newExec},
	{"probe", probeUsage, newProbe},
	{"rotate", rotateUsage, newRotate},
	{"verify", verifyUsage, newVerify},
	{"http", httpUsage, newHTTP},
}

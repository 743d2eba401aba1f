package actions

import (
	"context"
	"errors"
	"fmt"
	"time"

	"netwatch"
	"netwatch/systemd"
)

// doing is how the errors of each verb begin.
var doing = map[systemd.Verb]string{
	systemd.Restart: "restarting", systemd.TryRestart: "restarting", systemd.Reload: "reloading",
	systemd.ReloadOrRestart: "reloading or restarting", systemd.Start: "starting", systemd.Stop: "stopping",
}

// unitUsage is what follows the verbs of units.
const unitUsage = "UNIT [always]"

// restartUsage is what follows restart.
const restartUsage = unitUsage + " [drain=DURATION]"

// watchSpan is how long a unit is watched after its job is done: for a
// Type=simple unit "done" only says that the program was begun, and one that
// dies at once dies within this.
const watchSpan = 200 * time.Millisecond

// A unitAction has systemd do one job on one unit.
type unitAction struct {
	verb   systemd.Verb
	unit   string
	starts systemd.Starts
	// drain bounds how long its program may go on when it is told to end.
	drain drain
	bus   *systemd.Bus
}

// newUnit makes the steps `restart UNIT [always]` and so on.
func newUnit(env Env, verb string, words []string) (netwatch.Step, error) {
	usage := unitUsage
	if systemd.Verb(verb) == systemd.Restart {
		usage = restartUsage
	}
	unit, always, err := unitWords(words, verb+" "+usage)
	if err != nil {
		return netwatch.Step{}, err
	}
	a := &unitAction{verb: systemd.Verb(verb), unit: unit, starts: env.Starts, bus: env.Bus}
	return netwatch.Step{Action: a, Gated: !always, Applies: a.verb != systemd.Stop, Starts: a.verb.Revives()}, nil
}

// newRestart makes the step `restart UNIT [always] [drain=DURATION]`.
func newRestart(env Env, verb string, words []string) (netwatch.Step, error) {
	words, d, err := cutDrain(words)
	if err != nil {
		return netwatch.Step{}, fmt.Errorf("%w: %s %s", err, verb, restartUsage)
	}
	step, err := newUnit(env, verb, words)
	if a, is := step.Action.(*unitAction); is {
		a.drain = d
	}
	return step, err
}

// Needs is that job on the unit, and a signal to it if its end is hurried.
func (a *unitAction) Needs() Needs {
	needs := unitNeed(a.unit, string(a.verb))
	if a.drain > 0 {
		needs.Units = append(needs.Units, UnitNeed{a.unit, systemd.Kill})
	}
	return needs
}

// unitWords takes "UNIT [always]".
func unitWords(words []string, usage string) (unit string, always bool, err error) {
	switch {
	case len(words) == 0:
		return "", false, fmt.Errorf("a unit is missing: %s", usage)
	case len(words) > 1 && words[1] != "always":
		return "", false, fmt.Errorf("%q after the unit is not understood: %s", words[1], usage)
	case len(words) > 2:
		return "", false, fmt.Errorf("%q after always is not understood: %s", words[2], usage)
	}
	return words[0], len(words) == 2, systemd.CheckName(words[0])
}

// Do queues the job, waits for its end, and then looks at the unit itself: a job that
// is done may have left a dead unit.
func (a *unitAction) Do(ctx context.Context, job netwatch.Job) netwatch.Result {
	result, err := a.do(ctx, job)
	if err != nil {
		result = netwatch.Failure(fmt.Errorf("%s %s: %w", doing[a.verb], a.unit, err))
		result.Refused = errors.As(err, &systemd.Refused{})
	}
	return result
}

func (a *unitAction) do(ctx context.Context, job netwatch.Job) (netwatch.Result, error) {
	u, err := a.bus.Open(ctx, a.unit, job)
	if err != nil {
		return netwatch.Result{}, err
	}
	defer u.Close()
	before, err := u.State(ctx)
	if err != nil {
		return netwatch.Result{}, err
	}
	if err := u.Loadable(ctx, before); err != nil && a.verb != systemd.Stop {
		return netwatch.Result{}, err
	}
	if job.Revives && before.Stopped() {
		return netwatch.Result{Outcome: netwatch.Skipped, Detail: "somebody has stopped it, and so it stays"}, nil
	}
	if a.verb.WillStart(before) && !job.Revives && before.StartedAfter(job.Since) {
		return netwatch.Result{Outcome: netwatch.Skipped, Detail: "it was started since: " + before.String()}, nil
	}
	if held, err := a.account(u, before); err != nil || held.Outcome == netwatch.Held {
		return held, err
	}
	stop := a.drain.bound(ctx, a.bus, a.unit)
	ended, err := u.Do(ctx, a.verb)
	if bad := stop(); bad != nil && err == nil {
		err = fmt.Errorf("ending it after %s: %w", time.Duration(a.drain), bad)
	}
	if err != nil {
		return netwatch.Result{}, err
	}
	first, last, err := a.watch(ctx, u)
	if err != nil {
		return netwatch.Result{}, err
	}
	if job.Revives && ended == "failed" && last.Invocation == before.Invocation && before.Limit.Interval() > 0 {
		// It was not even begun: others have used up the limit. By then it is free.
		return a.held(before, time.Now().Add(before.Limit.Interval())), nil
	}
	return a.judge(course{ended, before, first, last, u.Unmet()})
}

// held is a start that waits for the unit's start limit.
func (a *unitAction) held(st systemd.State, until time.Time) netwatch.Result {
	detail := fmt.Sprintf("systemd allows %s %s", a.unit, st.Limit)
	return netwatch.Result{Outcome: netwatch.Held, Until: until, Detail: detail}
}

// account holds back a start that could reach the unit's start limit. Every other
// start it records, before it happens.
func (a *unitAction) account(u *systemd.Unit, before systemd.State) (netwatch.Result, error) {
	if a.starts == nil || !a.verb.WillStart(before) {
		return netwatch.Result{}, nil
	}
	until, err := u.Account(before, a.starts)
	if until.IsZero() {
		return netwatch.Result{}, err
	}
	return a.held(before, until), nil
}

// A course is what happened to the unit: the result of the job, the states before the
// job, right after it and after a while of watching, and whether a condition of the
// unit was not met.
type course struct {
	ended               string
	before, first, last systemd.State
	unmet               bool
}

// watch watches the unit for a while after its job, or until it is seen to have
// failed, and for as long as it says that it is reloading. systemd ends the job with
// the command of ExecReload=, and RELOADING=1 may come only after that (measured on
// Synapse).
func (a *unitAction) watch(ctx context.Context, u *systemd.Unit) (first, last systemd.State, err error) {
	first, err = u.Watch(ctx, 0, func(systemd.State) bool { return true })
	if err != nil || a.verb == systemd.Stop || !first.Running() {
		return first, first, err
	}
	last, err = u.Watch(ctx, watchSpan, func(st systemd.State) bool {
		return !st.Running() || st.Invocation != first.Invocation
	})
	if err == nil && last.Active == "reloading" {
		last, err = u.Watch(ctx, forever, func(st systemd.State) bool { return st.Active != "reloading" })
	}
	return first, last, err
}

// judge makes the result of a course.
func (a *unitAction) judge(c course) (netwatch.Result, error) {
	idle := c.before.Down() && c.last.Down()
	err := a.complaint(c)
	switch {
	case err != nil:
		return netwatch.Result{}, err
	case idle && (a.verb == systemd.Stop || a.verb == systemd.TryRestart):
		return netwatch.Result{Outcome: netwatch.Unchanged, Detail: "was not running"}, nil
	case a.verb == systemd.Start && c.before.Running() && c.before.Invocation == c.last.Invocation:
		return netwatch.Result{Outcome: netwatch.Unchanged, Detail: "was running: " + c.last.String()}, nil
	}
	return netwatch.Result{Outcome: netwatch.Changed, Detail: c.last.String()}, nil
}

// complaint says what is wrong with the unit after the job, or nil.
func (a *unitAction) complaint(c course) error {
	switch {
	case c.ended != systemd.Done && c.ended != systemd.Lost:
		return a.jobFailed(c.ended, c.last)
	case a.verb == systemd.Stop && !c.last.Down():
		return netwatch.WithHint(fmt.Errorf("it was stopped, but is %s", c.last),
			"see systemctl status "+a.unit+" for what starts it again")
	case a.verb == systemd.Stop, a.verb == systemd.TryRestart && c.before.Down() && c.last.Down():
		return nil
	case c.ended == systemd.Lost && a.verb.WillStart(c.before) && c.last.Invocation == c.before.Invocation:
		return netwatch.WithHint(errors.New("systemd has dropped the job, and the unit was not started"),
			"see journalctl -u "+a.unit)
	case c.last.Down() && c.unmet:
		return netwatch.WithHint(fmt.Errorf("a condition of the unit is not met, so it is %s", c.last),
			fmt.Sprintf("see systemctl status %s for which Condition...= it is", a.unit))
	case c.last.Ended():
		return nil
	case !c.last.Running():
		return netwatch.WithHint(fmt.Errorf("its job is done, but the unit is %s", c.last),
			"see journalctl -u "+a.unit+" for why it ended")
	case c.last.Invocation != a.expected(c):
		return netwatch.WithHint(fmt.Errorf("its program ended at once and was started again: the unit is %s", c.last),
			"see journalctl -u "+a.unit+" for why it ended")
	case !a.verb.WillStart(c.before) && a.verb != systemd.Start &&
		c.last.ReloadResult != "" && c.last.ReloadResult != "success":
		return netwatch.WithHint(fmt.Errorf("its reload ended in %s", c.last.ReloadResult), "see journalctl -u "+a.unit)
	}
	return nil
}

// expected is the invocation id that the unit must still have at the end: the new one
// after a job that starts it, or else, as after a reload, the one from before.
func (a *unitAction) expected(c course) string {
	if a.verb.WillStart(c.before) {
		return c.first.Invocation
	}
	return c.before.Invocation
}

// jobFailed explains each result of a job except "done"; org.freedesktop.systemd1(5),
// JobRemoved.
func (a *unitAction) jobFailed(result string, st systemd.State) error {
	hint := fmt.Sprintf("see systemctl status %s and journalctl -u %s", a.unit, a.unit)
	switch {
	case result == "failed" && st.Result == "start-limit-hit":
		hint = fmt.Sprintf("it was started too often (systemd allows %s): see journalctl -u %s for who did, "+
			"then systemctl start %[2]s", st.Limit, a.unit)
	case result == "canceled":
		hint = "another job took its place, as a stop would: see journalctl -u " + a.unit
	case result == "timeout":
		hint = "its JobTimeoutSec= is over: see systemctl list-jobs for what it waits for"
	case result == "dependency":
		hint = "a unit that it needs did not start: see systemctl list-dependencies --state=failed " + a.unit
	case result == "assert":
		hint = "an Assert...= of the unit is not met: see systemctl status " + a.unit
	case result == "invalid":
		hint = fmt.Sprintf("a unit that does not run cannot be reloaded: use \"reload-or-restart %s\"", a.unit)
	case result == "skipped":
		hint = "systemd found that it does not apply to the unit as it is: see systemctl status " + a.unit
	}
	return netwatch.WithHint(fmt.Errorf("systemd's job ended in %q and the unit is %s", result, st), hint)
}

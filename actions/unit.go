package actions

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"netwatch"
)

// A unitVerb is a job that systemd can be asked for.
type unitVerb struct {
	// name is that of the step, of systemctl and of polkit's rules alike.
	name string
	// method is that of org.freedesktop.systemd1.Manager.
	method string
	// doing begins the errors.
	doing string
}

var unitVerbs = []unitVerb{
	{"restart", "RestartUnit", "restarting"},
	{"try-restart", "TryRestartUnit", "restarting"},
	{"reload", "ReloadUnit", "reloading"},
	{"reload-or-restart", "ReloadOrRestartUnit", "reloading or restarting"},
	{"start", "StartUnit", "starting"},
	{"stop", "StopUnit", "stopping"},
}

// unitUsage is what follows the verbs of units.
const unitUsage = "UNIT [always]"

// watchSpan is how long a unit is watched after its job is done: for a
// Type=simple unit "done" only says that the program was begun, and one that
// dies at once dies within this.
const watchSpan = 200 * time.Millisecond

// unitTypes are the types of units that can be started and stopped by name.
var unitTypes = []string{"service", "socket", "target", "timer", "path", "mount", "automount", "swap", "slice"}

// A unitAction has systemd do one job on one unit.
type unitAction struct {
	verb   unitVerb
	unit   string
	starts Starts
}

// newUnit makes the steps `restart UNIT [always]` and so on.
func newUnit(env Env, verb string, words []string) (netwatch.Step, error) {
	unit, always, err := unitWords(words, verb+" "+unitUsage)
	if err != nil {
		return netwatch.Step{}, err
	}
	i := slices.IndexFunc(unitVerbs, func(v unitVerb) bool { return v.name == verb })
	if i < 0 {
		return netwatch.Step{}, fmt.Errorf("%q is nothing that systemd does to units", verb)
	}
	return netwatch.Step{Action: &unitAction{unitVerbs[i], unit, env.Starts}, Gated: !always}, nil
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
	return words[0], len(words) == 2, checkUnitName(words[0])
}

// checkUnitName says what is wrong with the full name of a unit; systemd.unit(5).
func checkUnitName(name string) error {
	if bad := strings.IndexFunc(name, notInUnitName); bad >= 0 {
		return fmt.Errorf("unit name %q has %q in it, which no unit name has", name, []rune(name[bad:])[0])
	}
	kind := path.Ext(name)
	prefix, instance, template := strings.Cut(strings.TrimSuffix(name, kind), "@")
	switch {
	case kind == ".scope" || kind == ".device":
		return fmt.Errorf("unit %q is a %s, which cannot be started by name", name, kind[1:])
	case kind == "" || !slices.Contains(unitTypes, kind[1:]):
		return fmt.Errorf("unit name %q must end in its type: write %s", name, withType(name))
	case prefix == "":
		return fmt.Errorf("unit name %q has nothing before its type", name)
	case template && instance == "":
		return fmt.Errorf("unit %q is a template: write which instance, as in %s@NAME%s", name, prefix, kind)
	case len(name) > 255:
		return fmt.Errorf("unit name %q is longer than 255 letters", name)
	}
	return nil
}

// withType is the name that was likely meant: with its type spelt right, or as
// that of a service.
func withType(name string) string {
	kind := path.Ext(name)
	near := netwatch.Nearest(strings.TrimPrefix(kind, "."), unitTypes, 2)
	if len(kind) > 3 && len(near) > 0 {
		return strings.TrimSuffix(name, kind) + "." + near[0]
	}
	return name + ".service"
}

func notInUnitName(r rune) bool {
	return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune(`:-_.\@`, r))
}

// Do queues the job, waits for its end and then looks at the unit itself, for a
// job that is done may have left a dead unit.
func (a *unitAction) Do(ctx context.Context, job netwatch.Job) netwatch.Result {
	result, err := a.do(ctx, job)
	if err != nil {
		return netwatch.Failure(fmt.Errorf("%s %s: %w", a.verb.doing, a.unit, err))
	}
	return result
}

func (a *unitAction) do(ctx context.Context, job netwatch.Job) (netwatch.Result, error) {
	b, err := openUnit(ctx, a.unit, job)
	if err != nil {
		return netwatch.Result{}, err
	}
	defer b.close()
	before, err := b.state(ctx)
	if err != nil {
		return netwatch.Result{}, b.explain(ctx, a.verb.name, err)
	}
	if err := b.loadable(ctx, before); err != nil && a.verb.name != "stop" {
		return netwatch.Result{}, err
	}
	if held, err := a.account(before); err != nil || held.Outcome == netwatch.Held {
		return held, err
	}
	queued, err := b.queue(ctx, a.verb.method)
	if err != nil {
		return netwatch.Result{}, b.explain(ctx, a.verb.name, orCause(ctx, err))
	}
	ended, err := b.await(ctx, queued)
	if err != nil {
		return netwatch.Result{}, b.overdue(ctx, err)
	}
	first, last, err := a.watch(ctx, b)
	if err != nil {
		return netwatch.Result{}, b.overdue(ctx, err)
	}
	return a.judge(course{ended, before, first, last, b.unmet})
}

// loadable says why systemd has no such unit to work with. It is found out
// before asking, since without a polkit rule systemd says only that one is
// missing, whether there is such a unit or not.
func (b *unitBus) loadable(ctx context.Context, st unitState) error {
	switch st.load {
	case "not-found":
		return b.noSuchUnit(ctx)
	case "masked":
		return netwatch.WithHint(errors.New("the unit is masked"), "systemctl unmask "+b.unit)
	case "bad-setting", "error":
		return netwatch.WithHint(cmp.Or(errorOf(st.loadError), errors.New("systemd cannot read its unit file")), "see systemd-analyze verify "+b.unit)
	}
	return nil
}

func errorOf(text string) error {
	if text == "" {
		return nil
	}
	return errors.New(text)
}

// account holds back a start that could reach the unit's start limit, and
// records every other one before it happens.
func (a *unitAction) account(before unitState) (netwatch.Result, error) {
	if a.starts == nil || !a.willStart(before) {
		return netwatch.Result{}, nil
	}
	unit, now := cmp.Or(before.id, a.unit), time.Now()
	if until := before.holdStart(a.starts.Of(unit), now); !until.IsZero() {
		detail := fmt.Sprintf("systemd allows %s %s", a.unit, before.limit)
		return netwatch.Result{Outcome: netwatch.Held, Until: until, Detail: detail}, nil
	}
	if before.limit.none() {
		return netwatch.Result{}, nil
	}
	return netwatch.Result{}, a.starts.Record(unit, now)
}

// willStart says whether the job would start the unit, given how it is.
func (a *unitAction) willStart(st unitState) bool {
	switch a.verb.name {
	case "restart":
		return true
	case "start":
		return !st.running()
	case "try-restart":
		return !st.down()
	case "reload-or-restart":
		return !st.running() || !st.canReload
	}
	return false
}

// A course is how a job ended, the unit before it, after it, and after it was
// watched for a while, and whether a condition of the unit was not met.
type course struct {
	ended               string
	before, first, last unitState
	unmet               bool
}

// watch looks at the unit for a while after its job, or until it is seen to
// have failed, and for as long as it says that it is reloading: systemd ends the
// job with the command of ExecReload=, and RELOADING=1 may come only after that
// (measured on Synapse).
func (a *unitAction) watch(ctx context.Context, b *unitBus) (first, last unitState, err error) {
	first, err = b.settledState(ctx)
	if err != nil || a.verb.name == "stop" || !first.running() {
		return first, first, err
	}
	last, err = b.look(ctx, watchSpan, func(st unitState) bool {
		return !st.running() || st.invocation != first.invocation
	})
	if err == nil && last.active == "reloading" {
		last, err = b.look(ctx, forever, func(st unitState) bool { return st.active != "reloading" })
	}
	return first, last, err
}

// judge says how it went.
func (a *unitAction) judge(c course) (netwatch.Result, error) {
	idle := c.before.down() && c.last.down()
	err := a.complaint(c)
	switch {
	case err != nil:
		return netwatch.Result{}, err
	case idle && (a.verb.name == "stop" || a.verb.name == "try-restart"):
		return netwatch.Result{Outcome: netwatch.Unchanged, Detail: "was not running"}, nil
	case a.verb.name == "start" && c.before.running() && c.before.invocation == c.last.invocation:
		return netwatch.Result{Outcome: netwatch.Unchanged, Detail: "was running: " + c.last.String()}, nil
	}
	return netwatch.Result{Outcome: netwatch.Changed, Detail: c.last.String()}, nil
}

// complaint says what is wrong with the unit after the job, or nil.
func (a *unitAction) complaint(c course) error {
	switch {
	case c.ended != "done" && c.ended != lost:
		return a.jobFailed(c.ended, c.last)
	case a.verb.name == "stop" && !c.last.down():
		return netwatch.WithHint(fmt.Errorf("it was stopped, but is %s", c.last), "see systemctl status "+a.unit+" for what starts it again")
	case a.verb.name == "stop", a.verb.name == "try-restart" && c.before.down() && c.last.down():
		return nil
	case c.ended == lost && a.willStart(c.before) && c.last.invocation == c.before.invocation:
		return netwatch.WithHint(errors.New("systemd has dropped the job, and the unit was not started"), "see journalctl -u "+a.unit)
	case c.last.down() && c.unmet:
		return netwatch.WithHint(fmt.Errorf("a condition of the unit is not met, so it is %s", c.last),
			fmt.Sprintf("see systemctl status %s for which Condition...= it is", a.unit))
	case c.last.ended():
		return nil
	case !c.last.running():
		return netwatch.WithHint(fmt.Errorf("its job is done, but the unit is %s", c.last), "see journalctl -u "+a.unit+" for why it ended")
	case c.last.invocation != a.expected(c):
		return netwatch.WithHint(fmt.Errorf("its program ended at once and was started again: the unit is %s", c.last), "see journalctl -u "+a.unit+" for why it ended")
	case !a.willStart(c.before) && a.verb.name != "start" && c.last.reload != "" && c.last.reload != "success":
		return netwatch.WithHint(fmt.Errorf("its reload ended in %s", c.last.reload), "see journalctl -u "+a.unit)
	}
	return nil
}

// expected is the invocation that should last: a reload keeps that of before.
func (a *unitAction) expected(c course) string {
	if a.willStart(c.before) {
		return c.first.invocation
	}
	return c.before.invocation
}

// jobFailed is the error for each result of a job but "done";
// org.freedesktop.systemd1(5), JobRemoved.
func (a *unitAction) jobFailed(result string, st unitState) error {
	hint := fmt.Sprintf("see systemctl status %s and journalctl -u %s", a.unit, a.unit)
	switch {
	case result == "failed" && st.result == "start-limit-hit":
		hint = fmt.Sprintf("it was started too often (systemd allows %s): see journalctl -u %s for who did, then systemctl start %s", st.limit, a.unit, a.unit)
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

// wordsOf are the words of a unit's name, in whatever order they stand in it:
// YunoHost's coturn-synapse.service has become synapse-coturn.service.
func wordsOf(unit string) []string {
	return slices.Sorted(slices.Values(strings.Split(strings.TrimSuffix(unit, path.Ext(unit)), "-")))
}

// nearest are up to three names that may have been meant: those that differ from
// the wanted one in a third of the letters and at most three, then those that hold
// it in theirs or have the same words.
func nearest(name string, names []string) []string {
	stem := strings.TrimSuffix(name, path.Ext(name))
	near := netwatch.Nearest(name, names, min(3, max(1, len(stem)/3)))
	for _, n := range names {
		alike := len(stem) >= 3 && strings.Contains(n, stem) || slices.Equal(wordsOf(n), wordsOf(name))
		if alike && !slices.Contains(near, n) {
			near = append(near, n)
		}
	}
	return near[:min(3, len(near))]
}

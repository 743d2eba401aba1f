package actions

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"netwatch"
	"netwatch/systemd"
)

// unitsBefore returns how the units stand that the steps before a proof can start: those
// that are given its file, or else all of them.
func unitsBefore(
	bus *systemd.Bus, proof netwatch.Action, file netwatch.Path,
) func(context.Context, netwatch.Job) []systemd.State {
	return func(ctx context.Context, job netwatch.Job) []systemd.State {
		var names []string
		for _, s := range job.Steps {
			if s.Action == proof {
				break
			}
			for _, unit := range NeedsOf(s).UnitNames() {
				if s.Starts && !slices.Contains(names, unit) {
					names = append(names, unit)
				}
			}
		}
		all := unitsNamed(ctx, bus, job, names...)
		others := func(st systemd.State) bool { return !st.Starts(string(file)) }
		if its := slices.DeleteFunc(slices.Clone(all), others); len(its) > 0 {
			return its
		}
		return all
	}
}

// unitsNamed are how units stand; it leaves out those that systemd does not tell of: the
// proof is of the server, and this is about what its failure means.
func unitsNamed(ctx context.Context, bus *systemd.Bus, job netwatch.Job, names ...string) (all []systemd.State) {
	for _, name := range names {
		if name == "" {
			continue
		}
		u, err := bus.Open(ctx, name, job)
		if err != nil {
			continue
		}
		if st, err := u.State(ctx); err == nil {
			all = append(all, st)
		}
		u.Close()
	}
	return all
}

// moving is the unit that keeps a proof from meaning anything: one that is being
// stopped, and of a failed proof also one that is being started or was another before.
func moving(before, after []systemd.State, failed bool) (name string, moves bool) {
	for i, st := range after {
		moved := i < len(before) && (before[i].Moving() || before[i].Invocation != st.Invocation)
		if st.Active == "deactivating" || failed && (st.Moving() || moved) {
			return st.ID, true
		}
	}
	return "", false
}

// judge says what a proof means, as the units stand after it.
func (v *verification) judge(p *proof, units []systemd.State) netwatch.Result {
	in := func(is func(systemd.State) bool) *systemd.State {
		if i := slices.IndexFunc(units, is); i >= 0 {
			return &units[i]
		}
		return nil
	}
	ending := in(systemd.State.Moving)
	switch {
	case p.err == nil && (ending == nil || ending.Active == "activating"):
		return p.well()
	case p.err == nil:
		p.err = netwatch.WithHint(errors.New("what answers is being stopped"),
			"see systemctl list-jobs for what becomes of it")
	}
	result := netwatch.Failure(fmt.Errorf("verifying %s: %w", p.server, p.err))
	failed := in(func(st systemd.State) bool { return st.Active == "failed" })
	down := in(systemd.State.Stopped)
	switch {
	case p.offer == nil: // It is the file that is wrong
	case ending != nil:
		result.Err = netwatch.WithHint(fmt.Errorf("%w (%s is %s)", result.Err, ending.ID, ending), netwatch.Hint(p.err))
	case failed != nil:
		result.Dead = p.finding(*failed)
		result.Err = netwatch.WithHint(fmt.Errorf("%w (%s is %s)", result.Err, failed.ID, failed),
			"see journalctl -u "+failed.ID+" for why, then systemctl start "+failed.ID)
	case down != nil && !p.answered:
		result.Err = netwatch.WithHint(fmt.Errorf("%w (somebody has stopped %s, and so it stays)", result.Err, down.ID),
			"systemctl start "+down.ID)
	case len(units) > 0 && p.refused && (!p.answered || p.loses()):
		result.Dead = p.finding(units[0])
	}
	return result
}

// well is the result when nothing is wrong; it is no proof when there was nothing to
// compare with.
func (p *proof) well() netwatch.Result {
	outcome := netwatch.Unchanged
	if len(p.right) == 0 {
		outcome = netwatch.Skipped
	}
	return netwatch.Result{Outcome: outcome, Detail: p.detail()}
}

// finding is the same text as long as a dead server is the same finding: until the file,
// the unit or the address is another.
func (p *proof) finding(st systemd.State) string {
	var all []string
	for _, family := range slices.Sorted(maps.Keys(p.known)) {
		all = append(all, p.known[family].Address.String())
	}
	all = append(all, p.content, st.ID)
	return netwatch.Fingerprint([]byte(strings.Join(append(all, st.Words...), "\n")))
}

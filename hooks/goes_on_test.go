package hooks

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"netwatch"
)

// unproven is a rule whose file is changed once, whose unit is started and whose proof
// fails.
func unproven(text string) *Rule {
	changed := false
	change := do(func(_ context.Context, job netwatch.Job) netwatch.Result {
		if changed {
			return netwatch.Result{Outcome: netwatch.Unchanged}
		}
		changed = true
		if err := job.Changing(netwatch.Replacement{Place: "/f", From: "1", To: "2"}); err != nil {
			return netwatch.Failure(err)
		}
		return netwatch.Result{Outcome: netwatch.Changed}
	})
	return rule(gate(change), gated(result(netwatch.Changed)),
		netwatch.Step{Action: result(netwatch.Failed), Text: text, Proof: true})
}

// after is what a bench did in a time.
func (b *bench) after(span time.Duration) []string {
	before := len(b.did())
	<-time.After(span)
	synctest.Wait()
	return b.did()[before:]
}

// first is what a bench does first in 3 s: the pauses between tries have jitter.
func (b *bench) first(n int) []string {
	all := b.after(3 * time.Second)
	return all[:min(n, len(all))]
}

var (
	allSteps = []string{"gate: changed", "unit: changed", "proof: failed", "r ended: failed"}
	noChange = []string{"gate: unchanged", "unit: skipped", "proof: failed", "r ended: failed"}
)

// A run whose proof fails goes on with that after a restart of netwatch and a reload of
// the same rule: the server was started, and need not be again. A new event wants all
// steps, and the one that waits for a change finds none.
func TestGoesOnWithWhatFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, r := t.TempDir(), unproven("proof")
		b := open(t, dir, r)
		b.accept(t)
		expect(t, b.after(900*time.Millisecond), allSteps...)
		b.Swap(NewTable([]*Rule{unproven("proof")}))
		expect(t, b.first(2), "proof: failed", "r ended: failed")
		b.close(t)

		b = open(t, dir, r)
		b.Resume()
		expect(t, b.first(2), "proof: failed", "r ended: failed")
		b.accept(t)
		expect(t, b.first(4), noChange...)
		b.accept(t) // And ended before it could do anything
		b.close(t)

		b = open(t, dir, r)
		b.Resume()
		expect(t, b.first(4), noChange...)
		b.close(t)

		b = open(t, dir, r)
		defer b.close(t)
		b.Resume()
		b.accept(t) // As started is
		expect(t, b.first(4), noChange...)
	})
}

// Another rule of the name does all of its steps, be it there after a reload or after a
// restart. What was done because of a change is not done again because of that.
func TestGoesOnInAnotherRule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, was := t.TempDir(), unproven("proof")
		with := func(first netwatch.Outcome) *Rule {
			another := *was
			another.Do = append([]netwatch.Step{{Action: result(first), Text: string(first)}}, was.Do...)
			return &another
		}
		b := open(t, dir, was)
		b.accept(t)
		expect(t, b.after(900*time.Millisecond), allSteps...)
		b.Swap(NewTable([]*Rule{with(netwatch.Unchanged)}))
		expect(t, b.first(5), append([]string{"unchanged: unchanged"}, noChange...)...)
		b.close(t)
		b = open(t, dir, with(netwatch.Skipped))
		defer b.close(t)
		b.Resume()
		expect(t, b.first(5), append([]string{"skipped: skipped"}, noChange...)...)
	})
}

// An event that comes while a run goes wants all steps, also if that run fails and
// netwatch is started again.
func TestGoesOnWithNewerEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		slow := do(func(ctx context.Context, job netwatch.Job) netwatch.Result {
			<-time.After(time.Second)
			return result(netwatch.Failed)(ctx, job)
		})
		r := rule(gate(result(netwatch.Unchanged)), netwatch.Step{Action: slow, Text: "proof", Proof: true})
		b := open(t, dir, r)
		b.accept(t)
		b.after(time.Second)
		b.accept(t)
		b.close(t)
		b = open(t, dir, r)
		defer b.close(t)
		b.Resume()
		expect(t, b.first(3), "gate: unchanged", "proof: failed", "r ended: failed")
	})
}

package hooks

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"netwatch"
)

// A patient is a server that steps can start and a proof looks at.
type patient struct {
	// finding is what the proof says; empty is that it is alive.
	finding string
	// curable says that it lives once it is started.
	curable bool
	// held is how often its start is held back, and refused how often it is refused.
	held, refused int
}

// steps are a gate that changes nothing, a restart that waits for it, and the proof.
func (p *patient) steps() []netwatch.Step {
	start := do(func(context.Context, netwatch.Job) netwatch.Result {
		if p.held--; p.held >= 0 {
			return netwatch.Result{Outcome: netwatch.Held, Until: time.Now().Add(time.Second)}
		}
		if p.refused--; p.refused >= 0 {
			return netwatch.Result{Outcome: netwatch.Failed, Err: errors.New("not now"), Refused: true}
		}
		if p.curable {
			p.finding = ""
		}
		return netwatch.Result{Outcome: netwatch.Changed}
	})
	proof := do(func(context.Context, netwatch.Job) netwatch.Result {
		if p.finding == "" {
			return netwatch.Result{Outcome: netwatch.Unchanged}
		}
		return netwatch.Result{Outcome: netwatch.Failed, Err: errors.New("it is dead"), Dead: p.finding}
	})
	return []netwatch.Step{
		gate(result(netwatch.Unchanged)),
		{Action: start, Text: "unit", Gated: true, Starts: true},
		{Action: proof, Text: "proof", Proof: true},
	}
}

// once accepts an event and returns what it led to.
func (b *bench) once(t *testing.T) []string {
	t.Helper()
	before := len(b.did())
	b.accept(t)
	<-time.After(10 * time.Second)
	synctest.Wait()
	return b.did()[before:]
}

// A dead server is started once although nothing changed, and proven again.
func TestDeadIsRevived(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &patient{finding: "a", curable: true}
		b := open(t, t.TempDir(), rule(p.steps()...))
		defer b.close(t)
		well := []string{
			"gate: unchanged", "unit: skipped", "proof: failed", "unit: changed", "proof: unchanged",
			"r ended: unchanged",
		}
		expect(t, b.once(t), well...)
		expect(t, b.once(t), "gate: unchanged", "unit: skipped", "proof: unchanged", "r ended: unchanged")
		p.finding = "a" // It was alive: this is another death
		expect(t, b.once(t), well...)
		p.finding, p.held = "a", 1
		want := []string{
			"gate: unchanged", "unit: skipped", "proof: failed", "unit: held", "r ended: held", "proof: failed",
			"unit: changed", "proof: unchanged", "r ended: unchanged",
		}
		expect(t, b.once(t), want...)
	})
}

// A start that is refused is none: the run that is tried again asks once more.
func TestRefusedStartIsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &patient{finding: "a", curable: true, refused: 2}
		b := open(t, t.TempDir(), rule(p.steps()...))
		defer b.close(t)
		want := []string{
			"gate: unchanged", "unit: skipped", "proof: failed", "unit: failed", "r ended: failed", "proof: failed",
			"unit: failed", "r ended: failed", "proof: failed", "unit: changed", "proof: unchanged", "r ended: unchanged",
		}
		expect(t, b.once(t), want...)
	})
}

// One that stays dead is started once for a run, however often that is tried again, and
// once for a finding, across a restart of netwatch; another finding is another reason.
func TestDeadStaysDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &patient{finding: "a"}
		r := rule(p.steps()...)
		r.Retry = 3 * time.Second
		dir := t.TempDir()
		b := open(t, dir, r)
		tries := []string{
			"gate: unchanged", "unit: skipped", "proof: failed", "unit: changed", "proof: failed",
			"r ended: failed",
		}
		starts := func(all []string) (n int) {
			for _, line := range all {
				if line == "unit: changed" {
					n++
				}
			}
			return n
		}
		first := b.once(t)
		if !slices.Equal(first[:len(tries)], tries) || starts(first) != 1 || len(first) <= len(tries) {
			t.Errorf("%q", first)
		}
		if again := b.once(t); starts(again) != 0 {
			t.Errorf("%q", again)
		}
		b.close(t)
		b = open(t, dir, r)
		defer b.close(t)
		if again := b.once(t); starts(again) != 0 {
			t.Errorf("%q", again)
		}
		p.finding = "b"
		if another := b.once(t); starts(another) != 1 {
			t.Errorf("%q", another)
		}
		if said := b.Status()[0].Failed; said == nil || said.Error != "it is dead; it was started because of that already" {
			t.Errorf("%+v", said)
		}
	})
}

// One that is found dead in another way at each look is started once in a run all the same.
func TestDeadInOtherWays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &patient{finding: "a"}
		steps := p.steps()
		start := steps[1].Action
		steps[1].Action = do(func(ctx context.Context, job netwatch.Job) netwatch.Result {
			p.finding += "a"
			return start.Do(ctx, job)
		})
		b := open(t, t.TempDir(), rule(steps...))
		defer b.close(t)
		b.once(t)
		if p.finding != "aa" {
			t.Errorf("it was started %d times", len(p.finding)-1)
		}
	})
}

// Any other failed proof starts nothing, and neither does a proof without a step before
// it that could.
func TestNotDeadIsNotRevived(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &patient{finding: "a"}
		steps := p.steps()
		wrong := netwatch.Step{Action: result(netwatch.Failed), Text: "proof", Proof: true}
		for _, do := range [][]netwatch.Step{{steps[0], steps[1], wrong}, {steps[0], steps[2], steps[1]}} {
			r := rule(do...)
			r.Retry = 0
			b := open(t, t.TempDir(), r)
			if got := b.once(t); slices.Contains(got, "unit: changed") || !slices.Contains(got, "proof: failed") {
				t.Errorf("%q", got)
			}
			b.close(t)
		}
	})
}

// A proof that fails while the address becomes another is no failure: the newer address
// has a run of its own.
func TestProofIsSuperseded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b *bench
		public := netip.MustParseAddr("203.0.113.1")
		proof := do(func(context.Context, netwatch.Job) netwatch.Result {
			if public = public.Next(); public.Compare(netip.MustParseAddr("203.0.113.4")) < 0 {
				ev := netwatch.NewEvent("ip-changed", "stun", map[string]string{"family": "ipv4", "new": public.String()})
				if _, err := b.Accept(ev, nil); err != nil {
					t.Error(err)
				}
				return netwatch.Failure(errors.New("another address"))
			}
			return netwatch.Result{Outcome: netwatch.Unchanged}
		})
		r := rule(netwatch.Step{Action: proof, Text: "proof", Proof: true})
		r.On = append(r.On, "ip-changed")
		b = open(t, t.TempDir(), r)
		defer b.close(t)
		expect(t, b.once(t), "proof: skipped", "r ended: unchanged", "proof: skipped", "r ended: unchanged",
			"proof: unchanged", "r ended: unchanged")
	})
}

// So is one that fails because the address became another behind the step that wrote it
// and before the proof began.
func TestProofIsOutrun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b *bench
		written := ""
		first, second := netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("203.0.113.2")
		becomes := func(a netip.Addr) {
			ev := netwatch.NewEvent("ip-changed", "stun", map[string]string{"family": "ipv4", "new": a.String()})
			if _, err := b.Accept(ev, nil); err != nil {
				t.Error(err)
			}
		}
		write := do(func(_ context.Context, job netwatch.Job) netwatch.Result {
			written = job.Confirmed[netwatch.IPv4].Address.String()
			if written == first.String() {
				becomes(second)
			}
			return netwatch.Result{Outcome: netwatch.Changed}
		})
		proof := do(func(_ context.Context, job netwatch.Job) netwatch.Result {
			if written != job.Confirmed[netwatch.IPv4].Address.String() {
				return netwatch.Failure(errors.New("another address"))
			}
			return netwatch.Result{Outcome: netwatch.Unchanged}
		})
		r := rule(gate(write), netwatch.Step{Action: proof, Text: "proof", Proof: true})
		r.On = append(r.On, "ip-changed")
		b = open(t, t.TempDir(), r)
		defer b.close(t)
		becomes(first)
		expect(t, b.after(10*time.Second), "gate: changed", "proof: skipped", "r ended: changed",
			"gate: changed", "proof: unchanged", "r ended: changed")
	})
}

// One that was brought to life by hand and dies of the same again is started again.
func TestDeadAgainAfterSomebodyMendedIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &patient{finding: "a"}
		r := rule(p.steps()...)
		r.Retry = 0
		b := open(t, t.TempDir(), r)
		defer b.close(t)
		b.once(t)
		p.finding = ""
		expect(t, b.once(t), "gate: unchanged", "unit: skipped", "proof: unchanged", "r ended: unchanged")
		p.finding = "a"
		if again := b.once(t); !slices.Contains(again, "unit: changed") {
			t.Errorf("%q", again)
		}
	})
}

// A start that failed is not tried because of the same finding again, and while it lasts the
// status says so.
func TestFailedStartIsOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, starts := &patient{finding: "a"}, 0
		steps := p.steps()
		steps[1].Action = do(func(context.Context, netwatch.Job) netwatch.Result {
			starts++
			<-time.After(time.Second)
			return netwatch.Failure(errors.New("it cannot"))
		})
		b := open(t, t.TempDir(), rule(steps...))
		defer b.close(t)
		b.accept(t)
		<-time.After(DefaultSettle + time.Second/2)
		synctest.Wait()
		if doing := b.Status()[0].Doing; doing == nil || doing.Step != "unit" {
			t.Errorf("it is at %+v", doing)
		}
		<-time.After(time.Minute)
		synctest.Wait()
		if starts != 1 {
			t.Errorf("it was started %d times", starts)
		}
	})
}

package hooks

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"netwatch"
	"netwatch/state"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// do is an action that is a function.
type do func(context.Context, netwatch.Job) netwatch.Result

func (f do) Do(ctx context.Context, job netwatch.Job) netwatch.Result { return f(ctx, job) }

// A bench is a dispatcher on a state directory, with what it did.
type bench struct {
	*Dispatcher
	store *state.Store
	mu    sync.Mutex
	log   []string // "step: outcome"
}

func (b *bench) entries(e netwatch.Entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e.Kind {
	case netwatch.EntryStep:
		b.log = append(b.log, e.Step+": "+string(e.Outcome))
	case netwatch.EntryRun:
		b.log = append(b.log, fmt.Sprintf("%s ended: %s", e.Rule, e.Outcome))
	}
}

func (b *bench) did() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.log)
}

func open(t *testing.T, dir string, rules ...*Rule) *bench {
	t.Helper()
	store, _, err := state.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{store: store}
	b.Dispatcher = New(NewTable(rules), store, b.entries)
	return b
}

// close ends a bench as SIGTERM would.
func (b *bench) close(t *testing.T) {
	t.Helper()
	b.Drain(t.Context())
	if err := b.store.Close(); err != nil {
		t.Fatal(err)
	}
}

// accept accepts the event x.
func (b *bench) accept(t *testing.T) netwatch.Event {
	t.Helper()
	ev := netwatch.NewEvent("x", netwatch.Fired, nil)
	if _, err := b.Accept(ev, nil); err != nil {
		t.Fatal(err)
	}
	return ev
}

// result is an action that always ends the same way.
func result(o netwatch.Outcome) do {
	return func(context.Context, netwatch.Job) netwatch.Result {
		if o == netwatch.Failed {
			return netwatch.Failure(errors.New("as told"))
		}
		return netwatch.Result{Outcome: o}
	}
}

func gate(a netwatch.Action) netwatch.Step { return netwatch.Step{Action: a, Text: "gate", Gate: true} }

func gated(a netwatch.Action) netwatch.Step {
	return netwatch.Step{Action: a, Text: "unit", Gated: true}
}
func plain(a netwatch.Action) netwatch.Step { return netwatch.Step{Action: a, Text: "plain"} }

func rule(steps ...netwatch.Step) *Rule {
	return &Rule{
		Name: "r", On: []string{"x"}, Settle: DefaultSettle, Timeout: DefaultTimeout,
		Retry: DefaultRetry, Do: steps,
	}
}

func expect(t *testing.T, got []string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// preparing is an action that can be prepared, and counts how often it is.
type preparing struct {
	do
	times atomic.Int32
}

func (p *preparing) Prepare() { p.times.Add(1) }

// The status says which step a run is at, what that waits for, and since when.
func TestStatusOfAStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := rule(plain(do(func(_ context.Context, job netwatch.Job) netwatch.Result {
			<-time.After(time.Minute)
			job.WaitsFor("somebody")
			<-time.After(time.Minute)
			return netwatch.Result{Outcome: netwatch.Changed}
		})))
		r.Settle, r.Timeout = 0, time.Hour
		b := open(t, t.TempDir(), r)
		defer b.close(t)
		b.accept(t)
		began := time.Now()
		for _, want := range []*Doing{
			{Step: "plain", Since: began}, {Step: "plain", Waits: "somebody", Since: began.Add(time.Minute)}, nil,
		} {
			<-time.After(30 * time.Second)
			if diff := cmp.Diff(want, b.Status()[0].Doing); diff != "" {
				t.Error(diff)
			}
			<-time.After(30 * time.Second)
			synctest.Wait()
		}
	})
}

// Steps are prepared once a window, shortly before its end.
func TestPrepare(t *testing.T) {
	for settle, at := range map[time.Duration]time.Duration{0: 0, preparation: 0, time.Minute: time.Minute - preparation} {
		synctest.Test(t, func(t *testing.T) {
			p := &preparing{do: result(netwatch.Changed)}
			r := rule(plain(result(netwatch.Unchanged)), gate(p))
			r.Settle = settle
			b := open(t, t.TempDir(), r)
			for n := range 2 {
				b.accept(t)
				if at > 0 {
					<-time.After(at - 1)
					b.accept(t)
				}
				if synctest.Wait(); at > 0 && p.times.Load() != int32(n) {
					t.Errorf("a window of %s: it is prepared too early", settle)
				}
				<-time.After(1)
				if synctest.Wait(); p.times.Load() != int32(n+1) {
					t.Errorf("a window of %s: prepared %d times in %d windows", settle, p.times.Load(), n+1)
				}
				<-time.After(settle + time.Second)
				synctest.Wait()
			}
			if p.times.Load() != 2 {
				t.Errorf("a window of %s: prepared %d times in two windows", settle, p.times.Load())
			}
			b.close(t)
		})
	}
}

// A window is opened by the first event and not prolonged by those after it.
func TestSettleIsNotProlonged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at []time.Duration
		began := time.Now()
		b := open(t, t.TempDir(), rule(plain(do(func(context.Context, netwatch.Job) netwatch.Result {
			at = append(at, time.Since(began))
			return netwatch.Result{Outcome: netwatch.Changed}
		}))))
		defer b.close(t)
		for range 10 { // One every 0.2 s, for 2 s
			b.accept(t)
			time.Sleep(200 * time.Millisecond)
		}
		synctest.Wait()
		want := []time.Duration{500 * time.Millisecond, 1100 * time.Millisecond, 1700 * time.Millisecond}
		if diff := cmp.Diff(want, at); diff != "" {
			t.Error(diff)
		}
	})
}

func TestGatedStepsFollowTheGate(t *testing.T) {
	cases := []struct {
		name  string
		steps []netwatch.Step
		want  []string
	}{
		{
			"gate changed",
			[]netwatch.Step{gate(result(netwatch.Changed)), gated(result(netwatch.Changed))},
			[]string{"gate: changed", "unit: changed", "r ended: changed"},
		},
		{
			"gate did not",
			[]netwatch.Step{gate(result(netwatch.Unchanged)), gated(result(netwatch.Changed))},
			[]string{"gate: unchanged", "unit: skipped", "r ended: unchanged"},
		},
		{"one of two gates did", []netwatch.Step{
			gate(result(netwatch.Changed)), gate(result(netwatch.Unchanged)),
			gated(result(netwatch.Changed)),
		}, []string{"gate: changed", "gate: unchanged", "unit: changed", "r ended: changed"}},
		{
			"no gate",
			[]netwatch.Step{plain(result(netwatch.Changed)), gated(result(netwatch.Changed))},
			[]string{"plain: changed", "unit: changed", "r ended: changed"},
		},
		{
			"gate after it",
			[]netwatch.Step{gated(result(netwatch.Changed)), gate(result(netwatch.Unchanged))},
			[]string{"unit: changed", "gate: unchanged", "r ended: changed"},
		},
		{
			"always",
			[]netwatch.Step{gate(result(netwatch.Unchanged)), plain(result(netwatch.Changed))},
			[]string{"gate: unchanged", "plain: changed", "r ended: changed"},
		},
		{
			"failure stops",
			[]netwatch.Step{gate(result(netwatch.Failed)), gated(result(netwatch.Changed))},
			[]string{"gate: failed", "r ended: failed"},
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := open(t, t.TempDir(), rule(c.steps...))
				defer b.close(t)
				b.accept(t)
				time.Sleep(DefaultSettle + time.Millisecond)
				synctest.Wait()
				expect(t, b.did(), c.want...)
			})
		})
	}
}

// A step that fails is tried again from there, with growing pauses, and the
// steps before it are not done again.
func TestRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fails := 3
		b := open(t, t.TempDir(), rule(gate(result(netwatch.Changed)),
			gated(do(func(ctx context.Context, job netwatch.Job) netwatch.Result {
				if fails--; fails >= 0 {
					return result(netwatch.Failed)(ctx, job)
				}
				return netwatch.Result{Outcome: netwatch.Changed}
			}))))
		defer b.close(t)
		b.accept(t)
		time.Sleep(time.Minute)
		synctest.Wait()
		expect(t, b.did(), "gate: changed", "unit: failed", "r ended: failed", "unit: failed", "r ended: failed",
			"unit: failed", "r ended: failed", "unit: changed", "r ended: changed")
		if n := len(b.store.Get().Runs); n != 0 {
			t.Errorf("%d runs are still on disk", n)
		}
	})
}

// What failed for good stays in the status, with what it had changed, until a
// run of the rule succeeds; that run does what is still to be done.
func TestGivenUpIsRememberedAndMadeGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		unit, changed := netwatch.Failed, netwatch.Changed
		r := rule(
			gate(do(func(context.Context, netwatch.Job) netwatch.Result { return netwatch.Result{Outcome: changed} })),
			gated(do(func(ctx context.Context, job netwatch.Job) netwatch.Result { return result(unit)(ctx, job) })),
		)
		r.Retry = 0
		b := open(t, t.TempDir(), r)
		defer b.close(t)
		b.accept(t)
		time.Sleep(time.Second)
		synctest.Wait()
		f := b.Status()[0].Failed
		if f == nil || f.Step != "unit" || !f.Changed {
			t.Fatalf("failure: %+v", f)
		}
		unit, changed = netwatch.Changed, netwatch.Unchanged
		b.accept(t)
		time.Sleep(time.Second)
		synctest.Wait()
		expect(t, b.did(), "gate: changed", "unit: failed", "r ended: failed", "gate: unchanged", "unit: changed",
			"r ended: changed")
		if b.Status()[0].Failed != nil {
			t.Error("the failure is still there")
		}
	})
}

// A held run waits for its limit; a newer event takes its place and does all
// steps again, and the one restart is not forgotten.
func TestHeldRunIsReplacedByANewerEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		until := time.Now().Add(10 * time.Second)
		gateOutcome := netwatch.Changed
		b := open(t, t.TempDir(), rule(
			gate(do(func(context.Context, netwatch.Job) netwatch.Result {
				o := gateOutcome
				gateOutcome = netwatch.Unchanged
				return netwatch.Result{Outcome: o}
			})),
			gated(do(func(context.Context, netwatch.Job) netwatch.Result {
				if time.Now().Before(until) {
					return netwatch.Result{Outcome: netwatch.Held, Until: until}
				}
				return netwatch.Result{Outcome: netwatch.Changed}
			})),
		))
		defer b.close(t)
		var watched []string
		first := netwatch.NewEvent("x", netwatch.Fired, nil)
		if _, err := b.Accept(first,
			func(e netwatch.Entry) { watched = append(watched, e.Kind+" "+string(e.Outcome)) }); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		if w := b.Status()[0].Waiting; w == nil || w.Tried == nil || !w.Due.Equal(until) {
			t.Errorf("waiting: %+v", w)
		}
		b.accept(t)
		time.Sleep(20 * time.Second)
		synctest.Wait()
		expect(t, b.did(), "gate: changed", "unit: held", "r ended: held", "gate: unchanged", "unit: held", "r ended: held",
			"unit: changed", "r ended: changed")
		expect(t, watched, "step changed", "step held", "run held", "step unchanged", "step held", "run held",
			"step changed", "run changed")
	})
}

// An event that comes while a run goes is a run of its own, afterwards.
func TestEventDuringARun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ids []string
		b := open(t, t.TempDir(), rule(plain(do(func(_ context.Context, job netwatch.Job) netwatch.Result {
			ids = append(ids, job.Event.ID)
			time.Sleep(5 * time.Second)
			return netwatch.Result{Outcome: netwatch.Changed}
		}))))
		defer b.close(t)
		first := b.accept(t)
		time.Sleep(time.Second)
		b.accept(t)
		last := b.accept(t)
		time.Sleep(20 * time.Second)
		synctest.Wait()
		expect(t, ids, first.ID, last.ID)
	})
}

// Each rule has a lane: one that is slow does not delay the others.
func TestLanesAreIndependent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow, fast := rule(plain(do(func(context.Context, netwatch.Job) netwatch.Result {
			time.Sleep(time.Minute)
			return netwatch.Result{Outcome: netwatch.Changed}
		}))), rule(plain(result(netwatch.Changed)))
		fast.Name = "fast"
		b := open(t, t.TempDir(), slow, fast)
		defer b.close(t)
		b.accept(t)
		time.Sleep(time.Second)
		synctest.Wait()
		expect(t, b.did(), "plain: changed", "fast ended: changed")
	})
}

func TestRunTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := rule(plain(do(func(ctx context.Context, _ netwatch.Job) netwatch.Result {
			<-ctx.Done()
			return netwatch.Failure(ctx.Err())
		})))
		r.Timeout, r.Retry = 3*time.Second, 0
		b := open(t, t.TempDir(), r)
		defer b.close(t)
		b.accept(t)
		time.Sleep(DefaultSettle + 3*time.Second + time.Millisecond)
		synctest.Wait()
		expect(t, b.did(), "plain: failed", "r ended: failed")
	})
}

// crash is what kill -9 leaves: the state directory as it is at this moment,
// under the name of another one.
func crash(t *testing.T, dir string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "state.json"))
	if err != nil {
		t.Fatal(err)
	}
	after := t.TempDir()
	if err := os.WriteFile(filepath.Join(after, "state.json"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	return after
}

// Wherever a crash comes between acceptance and the end of the last step, the
// unit is restarted in the end, although the gate finds nothing to change then.
func TestCrashAnywhereStillRestarts(t *testing.T) {
	for _, point := range []string{"accepted", "changing", "changed", "restarting"} {
		t.Run(point, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir, after := t.TempDir(), ""
				at := func(here string) {
					if here == point {
						after = crash(t, dir)
					}
				}
				written := false
				steps := rule(
					gate(do(func(_ context.Context, job netwatch.Job) netwatch.Result {
						if written {
							return netwatch.Result{Outcome: netwatch.Unchanged}
						}
						if err := job.Changing(netwatch.Replacement{}); err != nil {
							return netwatch.Failure(err)
						}
						at("changing")
						written = true
						at("changed")
						return netwatch.Result{Outcome: netwatch.Changed}
					})),
					gated(do(func(context.Context, netwatch.Job) netwatch.Result {
						at("restarting")
						return netwatch.Result{Outcome: netwatch.Changed}
					})),
				)
				b := open(t, dir, steps)
				b.accept(t)
				at("accepted")
				time.Sleep(time.Second)
				synctest.Wait()
				b.close(t)

				written = point != "accepted"
				b = open(t, after, steps)
				defer b.close(t)
				b.Resume()
				time.Sleep(time.Second)
				synctest.Wait()
				did := b.did()
				if len(did) != 3 || did[1] != "unit: changed" {
					t.Errorf("after the crash: %q", did)
				}
				if n := len(b.store.Get().Runs); n != 0 {
					t.Errorf("%d runs are still on disk", n)
				}
			})
		})
	}
}

// SIGTERM lets the run in progress end, and keeps what waits for the next start.
func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		r := rule(plain(do(func(context.Context, netwatch.Job) netwatch.Result {
			time.Sleep(5 * time.Second)
			return netwatch.Result{Outcome: netwatch.Changed}
		})))
		b := open(t, dir, r)
		b.accept(t)
		time.Sleep(time.Second)
		waiting := b.accept(t)
		b.close(t)
		expect(t, b.did(), "plain: changed", "r ended: changed")
		if _, err := b.Accept(netwatch.NewEvent("x", netwatch.Fired, nil), nil); !errors.Is(err, ErrDraining) {
			t.Errorf("accepted while draining: %v", err)
		}

		b = open(t, dir, r)
		defer b.close(t)
		if got := b.store.Get().Runs["r"].Events; len(got) != 1 || got[0].ID != waiting.ID {
			t.Errorf("on disk: %+v", got)
		}
		b.Resume()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		expect(t, b.did(), "plain: changed", "r ended: changed")
	})
}

// A run that does not end is told to stop when the drain has taken too long.
func TestDrainIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, t.TempDir(), rule(plain(do(func(ctx context.Context, _ netwatch.Job) netwatch.Result {
			<-ctx.Done()
			return netwatch.Failure(ctx.Err())
		}))))
		b.accept(t)
		time.Sleep(time.Second)
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		b.Drain(ctx)
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("it took %s", took)
		}
		if len(b.store.Get().Runs) != 1 {
			t.Error("the run is not kept for the next start")
		}
		if err := b.store.Close(); err != nil {
			t.Error(err)
		}
	})
}

// A reload keeps what waits, runs it by the new rule of that name, and reports
// what no rule is there for any more.
func TestSwap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone := rule(plain(result(netwatch.Changed)))
		gone.Name = "gone"
		b := open(t, t.TempDir(), rule(plain(result(netwatch.Unchanged))), gone)
		defer b.close(t)
		b.accept(t)
		b.Swap(NewTable([]*Rule{rule(gate(result(netwatch.Changed)))}))
		time.Sleep(time.Second)
		synctest.Wait()
		expect(t, b.did(), "gone ended: failed", "gate: changed", "r ended: changed")
		if n := len(b.store.Get().Runs); n != 0 {
			t.Errorf("%d runs are still on disk", n)
		}
	})
}

// What an earlier process left for a rule that is gone is reported, not kept.
func TestResumeWithoutTheRule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		b := open(t, dir, rule(plain(result(netwatch.Changed))))
		b.accept(t)
		b.close(t)
		b = open(t, dir)
		defer b.close(t)
		b.Resume()
		expect(t, b.did(), "r ended: failed")
		if n := len(b.store.Get().Runs); n != 0 {
			t.Errorf("%d runs are still on disk", n)
		}
	})
}

// What a source found is known from the moment its event is accepted, to the
// disk as well; what is fired by hand claims nothing.
func TestAddressIsBelievedWithItsEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		b := open(t, dir)
		fields := map[string]string{"family": "ipv4", "new": "203.0.113.5", "by": "a:3478, b:3478"}
		for _, source := range []string{netwatch.Fired, "stun"} {
			ev := netwatch.NewEvent(netwatch.IPChanged, source, fields)
			ev.By = []string{"a:3478", "b:3478"}
			if _, err := b.Accept(ev, nil); err != nil {
				t.Fatal(err)
			}
			if _, known := b.store.Known()[netwatch.IPv4]; known != (source == "stun") {
				t.Errorf("after %s: known is %v", source, known)
			}
		}
		after := crash(t, dir)
		b.close(t)
		b = open(t, after)
		defer b.close(t)
		got := b.store.Known()[netwatch.IPv4]
		if got.Address.String() != "203.0.113.5" || !slices.Equal(got.By, []string{"a:3478", "b:3478"}) {
			t.Errorf("after a crash: %+v", got)
		}
	})
}

// A flood between two runs is one run, of bounded size.
func TestFloodIsOneRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, t.TempDir(), rule(plain(result(netwatch.Changed))))
		defer b.close(t)
		for range 500 {
			b.accept(t)
		}
		if n := len(b.store.Get().Runs["r"].Events); n != netwatch.MaxCoalesced {
			t.Errorf("%d events are kept", n)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		expect(t, b.did(), "plain: changed", "r ended: changed")
		if n := len(b.store.Get().Runs); n != 0 {
			t.Errorf("%d runs are still on disk", n)
		}
	})
}

// A gate that fails after its change was announced may have changed something:
// when it then finds nothing to change, the steps after it run all the same.
func TestGateThatFailedMayHaveChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tried := false
		b := open(t, t.TempDir(), rule(gate(do(func(_ context.Context, job netwatch.Job) netwatch.Result {
			if tried {
				return netwatch.Result{Outcome: netwatch.Unchanged}
			}
			tried = true
			return netwatch.Failure(errors.Join(job.Changing(netwatch.Replacement{}), errors.New("after the change")))
		})), gated(result(netwatch.Changed))))
		defer b.close(t)
		b.accept(t)
		time.Sleep(time.Minute)
		synctest.Wait()
		expect(t, b.did(), "gate: failed", "r ended: failed", "gate: unchanged", "unit: changed", "r ended: changed")
	})
}

// A run that fails while a newer event waits leaves its duties to that event's
// run: the unit is restarted although the gate changes nothing any more.
func TestFailedRunLeavesItsDutiesToANewerEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gateOutcome, unit := netwatch.Changed, netwatch.Failed
		b := open(t, t.TempDir(), rule(
			gate(do(func(context.Context, netwatch.Job) netwatch.Result {
				o := gateOutcome
				gateOutcome = netwatch.Unchanged
				return netwatch.Result{Outcome: o}
			})),
			gated(do(func(ctx context.Context, job netwatch.Job) netwatch.Result {
				time.Sleep(2 * time.Second)
				o := unit
				unit = netwatch.Changed
				return result(o)(ctx, job)
			})),
		))
		defer b.close(t)
		b.accept(t)
		time.Sleep(time.Second)
		b.accept(t) // While the unit is being restarted
		time.Sleep(time.Minute)
		synctest.Wait()
		expect(t, b.did(), "gate: changed", "unit: failed", "r ended: failed", "gate: unchanged", "unit: changed",
			"r ended: changed")
		if n := len(b.store.Get().Runs); n != 0 {
			t.Errorf("%d runs are still on disk", n)
		}
	})
}

// A failing run is tried for as long as retry says: the last time at its end.
func TestLastTryIsAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at []time.Duration
		r := rule(plain(do(func(ctx context.Context, job netwatch.Job) netwatch.Result {
			at = append(at, time.Since(job.Event.Time))
			return result(netwatch.Failed)(ctx, job)
		})))
		r.Retry = 20 * time.Second
		b := open(t, t.TempDir(), r)
		defer b.close(t)
		b.accept(t)
		time.Sleep(time.Hour)
		synctest.Wait()
		if last := at[len(at)-1]; len(at) < 4 || last != r.Settle+r.Retry {
			t.Errorf("tried after %v", at)
		}
		if b.Status()[0].Failed == nil {
			t.Error("it was not given up")
		}
	})
}

// A dismissed failure is gone, also after a restart, and what was to follow from
// it is not done any more.
func TestDismiss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, broken := t.TempDir(), true
		r := rule(gate(result(netwatch.Changed)), gated(do(func(ctx context.Context, job netwatch.Job) netwatch.Result {
			if broken {
				return result(netwatch.Failed)(ctx, job)
			}
			return result(netwatch.Changed)(ctx, job)
		})))
		r.Retry = 0
		b := open(t, dir, r)
		b.accept(t)
		time.Sleep(time.Minute)
		synctest.Wait()
		if err := b.Dismiss("other"); !errors.Is(err, ErrNothingFailed) {
			t.Errorf("another rule: %v", err)
		}
		if err := b.Dismiss("r"); err != nil {
			t.Error(err)
		}
		b.close(t)
		broken, r.Do[0] = false, gate(result(netwatch.Unchanged))
		b = open(t, dir, r)
		defer b.close(t)
		if failed := b.Status()[0].Failed; failed != nil {
			t.Errorf("still there: %+v", failed)
		}
		b.accept(t)
		time.Sleep(time.Minute)
		synctest.Wait()
		expect(t, b.did(), "gate: unchanged", "unit: skipped", "r ended: unchanged")
	})
}

// What an earlier process left and what happens as this one starts is one run,
// and history tells of both events.
func TestResumedRunTakesUpWhatHappensAtTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, r := t.TempDir(), rule(plain(result(netwatch.Changed)))
		b := open(t, dir, r)
		left := b.accept(t)
		b.close(t)
		b = open(t, dir, r)
		defer b.close(t)
		var told []string
		b.report = func(e netwatch.Entry) {
			b.entries(e)
			if e.Kind == netwatch.EntryEvent {
				told = append(told, e.ID)
			}
		}
		b.Resume()
		started := b.accept(t)
		time.Sleep(time.Minute)
		synctest.Wait()
		expect(t, b.did(), "plain: changed", "r ended: changed")
		expect(t, told, left.ID, started.ID)
	})
}

// A step that is ended because its time is over hears whose time that was.
func TestTimeoutSaysWhose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cause error
		r := rule(plain(do(func(ctx context.Context, _ netwatch.Job) netwatch.Result {
			<-ctx.Done()
			cause = context.Cause(ctx)
			return netwatch.Failure(cause)
		})))
		r.Timeout, r.Retry = 3*time.Second, 0
		b := open(t, t.TempDir(), r)
		defer b.close(t)
		b.accept(t)
		time.Sleep(time.Minute)
		synctest.Wait()
		if cause == nil || cause.Error() != "the rule's timeout of 3s is over" ||
			!errors.Is(cause, context.DeadlineExceeded) {
			t.Errorf("cause: %v", cause)
		}
	})
}

// A reload in the middle of a run that then fails: the new rule does all of its
// steps, and what had changed is not forgotten.
func TestSwapDuringAFailingRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := do(func(ctx context.Context, job netwatch.Job) netwatch.Result {
			time.Sleep(2 * time.Second)
			return result(netwatch.Failed)(ctx, job)
		})
		b := open(t, t.TempDir(), rule(plain(result(netwatch.Changed)), gate(result(netwatch.Changed)), gated(slow)))
		defer b.close(t)
		b.accept(t)
		time.Sleep(time.Second)
		b.Swap(NewTable([]*Rule{rule(gate(result(netwatch.Unchanged)), gated(result(netwatch.Changed)))}))
		time.Sleep(time.Minute)
		synctest.Wait()
		expect(t, b.did(), "plain: changed", "gate: changed", "unit: failed", "r ended: failed", "gate: unchanged",
			"unit: changed", "r ended: changed")
	})
}

// Who waits for a run whose rule is removed is told, whether it waits or fails.
func TestRemovedRuleTellsWhoWaits(t *testing.T) {
	for name, wait := range map[string]time.Duration{"while it settles": 0, "while it runs": time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := open(t, t.TempDir(), rule(plain(do(func(context.Context, netwatch.Job) netwatch.Result {
					time.Sleep(2 * time.Second)
					return netwatch.Result{Outcome: netwatch.Held, Until: time.Now().Add(time.Hour)}
				}))))
				defer b.close(t)
				var told []netwatch.Outcome
				watch := func(e netwatch.Entry) {
					if e.Kind == netwatch.EntryRun {
						told = append(told, e.Outcome)
					}
				}
				if _, err := b.Accept(netwatch.NewEvent("x", netwatch.Fired, nil), watch); err != nil {
					t.Fatal(err)
				}
				time.Sleep(wait)
				b.Swap(NewTable(nil))
				time.Sleep(time.Minute)
				synctest.Wait()
				if len(told) == 0 || told[len(told)-1] != netwatch.Failed {
					t.Errorf("told: %q", told)
				}
				if n := len(b.store.Get().Runs); n != 0 {
					t.Errorf("%d runs are still on disk", n)
				}
			})
		})
	}
}

// A rule that is removed and comes back while it runs does not run twice at once.
func TestRuleThatComesBackWhileItRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		running, most := 0, 0
		r := rule(plain(do(func(context.Context, netwatch.Job) netwatch.Result {
			running++
			most = max(most, running)
			time.Sleep(5 * time.Second)
			running--
			return netwatch.Result{Outcome: netwatch.Changed}
		})))
		b := open(t, t.TempDir(), r)
		defer b.close(t)
		b.accept(t)
		time.Sleep(time.Second)
		b.Swap(NewTable(nil))
		b.Swap(NewTable([]*Rule{r}))
		b.accept(t)
		time.Sleep(time.Minute)
		synctest.Wait()
		expect(t, b.did(), "plain: changed", "r ended: changed", "plain: changed", "r ended: changed")
		if most != 1 {
			t.Errorf("%d runs at once", most)
		}
	})
}

// A step that fails because netwatch ends is not the run's failure.
func TestDrainIsNoFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := rule(plain(do(func(ctx context.Context, _ netwatch.Job) netwatch.Result {
			<-ctx.Done()
			return netwatch.Failure(context.Cause(ctx))
		})))
		r.Retry = 0
		b := open(t, t.TempDir(), r)
		b.accept(t)
		time.Sleep(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		b.Drain(ctx)
		if s := b.store.Get(); len(s.Runs) != 1 || len(s.Failures) != 0 {
			t.Errorf("on disk: %+v", s)
		}
		if err := b.store.Close(); err != nil {
			t.Error(err)
		}
	})
}

// A step is told which others are in its rule.
func TestStepsKnowTheirRule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []netwatch.Step
		r := rule(gate(result(netwatch.Changed)), plain(do(func(_ context.Context, job netwatch.Job) netwatch.Result {
			told = job.Steps
			return netwatch.Result{Outcome: netwatch.Changed}
		})))
		b := open(t, t.TempDir(), r)
		b.accept(t)
		synctest.Wait()
		time.Sleep(time.Second)
		b.close(t)
		if len(told) != 2 || told[0].Text != "gate" || told[1].Text != "plain" {
			t.Errorf("it was told of %v", told)
		}
	})
}

// Steps get no address that nobody has confirmed since netwatch started.
func TestOldAddressIsNotActedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, known := t.TempDir(), -1
		r := rule(plain(do(func(_ context.Context, job netwatch.Job) netwatch.Result {
			known = len(job.Confirmed)
			return netwatch.Result{Outcome: netwatch.Changed}
		})))
		b := open(t, dir, r)
		found := netwatch.NewEvent(netwatch.IPChanged, "stun", map[string]string{"family": "ipv4", "new": "203.0.113.5"})
		if _, err := b.Accept(found, nil); err != nil {
			t.Fatal(err)
		}
		b.close(t)
		time.Sleep(time.Hour)
		b = open(t, dir, r)
		defer b.close(t)
		for want := range 2 {
			b.accept(t)
			time.Sleep(time.Second)
			synctest.Wait()
			if known != want {
				t.Errorf("%d addresses are acted on, want %d", known, want)
			}
			b.store.Confirm(netwatch.IPv4, time.Now(), []string{"a"}, netip.Addr{})
		}
	})
}

// A failure stays in the status also when its rule has another name since.
func TestFailureOfARuleThatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := rule(plain(result(netwatch.Failed)))
		r.Retry = 0
		b := open(t, t.TempDir(), r)
		defer b.close(t)
		b.accept(t)
		time.Sleep(time.Minute)
		synctest.Wait()
		renamed := *r
		renamed.Name = "renamed"
		b.Swap(NewTable([]*Rule{&renamed}))
		if all := b.Status(); len(all) != 2 || all[1].Name != "r" || all[1].Failed == nil {
			t.Errorf("%+v", all)
		}
		if err := b.Dismiss("r"); err != nil || len(b.Status()) != 1 {
			t.Error(err, b.Status())
		}
	})
}

// When the disk refuses the state, what is accepted runs all the same, step by step,
// and is forgotten once it has ended; what the disk has afterwards is how it stands.
func TestDiskRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, ran := filepath.Join(t.TempDir(), "state"), 0
		change := do(func(_ context.Context, job netwatch.Job) netwatch.Result {
			if err := job.Changing(netwatch.Replacement{Place: "/f", From: "1", To: "2"}); err != nil {
				return netwatch.Failure(err)
			}
			return netwatch.Result{Outcome: netwatch.Changed}
		})
		count := do(func(context.Context, netwatch.Job) netwatch.Result {
			ran++
			return netwatch.Result{Outcome: netwatch.Changed}
		})
		b := open(t, dir, rule(gate(change), gated(count)))
		if err := errors.Join(os.Rename(dir, dir+".away"), os.WriteFile(dir, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		b.accept(t)
		if len(b.store.Get().Runs) != 1 || b.store.Unwritten() == nil {
			t.Errorf("accepted: %+v, at risk: %+v", b.store.Get().Runs, b.store.Unwritten())
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if ran != 1 || len(b.store.Get().Runs) != 0 || !b.store.Wrote(netwatch.Replacement{Place: "/f", From: "1", To: "2"}) {
			t.Errorf("it ran %d times; state: %+v", ran, b.store.Get())
		}
		if err := errors.Join(os.Remove(dir), os.Rename(dir+".away", dir)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if u := b.store.Unwritten(); u != nil {
			t.Errorf("at risk: %+v", u)
		}
		b.close(t)
		b = open(t, dir, rule())
		defer b.close(t)
		if s := b.store.Get(); len(s.Runs) != 0 || s.Replaced["/f"].To != "2" {
			t.Errorf("on disk: %+v", s)
		}
	})
}

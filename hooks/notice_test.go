package hooks

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"netwatch"
)

// notice is a step that tells somebody.
func notice(a netwatch.Action) netwatch.Step {
	return netwatch.Step{Action: a, Text: "notice", Notice: true, Gated: true}
}

// told is a notice that remembers the outcome and the error of each run.
func told(all *[]string) netwatch.Step {
	return notice(do(func(_ context.Context, job netwatch.Job) netwatch.Result {
		*all = append(*all, string(job.Ended.Outcome)+" "+job.Ended.Rule+" "+job.Ended.Step+" "+job.Ended.Error)
		return netwatch.Result{Outcome: netwatch.Changed}
	}))
}

// failing is a step that fails so many times.
func failing(times int, then netwatch.Outcome) do {
	return func(ctx context.Context, job netwatch.Job) netwatch.Result {
		if times--; times >= 0 {
			return result(netwatch.Failed)(ctx, job)
		}
		return netwatch.Result{Outcome: then}
	}
}

// A notice tells of the first failure of a run and of how it ended, and not of
// the tries between; so also when the end is that nothing had to be changed.
func TestNoticeTellsOfFailureAndEnd(t *testing.T) {
	for name, c := range map[string]struct {
		steps []netwatch.Step
		retry time.Duration
		want  []string
	}{
		"changed":             {[]netwatch.Step{gate(result(netwatch.Changed))}, time.Hour, []string{"changed r  "}},
		"nothing changed":     {[]netwatch.Step{gate(result(netwatch.Unchanged))}, time.Hour, nil},
		"no gate":             {[]netwatch.Step{plain(result(netwatch.Unchanged))}, time.Hour, []string{"unchanged r  "}},
		"nothing but notices": {nil, time.Hour, []string{"unchanged r  "}},
		"fails and recovers": {
			[]netwatch.Step{gate(result(netwatch.Unchanged)), plain(failing(3, netwatch.Unchanged))},
			time.Hour,
			[]string{"failed r plain as told", "unchanged r  "},
		},
		"given up": {
			[]netwatch.Step{plain(failing(99, ""))},
			time.Minute,
			[]string{"failed r plain as told", "failed r plain as told"},
		},
		"given up at once": {[]netwatch.Step{plain(failing(99, ""))}, 0, []string{"failed r plain as told"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var got []string
				r := rule(append(c.steps, told(&got))...)
				r.Retry = c.retry
				b := open(t, t.TempDir(), r)
				defer b.close(t)
				b.accept(t)
				time.Sleep(10 * time.Minute)
				synctest.Wait()
				expect(t, got, c.want...)
			})
		})
	}
}

// A rule that was given up tells when it is well again.
func TestNoticeTellsOfRecovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []string
		r := rule(gate(result(netwatch.Unchanged)), plain(failing(1, netwatch.Unchanged)), told(&got))
		r.Retry = 0
		b := open(t, t.TempDir(), r)
		defer b.close(t)
		for range 3 {
			b.accept(t)
			time.Sleep(time.Minute)
		}
		synctest.Wait()
		expect(t, got, "failed r plain as told", "unchanged r  ")
	})
}

// An event that replaces a failing run does not make it tell twice.
func TestNoticeOfAReplacedRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []string
		b := open(t, t.TempDir(), rule(gate(result(netwatch.Unchanged)), plain(failing(20, netwatch.Unchanged)), told(&got)))
		defer b.close(t)
		for range 20 {
			b.accept(t)
			time.Sleep(700 * time.Millisecond)
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		expect(t, got, "failed r plain as told", "unchanged r  ")
	})
}

// A notice that takes its time, and fails, delays no run and fails none; runs
// that end meanwhile are told of in order, and of too many the oldest are not.
func TestNoticeDelaysAndFailsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ran []time.Duration
		var got []string
		began := time.Now()
		b := open(t, t.TempDir(), rule(plain(do(func(context.Context, netwatch.Job) netwatch.Result {
			ran = append(ran, time.Since(began))
			return netwatch.Result{Outcome: netwatch.Changed}
		})), notice(do(func(ctx context.Context, job netwatch.Job) netwatch.Result {
			<-ctx.Done()
			got = append(got, job.Event.ID)
			return netwatch.Failure(ctx.Err())
		}))))
		defer b.close(t)
		var ids []string
		for range 19 {
			ids = append(ids, b.accept(t).ID)
			time.Sleep(time.Second)
		}
		synctest.Wait()
		for i, at := range ran {
			if at != time.Duration(i)*time.Second+DefaultSettle {
				t.Errorf("run %d began after %s", i, at)
			}
		}
		if n := len(b.store.Get().Runs) + len(b.store.Get().Failures); n > 0 || len(ran) != 19 {
			t.Errorf("%d ran, and %d are on disk as unended or failed", len(ran), n)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		expect(t, got, append(ids[:1:1], ids[3:]...)...)
		failed := 0
		for _, line := range b.did() {
			if line == "notice: failed" {
				failed++
			}
		}
		if failed != len(ids) {
			t.Errorf("%d notices are reported as failed, want %d", failed, len(ids))
		}
	})
}

// The end of netwatch waits for a notice, for a short while.
func TestDrainOfNotices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, t.TempDir(), rule(plain(result(netwatch.Changed)),
			notice(do(func(ctx context.Context, _ netwatch.Job) netwatch.Result {
				<-ctx.Done()
				return netwatch.Failure(ctx.Err())
			}))))
		b.accept(t)
		time.Sleep(time.Second)
		began := time.Now()
		b.close(t)
		if took := time.Since(began); took != lastNotices {
			t.Errorf("it took %s", took)
		}
		expect(t, b.did(), "plain: changed", "r ended: changed", "notice: failed")
	})
}

// Who waits for a run does not wait for its notices, and is not told of them.
func TestNoticeIsNoneOfTheCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, t.TempDir(), rule(plain(result(netwatch.Changed)), notice(result(netwatch.Failed))))
		defer b.close(t)
		var watched []string
		_, err := b.Accept(netwatch.NewEvent("x", netwatch.Fired, nil),
			func(e netwatch.Entry) { watched = append(watched, e.Kind+" "+string(e.Outcome)) })
		time.Sleep(time.Minute)
		synctest.Wait()
		expect(t, watched, "step changed", "run changed")
		if err != nil || b.Status()[0].Last.Outcome != netwatch.Changed {
			t.Errorf("%v, and the run is %+v", err, b.Status()[0].Last)
		}
	})
}

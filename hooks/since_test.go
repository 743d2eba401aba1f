package hooks

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"netwatch"
)

// A step is told since when the world is as it is: since the newest event, or since a
// step of its run changed something, or may have.
func TestStepsKnowSince(t *testing.T) {
	for name, c := range map[string]struct {
		first netwatch.Outcome
		want  time.Duration // After the event
	}{
		"nothing changed":      {netwatch.Unchanged, 0},
		"a step has":           {netwatch.Changed, DefaultSettle + time.Second},
		"one that failed once": {netwatch.Failed, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var since time.Time
				outcome := c.first
				r := rule(plain(do(func(context.Context, netwatch.Job) netwatch.Result {
					time.Sleep(time.Second)
					defer func() { outcome = netwatch.Unchanged }()
					return result(outcome)(t.Context(), netwatch.Job{})
				})), plain(do(func(_ context.Context, job netwatch.Job) netwatch.Result {
					since = job.Since
					return netwatch.Result{Outcome: netwatch.Unchanged}
				})))
				b := open(t, t.TempDir(), r)
				defer b.close(t)
				ev := b.accept(t)
				time.Sleep(time.Minute)
				synctest.Wait()
				if got := since.Sub(ev.Time); got != c.want {
					t.Errorf("since %v after the event, want %v", got, c.want)
				}
			})
		})
	}
}

// What was changed before a crash, nobody knows when: it counts as changed now.
func TestResumedStepsKnowSince(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, after := t.TempDir(), ""
		var since time.Time
		r := rule(gate(do(func(_ context.Context, job netwatch.Job) netwatch.Result {
			if after == "" {
				if err := job.Changing(netwatch.Replacement{}); err != nil {
					return netwatch.Failure(err)
				}
				after = crash(t, dir)
			}
			return netwatch.Result{Outcome: netwatch.Unchanged}
		})), gated(do(func(_ context.Context, job netwatch.Job) netwatch.Result {
			since = job.Since
			return netwatch.Result{Outcome: netwatch.Changed}
		})))
		b := open(t, dir, r)
		b.accept(t)
		time.Sleep(time.Second)
		synctest.Wait()
		b.close(t)
		time.Sleep(time.Hour)
		resumed := time.Now()
		b = open(t, after, r)
		defer b.close(t)
		b.Resume()
		time.Sleep(time.Second)
		synctest.Wait()
		if since.Before(resumed) {
			t.Errorf("since %v, resumed at %v", since, resumed)
		}
	})
}

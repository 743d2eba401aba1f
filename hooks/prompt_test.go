package hooks

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"netwatch"
)

// heardAfter is a look that has heard all after a while.
func heardAfter(d time.Duration) context.Context {
	ctx, end := context.WithCancel(context.Background())
	time.AfterFunc(d, end)
	return ctx
}

// never is a look that hears nothing of what it asked for.
func never() context.Context { return context.Background() }

// A rule without a window of its own waits until the looks have heard all that found its
// events out, and never longer than its window.
func TestWindowEndsWhenAllIsHeard(t *testing.T) {
	const ms = time.Millisecond
	type event struct {
		after time.Duration
		heard context.Context
	}
	for name, c := range map[string]struct {
		own    bool
		events func() []event
		want   time.Duration
	}{
		"at once":               {false, func() []event { return []event{{0, heardAfter(0)}} }, 0},
		"the other family late": {false, func() []event { return []event{{0, heardAfter(40 * ms)}} }, 40 * ms},
		"it never comes":        {false, func() []event { return []event{{0, never()}} }, DefaultSettle},
		"no look":               {false, func() []event { return []event{{0, nil}} }, DefaultSettle},
		"a window of its own":   {true, func() []event { return []event{{0, heardAfter(0)}} }, DefaultSettle},
		"two events of one look": {false, func() []event {
			look := heardAfter(60 * ms)
			return []event{{0, look}, {20 * ms, look}}
		}, 60 * ms},
		"two looks": {false, func() []event {
			return []event{{0, heardAfter(60 * ms)}, {20 * ms, heardAfter(100 * ms)}}
		}, 100 * ms},
		"one that no look found came first": {false, func() []event {
			return []event{{0, nil}, {20 * ms, heardAfter(30 * ms)}}
		}, DefaultSettle},
		"one that no look found came too": {false, func() []event {
			return []event{{0, heardAfter(60 * ms)}, {20 * ms, nil}}
		}, DefaultSettle},
	} {
		synctest.Test(t, func(t *testing.T) {
			ran := []time.Duration{}
			began := time.Now()
			r := rule(plain(do(func(context.Context, netwatch.Job) netwatch.Result {
				ran = append(ran, time.Since(began))
				return netwatch.Result{Outcome: netwatch.Unchanged}
			})))
			r.Prompt = !c.own
			b := open(t, t.TempDir(), r)
			defer b.close(t)
			for _, e := range c.events() {
				time.Sleep(e.after - time.Since(began))
				ev := netwatch.NewEvent("x", "stun", nil)
				ev.Heard = e.heard
				if _, err := b.Accept(ev, nil); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			if len(ran) != 1 || ran[0] != c.want {
				t.Errorf("%s: it ran after %s, and not once after %s", name, ran, c.want)
			}
		})
	}
}

// A run that is to be tried again waits for that, although the look that found its event
// goes on until after its window and its failure.
func TestHeardAfterAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ran []time.Duration
		began := time.Now()
		r := rule(plain(do(func(context.Context, netwatch.Job) netwatch.Result {
			ran = append(ran, time.Since(began))
			if len(ran) == 1 {
				return netwatch.Result{Outcome: netwatch.Held, Until: time.Now().Add(time.Minute)}
			}
			return netwatch.Result{Outcome: netwatch.Unchanged}
		})))
		r.Prompt = true
		b := open(t, t.TempDir(), r)
		defer b.close(t)
		ev := netwatch.NewEvent("x", "stun", nil)
		ev.Heard = heardAfter(time.Second)
		if _, err := b.Accept(ev, nil); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if len(ran) != 2 || ran[1]-ran[0] != time.Minute {
			t.Errorf("it ran after %s", ran)
		}
	})
}

// What takes time to start is told at once then, and not as late as for a whole window.
func TestPrepareForAPromptRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &preparing{do: result(netwatch.Unchanged)}
		r := rule(plain(p))
		r.Prompt = true
		b := open(t, t.TempDir(), r)
		defer b.close(t)
		ev := netwatch.NewEvent("x", "stun", nil)
		ev.Heard = never()
		if _, err := b.Accept(ev, nil); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if p.times.Load() != 1 {
			t.Error("nobody was told to prepare")
		}
		time.Sleep(time.Minute)
	})
}

package hooks

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"netwatch"
)

// heard has a bench keep whole entries too.
func (b *bench) heard() *[]netwatch.Entry {
	all := &[]netwatch.Entry{}
	b.report = func(e netwatch.Entry) {
		b.entries(e)
		b.mu.Lock()
		defer b.mu.Unlock()
		*all = append(*all, e)
	}
	return all
}

// What somebody dismissed is in history, and what cannot be dismissed is said.
func TestDismissIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := rule(plain(result(netwatch.Failed)))
		r.Retry = 0
		b := open(t, t.TempDir(), r)
		told := b.heard()
		ev := b.accept(t)
		<-time.After(time.Second)
		synctest.Wait()
		if err := b.Dismiss("r"); err != nil {
			t.Error(err)
		}
		last := (*told)[len(*told)-1]
		if last.Kind != netwatch.EntryNote || last.Rule != "r" || last.ID != ev.ID || last.Detail == "" {
			t.Errorf("told is %+v", last)
		}
		b.accept(t)
		<-time.After(time.Second)
		synctest.Wait()
		b.close(t)
		before := len(*told)
		if err := b.Dismiss("r"); err == nil || len(*told) != before {
			t.Errorf("it says %v, and tells %+v", err, (*told)[before:])
		}
		b.save(nil)
		if last := (*told)[len(*told)-1]; len(*told) == before || !strings.Contains(last.Error, "changing the state") {
			t.Errorf("of what cannot be noted it tells %+v", last)
		}
	})
}

// A run says of which events it was, if they are several, and what of the change when.
func TestRunTellsItsEventsAndMoments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		step := gate(result(netwatch.Changed))
		b := open(t, t.TempDir(), rule(step))
		defer b.close(t)
		told := b.heard()
		for events := 1; events <= 2; events++ {
			confirmed := time.Now()
			<-time.After(time.Minute)
			for range events {
				ev := netwatch.NewEvent("x", "stun", nil)
				ev.Noticed, ev.Moments = netwatch.BySTUN, &netwatch.Moments{Confirmed: confirmed, Accepted: time.Now()}
				if _, err := b.Accept(ev, nil); err != nil {
					t.Fatal(err)
				}
			}
			<-time.After(time.Minute)
			synctest.Wait()
			end := (*told)[len(*told)-1]
			if m := end.Moments; m == nil || m.Rewritten.Sub(m.Accepted) != DefaultSettle || end.Wrong == nil ||
				end.Noticed != netwatch.BySTUN {
				t.Errorf("of the change it tells %+v, %+v", end.Moments, end.Wrong)
			}
			if n := len(end.IDs); n != map[int]int{1: 0, 2: 2}[events] {
				t.Errorf("of %d events it names %d", events, n)
			}
		}
	})
}

// A timer that fires before its time, as when the clock was set back since, is set again.
func TestTimerFiresEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, t.TempDir(), rule(plain(result(netwatch.Unchanged))))
		defer b.close(t)
		b.accept(t)
		b.lanes["r"].timer.Reset(0)
		if early := b.after(DefaultSettle / 2); len(early) > 0 {
			t.Errorf("too early it did %q", early)
		}
		expect(t, b.after(DefaultSettle), "plain: unchanged", "r ended: unchanged")
	})
}

// What was left by an earlier life has those prepare that take time to start.
func TestPrepareForWhatWasLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, p := t.TempDir(), &preparing{do: result(netwatch.Changed)}
		b := open(t, dir, rule(plain(p)))
		b.accept(t)
		b.close(t)
		<-time.After(time.Minute)
		before := p.times.Load()
		b = open(t, dir, rule(plain(p)))
		defer b.close(t)
		b.Resume()
		<-time.After(time.Minute)
		synctest.Wait()
		if n := p.times.Load() - before; n != 1 {
			t.Errorf("it is prepared %d times", n)
		}
	})
}

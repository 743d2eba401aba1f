//go:build lab

package lab

import (
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	// every and settle are the poll and the window in these tests.
	every  = time.Second
	settle = 500 * time.Millisecond
	// spare is by how much a promise may be missed on a loaded machine before a
	// test fails; the figures themselves are logged.
	spare = 2 * time.Second
)

// changes changes the address n times, each time at another moment of a poll,
// and measures until a caller is right again. after is called after each
// change, and what it returns once the caller is right.
func changes(t *testing.T, n int, after func() func()) Times {
	t.Helper()
	var times Times
	for i := range n {
		wait(t, time.Duration(i)*every/time.Duration(n))
		to := Public(10 + i)
		changed := time.Now()
		must(t, world.SetPublic(t.Context(), to))
		ended := after()
		times = append(times, right(t, to, to, 20*time.Second).Sub(changed))
		ended()
	}
	return times
}

// promised fails when the slowest time is beyond a promise and the spare time.
func promised(t *testing.T, times Times, promise time.Duration) {
	t.Helper()
	t.Logf("a caller is right again after: %s; promised: %v", times, promise)
	for _, took := range times {
		if took > promise+spare {
			t.Errorf("it took %v, and %v is promised", took, promise)
		}
	}
}

func nothing() func() { return func() {} }

func TestPublicAddressChanges(t *testing.T) {
	fresh(t, YunoHost)
	unlimited(t, YunoHost.Unit)
	t.Logf("by hand: %s; a cron job at */15: 450 s on the average", floor(t, 3))
	must(t, world.SetPublic(t.Context(), FirstPublic))
	watching(t, configuration(YunoHost, every.String()), FirstPublic)
	promised(t, changes(t, 5, nothing), every+settle+200*time.Millisecond)
}

func TestDebianCoturn(t *testing.T) {
	fresh(t, Debian)
	watching(t, configuration(Debian, every.String()), FirstPublic)
	promised(t, changes(t, 1, nothing), every+settle+200*time.Millisecond)
}

func TestFireByHand(t *testing.T) {
	fresh(t, YunoHost)
	unlimited(t, YunoHost.Unit)
	watching(t, configuration(YunoHost, "1h"), FirstPublic)
	times := changes(t, 3, func() func() {
		var out strings.Builder
		fire := server.Command(t.Context(), "netwatch", "fire", "ip-changed")
		fire.Stdout, fire.Stderr = &out, &out
		must(t, fire.Start())
		return func() {
			err := fire.Wait()
			if err != nil || !strings.Contains(out.String(), "restart "+YunoHost.Unit+": changed") {
				t.Errorf("netwatch fire: %v:\n%s", err, out.String())
			}
		}
	})
	promised(t, times, settle+300*time.Millisecond)
}

func TestUnreachableServer(t *testing.T) {
	fresh(t, YunoHost)
	unlimited(t, YunoHost.Unit)
	watching(t, configuration(YunoHost, every.String()), FirstPublic)
	must(t, stuns[0].Hang())
	t.Cleanup(func() { must(t, stuns[0].Resume()) })
	promised(t, changes(t, 3, nothing), every+settle+200*time.Millisecond+500*time.Millisecond)
}

func TestStaleMapping(t *testing.T) {
	fresh(t, YunoHost)
	must(t, world.SetPublicStale(t.Context(), FirstPublic))
	watching(t, configuration(YunoHost, every.String()), FirstPublic)
	wait(t, 3*every) // Every server is asked, which leaves a mapping each.
	to := Public(20)
	changed := time.Now()
	must(t, world.SetPublicStale(t.Context(), to))
	promised(t, Times{right(t, to, to, 20*time.Second).Sub(changed)}, every+settle+200*time.Millisecond)
}

func TestTwentyChangesInTenSeconds(t *testing.T) {
	fresh(t, YunoHost)
	watching(t, configuration(YunoHost, every.String()), FirstPublic)
	began := time.Now()
	for i := range 20 {
		must(t, world.SetPublic(t.Context(), Public(30+i)))
		wait(t, time.Until(began.Add(time.Duration(i+1)*10*time.Second/20)))
	}
	last := Public(49)
	t.Logf("right %v after the last change", right(t, last, last, 30*time.Second).Sub(began.Add(9500*time.Millisecond)))
	idle(t, last)
	for property, want := range map[string]string{"ActiveState": "active", "Result": "success", "NRestarts": "0"} {
		if got := show(t, YunoHost.Unit, property); got != want {
			t.Errorf("%s of coturn is %s, want %s", property, got, want)
		}
	}
	log := shell(t, "journalctl -b -o short-unix --since @"+strconv.FormatInt(began.Unix(), 10)+" -u "+YunoHost.Unit)
	starts := strings.Count(log, "Started ")
	t.Logf("coturn was restarted %d times", starts)
	if starts < 2 {
		t.Error("the burst was none")
	}
	if strings.Contains(log, "repeated too quickly") || strings.Contains(log, "start-limit-hit") {
		t.Errorf("the start limit was hit:\n%s", log)
	}
}

package systemd

import (
	"slices"
	"testing"
	"time"

	"netwatch/systemd/systemdtest"
)

// What systemd was asked for while it executed itself anew is asked for again, as often
// as it takes; but not what it has done, or is at.
func TestAskedOnce(t *testing.T) {
	f := systemdtest.New(t)
	f.Does(func(f *systemdtest.Fake, _ string) string {
		f.Set("StateChangeTimestampMonotonic", uint64(time.Now().UnixNano()))
		return Done
	})
	lost := func() {}
	done := func() { f.Set("InvocationID", []byte{7}) }
	killed := func() { f.Set("StateChangeTimestampMonotonic", uint64(7)) }
	for _, c := range []struct {
		what      string
		verb      Verb
		meanwhile []func()
		calls     int
		result    string
	}{
		{"nothing was done", Restart, []func(){lost, lost}, 3, Done},
		{"it was done", Restart, []func(){done}, 1, Lost},
		{"it was done the second time", Reload, []func(){lost, killed}, 2, Lost},
		{"no signal was sent", Kill, []func(){lost}, 2, ""},
		{"a signal was sent", Kill, []func(){done}, 1, ""},
	} {
		before := len(f.Asked())
		f.Set("InvocationID", []byte{1}, "StateChangeTimestampMonotonic", uint64(1))
		f.BeginsAnew(c.meanwhile...)
		result, err := ask(t, c.verb, 10*time.Second)
		if calls := len(f.Asked()) - before; err != nil || result != c.result || calls != c.calls {
			t.Errorf("%s: it was asked %d times, and the job ended in %q, %v", c.what, calls, result, err)
		}
	}
}

// The bus may have asked systemd to start polkit, just when that executed itself anew: it
// says so only when it has waited for that in vain, longer than systemd is away.
func TestAskedAgainAfterLong(t *testing.T) {
	f := systemdtest.New(t)
	f.Does(func(*systemdtest.Fake, string) string { return Done })
	f.BeginsAnew(func() { <-time.After(500 * time.Millisecond) })
	if result, err := ask(t, Restart, 10*time.Second); err != nil || result != Done {
		t.Errorf("after long: %q, %v", result, err)
	}
	f.Refuses(busError+"TimedOut",
		"Failed to activate service 'org.freedesktop.PolicyKit1': timed out (service_start_timeout=25000ms)")
	time.AfterFunc(100*time.Millisecond, f.Permits)
	if result, err := ask(t, Restart, 10*time.Second); err != nil || result != Done {
		t.Errorf("polkit was not started at first: %q, %v", result, err)
	}
}

// A job that was accepted, and whose path nobody has heard, is waited for.
func TestAcceptedUnheard(t *testing.T) {
	f := systemdtest.New(t)
	const job = systemdtest.Job("/org/freedesktop/systemd1/job/77")
	f.BeginsAnew(func() {
		f.Queue(job)
		go func() {
			<-f.Awaited
			f.End(t, job, "timeout")
		}()
	})
	if result, err := ask(t, Restart, 10*time.Second); err != nil || result != "timeout" || len(f.Asked()) != 1 {
		t.Errorf("%q, %v, after %q", result, err, f.Asked())
	}
}

// Where the bus or systemd does not come back, that is what is said.
func TestAwayForGood(t *testing.T) {
	f := systemdtest.New(t)
	f.BeginsAnew(slices.Repeat([]func(){func() {}}, 1000)...)
	_, err := ask(t, Restart, 10*time.Second)
	wantError(t, err, "disconnected from message bus", "systemctl status dbus polkit")
}

//go:build lab

// 4. No needless restart.

package lab

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
)

// untouched remembers coturn's process and file and returns a function that
// fails when either has been touched since.
func untouched(t *testing.T, c Coturn) func(after string) {
	t.Helper()
	present := func() string {
		return incarnation(t, c.Unit) + "\n" + shell(t, "stat -c '%i %y %z' "+c.File+"; cat "+c.File)
	}
	before := present()
	return func(after string) {
		t.Helper()
		if now := present(); now != before {
			t.Errorf("after %s coturn was touched:\n%s\nwas\n%s", after, now, before)
		}
	}
}

func TestNothingChangedRestartsNothing(t *testing.T) {
	fresh(t, YunoHost)
	watching(t, configuration(YunoHost, every.String()), FirstPublic)
	check := untouched(t, YunoHost)
	shell(t, "systemctl restart netwatch.service")
	idle(t, FirstPublic)
	check("a restart of netwatch")
	shell(t, "systemctl kill --kill-whom=main -s KILL netwatch.service; systemctl restart netwatch.service")
	idle(t, FirstPublic)
	check("a crash of netwatch")
	out, code := fire(t, "ip-changed")
	check("an event fired for nothing")
	if code != 0 || !strings.Contains(out, ": unchanged") || !strings.Contains(out, ": skipped") {
		t.Errorf("netwatch fire exits %d:\n%s", code, out)
	}
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

// Five thousand changes of an address that does not matter, and then one that
// does: it is seen, and coturn is not restarted for each of the others.
func TestAddressStorm(t *testing.T) {
	followAddress(t, " always")
	must(t, ip(t.Context(), world.Net,
		"link add storm0 type veth peer name storm1\nlink set storm0 up\nlink set storm1 up\n"))
	t.Cleanup(func() { must(t, ip(context.Background(), world.Net, "link del storm0\n")) })
	var storm strings.Builder
	for i := range 2500 {
		a := fmt.Sprintf("10.%d.%d.1/32 dev storm0", i/250, i%250)
		storm.WriteString("addr add " + a + "\naddr del " + a + "\n")
	}
	events := strings.Count(shell(t, "netwatch history"), "addr-changed")
	must(t, ip(t.Context(), world.Net, storm.String()))
	changed := time.Now()
	setPrivate(t)
	took := right(t, FirstPublic, FirstPublic, 3*time.Minute).Sub(changed)
	// A coturn that is started in the midst waits for an address that was there a while before.
	if !strings.Contains(shell(t, "journalctl -q -b -u "+YunoHost.Unit+" --since=-4min"), "socket to addr 10.") {
		promised(t, Times{took}, netlinkSettle+time.Second)
	}
	t.Logf("callers are right after %s", took)
	events = strings.Count(shell(t, "netwatch history"), "addr-changed") - events
	if t.Logf("%d events", events); events > 100 {
		t.Error("the storm is one of events too")
	}
}

//go:build lab

// A server in a container that no unit runs is kept right like any other, by the unit that init puts
// in place, which has its engine restart it.

package lab

import (
	"strings"
	"testing"
	"time"
)

const (
	// byHand is a container of Podman, whose name has all that a name can have.
	byHand     = "turn-1_A.b"
	byHandUnit = "netwatch-podman@" + byHand + ".service"
	byHandRun  = "podman run -d --name " + byHand + " --privileged -v " + containedConf + ":/etc/coturn/turnserver.conf "
	byHandTurn = " --rootfs /srv/rootfs turnserver -c /etc/coturn/turnserver.conf --pidfile="
)

// byHandKept has netwatch keep right that container, run with more options.
func byHandKept(t *testing.T, options string) (said string) {
	t.Helper()
	withPodman(t)
	shell(t, byHandRun+options+byHandTurn)
	undo(t, "podman rm -f -t 1 "+byHand)
	return initialize(t)
}

// TestContainerFollows holds that callers get the right address after a change, although the file
// that is mounted alone is replaced, and that the daemon may no more than to have it restarted.
func TestContainerFollows(t *testing.T) {
	said := byHandKept(t, "--network host")
	for _, want := range []string{
		"called " + byHand + ", with ", "coturn: " + byHandUnit + " with " + containedConf,
		"write /etc/systemd/system/netwatch-podman@.service", "+  \"verify turn " + containedConf + "\",\n",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("init does not say %q:\n%s", want, said)
		}
	}
	right(t, FirstPublic, FirstPublic, 10*time.Second)
	must(t, world.SetPublic(t.Context(), Public(21)))
	changed := time.Now()
	t.Logf("right %s after the change", right(t, Public(21), Public(21), 20*time.Second).Sub(changed).Round(10*time.Millisecond))
	idle(t, Public(21))
	well(t, finding{Level: "ok", What: byHandUnit})
	for _, line := range []string{
		"podman restart " + byHand, "systemctl --no-ask-password restart netwatch-podman@other.service",
		"systemctl --no-ask-password stop " + byHandUnit, "test -w /run/podman || test -w /var/lib/containers",
	} {
		if out, err := server.ExecAs(t.Context(), "netwatch", "sh", "-c", line); err == nil {
			t.Errorf("the daemon's user may %s: %s", line, out)
		}
	}
}

// TestContainerStops holds that a container that fell over is started once, and one that somebody
// has stopped or removed is not, which is said with what to do.
func TestContainerStops(t *testing.T) {
	byHandKept(t, "--network host")
	right(t, FirstPublic, FirstPublic, 10*time.Second)
	dies := func(how string) {
		t.Helper()
		shell(t, "podman "+how+" "+byHand+" && podman wait "+byHand+" 2>/dev/null || true")
	}
	dies("kill -s SEGV")
	fires(t, "started", 0, "restart "+byHandUnit+": changed", "verify turn "+containedConf+": unchanged")
	right(t, FirstPublic, FirstPublic, 5*time.Second)
	dies("stop")
	fires(t, "started", 1, "hint: see systemctl status "+byHandUnit)
	says(t, "journalctl -o cat -u "+byHandUnit, "was stopped, and so it stays; to start it: podman start "+byHand)
	shell(t, "podman start "+byHand)
	fires(t, "started", 0, "verify turn "+containedConf+": unchanged")
	shell(t, "podman rm -f -t 1 "+byHand)
	fires(t, "started", 1, "connection refused")
	all, _ := doctor(t)
	f := findingOf(all, byHandUnit)
	if f.Level != "problem" || !strings.Contains(f.Hint, "journalctl -u "+byHandUnit) {
		t.Errorf("of a container that is gone doctor says %+v", f)
	}
	says(t, "journalctl -o cat -u "+byHandUnit, "no such container")
}

// findingOf is what doctor finds about one thing.
func findingOf(all []finding, what string) (found finding) {
	for _, f := range all {
		if f.What == what {
			found = f
		}
	}
	return found
}

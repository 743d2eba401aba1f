//go:build lab

// A server in a container that no unit runs is kept right like any other, by the unit that init puts
// in place, which has its engine restart it.

package lab

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

const (
	// byHand is a container of Podman, whose name has all that a name can have.
	byHand     = "turn-1_A.b"
	byHandUnit = "netwatch-podman@" + byHand + ".service"
	// byHandRun is run by a unit, since what comes into a server from here may more than any
	// unit in it, and would have its container want that again. coturn 4.6 as the first
	// process of a container does not heed SIGTERM.
	byHandRun = "systemd-run -q --wait --pipe -p UnsetEnvironment=INVOCATION_ID -p KillMode=process " +
		"podman run -d --name " + byHand + " --privileged --stop-timeout 1 " + containedMount + " "
	byHandTurn = "turnserver -c /etc/coturn/turnserver.conf --pidfile="
)

// byHandKept has netwatch keep right that container, run with more options and a command.
func byHandKept(t *testing.T, options, command string) (said string) {
	t.Helper()
	withPodman(t)
	shell(t, byHandRun+options+" --rootfs /srv/rootfs "+command)
	undo(t, "podman rm -f -t 1 "+byHand)
	initSays(t, "coturn: "+byHandUnit+" with ") // It may just be being started
	return initialize(t)
}

// TestContainerFollows holds that callers get the right address after a change, although the file
// that is mounted alone is replaced, and that the daemon may no more than to have it restarted.
func TestContainerFollows(t *testing.T) {
	said := byHandKept(t, "--network host", byHandTurn)
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
	took := right(t, Public(21), Public(21), 20*time.Second).Sub(changed)
	t.Logf("right %s after the change", took.Round(10*time.Millisecond))
	idle(t, Public(21))
	well(t, finding{Level: "ok", What: byHandUnit})
	if out, err := server.ExecAs(t.Context(), "nobody", "sh", "-c", "netwatch doctor; true"); !strings.Contains(out,
		": which file it has is not seen from here") || strings.Contains(out, "is in the image") {
		t.Errorf("who may not see it hears (%v)\n%s", err, out)
	}
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
	byHandKept(t, "--network host", `sh -c "`+byHandTurn+`; exit 3"`)
	right(t, FirstPublic, FirstPublic, 10*time.Second)
	idle(t, FirstPublic)
	shell(t, "pkill -KILL -x turnserver")
	says(t, "podman container inspect -f '{{.State.Status}} {{.State.ExitCode}}' "+byHand, "exited 3")
	fires(t, "ip-changed", 0, "restart "+byHandUnit+": changed", "verify turn "+containedConf+": unchanged")
	right(t, FirstPublic, FirstPublic, 5*time.Second)
	shell(t, "podman stop "+byHand)
	fires(t, "ip-changed", 1, "hint: see ", "journalctl -u "+byHandUnit)
	says(t, "journalctl -o cat -u "+byHandUnit, "was stopped, and so it stays; to start it: podman start "+byHand)
	shell(t, "podman start "+byHand)
	fires(t, "ip-changed", 0, "verify turn "+containedConf+": unchanged")
	shell(t, "podman rm -f -t 1 "+byHand+"; systemctl restart "+byHandUnit+" || true")
	all, _ := doctor(t)
	f := findingOf(all, byHandUnit)
	if f.Level != "problem" || !strings.Contains(f.Hint, "journalctl -u "+byHandUnit) {
		t.Errorf("of a container that is gone doctor says %+v", f)
	}
	says(t, "journalctl -o cat -u "+byHandUnit, "no such container")
}

// TestContainerOnABridge holds that callers from outside get the right address by a coturn whose
// container has an address of its own, another one after each restart.
func TestContainerOnABridge(t *testing.T) {
	withPodman(t)
	shell(t, "mount -o remount,bind,rw /proc/sys")
	ports := "-p 3478:3478/udp -p 3478:3478/tcp -p 49153-49193:49153-49193/udp"
	shell(t, byHandRun+ports+" --rootfs /srv/rootfs "+byHandTurn)
	undo(t, "podman rm -f -t 1 "+byHand)
	own := func() string { return shell(t, "podman inspect -f '{{.NetworkSettings.IPAddress}}' "+byHand) }
	before := own()
	initSays(t, "coturn: "+byHandUnit+" with ")
	if said := initialize(t); !strings.Contains(said, "\"verify turn "+containedConf+"\"") {
		t.Errorf("init does not see at which ports callers ask:\n%s", said)
	}
	right(t, FirstPublic, FirstPublic, 10*time.Second)
	must(t, world.SetPublic(t.Context(), Public(22)))
	right(t, Public(22), Public(22), 20*time.Second)
	if after := own(); after == before {
		t.Errorf("it still has %s", after)
	}
	shell(t, "systemctl stop netwatch.socket netwatch.service; rm -rf /etc/netwatch")
	shell(t, `sed -i 's,^external-ip=.*,&/`+own()+`,' `+containedConf)
	initSays(t, "coturn in podman "+byHand+": a pair of its external-ip has ", "a plain line suffices there")
	keepsPair(t, byHandRun+ports+" --ip 10.88.0.77 --rootfs /srv/rootfs "+byHandTurn)
}

// keepsPair has a container run that keeps its address, which is in a pair, and wants a rule
// written by hand to leave it there.
func keepsPair(t *testing.T, run string) {
	t.Helper()
	must(t, server.WriteFile(containedConf, CoturnConf(Public(22).String()+"/10.88.0.77"), 0o644))
	shell(t, "podman rm -f -t 1 "+byHand+"; "+run)
	right(t, Public(22), Public(22), 10*time.Second)
	watching(t, sourceStun("1s", false)+"families = [\"ipv4\"]\n"+ruleCoturn(containedConf, byHandUnit), Public(22))
	must(t, world.SetPublic(t.Context(), Public(24)))
	right(t, Public(24), Public(24), 20*time.Second)
	says(t, "cat "+containedConf, "external-ip="+Public(24).String()+"/10.88.0.77\n")
}

// TestContainerOfCalls holds that LiveKit in a container follows too, and that what goes before its
// file there is said.
func TestContainerOfCalls(t *testing.T) {
	withPodman(t)
	must(t, world.Calls(t.Context()))
	must(t, world.Forward(t.Context(), Ports+", "+CallPorts, Private))
	must(t, server.InstallLiveKit(t.Context(), Calls, "node_ip: 203.0.113.99"))
	const unit, program = "/etc/systemd/system/", "/usr/local/bin/livekit-server"
	shell(t, "cp $(sed -n 's/^ExecStart=\\([^ ]*\\).*/\\1/p' "+unit+Calls.Unit+") "+program+"; systemctl stop "+Calls.Unit+
		"; rm "+unit+Calls.Unit+"; systemctl daemon-reload")
	run := strings.Replace(byHandRun, containedMount, "-v "+Calls.File+":"+Calls.File, 1)
	run = "podman rm -f -t 1 " + byHand + "; " + run +
		"--network host %s --rootfs /srv/rootfs " + program + " --config " + Calls.File
	for want, line := range map[string]string{
		"(NODE_IP says what its file should)":       fmt.Sprintf(run, "-e NODE_IP=203.0.113.98"),
		"take --node-ip out of the command in what": fmt.Sprintf(run, "") + " --node-ip 203.0.113.98",
	} {
		shell(t, line)
		initSays(t, "hint: livekit in podman "+byHand+": ", want)
	}
	shell(t, fmt.Sprintf(run, ""))
	undo(t, "podman rm -f -t 1 "+byHand)
	initSays(t, "livekit: "+byHandUnit+" with "+Calls.File)
	initialize(t)
	rightCall(t, FirstPublic, FirstPublic)
	must(t, world.SetPublic(t.Context(), Public(23)))
	rightCall(t, Public(23), Public(23))
	says(t, "netwatch history", "verify livekit "+Calls.File+": unchanged: ipv4 "+Public(23).String())
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

//go:build lab

// 6. A caller is never hurt: OpenVPN goes on, whatever netwatch does.

package lab

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// vpnRule is what users write who had OpenVPN's ipchange restart coturn.
func vpnRule(c Coturn) string {
	return fmt.Sprintf(`
[source.openvpn]
[[rule]]
name = "vpn"
on = ["vpn-changed"]
settle = "5s"
do = ["probe stun", "rotate coturn %s", "restart %s always"]
`, c.File, c.Unit)
}

// connected starts netwatch with a rule on vpn-changed, and a VPN, and waits
// until the one has heard of the other and rests.
func connected(t *testing.T, rules string) {
	t.Helper()
	connect(t, rules)
	hears(t, ofIPChange, 1)
	hears(t, ofRouteUp, 1)
	rests(t)
}

// connect starts netwatch and a VPN with the lines that contrib has for its
// client, and waits until the tunnel is there.
func connect(t *testing.T, rules string) {
	t.Helper()
	asNobody(t)
	fresh(t, YunoHost)
	watching(t, configuration(YunoHost, "1h")+rules, FirstPublic)
	lines, err := os.ReadFile("../contrib/openvpn/client.conf")
	must(t, err)
	vpn, err := world.StartVPN(t.Context(), server, string(lines))
	must(t, err)
	t.Cleanup(func() {
		log, err := server.Exec(context.Background(), "sh", "-c", "systemctl stop "+VPNClient+
			"; journalctl -b -o cat -n 60 -u "+VPNClient)
		if t.Failed() {
			t.Logf("the log of OpenVPN (%v):\n%s\nand of its server:\n%s", err, log, vpn.Log())
		}
		if err := vpn.Stop(); err != nil {
			t.Error(err)
		}
	})
	shell(t, "systemctl reset-failed "+VPNClient+
		" 2>/dev/null; journalctl -q --rotate; journalctl -q --vacuum-time=1s; systemctl start "+VPNClient)
	completed(t, 1)
}

// completed waits until OpenVPN has made its tunnel so often.
func completed(t *testing.T, times int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	must(t, until(ctx, 100*time.Millisecond, func() error {
		if n := logged(t, VPNClient, "Initialization Sequence Completed"); n < times {
			return fmt.Errorf("OpenVPN has made its tunnel %d times, not %d", n, times)
		}
		return nil
	}))
}

// logged is how often a unit has logged a text in this test.
func logged(t *testing.T, unit, text string) int {
	t.Helper()
	return strings.Count(shell(t, "journalctl -q -b -o cat -u "+unit), text)
}

// reconnect makes OpenVPN end its tunnel and make it again, as after a failure.
func reconnect(t *testing.T) {
	t.Helper()
	before := logged(t, VPNClient, "Initialization Sequence Completed")
	shell(t, "systemctl kill --kill-who=main -s USR1 "+VPNClient)
	completed(t, before+1)
}

// rests waits until netwatch has no more to do.
func rests(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	must(t, until(ctx, 100*time.Millisecond, func() error {
		text, err := server.Exec(ctx, "netwatch", "status", "--json")
		if err == nil && (strings.Contains(text, `"waiting"`) || strings.Contains(text, `"running"`)) {
			err = fmt.Errorf("it does not rest: %s", text)
		}
		return err
	}))
}

// hears waits until netwatch has been told something of OpenVPN so often, with
// these fields alone, and no more often than that.
func hears(t *testing.T, fields string, times int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	must(t, until(ctx, 50*time.Millisecond, func() error {
		history := shell(t, "netwatch history")
		if n := strings.Count(history+"\n", "vpn-changed from openvpn "+fields+"\n"); n != times {
			return fmt.Errorf("netwatch has heard %q %d times, not %d:\n%s", fields, n, times, history)
		}
		return nil
	}))
}

// mainUser is the user id of OpenVPN's process.
func mainUser(t *testing.T) string {
	t.Helper()
	return shell(t, "ps -o uid= -p "+show(t, VPNClient, "MainPID"))
}

const (
	ofIPChange = "new=" + VPNAddress + " script=ipchange"
	ofRouteUp  = "interface=tun0 new=" + VPNAddress + " script=route-up"
)

// OpenVPN's first scripts run as root and the later ones as nobody; both are
// heard. A reconnect restarts coturn once.
func TestOpenVPNIsHeard(t *testing.T) {
	connected(t, vpnRule(YunoHost))
	starts := logged(t, YunoHost.Unit, "Started ")
	if user := strings.TrimSpace(mainUser(t)); user != "65534" {
		t.Errorf("OpenVPN is user %s", user)
	}
	reconnect(t)
	hears(t, ofIPChange, 2)
	rests(t)
	if n := logged(t, YunoHost.Unit, "Started ") - starts; n != 1 {
		t.Errorf("the reconnect restarted coturn %d times:\n%s", n, shell(t, "netwatch history"))
	}
}

// A reconnect because the public address is another restarts coturn twice at
// most, and the last restart is at the new address.
func TestOpenVPNReconnectsAtAnotherAddress(t *testing.T) {
	connected(t, vpnRule(YunoHost))
	starts := logged(t, YunoHost.Unit, "Started ")
	must(t, world.SetPublic(t.Context(), Public(1)))
	reconnect(t)
	hears(t, ofIPChange, 2)
	rests(t)
	right(t, Public(1), Public(1), 5*time.Second)
	if n := logged(t, YunoHost.Unit, "Started ") - starts; n < 1 || n > 2 {
		t.Errorf("coturn was restarted %d times:\n%s", n, shell(t, "netwatch history"))
	}
}

// OpenVPN goes on while netwatch hangs, and netwatch acts when it goes on, on
// all that it was told.
func TestOpenVPNWhileNetwatchHangs(t *testing.T) {
	connected(t, vpnRule(YunoHost))
	shell(t, "systemctl kill --kill-who=main -s STOP netwatch.service")
	reconnect(t)
	shell(t, "for i in $(seq 40); do runuser -u nobody -- env script_type=many netwatch hook openvpn 2>&1; done")
	shell(t, "systemctl kill --kill-who=main -s CONT netwatch.service")
	hears(t, ofIPChange, 2)
	hears(t, "script=many", 40)
	rests(t)
	if logged(t, VPNClient, "hint: it acts on it once it goes on") == 0 {
		t.Error("OpenVPN's log does not say that netwatch hangs")
	}
}

// OpenVPN goes on while netwatch is down; systemd holds the socket and starts
// it.
func TestOpenVPNWhileNetwatchIsDown(t *testing.T) {
	connected(t, vpnRule(YunoHost))
	shell(t, "systemctl stop netwatch.service")
	reconnect(t)
	hears(t, ofIPChange, 2) // With that of the daemon before.
	rests(t)
	shell(t, "systemctl stop netwatch.socket netwatch.service")
	reconnect(t)
	if logged(t, VPNClient, "nobody listens on /run/netwatch/netwatch.sock; hint: start it") == 0 {
		t.Error("OpenVPN's log does not say that netwatch is down")
	}
}

// The users of the source may fire vpn-changed and nothing else, and nobody
// else may.
func TestWhoMayFireVPNChanged(t *testing.T) {
	connected(t, vpnRule(YunoHost)+marking)
	as := func(user, event string) string {
		return shell(t, fmt.Sprintf("runuser -u %s -- netwatch fire %s --no-wait 2>&1; echo code $?", user, event))
	}
	if out := as("nobody", "vpn-changed"); !strings.Contains(out, "code 0") {
		t.Error(out)
	}
	for _, c := range [][2]string{{"nobody", "mark"}, {"nobody", "ip-changed"}, {"turnserver", "vpn-changed"}} {
		if out := as(c[0], c[1]); !strings.Contains(out, "code 4") ||
			!strings.Contains(out, "user "+c[0]+" may not fire "+c[1]) {
			t.Errorf("%s: %s", c, out)
		}
	}
	only := strings.Replace(vpnRule(YunoHost), "[source.openvpn]", "[source.openvpn]\nusers = [\"root\"]", 1)
	must(t, server.WriteFile("/etc/netwatch/netwatch.toml", configuration(YunoHost, "1h")+only, 0o644))
	shell(t, "systemctl reload netwatch.service")
	rests(t)
	reconnect(t)
	if logged(t, VPNClient, "user nobody may not fire vpn-changed") == 0 {
		t.Error("OpenVPN's log does not say that nobody may not fire vpn-changed")
	}
	hears(t, ofIPChange, 1)
}

// tasksOf counts the tasks of a user on the whole machine, as the kernel does for
// RLIMIT_NPROC.
func tasksOf(t *testing.T, uid string) (n int) {
	t.Helper()
	tasks, err := filepath.Glob("/proc/[0-9]*/task/*/status")
	must(t, err)
	for _, task := range tasks {
		status, _ := os.ReadFile(task) // It may have ended.
		if strings.Contains(string(status), "\nUid:\t"+uid+"\t") {
			n++
		}
	}
	return n
}

// fill gives nobody so many tasks on the whole machine until the test ends.
func fill(t *testing.T, tasks int) {
	t.Helper()
	t.Cleanup(func() {
		if _, err := server.Exec(context.Background(), "systemctl", "stop", "filler-*.service"); err != nil {
			t.Error(err)
		}
	})
	for i := range tasks - tasksOf(t, "65534") {
		shell(t, fmt.Sprintf("systemd-run -q --collect --uid=nobody --unit=filler-%d sleep infinity", i))
	}
	t.Logf("nobody has %d tasks", tasksOf(t, "65534"))
}

// Debian's unit lets nobody have ten tasks, and with four of them left the script
// runs. The runtime of Go sometimes wants a fifth on a machine that has much to
// do (measured: none to 8 of 1000).
func TestOpenVPNWithFourTasksLeft(t *testing.T) {
	connected(t, vpnRule(YunoHost))
	limit, err := strconv.Atoi(show(t, VPNClient, "LimitNPROC"))
	must(t, err)
	fill(t, limit-4)
	failed, err := strconv.Atoi(shell(t, fmt.Sprintf(`
		export GOMAXPROCS=1; n=0
		for i in $(seq 200); do
			setpriv --reuid=nobody --regid=nogroup --clear-groups prlimit --nproc=%d netwatch hook openvpn || n=$((n + 1))
		done 2>/dev/null
		echo $n`, limit)))
	must(t, err)
	if t.Logf("%d of 200 hooks failed", failed); failed > 10 {
		t.Error("that is too many")
	}
}

// With contrib's drop-in the script runs when nobody has all that Debian's unit
// allows, and more: it lowers no limit, also where OpenVPN 2.7 has others than 2.6.
func TestOpenVPNWithoutTheLimit(t *testing.T) {
	text, err := os.ReadFile("../contrib/openvpn/limit.conf")
	must(t, err)
	onReleases(t, func(t *testing.T) {
		const dir = "/etc/systemd/system/openvpn-client@.service.d"
		before := [2]uint64{limit(t, "LimitNPROC"), limit(t, "TasksMax")}
		must(t, server.WriteFile(dir+"/netwatch.conf", string(text), 0o644))
		shell(t, "systemctl daemon-reload")
		undo(t, "rm -r "+dir+"; systemctl daemon-reload")
		after := [2]uint64{limit(t, "LimitNPROC"), limit(t, "TasksMax")}
		if t.Logf("%s: LimitNPROC and TasksMax were %d, and are %d", shell(t, "openvpn --version | head -n 1 || true"),
			before, after); after[0] < before[0] || after[1] < before[1] && before[1] < 1000 {
			t.Error("that is lower")
		}
		connected(t, vpnRule(YunoHost))
		fill(t, 80)
		for n := range 3 {
			reconnect(t)
			hears(t, ofIPChange, n+2)
		}
	})
}

// limit is a limit of OpenVPN's unit.
func limit(t *testing.T, name string) uint64 {
	t.Helper()
	text := show(t, VPNClient, name)
	if text == "infinity" {
		return math.MaxUint64
	}
	n, err := strconv.ParseUint(text, 10, 64)
	must(t, err)
	return n
}

// commands are the blocks of shell commands of a text.
func commands(text string) string {
	var all strings.Builder
	for _, block := range strings.Split(text, "```sh\n")[1:] {
		block, _, _ = strings.Cut(block, "```")
		all.WriteString(block)
	}
	return all.String()
}

// The steps of contrib's README take a machine from the old script to netwatch,
// run as they stand there; but for sudo, which root needs not and the lab has
// not.
func TestOpenVPNReadme(t *testing.T) {
	connect(t, "")
	for _, file := range []string{"README.md", "client.conf", "limit.conf"} {
		text, err := os.ReadFile("../contrib/openvpn/" + file)
		must(t, err)
		must(t, server.WriteFile("/root/openvpn/"+file, string(text), 0o644))
	}
	must(t, server.WriteFile("/usr/local/bin/openvpn_up_script.sh",
		"#!/bin/sh\nsleep 5\nsudo systemctl restart synapse-coturn\n", 0o755))
	conf, err := os.ReadFile(server.path("/etc/openvpn/client/lab.conf"))
	must(t, err)
	old, _, _ := strings.Cut(string(conf), "# For the end")
	must(t, server.WriteFile("/etc/openvpn/client/lab.conf", old+
		"script-security 2\nipchange /usr/local/bin/openvpn_up_script.sh\n", 0o644))
	readme, err := os.ReadFile("../contrib/openvpn/README.md")
	must(t, err)
	shell(t, "systemctl stop "+VPNClient)
	script := "set -e\nsudo() { \"$@\"; }\ncd /root/openvpn\n" +
		strings.Replace(commands(string(readme)), "vpn=NAME", "vpn=lab", 1)
	must(t, server.WriteFile("/root/steps", script, 0o644))
	starts := logged(t, YunoHost.Unit, "Started ")
	t.Log(shell(t, "sh /root/steps 2>&1"))
	hears(t, ofIPChange, 1)
	hears(t, ofRouteUp, 1)
	rests(t)
	if n := logged(t, YunoHost.Unit, "Started ") - starts; n != 1 {
		t.Errorf("coturn was restarted %d times", n)
	}
	if left := shell(t, "ls /usr/local/bin/openvpn_up_script.sh 2>/dev/null; "+
		"grep openvpn_up /etc/openvpn/client/lab.conf || true"); left != "" {
		t.Errorf("what remains: %s", left)
	}
}

//go:build lab

// The gateway's part: a machine that only tells, and has neither systemd nor D-Bus.

package lab

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A router is a machine as small as they come: busybox is all that runs there beside
// netwatch, its root is not to be written, and /var is in memory, as OpenWrt has it.
type router struct {
	*machine
	root string
}

// inPlace stands for OpenWrt's rc.common and procd: it does what the init script asks for,
// and notes it.
const inPlace = `#!/bin/sh
procd_open_instance() { :; }
procd_close_instance() { :; }
procd_set_param() {
	echo "$*" >>/tmp/asked
	key=$1
	shift
	[ "$key" != command ] || command="$*"
}
. "$1"
[ "$USE_PROCD" = 1 ] && "$2_service" && exec $command 2>/tmp/log
`

// onReadOnly mounts a root as a router does, and runs what follows in it as the first process.
const onReadOnly = `root=$1; shift
mount --bind "$root" "$root" && mount -o remount,ro,bind "$root" && mount -t tmpfs tmpfs "$root/tmp" &&
	mkdir "$root/tmp/run" && mount -t proc proc "$root/proc" && exec chroot "$root" "$@"`

// newRouter starts one by the files of contrib/openwrt, with a broker at an address.
func newRouter(t *testing.T, namespace string, broker netip.Addr) *router {
	t.Helper()
	must(t, install())
	must(t, server.AddPackages(t.Context(), "busybox-static"))
	r := &router{root: t.TempDir()}
	for _, dir := range []string{"bin", "etc/init.d", "etc/netwatch", "usr/bin", "proc", "dev", "tmp"} {
		must(t, os.MkdirAll(filepath.Join(r.root, dir), 0o755))
	}
	must(t, os.Symlink("/tmp", filepath.Join(r.root, "var")))
	must(t, os.Symlink("/var/run", filepath.Join(r.root, "run")))
	configure := strings.NewReplacer("broker.example.org", broker.String(), "# ca ", "ca ")
	for _, f := range []struct{ name, text string }{
		{"bin/busybox", contents(t, server.path("/bin/busybox"))},
		{"usr/bin/netwatch", contents(t, server.path("/usr/bin/netwatch"))},
		{"etc/rc.common", inPlace},
		{"etc/init.d/netwatch", contents(t, "../contrib/openwrt/netwatch")},
		{"etc/netwatch/netwatch.toml", configure.Replace(contents(t, "../contrib/openwrt/netwatch.toml"))},
		{"etc/netwatch/mqtt.password", contents(t, server.path("/etc/netwatch/gateway.password"))},
		{"etc/netwatch/broker.crt", contents(t, server.path("/etc/netwatch/broker.crt"))},
	} {
		must(t, os.WriteFile(filepath.Join(r.root, f.name), []byte(f.text), 0o700))
	}
	for _, applet := range []string{"sh", "ip", "cat"} {
		must(t, os.Symlink("busybox", filepath.Join(r.root, "bin", applet)))
	}
	r.machine = &machine{name: "gateway", namespace: namespace}
	t.Cleanup(func() { must(t, r.stop(os.Kill)) })
	r.start(t)
	return r
}

func contents(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	must(t, err)
	return string(text)
}

// start has the init script start netwatch.
func (r *router) start(t *testing.T) {
	t.Helper()
	var err error
	r.process, err = start(r.root+".log", inNet(r.namespace, "unshare", "--mount", "--pid", "--fork", "--kill-child",
		"--", "sh", "-c", onReadOnly, "sh", r.root, "/etc/init.d/netwatch", "start")...)
	must(t, err)
}

// run runs a command of the router's own.
func (r *router) run(ctx context.Context, args ...string) (string, error) {
	pid := r.process.cmd.Process.Pid
	child, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", pid))
	if err != nil {
		return "", err
	}
	first, err := strconv.Atoi(strings.TrimSpace(string(child)))
	if err != nil {
		return "", fmt.Errorf("looking for the router's first process: %w", err)
	}
	return run(ctx, append([]string{
		"nsenter", "-t", strconv.Itoa(first), "--mount", "--pid", "--net", "--", "chroot", r.root,
	}, args...)...)
}

// says waits until a command of the router's netwatch prints all of these words.
func (r *router) says(t *testing.T, command string, words ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	err := until(ctx, 50*time.Millisecond, func() error {
		out, err := r.run(ctx, append([]string{"/usr/bin/netwatch"}, strings.Fields(command)...)...)
		for _, word := range words {
			if !strings.Contains(out, word) {
				return fmt.Errorf("netwatch %s does not say %q (%w):\n%s", command, word, err, out)
			}
		}
		return nil
	})
	if err != nil {
		log, _ := r.run(t.Context(), "/bin/cat", "/tmp/log")
		t.Fatalf("%v\n%s\n%s", err, log, contents(t, r.root+".log"))
	}
}

// leased gives the router's uplink another address, and the way out by it, as a DHCP client
// does, with what there is on the router.
func (r *router) leased(t *testing.T, a netip.Addr) {
	t.Helper()
	_, err := r.run(t.Context(), "/bin/sh", "-c", fmt.Sprintf("/bin/ip -4 addr flush dev wan && "+
		"/bin/ip addr add %s/24 dev wan && /bin/ip route add default via 203.0.113.1", a))
	must(t, err)
	_, err = run(t.Context(), inNet(r.namespace, "conntrack", "-F")...)
	must(t, err)
}

// A router on which nothing runs but busybox and netwatch sees its uplink get another
// address, and callers of the TURN server behind it are right in the blink of an eye.
// netwatch wants neither systemd nor D-Bus there, and writes nothing to its flash.
func TestGatewayWithoutSystemd(t *testing.T) {
	brokered(t, "turn", "gateway")
	watching(t, strings.Replace(configuration(YunoHost, "1h"), "families", "damp = false\nfamilies", 1)+
		connecting("turn", Private, "/etc/netwatch")+turnHeeds, FirstPublic)
	gateway := newRouter(t, world.Router, Private)
	gateway.says(t, "status", "peer turn", "here since")
	says(t, "netwatch status", "peer gateway", "here since")
	inABlink(t, 7, 3*time.Second, func(to netip.Addr) { gateway.leased(t, to) })
	says(t, "netwatch history", "peer-changed from mqtt", "told=route-changed",
		"new=wan 203.0.113.1 "+Public(26).String())
	gateway.healthy(t)
	must(t, gateway.stop(os.Kill))
	says(t, "netwatch history", "peer-lost from mqtt peer=gateway")
	shell(t, strings.NewReplacer("outside", "gateway").Replace(published)+"-i gateway -r -t netwatch/gateway/state -m "+
		fmt.Sprintf(`'{"number":%[1]d,"connect":%[1]d,"lost":true,"told":[{"number":%[1]d,"event":"started"}]}'`,
			time.Now().Add(time.Hour).UnixMilli()))
	gateway.start(t) // With nothing of what was in memory, and a clock that is an hour behind
	says(t, "netwatch history -n 6", "peer-back from mqtt peer=gateway", "told=started")
}

// healthy holds what netwatch says of itself on a router, and what it takes there.
func (r *router) healthy(t *testing.T) {
	t.Helper()
	r.says(t, "history", "route-changed: tell: changed: the broker has it")
	r.says(t, "probe", "peer turn", "here since")
	found, err := r.run(t.Context(), "/usr/bin/netwatch", "doctor")
	if err != nil || strings.Contains(found, "problem") || strings.Contains(found, "warning") {
		t.Errorf("doctor on a router (%v):\n%s", err, found)
	}
	asked, err := r.run(t.Context(), "/bin/cat", "/tmp/asked")
	must(t, err)
	for _, want := range []string{
		"command /usr/bin/netwatch run\n", "file /etc/netwatch/netwatch.toml\n", "reload_signal HUP\n", "respawn 3600 5 0\n",
		"stderr 1\n",
	} {
		if !strings.Contains(asked+"\n", want) {
			t.Errorf("procd is not asked for %q but:\n%s", want, asked)
		}
	}
	memory, err := r.run(t.Context(), "/bin/busybox", "grep", "-E", "VmHWM|RssAnon", "/proc/1/status")
	must(t, err)
	size, err := os.Stat(filepath.Join(r.root, "usr/bin/netwatch"))
	must(t, err)
	t.Logf("the program has %d bytes; %s", size.Size(), strings.Join(strings.Fields(memory), " "))
	log, err := r.run(t.Context(), "/bin/cat", "/tmp/log")
	if err != nil || strings.Contains(log, `"level":"warn"`) || strings.Contains(log, `"level":"error"`) {
		t.Errorf("on a router that is well it complains (%v):\n%s", err, log)
	}
}

// toldByVPN is what a machine has on which OpenVPN runs.
const toldByVPN = `
[source.openvpn]
users = ["root", "nobody"]
[[rule]]
on = ["vpn-changed"]
settle = "0s"
do = ["tell"]
`

// vpnHeeds is what the TURN server has whose callers come by a VPN of another machine.
const vpnHeeds = `
[[rule]]
on = ["peer-changed"]
match = { peer = "vpn", told = "vpn-changed" }
do = ["probe stun"]
`

// On the machine with OpenVPN's server a client comes, and the TURN server looks whether
// its address is another.
func TestVPNHostTells(t *testing.T) {
	brokered(t, "turn", "vpn")
	watching(t, configuration(YunoHost, "1h")+connecting("turn", Private, "/etc/netwatch")+vpnHeeds, FirstPublic)
	host := newMachine(t, "vpn", world.Inet, Public6, toldByVPN)
	host.says(t, "status", "peer turn", "here since")
	says(t, "netwatch status", "peer vpn", "here since")
	text := contents(t, "../contrib/openvpn/server.conf")
	vpn, err := world.StartVPNWith(t.Context(), server, "", strings.ReplaceAll(text,
		"/usr/bin/netwatch hook openvpn", server.path("/usr/bin/netwatch")+" -c "+host.config+" hook openvpn"))
	must(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(vpn.Log())
		}
		_ = vpn.Stop()
	})
	shell(t, "systemctl start "+VPNClient)
	undo(t, "systemctl stop "+VPNClient)
	host.says(t, "history", "vpn-changed from openvpn", "script=client-connect", "tell: changed: the broker has it")
	says(t, "netwatch history", "peer-changed from mqtt", "new="+FirstPublic.String(), "peer=vpn", "told=vpn-changed",
		"peer-changed: probe stun: unchanged")
}

// brokerOutside has the lab's broker listen on the internet's side too, until the end of the
// test.
func brokerOutside(t *testing.T, at netip.Addr) {
	t.Helper()
	certifyBroker(t, at.String())
	shell(t, "systemctl stop mosquitto.service; install -d -o mosquitto /run/mosquitto")
	p, err := start(filepath.Join(t.TempDir(), "broker.log"),
		inNet(world.Inet, "chroot", server.path("/"), "/usr/sbin/mosquitto", "-c", "/etc/mosquitto/conf.d/netwatch.conf")...)
	must(t, err)
	t.Cleanup(func() { must(t, p.stop(os.Kill)) })
}

// Where the way to the broker is the uplink itself, the connection dies with the address. It is
// made anew at once, and not after the broker had its time to answer.
func TestGatewayTellsOverItsUplink(t *testing.T) {
	brokered(t, "gateway", "outside")
	at := netip.MustParseAddr(VPNAddress)
	brokerOutside(t, at)
	outside := newMachine(t, "outside", world.Inet, at, "[[rule]]\non = [\"peer-changed\"]\ndo = [\"exec /bin/true\"]\n")
	gateway := newRouter(t, world.Router, at)
	gateway.says(t, "status", "peer outside", "here since")
	outside.says(t, "history", "told=started")
	var all Times
	for n := range 5 {
		wait(t, 3*time.Second)
		to, changed := Public(120+n), time.Now()
		gateway.leased(t, to)
		outside.says(t, "history", "new=wan 203.0.113.1 "+to.String())
		all = append(all, time.Since(changed))
	}
	t.Logf("told after %s: %v", all, []time.Duration(all))
	if all.Median() > time.Second {
		t.Errorf("half of the times it took more than %s", all.Median())
	}
}

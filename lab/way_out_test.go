//go:build lab

// 4. No needless restart, and 11. Nothing is worse: what matters is the way out, the
// addresses that callers use, and an address that stays.

package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// rulesOfInit are the rules of netwatch init for the coturn of YunoHost, and a poll an
// hour: what helps is what the kernel tells.
func rulesOfInit() string {
	return sourceStun("1h", false) + fmt.Sprintf(`families = ["ipv4"]

[source.netlink]

[source.file]
files = [%q]

[[rule]]
name = "coturn"
on   = ["started", "ip-changed", "file-changed"]
do   = ["rotate coturn %[1]s", "restart %[2]s", "verify turn %[1]s"]

[[rule]]
name   = "coturn moves"
on     = ["addr-changed"]
match  = { use = "callers" }
settle = "200ms"
do     = ["probe stun", "rotate coturn %[1]s", "restart %[2]s always", "verify turn %[1]s"]

[[rule]]
name = "way out"
on   = ["route-changed"]
do   = ["probe stun"]
`, YunoHost.File, YunoHost.Unit)
}

// tunnel lays a second way from the server to the router, which leaves that by another
// public address, as through a VPN.
func tunnel(t *testing.T, public netip.Addr) {
	t.Helper()
	ctx := t.Context()
	must(t, ip(ctx, "", fmt.Sprintf("link add %[1]s-v type veth peer name %[1]s-w\n"+
		"link set %[1]s-v netns %[2]s name tun0\nlink set %[1]s-w netns %[3]s name vpn\n",
		world.name, world.Net, world.Router)))
	t.Cleanup(func() {
		ctx := context.Background()
		must(t, ip(ctx, world.Net, "link del tun0\n"))
		must(t, ip(ctx, world.Router, fmt.Sprintf("addr del %s/24 dev wan\n", public)))
		must(t, world.Masquerade(ctx))
	})
	must(t, ip(ctx, world.Router,
		fmt.Sprintf("link set vpn up\naddr add 10.8.0.1/24 dev vpn\naddr add %s/24 dev wan\n", public)))
	must(t, ip(ctx, world.Net, "link set tun0 up\naddr add 10.8.0.2/24 dev tun0\n"))
	must(t,
		world.nft(ctx,
			fmt.Sprintf("insert rule ip nat out ip saddr 10.8.0.0/24 oifname \"wan\" snat to %s\n", public)))
}

// Whatever makes packets take another way, callers are right within a second; and right
// again when it ends.
func TestWayOut(t *testing.T) {
	fresh(t, YunoHost)
	unlimited(t, YunoHost.Unit)
	to := Public(131)
	tunnel(t, to)
	// Nobody has a VPN come and go so often, but who does is damped.
	watching(t, strings.Replace(rulesOfInit(), "families", "damp = false\nfamilies", 1), FirstPublic)
	for _, c := range []struct{ name, begin, end string }{
		{
			"the two halves of a VPN",
			"route add 0.0.0.0/1 via 10.8.0.1\nroute add 128.0.0.0/1 via 10.8.0.1\n",
			"route del 0.0.0.0/1\nroute del 128.0.0.0/1\n",
		},
		{
			"a table of policy routing",
			"route add default via 10.8.0.1 table 77\nrule add to 203.0.113.0/24 table 77\n",
			"rule del to 203.0.113.0/24 table 77\nroute flush table 77\n",
		},
		{
			"WireGuard, by a mark that others do not have",
			"route add default via 10.8.0.1 table 51820\nrule add not fwmark 51820 table 51820\n" +
				"rule add table main suppress_prefixlength 0\n",
			"rule del not fwmark 51820\nrule del table main suppress_prefixlength 0\nroute flush table 51820\n",
		},
		{
			"another default route",
			"route replace default via 10.8.0.1\n", "route replace default via 192.168.50.1\n",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, turn := range []struct {
				do   string
				want netip.Addr
			}{{c.begin, to}, {c.end, FirstPublic}} {
				changed := time.Now()
				must(t, ip(t.Context(), world.Net, turn.do))
				promised(t, Times{right(t, FirstPublic, turn.want, 20*time.Second).Sub(changed)}, settle+time.Second)
			}
			idle(t, FirstPublic)
		})
	}
	says(t, "netwatch history",
		"route-changed from netlink family=ipv4 gateway=10.8.0.1 interface=tun0 new=tun0 10.8.0.1 10.8.0.2 old=eth0 "+
			"192.168.50.1 192.168.50.2")
}

// A real OpenVPN that takes all packets, and tells nobody: its address is known within a
// second of its routes, and ours again when it ends.
func TestOpenVPNTakesTheWayOut(t *testing.T) {
	asNobody(t)
	fresh(t, YunoHost)
	unlimited(t, YunoHost.Unit)
	watching(t, rulesOfInit(), FirstPublic)
	exit := netip.MustParseAddr("203.0.113.99")
	_, err := runInput(t.Context(), strings.NewReader("table ip vpn {\nchain in {\ntype nat hook input priority 100;\n"+
		"ip saddr 10.8.0.0/24 snat to "+exit.String()+";\n}\n}\n"), inNet(world.Inet, "nft", "-f", "-")...)
	must(t, err)
	vpn, err := world.StartVPN(t.Context(), server, "redirect-gateway def1\n")
	must(t, err)
	t.Cleanup(func() {
		_, err := server.Exec(context.Background(), "systemctl", "stop", VPNClient)
		must(t, errors.Join(err, vpn.Stop()))
		_, err = run(context.Background(), inNet(world.Inet, "nft", "delete", "table", "ip", "vpn")...)
		must(t, err)
	})
	shell(t, "systemctl reset-failed "+VPNClient+" 2>/dev/null; systemctl start "+VPNClient)
	says(t, "netwatch history",
		"route-changed from netlink family=ipv4 gateway=10.8.0.1 interface=tun0 new=tun0 10.8.0.1 10.8.0.2 old=eth0")
	idle(t, exit)
	says(t, "cat "+YunoHost.File, "external-ip="+exit.String())
	says(t, "netwatch history", "interface=tun0 new=10.8.0.2 use=callers\n")
	changed := time.Now()
	shell(t, "systemctl stop "+VPNClient)
	promised(t, Times{right(t, FirstPublic, FirstPublic, 20*time.Second).Sub(changed)}, settle+2*time.Second)
}

// containers are interfaces that programs make for others than callers.
var containers = []string{"podman0", "lxdbr0", "cni0", "vnet0", "flannel.1", "ve-web", "docker0", "veth12ab34"}

// What containers and virtual machines bring comes and goes, and coturn keeps its
// calls; an address that callers come in by, or that coturn is bound to, does not.
func TestContainersRestartNothing(t *testing.T) {
	fresh(t, YunoHost)
	unlimited(t, YunoHost.Unit)
	watching(t, rulesOfInit(), FirstPublic)
	check := untouched(t, YunoHost)
	var come, gone strings.Builder
	for i, name := range containers {
		fmt.Fprintf(&come, "link add %s type veth peer name peer%d\nlink set %[1]s up\nlink set peer%[2]d up\n"+
			"addr add 10.%[2]d.0.1/24 dev %[1]s\naddr add 2001:db8:%[2]d::1/64 dev %[1]s nodad\n", name, 100+i)
		fmt.Fprintf(&gone, "link del %s\n", name)
	}
	must(t, ip(t.Context(), world.Net, come.String()))
	says(t, "netwatch history", "interface=podman0 new=10.100.0.1\n", "interface=ve-web new=10.105.0.1\n")
	must(t, ip(t.Context(), world.Net, gone.String()))
	says(t, "netwatch history", "interface=podman0 old=10.100.0.1\n", "interface=ve-web old=10.105.0.1\n")
	idle(t, FirstPublic)
	check("containers that came and went")

	was := incarnation(t, YunoHost.Unit)
	must(t, ip(t.Context(), world.Net, "addr add 192.168.50.77/24 dev eth0\n"))
	t.Cleanup(func() { must(t, ip(context.Background(), world.Net, "addr del 192.168.50.77/24 dev eth0\n")) })
	says(t, "netwatch history", "interface=eth0 new=192.168.50.77 use=callers\n", "coturn moves: run: changed")
	if incarnation(t, YunoHost.Unit) == was {
		t.Error("coturn does not listen on an address that callers can use")
	}
	shell(t, "sed -i 's/^realm/relay-ip=172.30.0.9\\nrealm/' "+YunoHost.File)
	must(t, ip(t.Context(), world.Net, "link add podman0 type veth peer name peer0\nlink set podman0 up\n"+
		"addr add 172.30.0.9/24 dev podman0\n"))
	t.Cleanup(func() { must(t, ip(context.Background(), world.Net, "link del podman0\n")) })
	says(t, "netwatch history", "interface=podman0 new=172.30.0.9 use=callers\n")
}

// An address comes long before the way out does, as where a DHCP client is slow: coturn
// listens on it once callers can come in by it.
func TestAddressBeforeTheWayOut(t *testing.T) {
	fresh(t, YunoHost)
	unlimited(t, YunoHost.Unit)
	watching(t, rulesOfInit(), FirstPublic)
	must(t, ip(t.Context(), world.Net, "route del default via 2001:db8:50::1\n")) // eth0 would be the way out by that
	t.Cleanup(func() {
		must(t, world.SetPrivate(context.Background(), other, Private))
		must(t, ip(context.Background(), world.Net, "route add default via 2001:db8:50::1\n"))
	})
	rules := "delete table ip nat\n" + fmt.Sprintf(natRules, Ports, other)
	must(t, world.nft(t.Context(), rules))
	for _, line := range []string{"addr del 192.168.50.2/24 dev eth0", "addr add 192.168.50.3/24 dev eth0"} {
		must(t, ip(t.Context(), world.Net, line+"\n"))
		wait(t, settle)
	}
	says(t, "netwatch history", "interface=eth0 new=192.168.50.3\n")
	changed := time.Now()
	must(t, ip(t.Context(), world.Net, "route add default via 192.168.50.1\n"))
	promised(t, Times{right(t, FirstPublic, FirstPublic, 20*time.Second).Sub(changed)}, netlinkSettle+time.Second)
	says(t, "netwatch history", "interface=eth0 new=192.168.50.3 use=callers\n")
}

// damped is what `netwatch status --json` says is held.
func damped(t *testing.T) (all []struct {
	Family     string
	Held, Seen netip.Addr
	Penalty    int
	Until      time.Time
},
) {
	t.Helper()
	var s struct{ Damped json.RawMessage }
	must(t, json.Unmarshal([]byte(shell(t, "netwatch status --json")), &s))
	must(t, json.Unmarshal(s.Damped, &all))
	return all
}

// restarts is how often coturn was started since a time.
func restarts(t *testing.T, since time.Time) int {
	t.Helper()
	log := shell(t, "journalctl -b -o cat --since @"+strconv.FormatInt(since.Unix(), 10)+" -u "+YunoHost.Unit)
	return strings.Count(log, "Started ")
}

// Two uplinks share the load: each connection leaves by one or the other. After a few
// restarts one address stands, status says why, and a proof expects it.
func TestTwoUplinksInTurn(t *testing.T) {
	fresh(t, YunoHost)
	unlimited(t, YunoHost.Unit)
	other := Public(132)
	must(t, ip(t.Context(), world.Router, fmt.Sprintf("addr add %s/24 dev wan\n", other)))
	t.Cleanup(func() {
		must(t, ip(context.Background(), world.Router, fmt.Sprintf("addr del %s/24 dev wan\n", other)))
	})
	prove := fmt.Sprintf("\n[[rule]]\non = [\"prove\"]\nretry = \"0s\"\ndo = [\"verify turn %s\"]\n[source.file]\n"+
		"files = [%[1]q]\n", YunoHost.File)
	watching(t, configuration(YunoHost, "500ms")+prove, FirstPublic)
	began := time.Now()
	must(t, world.nft(t.Context(), fmt.Sprintf("flush chain ip nat out\n"+
		"add rule ip nat out oifname \"wan\" snat to numgen random mod 2 map { 0 : %s, 1 : %s }\n", FirstPublic, other)))

	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	must(t, until(ctx, 200*time.Millisecond, func() error {
		if len(damped(t)) == 0 {
			return fmt.Errorf("nothing is held after %d restarts in %v", restarts(t, began), time.Since(began))
		}
		return nil
	}))
	wait(t, 3*time.Second) // In which the last run ends
	held := damped(t)
	both := []netip.Addr{FirstPublic, other}
	if len(held) != 1 || held[0].Family != "ipv4" || held[0].Penalty < 3000 || !slices.Contains(both, held[0].Held) ||
		!slices.Contains(both, held[0].Seen) || held[0].Held == held[0].Seen {
		t.Fatalf("held is %+v", held)
	}
	t.Logf("%d restarts in %v, and then %s is held", restarts(t, began), time.Since(began), held[0].Held)
	says(t, "netwatch status", "ipv4 held", held[0].Held.String()+" while "+held[0].Seen.String()+
		" comes and goes", "load balancing")
	check := untouched(t, YunoHost)
	wait(t, 30*time.Second) // Sixty polls, of which some twenty see the other one
	check("thirty seconds more of two lines in turn")
	if out, code := fire(t, "prove"); code != 0 || !strings.Contains(out, "ipv4 "+held[0].Held.String()) {
		t.Errorf("a proof exits %d:\n%s", code, out)
	}

	must(t, world.nft(t.Context(),
		fmt.Sprintf("flush chain ip nat out\nadd rule ip nat out oifname \"wan\" snat to %s\n", held[0].Seen)))
	check("the other line alone")
	changed := time.Now()
	if out, code := fire(t, "ip-changed"); code != 0 {
		t.Errorf("netwatch fire ip-changed exits %d:\n%s", code, out)
	}
	promised(t, Times{right(t, FirstPublic, held[0].Seen, 20*time.Second).Sub(changed)}, settle+time.Second)
}

//go:build lab

// The table of worlds.

package lab

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

// worlds are all of the lab. Whatever fault is reported becomes one more.
func worlds() []World {
	return []World{
		{
			name: "YunoHost by default, two instances", often: true,
			network: yunohostNetwork, coturn: appsOn(FirstPublic), units: bothApps, doors: appDoors(),
			changes: []change{move},
		},
		{
			name:    "YunoHost by default, all well",
			network: yunohostNetwork, coturn: appsOn(FirstPublic), units: bothApps, doors: appDoors(),
			changes: []change{
				{"the app makes its file anew", madeAnew},
				{"what doctor says", wellOnYunoHost},
				{"somebody rewrites the file of one", leavesOthersAlone},
			},
		},
		{
			name: "YunoHost by default, Debian 13", system: Trixie, often: true,
			network: yunohostNetwork, coturn: appsOn(FirstPublic), units: bothApps, doors: appDoors(),
			changes: []change{move},
		},
		{
			name: "YunoHost by default, dbus-broker", system: Broker,
			network: yunohostNetwork, coturn: onBroker(appsOn(FirstPublic)), units: bothApps, doors: appDoors(),
			changes: []change{move},
		},
		{
			name: "YunoHost by default, sid", system: Sid,
			network: yunohostNetwork, coturn: appsOn(FirstPublic), units: bothApps, doors: appDoors(),
			changes: []change{move},
		},
		{
			// coturn heeds the first of two plain lines, for both families.
			name: "YunoHost by default, dual stack", network: yunohostDual, coturn: appsOn(FirstPublic, Public6),
			units: bothApps,
			doors: append(appDoors(), door{
				over: TLS, port: FirstApp.TLS, family: 6, secret: FirstApp.Secret,
				wrong: true, never: true,
			}),
			changes: []change{move},
		},
		{
			name: "YunoHost whose web page was down", network: yunohostNetwork, coturn: appsOn(netip.Addr{}), units: bothApps,
			doors: wrong(appDoors()), changes: []change{move},
		},
		{
			name: "plain, NAT", network: nat, coturn: debian(CoturnConf(FirstPublic.String())), units: []string{Debian.Unit},
			doors: []door{udp, tcp}, changes: []change{move, move},
		},
		{
			name: "plain, dual stack, private peers denied", often: true,
			network: dualStack, coturn: debian(CoturnConf(FirstPublic.String()) + deniedPeers), units: []string{Debian.Unit},
			doors: []door{denying(udp), denying(tcp)}, changes: []change{move},
		},
		{
			name: "plain, dual stack, private peers denied, Debian 13", system: Trixie,
			network: dualStack, coturn: debian(CoturnConf(FirstPublic.String()) + deniedPeers), units: []string{Debian.Unit},
			doors: []door{denying(udp), denying(tcp)}, changes: []change{move},
		},
		{
			name: "plain, dual stack, private peers denied, sid", system: Sid,
			network: dualStack, coturn: debian(CoturnConf(FirstPublic.String()) + deniedPeers), units: []string{Debian.Unit},
			doors: []door{denying(udp), denying(tcp)}, changes: []change{move},
		},
		{
			name: "docker0 is the first interface, plain", often: true,
			network: dockerFirst, coturn: debian(CoturnConf(FirstPublic.String())), units: []string{Debian.Unit},
			doors: []door{udp, tcp}, changes: []change{{"nothing", keeps("external-ip=203.0.113.10")}, move},
		},
		{
			name: "docker0 is the first interface, a true pair", network: dockerFirst,
			coturn: debian(CoturnConf(pair(FirstPublic, Private))), units: []string{Debian.Unit},
			doors:   []door{udp, tcp},
			changes: []change{{"nothing", keeps("external-ip=203.0.113.10/192.168.50.2")}, move},
		},
		{
			name: "docker0 is the first interface, private=auto", network: dockerFirst,
			coturn: debian(CoturnConf(FirstPublic.String())), units: []string{Debian.Unit},
			edit: `s/"rotate [^"]*/& private=auto/`, doors: []door{udp, tcp}, restarts: 1,
			changes: []change{{"nothing", keeps("external-ip=203.0.113.10/192.168.50.2")}, move},
		},
		{
			// A thread of coturn whose first caller asks for IPv6 is lost for IPv4: each start is
			// a chance to hurt one.
			name: "0.0.0.0, dual stack", often: true,
			network: dualStack, coturn: debian(CoturnConf(FirstPublic.String()) + "\nlistening-ip=0.0.0.0\n"),
			units: []string{Debian.Unit},
			doors: []door{udp, asking4(udp)}, changes: []change{move, move, move},
		},
		{
			name: "one listening-ip, dual stack", network: dualStack,
			coturn: debian(CoturnConf(FirstPublic.String()) + "\nlistening-ip=" + Private.String() + "\n"),
			units:  []string{Debian.Unit},
			doors:  []door{udp}, changes: []change{move},
		},
		{
			name: "true pairs, dual stack", network: dualStack,
			coturn: debian(CoturnConf(pair(FirstPublic, Private), pair(Public6, Public6))),
			units:  []string{Debian.Unit}, doors: []door{udp, six}, changes: []change{move},
		},
		{
			name: "a stale pair, NAT", network: nat, coturn: debian(CoturnConf(FirstPublic.String() + "/192.168.50.77")),
			units: []string{Debian.Unit}, doors: wrong([]door{udp}), changes: []change{move},
		},
		{
			name: "a plain line and a stale pair, NAT", network: nat,
			coturn: debian(CoturnConf(FirstPublic.String(), "203.0.113.99/10.0.0.1") + deniedPeers),
			units:  []string{Debian.Unit},
			doors:  []door{denying(udp)}, changes: []change{move},
		},
		{
			name: "nothing written, NAT", network: nat, coturn: debian(CoturnConf()), units: []string{Debian.Unit},
			doors: wrong([]door{udp}), changes: []change{move},
		},
		{
			// A plain line would be what callers get who name IPv6.
			name: "nothing written, dual stack", often: true, network: dualStack, coturn: debian(CoturnConf()),
			units: []string{Debian.Unit},
			doors: append(wrong([]door{udp}), six), changes: []change{move, {"another IPv6 address", renumber}},
		},
		{
			// A pair would open the machine's own address: nothing can be written.
			name: "nothing written, dual stack, private peers denied", network: dualStack,
			coturn: debian(CoturnConf() + deniedPeers), units: []string{Debian.Unit}, fails: true,
			doors: []door{never(denying(udp)), six}, changes: []change{move},
		},
		{
			name: "nothing written, DS-Lite", network: dsLite, coturn: debian(CoturnConf()), units: []string{Debian.Unit},
			doors: []door{six, closedTo(carrierPublic)}, restarts: 1,
			changes: []change{{"another address of the provider's", share("192.0.0.0/29")}},
		},
		{
			name: "IPv6 only", network: ipv6Only, coturn: debian(CoturnConf()), units: []string{Debian.Unit},
			doors: []door{six}, changes: []change{{"what doctor says", wellByDoctor}, {"another IPv6 address", renumber}},
		},
		{
			name: "IPv6 goes, dual stack", network: dualStack,
			coturn: debian(CoturnConf(pair(FirstPublic, Private), pair(Public6, Public6))),
			units:  []string{Debian.Unit}, doors: []door{udp}, changes: []change{{"the end of IPv6", nat}, move},
		},
		{
			name: "DS-Lite", network: dsLite, coturn: debian(CoturnConf(pair(Public6, Public6))), units: []string{Debian.Unit},
			doors: []door{six, closedTo(carrierPublic)},
			changes: []change{
				{"what doctor says", wellByDoctor}, {"another address of the provider's", share("192.0.0.0/29")},
			},
		},
		{
			name: "464XLAT, nothing written", network: xlat, coturn: debian(CoturnConf()), units: []string{Debian.Unit},
			doors:   []door{six, closedTo(carrierPublic)},
			changes: []change{{"another IPv6 address", renumber}, {"another address of the provider's", share("192.0.0.0/29")}},
		},
		{
			name: "464XLAT, a pair", network: xlat, coturn: debian(CoturnConf(pair(Public6, Public6))),
			units:   []string{Debian.Unit},
			doors:   []door{six, closedTo(carrierPublic)},
			changes: []change{{"another address of the provider's", share("192.0.0.0/29")}},
		},
		{
			name: "CGNAT", network: cgnat, coturn: debian(CoturnConf(carrierPublic.String()) + deniedPeers),
			units:   []string{Debian.Unit},
			doors:   []door{closedTo(carrierPublic)},
			changes: []change{{"another address of the provider's", share("100.64.0.0/24")}},
		},
		{
			name: "two uplinks in turn", network: twoUplinks, coturn: debian(CoturnConf(FirstPublic.String())),
			units: []string{Debian.Unit},
			doors: []door{udp, tcp}, restarts: 7,
			changes: []change{{"20 s", passes(20 * time.Second)}, {"20 s more", passes(20 * time.Second)}},
		},
		{
			name: "a VPN takes the way out, asked on eth0", often: true,
			network: vpnBeside, coturn: debian(CoturnConf(FirstPublic.String())), units: []string{Debian.Unit},
			edit: `s/^agree .*/&\ninterface = "eth0"/`, doors: []door{udp}, changes: []change{takesOver, leaves, move},
		},
		{
			name: "a VPN takes the way out, private=auto", network: vpnBeside,
			coturn: debian(CoturnConf(pair(FirstPublic, Private))),
			units:  []string{Debian.Unit}, edit: `s/^agree .*/&\ninterface = "eth0"/;s/"rotate [^"]*/& private=auto/`,
			doors: []door{udp}, changes: []change{takesOver, move},
		},
		{
			name: "a VPN takes the way out, one listening-ip", network: vpnBeside,
			coturn: debian(CoturnConf(FirstPublic.String()) + "\nlistening-ip=" + Private.String() + "\n"),
			units:  []string{Debian.Unit},
			doors:  []door{udp}, changes: []change{takesOver, move, leaves, move},
		},
		{
			name: "a VPN is the way in, one relay-ip", network: vpnIn,
			coturn: debian(CoturnConf(vpnPublic.String()) + "\nrelay-ip=" + inVPN.String() + "\n"),
			units:  []string{Debian.Unit},
			doors:  []door{udp}, changes: []change{{"another address of the VPN", func(t *testing.T) {
				t.Helper()
				comesIn(t, Public(120))
			}}},
		},
		{
			name: "a VPN is the way in", network: vpnIn, coturn: debian(CoturnConf(vpnPublic.String())),
			units: []string{Debian.Unit},
			doors: []door{udp, tcp}, changes: []change{{"another address of the VPN", func(t *testing.T) {
				t.Helper()
				comesIn(t, Public(120))
			}}},
		},
		{
			name: "the public address is the machine's", network: own(FirstPublic), coturn: debian(CoturnConf()),
			units: []string{Debian.Unit},
			doors: []door{udp, tcp}, changes: []change{{"another address", func(t *testing.T) {
				t.Helper()
				gives(t, Public(121))
				each(t, world.Net, "addr del "+FirstPublic.String()+"/32 dev eth0\n")
			}}},
		},
		{
			name: "two public addresses of the machine's", often: true,
			network: own(FirstPublic, secondPublic), coturn: debian(CoturnConf()), units: []string{Debian.Unit},
			doors:   []door{through(udp, FirstPublic), through(udp, secondPublic)},
			changes: []change{{"some time", passes(time.Second)}},
		},
		{
			name: "two pairs of two public addresses", network: own(FirstPublic, secondPublic),
			coturn:  debian(CoturnConf(pair(FirstPublic, FirstPublic), pair(secondPublic, secondPublic))),
			units:   []string{Debian.Unit},
			doors:   []door{through(udp, FirstPublic), through(udp, secondPublic)},
			changes: []change{{"some time", passes(time.Second)}},
		},
		{
			name: "coturn on a container's bridge, a pair", often: true, network: bridge,
			coturn: contained(CoturnConf(pair(FirstPublic, container)) + onBridge + deniedPeers), units: []string{Debian.Unit},
			doors: []door{denying(udp), denying(tcp)}, changes: []change{move, {"another container", neighbour}},
		},
		{
			name: "coturn on a container's bridge, plain", network: bridge,
			coturn: contained(CoturnConf(FirstPublic.String()) + deniedPeers), units: []string{Debian.Unit},
			doors: []door{denying(udp), denying(tcp)}, changes: []change{move, {"another container", neighbour}},
		},
	}
}

// deniedPeers keeps callers from a network at home.
const deniedPeers = "\ndenied-peer-ip=10.0.0.0-10.255.255.255\ndenied-peer-ip=172.16.0.0-172.31.255.255\n" +
	"denied-peer-ip=192.168.0.0-192.168.255.255\n"

// onBridge is what names a container's own address.
var onBridge = "\nlistening-ip=" + container.String() + "\nrelay-ip=" + container.String() + "\n"

// The doors of the lab's common configuration.
var (
	udp = door{port: Port, secret: Secret}
	tcp = door{over: TCP, port: Port, secret: Secret}
	six = door{port: Port, family: 6, secret: Secret}
)

// bothApps are the units of the two apps' coturns.
var bothApps = []string{FirstApp.Coturn().Unit, SecondApp.Coturn().Unit}

// appDoors are the ways into a YunoHost: the apps' own, and that of Debian's coturn,
// which the firewall closes.
func appDoors() []door {
	return []door{
		{over: TLS, port: FirstApp.TLS, secret: FirstApp.Secret},
		{over: TLS, port: SecondApp.TLS, secret: SecondApp.Secret},
		{port: Port, wrong: true, never: true},
	}
}

// wrong are doors at which nobody is right before netwatch comes.
func wrong(doors []door) []door {
	for i := range doors {
		doors[i].wrong = true
	}
	return doors
}

// never is a door at which nobody is ever right.
func never(d door) door {
	d.wrong, d.never = true, true
	return d
}

// denying is a door whose callers may not reach the server's own network.
func denying(d door) door {
	d.denied = Private
	return d
}

// asking4 is a door whose callers ask for IPv4 by name.
func asking4(d door) door {
	d.family = 4
	return d
}

// through is a door at an address that stays.
func through(d door, a netip.Addr) door {
	d.at = a
	return d
}

// closedTo is a door through which nobody can ever come.
func closedTo(a netip.Addr) door {
	return never(door{at: a, port: Port, secret: Secret})
}

func pair(public, private netip.Addr) string { return public.String() + "/" + private.String() }

// debian is coturn by Debian's package, with a configuration. coturn lends a port again
// only after more than a second: here it has more of them.
func debian(conf string) func(t *testing.T) {
	conf = strings.Replace(conf, "max-port=49193", "max-port=49652", 1)
	return func(t *testing.T) {
		t.Helper()
		must(t, server.writeCoturn(t.Context(), Debian, conf))
		shell(t, "systemctl daemon-reload && systemctl enable -q "+Debian.Unit+" && systemctl restart "+Debian.Unit)
	}
}

// contained is the same in the container.
func contained(conf string) func(t *testing.T) {
	return func(t *testing.T) {
		t.Helper()
		must(t, server.WriteFile("/etc/systemd/system/"+Debian.Unit+".d/container.conf",
			"[Service]\nNetworkNamespacePath=/run/netns/ct\n", 0o644))
		debian(conf)(t)
	}
}

// yunohost is YunoHost with two instances of the app.
func appsOn(externalIP ...netip.Addr) func(t *testing.T) {
	return func(t *testing.T) {
		t.Helper()
		must(t, server.InstallYunoHost(t.Context(), externalIP, FirstApp, SecondApp))
	}
}

// onBroker is coturn on a machine whose bus is dbus-broker's.
func onBroker(coturn func(t *testing.T)) func(t *testing.T) {
	return func(t *testing.T) {
		t.Helper()
		if bus := shell(t, "cat /proc/$(systemctl show -P MainPID dbus.service)/comm; pgrep -l dbus-"); !strings.Contains(bus,
			"dbus-broker") || strings.Contains(bus, "dbus-daemon") {
			t.Fatalf("the bus is %s", bus)
		}
		coturn(t)
	}
}

// yunohostDual has IPv6, for which the router has no firewall.
func yunohostDual(t *testing.T) {
	t.Helper()
	must(t, world.Forward(t.Context(), YunoHostPorts, Private))
	rules(t, world.Net, yunohostFirewall)
}

// The changes that worlds have in common.
var (
	move      = change{"another public address", moves}
	takesOver = change{"the VPN takes the way out", func(t *testing.T) {
		t.Helper()
		each(t, world.Net, throughVPN)
	}}
	leaves = change{"the VPN goes", func(t *testing.T) {
		t.Helper()
		each(t, world.Net, "link del tun0\n")
	}}
)

// moved counts the addresses that the router was given.
var moved int

// moves gives the router another public address.
func moves(t *testing.T) {
	t.Helper()
	moved++
	entrance = Public(130 + moved%50)
	must(t, world.SetPublic(t.Context(), entrance))
}

// renumber gives the server another IPv6 address in the place of its own.
func renumber(t *testing.T) {
	t.Helper()
	each(t, world.Net, "addr add 2001:db8:50::3/64 dev eth0 nodad\naddr del 2001:db8:50::2/64 dev eth0\n")
	entrance6 = netip.MustParseAddr("2001:db8:50::3")
}

// share gives the provider's NAT another address.
func share(network string) func(t *testing.T) {
	return func(t *testing.T) {
		t.Helper()
		rules(t, world.Inet, carrierRules(network, Public(122)))
	}
}

// wellByDoctor is no change, and wants doctor to find no problem.
func wellByDoctor(t *testing.T) {
	t.Helper()
	if all, code := doctor(t); code != 0 {
		t.Errorf("doctor exits %d: %+v", code, all)
	}
}

// keeps is no change, and wants coturn's file to say what it says.
func keeps(line string) func(t *testing.T) {
	return func(t *testing.T) {
		t.Helper()
		if got := shell(t, "grep external-ip "+Debian.File); got != line {
			t.Errorf("in %s stands %s, want %s", Debian.File, got, line)
		}
	}
}

func passes(d time.Duration) func(t *testing.T) {
	return func(t *testing.T) {
		t.Helper()
		wait(t, d)
	}
}

// neighbour is a container that comes and goes.
func neighbour(t *testing.T) {
	t.Helper()
	shell(t, "ip link add podman0 type bridge && ip addr add 10.88.0.1/16 dev podman0 && ip link set podman0 up && ip "+
		"link add veth7 type veth peer name veth8 && ip link set veth7 master podman0 up")
	wait(t, time.Second)
	shell(t, "ip link del veth7; ip link del podman0")
}

//go:build lab

// The networks of the worlds. Each is made of that of a fresh lab, which is NAT with
// native IPv6 beside it.

package lab

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

// The addresses of the worlds beside those of a lab.
var (
	// secondPublic is the router's second address, or the machine's.
	secondPublic = netip.MustParseAddr("203.0.113.11")
	// carrierPublic is that of a provider's NAT, which many share.
	carrierPublic = netip.MustParseAddr("203.0.113.20")
	// vpnPublic is where a VPN comes out.
	vpnPublic = netip.MustParseAddr("203.0.113.30")
	// tunnel is the machine's address in the VPN.
	inVPN = netip.MustParseAddr("10.8.0.2")
	// container is that of a coturn on a container's bridge.
	container = netip.MustParseAddr("172.17.0.2")
)

// entrance and entrance6 are the public addresses by which callers come in at the
// moment.
var entrance, entrance6 netip.Addr

// each runs lines of ip(8) commands in a namespace of the lab.
func each(t *testing.T, namespace, commands string) {
	t.Helper()
	must(t, ip(t.Context(), namespace, commands))
}

// rules gives a namespace rules of nft(8), and has it forget what it translated.
func rules(t *testing.T, namespace, text string) {
	t.Helper()
	must(t, nft(t.Context(), namespace, text))
	outside(t, inNet(namespace, "conntrack", "-F")...)
}

// without4 takes all IPv4 from an interface.
func without4(t *testing.T, namespace, name string) {
	t.Helper()
	outside(t, "ip", "-4", "-n", namespace, "addr", "flush", "dev", name)
}

// dualStack is the lab's own.
func dualStack(*testing.T) {}

// nat has no IPv6, nor a way for it.
func nat(t *testing.T) {
	t.Helper()
	each(t, world.Net, "route del default via 2001:db8:50::1\naddr del 2001:db8:50::2/64 dev eth0\n")
}

// yunohostFirewall is YunoHost's: whatever it did not open is dropped.
const yunohostFirewall = `
table inet firewall {
	chain in {
		type filter hook input priority 0; policy drop;
		ct state established,related accept
		iifname "lo" accept
		meta l4proto { icmp, icmpv6 } accept
		meta l4proto { tcp, udp } th dport { 22, 80, 443, ` + YunoHostPorts + ` } accept
	}
}
`

// yunohostNetwork is NAT, with a firewall and a router that know the apps' ports.
func yunohostNetwork(t *testing.T) {
	t.Helper()
	nat(t)
	must(t, world.Forward(t.Context(), YunoHostPorts, Private))
	rules(t, world.Net, yunohostFirewall)
}

// ipv6Only has no IPv4 at the server.
func ipv6Only(t *testing.T) {
	t.Helper()
	without4(t, world.Net, "eth0")
}

// carrier has the router behind a NAT of its provider, in this network, whose
// first address is the provider's and whose second the router's. Nothing comes in.
func carrier(t *testing.T, network, theirs, ours string) {
	t.Helper()
	without4(t, world.Router, "wan")
	each(t, world.Inet, "addr add "+theirs+" dev wan\n")
	next, _, _ := strings.Cut(theirs, "/")
	each(t, world.Router, "addr add "+ours+" dev wan\nroute add default via "+next+"\n")
	rules(t, world.Inet, carrierRules(network, carrierPublic))
}

func carrierRules(network string, public netip.Addr) string {
	return fmt.Sprintf("table ip carrier\ndelete table ip carrier\ntable ip carrier {\n"+
		"	chain in { type nat hook input priority 100; ip saddr %s snat to %s; }\n}\n", network, public)
}

// cgnat is the NAT of a provider (RFC 6598), without IPv6.
func cgnat(t *testing.T) {
	t.Helper()
	nat(t)
	carrier(t, "100.64.0.0/24", "100.64.0.1/24", "100.64.0.10/24")
}

// dsLite has native IPv6, and IPv4 by the provider's NAT alone (RFC 6333).
func dsLite(t *testing.T) {
	t.Helper()
	carrier(t, "192.0.0.0/29", "192.0.0.1/29", "192.0.0.2/29")
}

// xlat has native IPv6, and IPv4 through a translator on this machine and one of the
// provider's (464XLAT, RFC 6877). Nothing comes in over that.
func xlat(t *testing.T) {
	t.Helper()
	without4(t, world.Net, "eth0")
	each(t, "", fmt.Sprintf("link add %[1]s-v type veth peer name %[1]s-w\n"+
		"link set %[1]s-v netns %[2]s name nat64\nlink set %[1]s-w netns %[3]s name clat\n",
		world.name, world.Inet, world.Net))
	each(t, world.Inet, "link set nat64 up\naddr add 192.0.0.1/29 dev nat64\n")
	each(t, world.Net, "link set clat up\naddr add 192.0.0.2/29 dev clat\nroute add default via 192.0.0.1 dev clat\n")
	rules(t, world.Inet, carrierRules("192.0.0.0/29", carrierPublic))
}

// dockerFirst is NAT, and the bridge of a Docker without containers is before eth0 in
// every list of interfaces.
func dockerFirst(t *testing.T) {
	t.Helper()
	nat(t)
	each(t, world.Net, "link add docker0 index 2 type bridge\nlink set docker0 up\naddr add 172.17.0.1/16 dev docker0\n")
	if all := strings.Fields(shell(t, "ip -br -4 addr show up")); len(all) < 4 || all[3] != "docker0" {
		t.Fatalf("docker0 is not the first: %q", all)
	}
}

// twoUplinks has a router that takes its two addresses in turn for what goes out,
// and hands on what comes in at either.
func twoUplinks(t *testing.T) {
	t.Helper()
	nat(t)
	each(t, world.Router, "addr add "+secondPublic.String()+"/24 dev wan\n")
	rules(t, world.Router, fmt.Sprintf("flush chain ip nat out\nadd rule ip nat out oifname \"wan\" "+
		"snat to numgen random mod 2 map { 0 : %s, 1 : %s }\n", FirstPublic, secondPublic))
}

// vpn has a tunnel, tun0, to a provider from whose network what goes out comes out
// at vpnPublic. The way of the server does not lead through it yet.
func vpn(t *testing.T) {
	t.Helper()
	nat(t)
	each(t, "", fmt.Sprintf("link add %[1]s-v type veth peer name %[1]s-w\n"+
		"link set %[1]s-v netns %[2]s name vpn\nlink set %[1]s-w netns %[3]s name tun0\n", world.name, world.Inet, world.Net))
	each(t, world.Inet, "link set vpn up\naddr add 10.8.0.1/24 dev vpn\n")
	each(t, world.Net, "link set tun0 up\naddr add "+inVPN.String()+"/24 dev tun0\n")
	rules(t, world.Inet, carrierRules("10.8.0.0/24", vpnPublic))
}

// throughVPN is what OpenVPN does for redirect-gateway def1.
const throughVPN = "route add 0.0.0.0/1 via 10.8.0.1 dev tun0\nroute add 128.0.0.0/1 via 10.8.0.1 dev tun0\n"

// vpnBeside has a VPN, and what came in by the router goes out by it, whatever the
// default route is.
func vpnBeside(t *testing.T) {
	t.Helper()
	vpn(t)
	each(t, world.Net, "rule add from 192.168.50.2 lookup 100\nroute add default via 192.168.50.1 table 100\n")
}

// vpnIn has a VPN that is the way out and the way in, at an address.
func vpnIn(t *testing.T) {
	t.Helper()
	vpn(t)
	each(t, world.Net, throughVPN)
	comesIn(t, vpnPublic)
}

// comesIn has the VPN come out at an address, and hand on what is for that.
func comesIn(t *testing.T, public netip.Addr) {
	t.Helper()
	rules(t, world.Inet, carrierRules("10.8.0.0/24", public)+fmt.Sprintf("table ip carrier {\n"+
		"	chain out { type nat hook output priority -100; ip daddr %s dnat to %s; }\n}\n", public, inVPN))
	entrance = public
}

// own gives the machine public addresses of its own, the first of which it sends
// by; the router translates nothing.
func own(addresses ...netip.Addr) func(t *testing.T) {
	return func(t *testing.T) {
		t.Helper()
		nat(t)
		without4(t, world.Router, "wan")
		without4(t, world.Net, "eth0")
		must(t, nft(t.Context(), world.Router, "delete table ip nat\n"))
		outside(t, inNet(world.Router, "sysctl", "-q", "net.ipv4.conf.wan.proxy_arp=1")...)
		each(t, world.Router, "addr add 203.0.113.2/24 dev wan\n")
		gives(t, addresses...)
	}
}

// gives has the provider route addresses to the machine, which takes them.
func gives(t *testing.T, addresses ...netip.Addr) {
	t.Helper()
	for _, a := range addresses {
		each(t, world.Router, "route add "+a.String()+"/32 dev lan\n")
		each(t, world.Net, "addr add "+a.String()+"/32 dev eth0\n")
	}
	each(t, world.Net, "route replace 192.168.50.1 dev eth0\nroute replace default via 192.168.50.1 src "+
		addresses[0].String()+"\n")
	entrance = addresses[0]
}

// bridge has a bridge for containers, with one of them, ct, to which the machine
// hands on what is for coturn.
func bridge(t *testing.T) {
	t.Helper()
	shell(t, `ip link add docker0 type bridge && ip addr add 172.17.0.1/16 dev docker0 && ip link set docker0 up
		ip netns add ct && ip link add veth0 type veth peer name eth0 netns ct && ip link set veth0 master docker0 up
		ip -n ct addr add `+container.String()+`/16 dev eth0 && ip -n ct link set lo up && ip -n ct link set eth0 up
		ip -n ct route add default via 172.17.0.1`)
	outside(t, inNet(world.Net, "sysctl", "-q", "net.ipv4.ip_forward=1")...)
	rules(t, world.Net, fmt.Sprintf(`
table ip docker {
	chain in {
		type nat hook prerouting priority -100;
		iifname "eth0" meta l4proto { tcp, udp } th dport { %[1]s } dnat to %[2]s;
	}
	chain own {
		type nat hook output priority -100;
		ip daddr %[3]s meta l4proto { tcp, udp } th dport { %[1]s } dnat to %[2]s;
	}
	chain out {
		type nat hook postrouting priority 100;
		ip saddr 172.17.0.0/16 oifname "eth0" masquerade;
	}
}
`, Ports, container, Private))
}

package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// The addresses of the lab, out of the documentation ranges of RFC 5737 and
// RFC 3849. The server has a private IPv4 address behind NAT and an IPv6
// address in a prefix that is routed to it.
var (
	// FirstPublic is the router's public address until SetPublic gives another.
	FirstPublic = netip.MustParseAddr("203.0.113.10")
	// Private is the server's IPv4 address.
	Private = netip.MustParseAddr("192.168.50.2")
	// Public6 is the server's IPv6 address.
	Public6 = netip.MustParseAddr("2001:db8:50::2")
)

// Public is one of 199 public addresses, counted from 0, that a test can give the
// router in place of FirstPublic.
func Public(n int) netip.Addr {
	return netip.MustParseAddr(fmt.Sprintf("203.0.113.%d", 56+n%199))
}

// links are the two cables: internet to router, router to server. Duplicate
// address detection is off, because an IPv6 address is of no use for the
// second that it takes.
const links = `
link add %[1]s-a type veth peer name %[1]s-b
link set %[1]s-a netns %[2]s name wan
link set %[1]s-b netns %[3]s name wan
link add %[1]s-c type veth peer name %[1]s-d
link set %[1]s-c netns %[3]s name lan
link set %[1]s-d netns %[4]s name eth0
`

const inetAddresses = `
link set lo up
link set wan up
addr add 203.0.113.1/24 dev wan
addr add 203.0.113.53/24 dev wan
addr add 203.0.113.54/24 dev wan
addr add 203.0.113.55/24 dev wan
addr add 2001:db8::1/64 dev wan nodad
addr add 2001:db8:53::53/64 dev wan nodad
addr add 2001:db8:54::54/64 dev wan nodad
addr add 2001:db8:55::55/64 dev wan nodad
route add 2001:db8:50::/64 via 2001:db8::10
`

const routerAddresses = `
link set lo up
link set wan up
link set lan up
addr add 203.0.113.10/24 dev wan
addr add 2001:db8::10/64 dev wan nodad
route add 2001:db8:53::/64 dev wan
route add 2001:db8:54::/64 dev wan
route add 2001:db8:55::/64 dev wan
addr add 192.168.50.1/24 dev lan
addr add 2001:db8:50::1/64 dev lan nodad
`

const serverAddresses = `
link set lo up
link set eth0 up
addr add 192.168.50.2/24 dev eth0
addr add 2001:db8:50::2/64 dev eth0 nodad
route add default via 192.168.50.1
route add default via 2001:db8:50::1
`

// Ports are what the router hands on to the server until Forward says others.
const Ports = "3478, 3480, 5349, 49153-49652"

// natRules are what a home router does: it hides the server behind its own
// address and hands on what is for coturn. It has the ports and the server's
// address.
const natRules = `
table ip nat {
	chain in {
		type nat hook prerouting priority -100;
		iifname "wan" udp dport { %[1]s } dnat to %[2]s;
		iifname "wan" tcp dport { %[1]s } dnat to %[2]s;
	}
	chain out {
		type nat hook postrouting priority 100;
		oifname "wan" masquerade;
	}
}
`

// netnsPath is where ip-netns(8) keeps a namespace.
func netnsPath(namespace string) string { return "/run/netns/" + namespace }

// addNetwork makes the three namespaces with all that is in them.
func (l *Lab) addNetwork(ctx context.Context) error {
	for _, namespace := range []string{l.Inet, l.Router, l.Net} {
		if err := l.addNamespace(ctx, namespace); err != nil {
			return err
		}
	}
	if err := ip(ctx, "", fmt.Sprintf(links, l.name, l.Inet, l.Router, l.Net)); err != nil {
		return fmt.Errorf("laying the cables: %w", err)
	}
	if _, err := run(ctx, inNet(l.Router, "sysctl", "-q",
		"net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")...); err != nil {
		return fmt.Errorf("making a router: %w", err)
	}
	batches := []struct{ namespace, commands string }{
		{l.Router, routerAddresses}, {l.Inet, inetAddresses}, {l.Net, serverAddresses},
	}
	for _, b := range batches {
		if err := ip(ctx, b.namespace, b.commands); err != nil {
			return fmt.Errorf("giving %s its addresses: %w", b.namespace, err)
		}
	}
	return l.nft(ctx, fmt.Sprintf(natRules, Ports, Private))
}

// Forward has the router hand on other ports to the server, and at another address.
func (l *Lab) Forward(ctx context.Context, ports string, to netip.Addr) error {
	return l.nft(ctx, "delete table ip nat\n"+fmt.Sprintf(natRules, ports, to))
}

func (l *Lab) addNamespace(ctx context.Context, namespace string) error {
	if _, err := run(ctx, "ip", "netns", "add", namespace); err != nil {
		return fmt.Errorf("adding a network namespace: %w", err)
	}
	l.later(func() error { return removeNamespace(context.Background(), namespace) }) // Clean-up outlives ctx.
	return nil
}

func removeNamespace(ctx context.Context, namespace string) error {
	if _, err := run(ctx, "ip", "netns", "del", namespace); err != nil {
		return fmt.Errorf("removing a network namespace: %w", err)
	}
	return nil
}

// ip runs lines of ip(8) commands in a namespace, or here when it is empty.
func ip(ctx context.Context, namespace, commands string) error {
	args := []string{"ip", "-batch", "-"}
	if namespace != "" {
		args = []string{"ip", "-n", namespace, "-batch", "-"}
	}
	_, err := runInput(ctx, strings.NewReader(commands), args...)
	return err
}

// nft gives the router rules.
func (l *Lab) nft(ctx context.Context, rules string) error { return nft(ctx, l.Router, rules) }

// nft gives a namespace rules.
func nft(ctx context.Context, namespace, rules string) error {
	if _, err := runInput(ctx, strings.NewReader(rules), inNet(namespace, "nft", "-f", "-")...); err != nil {
		return fmt.Errorf("setting the rules of %s: %w", namespace, err)
	}
	return nil
}

// SetPublic gives the router another public address, as a provider does: the
// old one is gone and every mapping with it.
func (l *Lab) SetPublic(ctx context.Context, a netip.Addr) error {
	_, err := run(ctx, "ip", "-4", "-n", l.Router, "addr", "flush", "dev", "wan")
	err = errors.Join(err, ip(ctx, l.Router, fmt.Sprintf("addr add %s/24 dev wan\n", a)))
	if err != nil {
		return fmt.Errorf("setting the public address %s: %w", a, err)
	}
	if _, err := run(ctx, inNet(l.Router, "conntrack", "-F")...); err != nil {
		return fmt.Errorf("dropping the router's mappings: %w", err)
	}
	return nil
}

// LinkIPv6 has the router's link to the internet be up, with the IPv6 that it began with: that
// goes when the link does.
func (l *Lab) LinkIPv6(ctx context.Context) error {
	return ip(ctx, l.Router, "link set wan up\naddr replace 2001:db8::10/64 dev wan nodad\n"+
		"route replace 2001:db8:53::/64 dev wan\nroute replace 2001:db8:54::/64 dev wan\n"+
		"route replace 2001:db8:55::/64 dev wan\n")
}

// SetPrivate gives the server another IPv4 address in the place of one, as a DHCP
// server does, and has the router hand on to that.
func (l *Lab) SetPrivate(ctx context.Context, from, to netip.Addr) error {
	if err := l.Forward(ctx, Ports, to); err != nil {
		return err
	}
	err := ip(ctx, l.Net,
		fmt.Sprintf("addr del %s/24 dev eth0\naddr add %s/24 dev eth0\nroute add default via 192.168.50.1\n", from, to))
	if err != nil {
		return fmt.Errorf("setting the server's address %s: %w", to, err)
	}
	return nil
}

// SetPublicStale gives the router another public address and keeps the old
// one and its mappings: a socket that has one still appears under the old
// address for as long as it keeps sending. Only a new mapping has the new one.
func (l *Lab) SetPublicStale(ctx context.Context, a netip.Addr) error {
	if err := ip(ctx, l.Router, fmt.Sprintf("addr replace %s/24 dev wan\n", a)); err != nil {
		return fmt.Errorf("adding the public address %s: %w", a, err)
	}
	return l.nft(ctx, fmt.Sprintf("flush chain ip nat out\nadd rule ip nat out oifname \"wan\" snat to %s\n", a))
}

// Masquerade undoes what SetPublicStale did to the router's rules.
func (l *Lab) Masquerade(ctx context.Context) error {
	return l.nft(ctx, "flush chain ip nat out\nadd rule ip nat out oifname \"wan\" masquerade\n")
}

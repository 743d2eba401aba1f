package sources

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"netwatch"
)

// netOf is a network by its text: a link with + or -, an address with its
// interface, ~ before a deprecated one, and a way out as interface>gateway.
func netOf(t *testing.T, text string) network {
	t.Helper()
	n := newNetwork()
	n.ways = map[netwatch.Family]wayOut{}
	n.next = n.ways
	for _, word := range strings.Fields(text) {
		if link, ok := strings.CutSuffix(word, "+"); ok {
			n.up[link] = true
		} else if link, ok := strings.CutSuffix(word, "-"); ok {
			n.up[link] = false
		} else if link, gateway, ok := strings.Cut(word, ">"); ok {
			w := wayOut{link: link, gateway: gateway}
			n.ways[familyOfWay(w)] = w
		} else {
			link, a, _ := strings.Cut(word, "/")
			a, deprecated := strings.CutPrefix(a, "~")
			ip := netip.MustParseAddr(a)
			at := place{link, netwatch.FamilyOf(ip)}
			n.addresses[at] = append(n.addresses[at], address{Addr: ip, deprecated: deprecated})
		}
	}
	return n
}

func familyOfWay(w wayOut) netwatch.Family {
	if strings.Contains(w.gateway, ":") {
		return netwatch.IPv6
	}
	return netwatch.IPv4
}

// told is what is told of a change of networks.
func told(was, is network) (all []string) {
	is.keepDeprecated(was)
	for _, c := range changes(was, is, uses{}) {
		all = append(all, strings.Join(strings.Fields(fmt.Sprintf("%s %s %s %s>%s", c.event, c.link, c.family, c.old, c.new)),
			" "))
	}
	return all
}

func TestChanges(t *testing.T) {
	cases := []struct {
		name, was, is string
		want          []string
	}{
		{"nothing", "eth0+ eth0/192.0.2.1 eth0>192.0.2.254", "eth0+ eth0/192.0.2.1 eth0>192.0.2.254", nil},
		{"another order", "eth0/192.0.2.1 eth0/192.0.2.2", "eth0/192.0.2.2 eth0/192.0.2.1", nil},
		{"came", "", "eth0/192.0.2.1", []string{"addr-changed eth0 ipv4 >192.0.2.1"}},
		{"went", "eth0/192.0.2.1", "", []string{"addr-changed eth0 ipv4 192.0.2.1>"}},
		{
			"replaced", "eth0/192.0.2.1 eth0/192.0.2.7", "eth0/192.0.2.2 eth0/192.0.2.7",
			[]string{"addr-changed eth0 ipv4 192.0.2.1>192.0.2.2"},
		},
		{
			"two went and one came", "eth0/192.0.2.1 eth0/192.0.2.2", "eth0/192.0.2.3",
			[]string{"addr-changed eth0 ipv4 192.0.2.1>192.0.2.3", "addr-changed eth0 ipv4 192.0.2.2>"},
		},
		{
			"families are not paired", "eth0/192.0.2.1", "eth0/2001:db8::1",
			[]string{"addr-changed eth0 ipv4 192.0.2.1>", "addr-changed eth0 ipv6 >2001:db8::1"},
		},
		{
			"interfaces are not paired", "eth0/192.0.2.1", "wan0/192.0.2.1",
			[]string{"addr-changed eth0 ipv4 192.0.2.1>", "addr-changed wan0 ipv4 >192.0.2.1"},
		},
		{"became deprecated", "eth0/2001:db8::1", "eth0/~2001:db8::1", nil},
		{"expired", "eth0/~2001:db8::1", "", []string{"addr-changed eth0 ipv6 2001:db8::1>"}},
		{"came deprecated", "", "eth0/~2001:db8::1", nil},
		{"preferred again", "eth0/~2001:db8::1", "eth0/2001:db8::1", nil},
		{"down", "eth0+", "eth0-", []string{"link-changed eth0 up>down"}},
		{"up", "eth0-", "eth0+", []string{"link-changed eth0 down>up"}},
		{"appeared up", "", "eth0+", []string{"link-changed eth0 down>up"}},
		{"appeared down", "", "eth0-", nil},
		{"vanished", "eth0+ eth0/192.0.2.1", "", []string{"link-changed eth0 up>down", "addr-changed eth0 ipv4 192.0.2.1>"}},
		{"vanished while down", "eth0-", "", nil},
		{
			"another gateway", "eth0>192.0.2.1", "eth0>192.0.2.2",
			[]string{"route-changed eth0 ipv4 eth0 192.0.2.1 ->eth0 192.0.2.2 -"},
		},
		{"a tunnel", "eth0>192.0.2.1", "tun0>", []string{"route-changed tun0 ipv4 eth0 192.0.2.1 ->tun0 - -"}},
		{"no way", "eth0>192.0.2.1", "", []string{"route-changed eth0 ipv4 eth0 192.0.2.1 ->"}},
		{
			"the same gateway elsewhere", "eth0>192.0.2.1", "eth1>192.0.2.1",
			[]string{"route-changed eth1 ipv4 eth0 192.0.2.1 ->eth1 192.0.2.1 -"},
		},
		{"IPv6", "eth0>fe80::1", "eth1>fe80::1", []string{"route-changed eth1 ipv6 eth0 fe80::1 ->eth1 fe80::1 -"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, told(netOf(t, c.was), netOf(t, c.is))); diff != "" {
				t.Errorf("wanted (-) and told (+):\n%s", diff)
			}
		})
	}
}

// A deprecated address that was left out when it came is one that comes when it
// is preferred, and one that was there stays for any number of looks.
func TestDeprecatedForLong(t *testing.T) {
	was := netOf(t, "eth0/2001:db8::1")
	for range 3 {
		is := netOf(t, "eth0/~2001:db8::1 eth0/~2001:db8::2")
		if all := told(was, is); all != nil {
			t.Fatalf("told %v", all)
		}
		was = is
	}
	is := netOf(t, "eth0/2001:db8::2")
	if diff := cmp.Diff([]string{"addr-changed eth0 ipv6 2001:db8::1>2001:db8::2"}, told(was, is)); diff != "" {
		t.Error(diff)
	}
}

func TestManyAddresses(t *testing.T) {
	for _, n := range []int{most - 1, most, most + 1, 5000} {
		is := newNetwork()
		at := place{"eth0", netwatch.IPv4}
		for i := range n {
			is.addresses[at] = append(is.addresses[at],
				address{Addr: netip.AddrFrom4([4]byte{10, byte(i / 250), byte(i % 250), 1})})
		}
		all := changes(newNetwork(), is, uses{})
		if len(all) != min(n, most) {
			t.Errorf("%d of %d are told", len(all), n)
		}
		last := all[len(all)-1]
		if rest := last.new == "" && last.old == ""; rest != (n > most) {
			t.Errorf("of %d, the last is %+v", n, last)
		}
	}
}

// TestChangesAreTheDifference: what is told leads from the old addresses and
// links to the new ones, and nothing is told of what is the same.
func TestChangesAreTheDifference(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		was, is := drawNetwork(t, "was"), drawNetwork(t, "is")
		if all := changes(was, was, uses{}); len(all) > 0 {
			t.Fatalf("of nothing is told %+v", all)
		}
		got := drawn(was)
		for _, c := range changes(was, is, uses{}) {
			if c.event == netwatch.LinkChanged {
				got = slices.DeleteFunc(got, func(s string) bool { return s == c.link+"+" })
				if c.new == "up" {
					got = append(got, c.link+"+")
				}
				continue
			}
			got = slices.DeleteFunc(got, func(s string) bool { return s == c.link+"/"+c.old })
			if c.new != "" {
				got = append(got, c.link+"/"+c.new)
			}
		}
		slices.Sort(got)
		if diff := cmp.Diff(drawn(is), got); diff != "" {
			t.Fatalf("wanted (-) and told (+):\n%s", diff)
		}
	})
}

// drawNetwork is a network of few links and addresses.
func drawNetwork(t *rapid.T, name string) network {
	n := newNetwork()
	for _, link := range []string{"eth0", "eth1"} {
		if rapid.Bool().Draw(t, name+" has "+link) {
			n.up[link] = rapid.Bool().Draw(t, "up")
		}
		for _, i := range rapid.SliceOfNDistinct(rapid.IntRange(0, 9), 0, 6, rapid.ID).Draw(t, "addresses") {
			ip := netip.MustParseAddr([]string{"192.0.2.", "2001:db8::"}[i%2] + fmt.Sprint(i))
			at := place{link, netwatch.FamilyOf(ip)}
			n.addresses[at] = append(n.addresses[at], address{Addr: ip})
		}
	}
	return n
}

// drawn are the links that are up and the addresses, in order.
func drawn(n network) []string {
	all := []string{}
	for link, up := range n.up {
		if up {
			all = append(all, link+"+")
		}
	}
	for at, addresses := range n.addresses {
		for _, a := range addresses {
			all = append(all, at.link+"/"+a.String())
		}
	}
	slices.Sort(all)
	return all
}

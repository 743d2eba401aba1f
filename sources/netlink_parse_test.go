package sources

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"netwatch"
)

// captured are the real messages in testdata/netlink.txt.
func captured(t testing.TB) (all []netlink.Message) {
	t.Helper()
	text, err := os.ReadFile("testdata/netlink.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var m netlink.Message
		var data string
		if strings.HasPrefix(line, "#") {
			continue
		}
		if _, err := fmt.Sscan(line, &m.Header.Type, &m.Header.Flags, &data); err != nil {
			t.Fatal(err)
		}
		if m.Data, err = hex.DecodeString(data); err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
	}
	return all
}

func anything(string) bool { return true }

// text is a network as lines, each thing that counts one.
func (n network) text() (all []string) {
	for _, link := range slices.Sorted(maps.Keys(n.up)) {
		all = append(all, fmt.Sprintf("%s up=%v", link, n.up[link]))
	}
	for _, at := range slices.SortedFunc(maps.Keys(n.addresses), comparePlaces) {
		for _, a := range n.addresses[at] {
			all = append(all, strings.TrimSuffix(fmt.Sprintf("%s %s %s deprecated", at.link, at.family, a), map[bool]string{false: " deprecated"}[a.deprecated]))
		}
	}
	for _, family := range netwatch.Families {
		if r, ok := n.routes[family]; ok {
			all = append(all, fmt.Sprintf("default %s %s %s", family, r.link, r))
		}
	}
	return all
}

func TestReadCaptured(t *testing.T) {
	is, whole, err := readMessages(captured(t), anything)
	if err != nil || !whole {
		t.Fatalf("%v, whole %v", err, whole)
	}
	want := []string{
		"eth0 up=true", "p0 up=true", "tun0 up=false",
		"eth0 ipv4 192.168.50.2", "eth0 ipv4 10.8.0.2", "eth0 ipv4 192.168.50.9",
		"eth0 ipv6 2001:db8:1::2", "eth0 ipv6 2001:db8::a", "eth0 ipv6 2001:db8::3 deprecated", "eth0 ipv6 2001:db8::2",
		"default ipv4 eth0 192.168.50.1",
	}
	if diff := cmp.Diff(want, is.text()); diff != "" {
		t.Errorf("wanted (-) and read (+):\n%s", diff)
	}
}

func TestReadWatchedOnly(t *testing.T) {
	is, _, err := readMessages(captured(t), func(name string) bool { return name == "tun0" })
	if want := []string{"tun0 up=false"}; err != nil || !cmp.Equal(want, is.text()) {
		t.Errorf("%v %v", is.text(), err)
	}
}

// Each message in turn carries the flag.
func TestReadInterrupted(t *testing.T) {
	for i := range captured(t) {
		all := captured(t)
		all[i].Header.Flags |= netlink.DumpInterrupted
		if _, whole, err := readMessages(all, anything); whole || err != nil {
			t.Errorf("message %d: whole %v, %v", i, whole, err)
		}
	}
}

// A message that is cut off anywhere but between two attributes is an error, and
// never an address or a route that is not there.
func TestReadCutOff(t *testing.T) {
	all := captured(t)
	right, _, _ := readMessages(all, anything)
	truth := right.text()
	for i, whole := range slices.Clone(all) {
		for n := range min(len(whole.Data), 80) { // after that, links have only what does not count
			all[i].Data = whole.Data[:n]
			is, _, err := readMessages(all, anything)
			if n < unix.SizeofIfAddrmsg && err == nil {
				t.Errorf("message %d of %d bytes is taken", i, n)
			}
			if err == nil && whole.Header.Type == unix.RTM_NEWADDR {
				for _, line := range is.text() {
					// Without IFA_LOCAL, the address is the other end's.
					if !slices.Contains(truth, line) && !strings.Contains(line, "10.8.0.1") {
						t.Errorf("message %d of %d bytes makes %s", i, n, line)
					}
				}
			}
		}
		all[i] = whole
	}
}

// message is one with a struct of the kernel and attributes.
func message(kind netlink.HeaderType, head []byte, attributes ...netlink.Attribute) netlink.Message {
	b, err := netlink.MarshalAttributes(attributes)
	if err != nil {
		panic(err)
	}
	return netlink.Message{Header: netlink.Header{Type: kind}, Data: slices.Concat(head, b)}
}

// linkMessage is a message about an interface.
func linkMessage(index uint32, name string, flags uint32) netlink.Message {
	head := make([]byte, unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(head[4:], index)
	binary.NativeEndian.PutUint32(head[8:], flags)
	return message(unix.RTM_NEWLINK, head, netlink.Attribute{Type: unix.IFLA_IFNAME, Data: append([]byte(name), 0)})
}

// addr is a message about an address of the interface with index 1.
func addr(a string, flags byte) netlink.Message {
	ip := netip.MustParseAddr(a)
	head := []byte{unix.AF_INET6, 64, flags, 0, 0, 0, 0, 0}
	if ip.Is4() {
		head[0] = unix.AF_INET
	}
	binary.NativeEndian.PutUint32(head[4:], 1)
	return message(unix.RTM_NEWADDR, head, netlink.Attribute{Type: unix.IFA_ADDRESS, Data: ip.AsSlice()})
}

func TestReadFlags(t *testing.T) {
	cases := []struct {
		name string
		m    netlink.Message
		want string
	}{
		{"up and running", linkMessage(1, "eth0", unix.IFF_UP|unix.IFF_RUNNING|unix.IFF_LOWER_UP), "eth0 up=true"},
		{"no carrier", linkMessage(1, "eth0", unix.IFF_UP), "eth0 up=false"},
		{"set down", linkMessage(1, "eth0", unix.IFF_BROADCAST), "eth0 up=false"},
		{"IPv4", addr("192.0.2.1", 0), "eth0 ipv4 192.0.2.1"},
		{"IPv4, secondary", addr("192.0.2.1", unix.IFA_F_SECONDARY), "eth0 ipv4 192.0.2.1"},
		{"IPv4, deprecated by DHCP", addr("192.0.2.1", unix.IFA_F_DEPRECATED), "eth0 ipv4 192.0.2.1"},
		{"IPv4, link-local", addr("169.254.1.1", 0), ""},
		{"IPv6", addr("2001:db8::1", unix.IFA_F_PERMANENT), "eth0 ipv6 2001:db8::1"},
		{"IPv6, temporary", addr("2001:db8::1", unix.IFA_F_TEMPORARY), ""},
		{"IPv6, tentative", addr("2001:db8::1", unix.IFA_F_TENTATIVE), ""},
		{"IPv6, optimistic", addr("2001:db8::1", unix.IFA_F_TENTATIVE|unix.IFA_F_OPTIMISTIC), ""},
		{"IPv6, duplicate", addr("2001:db8::1", unix.IFA_F_DADFAILED|unix.IFA_F_PERMANENT), ""},
		{"IPv6, deprecated", addr("2001:db8::1", unix.IFA_F_DEPRECATED), "eth0 ipv6 2001:db8::1 deprecated"},
		{"IPv6, link-local", addr("fe80::1", unix.IFA_F_PERMANENT), ""},
		{"another interface's", linkMessage(2, "eth1", 0), ""},
		{"no address", message(unix.RTM_NEWADDR, []byte{unix.AF_INET, 0, 0, 0, 1, 0, 0, 0}), ""},
		{"a family of its own", message(unix.RTM_NEWADDR, []byte{unix.AF_CAN, 0, 0, 0, 1, 0, 0, 0}, netlink.Attribute{Type: unix.IFA_ADDRESS, Data: []byte{1, 2, 3, 4}}), ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			all := []netlink.Message{linkMessage(1, "eth0", 0), c.m}
			is, _, err := readMessages(all, func(name string) bool { return name == "eth0" })
			got := slices.DeleteFunc(is.text(), func(line string) bool { return line == "eth0 up=false" && !strings.Contains(c.want, "up=") })
			if err != nil || strings.Join(got, ", ") != c.want {
				t.Errorf("%v %v, want %q", got, err, c.want)
			}
		})
	}
}

// routeMessage is a message about a route of the main table to all destinations, which a
// case may spoil.
func routeMessage(spoil func(head []byte), attributes ...netlink.Attribute) netlink.Message {
	head := make([]byte, unix.SizeofRtMsg)
	head[0], head[4], head[7] = unix.AF_INET6, unix.RT_TABLE_MAIN, unix.RTN_UNICAST
	if spoil != nil {
		spoil(head)
	}
	return message(unix.RTM_NEWROUTE, head, attributes...)
}

// word is an attribute of 32 bits.
func word(kind uint16, value uint32) netlink.Attribute {
	return netlink.Attribute{Type: kind, Data: binary.NativeEndian.AppendUint32(nil, value)}
}

func TestReadRoutes(t *testing.T) {
	over := func(index uint32) netlink.Attribute { return word(unix.RTA_OIF, index) }
	metric := func(n uint32) netlink.Attribute { return word(unix.RTA_PRIORITY, n) }
	pref := func(p byte) netlink.Attribute { return netlink.Attribute{Type: unix.RTA_PREF, Data: []byte{p}} }
	gateway := netlink.Attribute{Type: unix.RTA_GATEWAY, Data: netip.MustParseAddr("fe80::1").AsSlice()}
	hops := func(b ...byte) netlink.Attribute { return netlink.Attribute{Type: unix.RTA_MULTIPATH, Data: b} }
	at := func(i int, value byte) func([]byte) { return func(head []byte) { head[i] = value } }
	all := func(m ...netlink.Message) []netlink.Message { return m }
	cases := []struct {
		name   string
		routes []netlink.Message
		want   string
	}{
		{"a tunnel", all(routeMessage(nil, over(1))), "default ipv6 eth0 eth0"},
		{"a gateway", all(routeMessage(nil, over(1), gateway)), "default ipv6 eth0 fe80::1%eth0"},
		{"the lower metric is later", all(routeMessage(nil, over(1), metric(9)), routeMessage(nil, over(2), metric(8))), "default ipv6 eth1 eth1"},
		{"the lower metric is first", all(routeMessage(nil, over(1), metric(8)), routeMessage(nil, over(2), metric(9))), "default ipv6 eth0 eth0"},
		{"equals", all(routeMessage(nil, over(1), metric(8)), routeMessage(nil, over(2), metric(8))), "default ipv6 eth0 eth0"},
		{"preferred", all(routeMessage(nil, over(1), metric(8), pref(0)), routeMessage(nil, over(2), metric(8), pref(1))), "default ipv6 eth1 eth1"},
		{"not preferred", all(routeMessage(nil, over(1), metric(8), pref(3)), routeMessage(nil, over(2), metric(8), pref(0))), "default ipv6 eth1 eth1"},
		{"the metric is more than preference", all(routeMessage(nil, over(1), metric(8), pref(3)), routeMessage(nil, over(2), metric(9), pref(1))), "default ipv6 eth0 eth0"},
		{"some destinations", all(routeMessage(at(1, 1), over(1))), ""},
		{"some sources", all(routeMessage(at(2, 64), over(1))), ""},
		{"another table", all(routeMessage(at(4, 7), over(1))), ""},
		{"another table, of a large number", all(routeMessage(nil, over(1), word(unix.RTA_TABLE, 1000))), ""},
		{"one that refuses, and is first", all(routeMessage(at(7, unix.RTN_UNREACHABLE), over(1), metric(1)), routeMessage(nil, over(2), metric(2))), ""},
		{"one that refuses, and is last", all(routeMessage(at(7, unix.RTN_BLACKHOLE), over(1), metric(3)), routeMessage(nil, over(2), metric(2))), "default ipv6 eth1 eth1"},
		{"a dead one", all(routeMessage(func(head []byte) { binary.NativeEndian.PutUint32(head[8:], unix.RTNH_F_DEAD) }, over(1))), ""},
		{"over an interface that is not watched", all(routeMessage(nil, over(1), metric(2)), routeMessage(nil, over(3), metric(1))), ""},
		{"over an unknown interface", all(routeMessage(nil, over(9))), ""},
		{"another family", all(routeMessage(at(0, unix.AF_MPLS), over(1))), ""},
		{"a hop that is too long", all(routeMessage(nil, hops(9, 0, 0, 0, 1, 0, 0, 0))), "error"},
		{"a hop that is too short", all(routeMessage(nil, hops(8, 0, 0))), "error"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			links := all(linkMessage(1, "eth0", 0), linkMessage(2, "eth1", 0), linkMessage(3, "lo", 0))
			is, _, err := readMessages(append(links, c.routes...), func(name string) bool { return name != "lo" })
			got := strings.Join(slices.DeleteFunc(is.text(), func(line string) bool { return !strings.HasPrefix(line, "default") }), ", ")
			if err != nil {
				got = "error"
			}
			if got != c.want {
				t.Errorf("%q, want %q: %v", got, c.want, err)
			}
		})
	}
}

// An address of an interface that came between two questions waits for the next
// look, which the message about the interface brings.
func TestReadUnknownInterface(t *testing.T) {
	is, _, err := readMessages([]netlink.Message{addr("192.0.2.1", 0)}, anything)
	if err != nil || len(is.text()) > 0 {
		t.Errorf("%v %v", is.text(), err)
	}
}

func FuzzReadMessages(f *testing.F) {
	for _, m := range captured(f) {
		f.Add(uint16(m.Header.Type), m.Data)
	}
	rest := captured(f)
	f.Fuzz(func(t *testing.T, kind uint16, data []byte) {
		all := append(slices.Clone(rest), netlink.Message{Header: netlink.Header{Type: netlink.HeaderType(kind)}, Data: data})
		is, _, err := readMessages(all, anything)
		if err != nil {
			return
		}
		for at, addresses := range is.addresses {
			for _, a := range addresses {
				if at.link == "" || !a.IsValid() || a.IsLinkLocalUnicast() {
					t.Errorf("%v has %s", at, a)
				}
			}
		}
		for family, r := range is.routes {
			if r.link == "" || r.String() == "" {
				t.Errorf("%s has the route %+v", family, r)
			}
		}
	})
}

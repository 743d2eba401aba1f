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
			all = append(all, strings.TrimSuffix(fmt.Sprintf("%s %s %s deprecated", at.link, at.family, a),
				map[bool]string{false: " deprecated"}[a.deprecated]))
		}
	}
	return all
}

func TestReadCaptured(t *testing.T) {
	is, err := readMessages(captured(t), anything)
	if err != nil || is.torn {
		t.Fatalf("%v, torn %v", err, is.torn)
	}
	want := []string{
		"eth0 up=true", "p0 up=true", "tun0 up=false",
		"eth0 ipv4 192.168.50.2", "eth0 ipv4 10.8.0.2", "eth0 ipv4 192.168.50.9",
		"eth0 ipv6 2001:db8:1::2", "eth0 ipv6 2001:db8::a", "eth0 ipv6 2001:db8::3 deprecated", "eth0 ipv6 2001:db8::2",
	}
	if diff := cmp.Diff(want, is.text()); diff != "" {
		t.Errorf("wanted (-) and read (+):\n%s", diff)
	}
}

func TestReadWatchedOnly(t *testing.T) {
	is, err := readMessages(captured(t), func(name string) bool { return name == "tun0" })
	if want := []string{"tun0 up=false"}; err != nil || !cmp.Equal(want, is.text()) {
		t.Errorf("%v %v", is.text(), err)
	}
}

// Each message in turn carries the flag.
func TestReadInterrupted(t *testing.T) {
	for i := range captured(t) {
		all := captured(t)
		all[i].Header.Flags |= netlink.DumpInterrupted
		if is, err := readMessages(all, anything); err != nil || !is.torn {
			t.Errorf("message %d is taken for whole: %v", i, err)
		}
	}
}

// A message that is cut off anywhere but between two attributes is an error, and
// never an address or a route that is not there.
func TestReadCutOff(t *testing.T) {
	all := captured(t)
	right, _ := readMessages(all, anything)
	truth := right.text()
	for i, whole := range slices.Clone(all) {
		for n := range min(len(whole.Data), 80) { // After that, links have only what does not count
			all[i].Data = whole.Data[:n]
			is, err := readMessages(all, anything)
			if whole.Header.Type == unix.RTM_NEWROUTE { // Which is an answer of its own
				_, err = right.way(all[i])
			}
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
		{"a family of its own", message(unix.RTM_NEWADDR, []byte{unix.AF_CAN, 0, 0, 0, 1, 0, 0, 0},
			netlink.Attribute{Type: unix.IFA_ADDRESS, Data: []byte{1, 2, 3, 4}}), ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			all := []netlink.Message{linkMessage(1, "eth0", 0), c.m}
			is, err := readMessages(all, func(name string) bool { return name == "eth0" })
			got := slices.DeleteFunc(is.text(), func(line string) bool {
				return line == "eth0 up=false" &&
					!strings.Contains(c.want, "up=")
			})
			if err != nil || strings.Join(got, ", ") != c.want {
				t.Errorf("%v %v, want %q", got, err, c.want)
			}
		})
	}
}

// word is an attribute of 32 bits.
func word(kind uint16, value uint32) netlink.Attribute {
	return netlink.Attribute{Type: kind, Data: binary.NativeEndian.AppendUint32(nil, value)}
}

// raw is an attribute with an address.
func raw(kind uint16, a string) netlink.Attribute {
	return netlink.Attribute{Type: kind, Data: netip.MustParseAddr(a).AsSlice()}
}

func TestReadWay(t *testing.T) {
	over, gateway := word(unix.RTA_OIF, 1), raw(unix.RTA_GATEWAY, "fe80::1")
	via := netlink.Attribute{Type: unix.RTA_VIA, Data: append([]byte{unix.AF_INET6, 0},
		netip.MustParseAddr("fe80::7").AsSlice()...)}
	cases := []struct {
		name       string
		kind       byte
		attributes []netlink.Attribute
		want       string
	}{
		{
			"a gateway", unix.RTN_UNICAST,
			[]netlink.Attribute{over, gateway, raw(unix.RTA_PREFSRC, "2001:db8::1")},
			"eth0 fe80::1 2001:db8::1",
		},
		{"a tunnel", unix.RTN_UNICAST, []netlink.Attribute{over, raw(unix.RTA_PREFSRC, "10.8.0.2")}, "eth0 - 10.8.0.2"},
		{"without an address", unix.RTN_UNICAST, []netlink.Attribute{over}, "eth0 - -"},
		{
			"a gateway of the other family", unix.RTN_UNICAST,
			[]netlink.Attribute{over, via, raw(unix.RTA_PREFSRC, "192.0.2.1")},
			"eth0 fe80::7 192.0.2.1",
		},
		{"from a temporary address", unix.RTN_UNICAST, []netlink.Attribute{
			over, gateway,
			raw(unix.RTA_PREFSRC, "2001:db8::7"),
		}, "eth0 fe80::1 2001:db8::/64"},
		{
			"from a link-local address", unix.RTN_UNICAST,
			[]netlink.Attribute{over, gateway, raw(unix.RTA_PREFSRC, "fe80::2")},
			"",
		},
		{"to this machine", unix.RTN_LOCAL, []netlink.Attribute{over, raw(unix.RTA_PREFSRC, "192.0.2.1")}, ""},
		{"refused", unix.RTN_UNREACHABLE, []netlink.Attribute{over}, ""},
		{"over an unknown interface", unix.RTN_UNICAST, []netlink.Attribute{word(unix.RTA_OIF, 9), gateway}, ""},
	}
	r, err := readMessages([]netlink.Message{linkMessage(1, "eth0", 0), addr("2001:db8::7", unix.IFA_F_TEMPORARY)},
		anything)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			head := make([]byte, unix.SizeofRtMsg)
			head[7] = c.kind
			w, err := r.way(message(unix.RTM_NEWROUTE, head, c.attributes...))
			if err != nil || w.String() != c.want {
				t.Errorf("%q %v, want %q", w, err, c.want)
			}
		})
	}
	if w, err := r.way(message(unix.RTM_NEWROUTE, make([]byte, unix.SizeofRtMsg))); err != nil || w.String() != "" {
		t.Errorf("of an answer without attributes it is %q, %v", w, err)
	}
	without := message(unix.RTM_NEWLINK, make([]byte, unix.SizeofIfInfomsg))
	if _, err := readMessages([]netlink.Message{without}, anything); err != nil {
		t.Errorf("of a link without attributes: %v", err)
	}
	if _, err := r.way(netlink.Message{
		Header: netlink.Header{Type: unix.RTM_NEWROUTE},
		Data:   make([]byte, unix.SizeofRtMsg-1),
	}); err == nil {
		t.Error("a message that is too short is taken")
	}
}

// Each family is asked for on its own, in the order of who is asked, and anyone where
// no address is known; over an interface that is kept to even then.
func TestDestinations(t *testing.T) {
	server := netip.MustParseAddr("203.0.113.53")
	to := func(family netwatch.Family, over string, address netip.Addr) Asked {
		return Asked{Family: family, Interface: over, Address: address}
	}
	for _, c := range []struct {
		name        string
		asked, want []Asked
	}{
		{"nobody", nil, []Asked{to(netwatch.IPv4, "", anyone[netwatch.IPv4]), to(netwatch.IPv6, "", anyone[netwatch.IPv6])}},
		{
			"a server",
			[]Asked{to(netwatch.IPv4, "", server)},
			[]Asked{to(netwatch.IPv4, "", server), to(netwatch.IPv6, "", anyone[netwatch.IPv6])},
		},
		{"not known yet", []Asked{to(netwatch.IPv6, "tun0", netip.Addr{}), to(netwatch.IPv4, "eth0", netip.Addr{})}, []Asked{
			to(netwatch.IPv4, "eth0", anyone[netwatch.IPv4]), to(netwatch.IPv6, "tun0", anyone[netwatch.IPv6]),
		}},
	} {
		if diff := cmp.Diff(c.want, destinations(c.asked, netwatch.Families...),
			cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
}

// An address of an interface that came between two questions waits for the next
// look, which the message about the interface brings.
func TestReadUnknownInterface(t *testing.T) {
	is, err := readMessages([]netlink.Message{addr("192.0.2.1", 0)}, anything)
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
		is, err := readMessages(all, anything)
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
		if w, err := is.way(all[len(all)-1]); err == nil && w != (wayOut{}) && (w.link == "" || w.String() == "") {
			t.Errorf("it has the way %+v", w)
		}
	})
}

package netwatch

import (
	"net/netip"
	"testing"
)

func TestOwnAddress(t *testing.T) {
	own := netip.MustParseAddr("127.0.0.1")
	if got := OwnAddress(IPv4, own); got != own {
		t.Errorf("without NAT the own address is the public one, not %s", got)
	}
	foreign := netip.MustParseAddr("198.51.100.7")
	if got := OwnAddress(IPv4, foreign); got == foreign || got.IsValid() && !IsOwn(got) {
		t.Errorf("%s is none of ours", got)
	}
	if got := OwnAddress(IPv6, netip.Addr{}); got.IsValid() && (!got.Is6() || !IsOwn(got)) {
		t.Errorf("%s is no IPv6 address of ours", got)
	}
}

func TestLasting(t *testing.T) {
	const table = `00000000000000000000000000000001 01 80 10 80       lo
20010db8000000020000000000000010 02 40 00 00     eth0
20010db8000000010000000000000020 03 40 00 00     eth1
20010db8000000010000000000000030 02 40 00 20     eth0
20010db8000000010000000000000040 02 40 00 41     eth0
20010db8000000010000000000000050 02 40 00 01     eth0
20010db8000000010000000000000060 02 40 00 80     eth0
fe800000000000000000000000000060 02 40 20 80     eth0
not a line
`
	for in, want := range map[string]string{
		"2001:db8:0:1::50": "2001:db8:0:1::60", // not another network, interface, nor a deprecated or tentative one
		"2001:db8:0:1::60": "2001:db8:0:1::60",
		"2001:db8:0:1::20": "2001:db8:0:1::20",
		"2001:db8:0:9::1":  "2001:db8:0:9::1",
	} {
		if got := lasting(table, netip.MustParseAddr(in)); got.String() != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
	const alone = "20010db8000000010000000000000050 02 40 00 01     eth0\n"
	if got := lasting(alone, netip.MustParseAddr("2001:db8:0:1::50")); got.String() != "2001:db8:0:1::50" {
		t.Errorf("got %s where there is no other", got)
	}
}

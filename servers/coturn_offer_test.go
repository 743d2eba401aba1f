package servers

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"netwatch"
)

func TestCoturnOffer(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	for name, c := range map[string]struct {
		conf string
		want Offer
	}{
		"defaults": {"# x\n", Offer{Port: 3478, Credentials: []*Credential{nil}}},
		"its quirks": {
			"\tlistening-port \"5000\"\r\n#listening-port=1\nlistening-ip == 192.0.2.1\nlistening-ip=::1",
			Offer{
				Port: 5000, Listening: []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.IPv6Loopback()},
				Credentials: []*Credential{nil},
			},
		},
		"last port": {"listening-port=1\nlistening-port=2\n", Offer{Port: 2, Credentials: []*Credential{nil}}},
		"users": {
			"lt-cred-mech\nuser=wrong\nuser=:x\nuser=a:b:c\nuser=d:e\n",
			Offer{Port: 3478, Credentials: []*Credential{{Name: "a", Password: "b:c"}}},
		},
		"a key": {"user=a:0x0a0B\n", Offer{
			Port:        3478,
			Credentials: []*Credential{{Name: "a", Password: "0x0a0B", Key: []byte{10, 11}}},
		}},
		"no key": {"user=a:0xno\n", Offer{Port: 3478, Credentials: []*Credential{nil}}},
		"a secret first": {
			"user=a:b\nstatic-auth-secret=s\n",
			Offer{Port: 3478, Credentials: []*Credential{{Name: "1800000060", Password: "43YmlAR1VZxiEkVl8sq0zlkRoko="}}},
		},
	} {
		got, err := coturnOffer([]byte(c.conf), now)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(&c.want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	for _, conf := range []string{"listening-port=x\n", "listening-port=0\n", "listening-port=70000\n"} {
		if _, err := coturnOffer([]byte(conf), now); err == nil {
			t.Errorf("%q is read", conf)
		}
	}
}

func TestOfferAt(t *testing.T) {
	for _, c := range []struct{ listening, family, own, want string }{
		{"", "ipv4", "192.0.2.1", "192.0.2.1:3478"},
		{"", "ipv6", "", ""},
		{"192.0.2.9", "ipv4", "192.0.2.1", "192.0.2.9:3478"},
		{"127.0.0.1 192.0.2.9", "ipv4", "", "192.0.2.9:3478"},
		{"192.0.2.9 192.0.2.1", "ipv4", "192.0.2.1", "192.0.2.1:3478"},
		{"192.0.2.9 2001:db8::9", "ipv6", "", "[2001:db8::9]:3478"},
		{"192.0.2.9", "ipv6", "2001:db8::1", "192.0.2.9:3478"},
		{"127.0.0.1", "ipv4", "192.0.2.1", "127.0.0.1:3478"},
	} {
		turn := &Offer{Port: 3478}
		for _, text := range strings.Fields(c.listening) {
			turn.Listening = append(turn.Listening, netip.MustParseAddr(text))
		}
		own, _ := netip.ParseAddr(c.own)
		if got, err := turn.At(netwatch.Family(c.family), own); err == nil && got.String() != c.want ||
			err != nil && c.want != "" {
			t.Errorf("%+v: %v, %v", c, got, err)
		}
	}
}

package servers

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"netwatch"
)

// plain are the listeners of a file that says nothing but the port.
func plain(port uint16) []Listener {
	return []Listener{{Over: UDP, Port: port}, {Over: TCP, Port: port}}
}

// What coturn opens with a file, as seen of 4.6.1 and 4.18 (ss -lntu).
func TestListeners(t *testing.T) {
	const pair = "cert=/c\npkey=/k\n"
	for conf, want := range map[string]string{
		"x\n":                   "udp 3478, tcp 3478",
		"no-udp\n":              "tcp 3478",
		"no-udp=0\n":            "udp 3478, tcp 3478",
		"no-udp=1 # for now\n":  "tcp 3478",
		"no-udp=yes\n":          "tcp 3478",
		"no-udp=On\n":           "tcp 3478",
		"no-udp=OFF\n":          "udp 3478, tcp 3478",
		"no-udp=no\n":           "udp 3478, tcp 3478",
		"no-udp=false\n":        "udp 3478, tcp 3478",
		"no-udp=\n":             "tcp 3478",
		"no-udp\nno-udp=0\n":    "udp 3478, tcp 3478",
		"no-udp\nno-tcp\n":      "",
		"#no-udp\n no-tcp \n":   "udp 3478",
		pair:                    "udp 3478, tcp 3478, tls 5349",
		"cert=/c\n":             "udp 3478, tcp 3478",
		"pkey=/k\ncert=\n":      "udp 3478, tcp 3478",
		pair + "no-tls\n":       "udp 3478, tcp 3478",
		pair + "no-dtls\n":      "udp 3478, tcp 3478, tls 5349",
		pair + "no-udp\nno-tcp": "tls 5349",
		pair + "no-udp\nno-tcp\ntls-listening-port=5350\nalt-tls-listening-port=5351\n": "tls 5350",
		"listening-port=3480 # behind the router\nalt-listening-port=3481\n":            "udp 3480, tcp 3480",
		"listening-port=3478,3479\n": "udp 3478, tcp 3478",
	} {
		offer, err := coturnOffer([]byte(conf), time.Now())
		if err != nil {
			t.Errorf("%q: %v", conf, err)
			continue
		}
		var all []string
		for _, l := range offer.Listeners {
			all = append(all, fmt.Sprintf("%s %d", l.Over, l.Port))
		}
		if got := strings.Join(all, ", "); got != want {
			t.Errorf("%q: %s, want %s", conf, got, want)
		}
	}
}

func TestCoturnOffer(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	for name, c := range map[string]struct {
		conf string
		want Offer
	}{
		"defaults": {"# x\n", Offer{Listeners: plain(3478), Credentials: []*Credential{nil}}},
		"its quirks": {
			"\tlistening-port \"5000\"\r\n#listening-port=1\nlistening-ip == 192.0.2.1\nlistening-ip=::1",
			Offer{
				Listeners: plain(5000), Listening: []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.IPv6Loopback()},
				Credentials: []*Credential{nil},
			},
		},
		"last port": {
			"listening-port=1\nlistening-port=2\n",
			Offer{Listeners: plain(2), Credentials: []*Credential{nil}},
		},
		"users": {
			"lt-cred-mech\nuser=wrong\nuser=:x\nuser=a:b:c\nuser=d:e\n",
			Offer{Listeners: plain(3478), Credentials: []*Credential{{Name: "a", Password: "b:c"}}},
		},
		"a key": {"user=a:0x0a0B\n", Offer{
			Listeners:   plain(3478),
			Credentials: []*Credential{{Name: "a", Password: "0x0a0B", Key: []byte{10, 11}}},
		}},
		"no key": {"user=a:0xno\n", Offer{Listeners: plain(3478), Credentials: []*Credential{nil}}},
		"a secret first": {"user=a:b\nstatic-auth-secret=s\n", Offer{
			Listeners: plain(3478), Secret: "s",
			Credentials: []*Credential{{Name: "1800000060", Password: "43YmlAR1VZxiEkVl8sq0zlkRoko="}},
		}},
	} {
		got, err := coturnOffer([]byte(c.conf), now)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		c.want.Span = "49152-65535"
		if diff := cmp.Diff(&c.want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	got, err := coturnOffer([]byte("min-port=50000\nmax-port=50040 # few\nmax-port=49193\n"), now)
	if err != nil || got.Span != "50000-49193" {
		t.Errorf("it relays from %+v, %v", got, err)
	}
	for _, conf := range []string{
		"listening-port=x\n", "listening-port=0\n", "listening-port=70000\n", "no-udp # why\n",
		"no-tcp=oFF\n", "tls-listening-port= # none\n",
	} {
		if _, err := coturnOffer([]byte(conf), now); err == nil {
			t.Errorf("%q is read", conf)
		}
	}
}

func TestOfferAt(t *testing.T) {
	for _, c := range []struct{ listening, own, want string }{
		{"", "192.0.2.1", "192.0.2.1"},
		{"", "", ""},
		{"", "fe80::1", ""},
		{"fe80::1", "192.0.2.1", ""},
		{"fe80::1 192.0.2.9", "fe80::2", "192.0.2.9"},
		{"192.0.2.9", "192.0.2.1", "192.0.2.9"},
		{"127.0.0.1 192.0.2.9", "", "192.0.2.9"},
		{"192.0.2.9 192.0.2.1", "192.0.2.1", "192.0.2.1"},
		{"192.0.2.9 2001:db8::9", "2001:db8::1", "2001:db8::9"},
		{"192.0.2.9", "2001:db8::1", "192.0.2.9"},
		{"127.0.0.1", "192.0.2.1", "127.0.0.1"},
		{"0.0.0.0", "192.0.2.1", "192.0.2.1"},
		{"0.0.0.0", "", ""},
		{"0.0.0.0 192.0.2.9", "192.0.2.1", "192.0.2.1"},
		{"::", "fe80::1", ""},
	} {
		own, _ := netip.ParseAddr(c.own)
		got, err := listens(c.listening, "").At(own)
		if err == nil && got.String() != c.want || err != nil && c.want != "" {
			t.Errorf("%+v: %v, %v", c, got, err)
		}
	}
}

// listens is an offer with these addresses.
func listens(listening, relays string) (turn Offer) {
	for _, text := range strings.Fields(listening) {
		turn.Listening = append(turn.Listening, netip.MustParseAddr(text))
	}
	for _, text := range strings.Fields(relays) {
		turn.Relays = append(turn.Relays, netip.MustParseAddr(text))
	}
	return turn
}

// IPv6 is asked for only where the file names such an address and nothing else.
func TestOfferLends(t *testing.T) {
	for _, c := range []struct{ listening, relays, four, six string }{
		{"", "", "", ""},
		{"192.0.2.1 2001:db8::1 127.0.0.1 ::1", "", "192.0.2.1", "2001:db8::1"},
		{"192.0.2.1 2001:db8::1", "192.0.2.2 192.0.2.2 192.0.2.3", "192.0.2.2 192.0.2.3", ""},
		{"0.0.0.0", "", "", ""},
		{"0.0.0.0", "2001:db8::1", "", "2001:db8::1"},
		{"0.0.0.0 2001:db8::1", "", "", ""},
		{"192.0.2.1", "2001:db8::1 0.0.0.0", "", ""},
		{"::", "", "", ""},
		{"192.0.2.1", "2001:db8::1 fe80::1 2001:db8::2", "", "2001:db8::1 2001:db8::2"},
		{"192.0.2.1", "::", "", ""},
	} {
		offer := listens(c.listening, c.relays)
		for family, want := range map[netwatch.Family]string{netwatch.IPv4: c.four, netwatch.IPv6: c.six} {
			if got := strings.Trim(fmt.Sprint(offer.Lends(family)), "[]"); got != want {
				t.Errorf("%+v %s: %s", c, family, got)
			}
		}
	}
}

// What callers are lent who name no family and come over IPv4 and over IPv6, as seen of
// 4.6.1 and 4.18.
func TestUnnamed(t *testing.T) {
	for conf, want := range map[string]string{
		"x\n":                                    "ipv4 ipv4",
		"allocation-default-address-family=keep": "ipv4 ipv6",
		"allocation-default-address-family=\"keep\"": "ipv4 ipv6",
		"allocation-default-address-family=KEEP":     "ipv4 ipv4",
		"allocation-default-address-family=ipv6":     "ipv6 ipv6",
		"allocation-default-address-family=ipv6 #":   "ipv4 ipv4",
		"keep-address-family":                        "ipv4 ipv6",
		"keep-address-family=0":                      "ipv4 ipv4",
		// Of several the last counts.
		"allocation-default-address-family=keep\nallocation-default-address-family=ipv4": "ipv4 ipv4",
	} {
		offer, err := coturnOffer([]byte(conf), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(offer.Unnamed(netwatch.IPv4), " ", offer.Unnamed(netwatch.IPv6)); got != want {
			t.Errorf("%q: %s, want %s", conf, got, want)
		}
	}
}

// A plain line is for callers of both families, and a pair for those of its own.
func TestPromised(t *testing.T) {
	for conf, want := range map[string]string{
		"x\n":                                 "[]",
		"external-ip=203.0.113.5":             "[ipv4 ipv6]",
		"external-ip=2001:db8::5":             "[ipv4 ipv6]",
		"external-ip=":                        "[ipv4 ipv6]",
		"external-ip=garbage.invalid":         "[]",
		"external-ip=203.0.113.5/192.0.2.1":   "[ipv4]",
		"external-ip=2001:db8::5/2001:db8::1": "[ipv6]",
		"external-ip=2001:db8::5/2001:db8::1\nexternal-ip=203.0.113.5/192.0.2.1": "[ipv4 ipv6]",
		"external-ip=2001:db8::5/2001:db8::1\nexternal-ip=203.0.113.5":           "[ipv4 ipv6]",
		"external-ip=/192.0.2.1": "[]",
	} {
		if got := fmt.Sprint(promised([]byte(conf))); got != want {
			t.Errorf("%q: %s, want %s", conf, got, want)
		}
	}
}

package servers

import (
	"strings"
	"testing"
)

// What is not certain, or was not asked for, stays as it is; each case is one that
// somebody had.
func TestLeastChange(t *testing.T) {
	const here6 = "192.168.50.10 2001:db8::7" // The public IPv6 address is this machine's
	for name, c := range map[string]struct {
		in, public, own string
		options         Options
		out, word       string
	}{
		"a family beside a plain line is not added": {
			"external-ip=203.0.113.5\n", six, own46,
			Options{"families": "ipv4,ipv6"},
			"external-ip=198.51.100.7\n", "private=auto",
		},
		"a family beside a pair is": {
			"external-ip=203.0.113.5/192.168.50.10\n", six, own46,
			Options{"families": "ipv4,ipv6"},
			"external-ip=198.51.100.7/192.168.50.10\nexternal-ip=2001:db8::7/fd50::10\n", "",
		},
		"a family beside a pair, and no address of ours is certain": {
			"external-ip=203.0.113.5/192.168.50.10\n", six, own4,
			Options{"families": "ipv4,ipv6"},
			"external-ip=198.51.100.7/192.168.50.10\n", "2001:db8::7 is not added: which address of this machine",
		},
		"a family beside a pair with something hidden": {
			"external-ip=203.0.113.5/192.168.50.10\x00 x\n", six, own46,
			Options{"families": "ipv4,ipv6"},
			"external-ip=198.51.100.7/192.168.50.10\x00 x\nexternal-ip=2001:db8::7/fd50::10\n", "",
		},
		"auto, no address of ours is certain": {
			"relay-ip=192.168.99.99\nexternal-ip=203.0.113.5/192.168.99.99\n", four, "",
			Options{"private": "auto"},
			"relay-ip=192.168.99.99\nexternal-ip=198.51.100.7/192.168.99.99\n",
			"which address of this machine coturn relays ipv4 from is not certain",
		},
		"IPv6 of callers, and no address of ours is certain": {
			"realm=r\n", six, "2001:db8::7",
			nil, "realm=r\n", "198.51.100.7 is not added: a plain line takes IPv6 from callers, and which address",
		},
		"IPv6 of callers, and a pair would open what is closed up to it": {
			"denied-peer-ip=192.168.50.1-192.168.50.10\n", six, here6,
			nil, "denied-peer-ip=192.168.50.1-192.168.50.10\n", "which denied-peer-ip closes",
		},
		"IPv6 of callers, and a pair would open what is closed from it on": {
			"denied-peer-ip=192.168.50.10-192.168.50.99\n", six, here6,
			nil, "denied-peer-ip=192.168.50.10-192.168.50.99\n", "which denied-peer-ip closes",
		},
		"two families as pairs": {
			"external-ip=203.0.113.5\nexternal-ip=2001:db8::5\n", six, own46,
			Options{"private": "auto", "families": "ipv4,ipv6"},
			"external-ip=198.51.100.7/192.168.50.10\nexternal-ip=2001:db8::7/fd50::10\n", "",
		},
		"two families as pairs, IPv6 is this machine's own": { // They kept their form, and callers got IPv4's for both
			"external-ip=203.0.113.5\nexternal-ip=2001:db8::5\n", six, "192.168.50.10 2001:db8::7",
			Options{"private": "auto", "families": "ipv4,ipv6"},
			"external-ip=198.51.100.7/192.168.50.10\nexternal-ip=2001:db8::7/2001:db8::7\n", "",
		},
		"auto, this machine's own alone": {
			"external-ip=203.0.113.5\n", four, four,
			Options{"private": "auto"},
			"external-ip=198.51.100.7\n", "keep their form",
		},
		"auto, IPv6 is gone": { // The new IPv4 was not written until it was back
			"external-ip=203.0.113.5/192.168.50.10\nexternal-ip=2001:db8::5/fd50::10\n", four, own4,
			Options{"private": "auto", "families": "ipv4,ipv6"},
			"external-ip=198.51.100.7/192.168.50.10\nexternal-ip=2001:db8::5/fd50::10\n", "",
		},
		"auto, IPv6 is gone and stood plain": { // A pair would lose to it
			"external-ip=203.0.113.5\nexternal-ip=2001:db8::5\n", four, own4,
			Options{"private": "auto", "families": "ipv4,ipv6"},
			"external-ip=198.51.100.7\nexternal-ip=2001:db8::5\n", "keep their form",
		},
		"auto, the address of a VPN is not that by which we asked": { // eth0 was asked by, tun0 has the route
			"external-ip=203.0.113.5/192.168.50.10\n", four, "10.8.0.2 192.168.50.10",
			Options{"private": "auto"},
			"external-ip=198.51.100.7/192.168.50.10\n", "",
		},
		"auto, relay-ip is gone": {
			"relay-ip=192.168.50.9\nexternal-ip=203.0.113.5/192.168.50.9\n", four, own4,
			Options{"private": "auto"},
			"relay-ip=192.168.50.9\nexternal-ip=198.51.100.7/192.168.50.10\n", "",
		},
		"keep, a private part that is gone": { // netwatch wrote it itself, and kept it for ever
			"external-ip=203.0.113.5/192.168.50.9\n", four, own4,
			Options{"private": "keep"},
			"external-ip=198.51.100.7/192.168.50.10\n", "",
		},
		"keep, a container's, named by the file": {
			"listening-ip=172.18.0.2\nexternal-ip=203.0.113.5/172.18.0.2\n", four, own4,
			Options{"private": "keep"},
			"listening-ip=172.18.0.2\nexternal-ip=198.51.100.7/172.18.0.2\n", "",
		},
		"keep, by which address is not known": {
			"external-ip=203.0.113.5/192.168.50.9\n", four, "",
			Options{"private": "keep"},
			"external-ip=203.0.113.5/192.168.50.9\n", "192.168.50.9 is no address of this machine",
		},
		"a stale pair beside a plain line": { // It was revived
			"external-ip=203.0.113.5\nexternal-ip=203.0.113.9/10.0.0.1\n", four, own4,
			Options{"private": "keep"},
			"external-ip=198.51.100.7\nexternal-ip=203.0.113.9/10.0.0.1\n", "",
		},
		"two public addresses": { // Both got the one that is known
			"external-ip=203.0.113.5/10.0.0.1\nexternal-ip=203.0.113.6/10.0.0.2\n", four, "10.0.0.2 10.0.0.1",
			Options{"private": "keep"},
			"external-ip=198.51.100.7/10.0.0.1\nexternal-ip=203.0.113.6/10.0.0.2\n", "",
		},
		"two public addresses, neither ours for certain": {
			"external-ip=203.0.113.5/10.0.0.1\nexternal-ip=203.0.113.6/10.0.0.2\n", four, own4,
			Options{"private": "keep"},
			"external-ip=203.0.113.5/10.0.0.1\nexternal-ip=203.0.113.6/10.0.0.2\n", "2 public addresses",
		},
		"the public address is this machine's own": {
			"realm=r\n", four, four, Options{"private": "keep"}, "realm=r\n", "",
		},
		"a plain line where nobody has IPv6": {
			"realm=r\n", six, own46, Options{"private": "keep"}, "realm=r\nexternal-ip=198.51.100.7\n", "",
		},
		"a plain line would take IPv6": { // Of those who got it by its name
			"realm=r\ndenied-peer-ip=0.0.0.0-0.255.255.255\ndenied-peer-ip=10.0.0.1\ndenied-peer-ip=::-fe80::\n", six,
			here6,
			Options{"private": "keep"},
			"realm=r\ndenied-peer-ip=0.0.0.0-0.255.255.255\ndenied-peer-ip=10.0.0.1\ndenied-peer-ip=::-fe80::\n" +
				"external-ip=198.51.100.7/192.168.50.10\n", "",
		},
		"IPv6 is here and not known yet": {
			"realm=r\n", four, here6,
			Options{"private": "keep"},
			"realm=r\nexternal-ip=198.51.100.7/192.168.50.10\n", "",
		},
		"a pair would open what is closed": {
			"denied-peer-ip=192.168.0.0 - 192.168.255.255\n", six, here6,
			Options{"private": "keep"},
			"denied-peer-ip=192.168.0.0 - 192.168.255.255\n", "a pair opens 192.168.50.10",
		},
		"what is closed is not understood": {
			"denied-peer-ip=home\n", six, here6, Options{"private": "keep"}, "denied-peer-ip=home\n", "a pair opens",
		},
		"a pair is asked for": {
			"denied-peer-ip=192.168.50.10\n", six, here6,
			Options{"private": "auto"},
			"denied-peer-ip=192.168.50.10\nexternal-ip=198.51.100.7/192.168.50.10\n", "",
		},
		"464XLAT": { // Nobody comes in by it
			"realm=r\n", six, "192.0.0.2 2001:db8::7", Options{"private": "keep"}, "realm=r\n", "464XLAT",
		},
		"IPv6 alone": {"realm=r\n", "2001:db8::7", "2001:db8::7", Options{"private": "keep"}, "realm=r\n", ""},
		"an empty line of a template beside the other family": {
			"external-ip=\nexternal-ip=2001:db8::5\n", six, own46,
			Options{"private": "keep"},
			"external-ip=198.51.100.7\nexternal-ip=2001:db8::7\n", "",
		},
		"an empty line beside a pair": {
			"external-ip=203.0.113.5/192.168.50.10\nexternal-ip=\n", six, own46,
			Options{"private": "keep"},
			"external-ip=198.51.100.7/192.168.50.10\n", "",
		},
		"one family of two": {
			"external-ip=203.0.113.5/192.168.50.10\nexternal-ip=2001:db8::5/fd50::10\n", six, own46,
			Options{"families": "ipv6"},
			"external-ip=203.0.113.5/192.168.50.10\nexternal-ip=2001:db8::7/fd50::10\n", "",
		},
	} {
		w := wanted(c.public, c.own, PrivateKeep)
		w.Options = c.options
		got, word, err := rewriteCoturn([]byte(c.in), w)
		if err != nil || string(got) != c.out || !strings.Contains(word, c.word) || (word == "") != (c.word == "") {
			t.Errorf("%s: %v\n%s%q, want\n%s%q", name, err, got, word, c.out, c.word)
		}
		checkRewrite(t, []byte(c.in), w)
	}
}

func TestFamilies(t *testing.T) {
	for text, want := range map[string]Families{
		"ipv4": {IPv4: true}, "ipv6": {IPv6: true}, "ipv4,ipv6": {true, true}, "ipv6,ipv4": {true, true},
	} {
		var f Families
		if err := f.UnmarshalText([]byte(text)); err != nil || f != want {
			t.Errorf("%s is %+v, %v", text, f, err)
		}
		again, err := f.MarshalText()
		if err != nil || text != "ipv6,ipv4" && string(again) != text {
			t.Errorf("%s is written %s, %v", text, again, err)
		}
	}
	for _, text := range []string{"", "ipv5", "ipv4,", "ipv4,ipv4", "ipv4 ipv6"} {
		if new(Families).UnmarshalText([]byte(text)) == nil {
			t.Errorf("%q is taken", text)
		}
	}
	_, err := ParseTarget([]string{"coturn", "/f", "families=ipv4", "private=auto"})
	if err != nil {
		t.Error(err)
	}
}

package servers

import (
	"strings"
	"testing"
)

// A pair with an address that this machine has not stays one where a container may have that
// address, and gets the public one; where coturn is known to be here, it is of before.
func TestCoturnElsewhere(t *testing.T) {
	const pair = "external-ip=203.0.113.5/172.18.0.2\n"
	for _, c := range []struct {
		name, in, own, out, word string
		elsewhere                bool
	}{
		{"a pair, in a container", pair, own4, "external-ip=198.51.100.7/172.18.0.2\n", "172.18.0.2 is no address of", true},
		{"a pair, here", pair, own4, "external-ip=198.51.100.7/192.168.50.10\n", "", false},
		{
			"a pair that the file names", "relay-ip=172.18.0.2\n" + pair, own4,
			"relay-ip=172.18.0.2\nexternal-ip=198.51.100.7/172.18.0.2\n", "", true,
		},
		{
			"a pair of this machine's", "external-ip=203.0.113.5/192.168.50.10\n", own4,
			"external-ip=198.51.100.7/192.168.50.10\n", "", true,
		},
		{"none, in a container", "realm=r\n", own4, "realm=r\nexternal-ip=198.51.100.7\n", "", true},
		{"none, and IPv6 here", "realm=r\n", "192.168.50.10 2001:db8::7", "realm=r\n", "is not added: a plain line", true},
	} {
		w := wanted(four, c.own, PrivateKeep)
		w.Elsewhere = c.elsewhere
		got, word, err := rewriteCoturn([]byte(c.in), w)
		if err != nil || string(got) != c.out || !strings.Contains(word, c.word) || (word == "") != (c.word == "") {
			t.Errorf("%s: %v\n%s%q, want\n%s%q", c.name, err, got, word, c.out, c.word)
		}
	}
}

// A form that private=auto would change is not that of one pair.
func TestOnlyPair(t *testing.T) {
	const pair = "external-ip=203.0.113.5/192.168.50.10\n"
	for conf, want := range map[string]bool{
		pair: true, pair + "external-ip=2001:db8::5/fd50::10\n": true,
		pair + "external-ip=203.0.113.6/192.168.50.11\n": false,
		"external-ip=203.0.113.5\n":                      false,
		pair + "external-ip=203.0.113.5\n":               false, "realm=r\n": false,
		pair + "external-ip=\n": false,
	} {
		if OnlyPair([]byte(conf)) != want {
			t.Errorf("%q is not %v", conf, want)
		}
	}
}

// Where coturn is has to be found out only where something depends on it.
func TestCoturnPlaced(t *testing.T) {
	here := wanted(four, own4, PrivateKeep).Here
	for conf, want := range map[string]bool{
		"external-ip=203.0.113.5\n": false, "external-ip=203.0.113.5/192.168.50.10\n": false, "realm=r\n": true,
		"external-ip=203.0.113.5/172.18.0.2\n": true, "relay-ip=172.18.0.2\nexternal-ip=203.0.113.5/172.18.0.2\n": false,
		strings.Repeat("external-ip=203.0.113.5/172.18.0.2\n", 65): false,
	} {
		if got := coturnPlaced([]byte(conf), here); got != want {
			t.Errorf("%.60q: %v", conf, got)
		}
	}
}

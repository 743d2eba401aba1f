package sources

import (
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"netwatch"
)

// environment is a script's environment as KEY=VALUE words.
func environment(words string) func(string) string {
	env := map[string]string{}
	for word := range strings.SplitSeq(words, "|") {
		key, value, _ := strings.Cut(word, "=")
		env[key] = value
	}
	return func(key string) string { return env[key] }
}

// The arguments and environments are those that OpenVPN 2.6.14 was seen to give.
func TestOpenVPNFields(t *testing.T) {
	type fields map[string]string
	cases := map[string]struct {
		args string // Separated by |, because some have blanks in them
		env  string
		want fields
	}{
		"ipchange": {
			"[AF_INET]192.0.2.1 1194", "script_type=ipchange",
			fields{"script": "ipchange", "new": "192.0.2.1"},
		},
		"ipchange of IPv6": {
			"[AF_INET6]fd99::1 1194", "script_type=ipchange",
			fields{"script": "ipchange", "new": "fd99::1"},
		},
		"ipchange's own word": {
			"x|192.0.2.9 1|[AF_INET]192.0.2.1 1194", "script_type=ipchange",
			fields{"script": "ipchange", "new": "192.0.2.1"},
		},
		"ipchange as in the manual": {
			"192.0.2.1|1194", "script_type=ipchange", fields{"script": "ipchange", "new": "192.0.2.1"},
		},
		"ipchange without words": {
			"", "script_type=ipchange|trusted_ip=192.0.2.1",
			fields{"script": "ipchange", "new": "192.0.2.1"},
		},
		"ipchange, mapped": {
			"[AF_INET6]::ffff:192.0.2.1 1194", "script_type=ipchange",
			fields{"script": "ipchange", "new": "192.0.2.1"},
		},
		"ipchange, link-local": {
			"[AF_INET6]fe80::1%eth0 1194", "script_type=ipchange",
			fields{"script": "ipchange", "new": "fe80::1"},
		},
		"up": {
			"tun0|1500|0|10.8.0.2|255.255.255.0|init", "script_type=up|dev=tun0|trusted_ip=192.0.2.1",
			fields{"script": "up", "interface": "tun0", "new": "192.0.2.1"},
		},
		"route-up": {
			"", "script_type=route-up|dev=tun0|trusted_ip6=fd99::1",
			fields{"script": "route-up", "interface": "tun0", "new": "fd99::1"},
		},
		"route-pre-down": {
			"tun0|1500", "script_type=route-pre-down|dev=tun0|trusted_ip=192.0.2.1",
			fields{"script": "route-pre-down", "interface": "tun0", "old": "192.0.2.1"},
		},
		"down": {
			"tun0|1500", "script_type=down|dev=tun0|trusted_ip=192.0.2.1",
			fields{"script": "down", "interface": "tun0", "old": "192.0.2.1"},
		},
		"client-connect": {
			"/tmp/x", "script_type=client-connect|dev=tun0|trusted_ip=192.0.2.1",
			fields{"script": "client-connect", "interface": "tun0", "new": "192.0.2.1"},
		},
		"client-disconnect": {
			"", "script_type=client-disconnect|dev=tun0|trusted_ip=192.0.2.1",
			fields{"script": "client-disconnect", "interface": "tun0", "old": "192.0.2.1"},
		},
		"learn-address": {
			"add|10.8.0.2|client", "script_type=learn-address|dev=tun0|trusted_ip=192.0.2.1",
			fields{"script": "learn-address", "interface": "tun0", "new": "192.0.2.1"},
		},
		"learn-address, delete": {
			"delete|10.8.0.2", "script_type=learn-address|dev=tun0|trusted_ip=192.0.2.1",
			fields{"script": "learn-address", "interface": "tun0", "old": "192.0.2.1"},
		},
		"a script of a later version": {
			"", "script_type=dns-updown|dev=tun0",
			fields{"script": "dns-updown", "interface": "tun0"},
		},
		"nothing":      {"", "", fields{}},
		"not ipchange": {"[AF_INET]192.0.2.1 1194", "script_type=up", fields{"script": "up"}},
		"no address": {
			"[AF_INET][AF_INET]192.0.2 1194",
			"script_type=ipchange|trusted_ip=0.0.0.0|trusted_ip6=x",
			fields{"script": "ipchange"},
		},
		"long": {strings.Repeat("1", 1<<16), "script_type=ipchange" + strings.Repeat("x", 1<<16) +
			"|dev=tun0123456789012", fields{}},
		"unprintable": {"", "script_type=up\n|dev=tun\x1b[2J|trusted_ip=192.0.2.1\n", fields{}},
		"a path":      {"", "dev=../../x", fields{}},
	}
	for name, c := range cases {
		var args []string
		if c.args != "" {
			args = strings.Split(c.args, "|")
		}
		if diff := cmp.Diff(map[string]string(c.want), OpenVPNFields(args, environment(c.env))); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
		kind, _ := netwatch.KnownEvent(newOpenVPN().(*OpenVPN).Fires())
		for field := range c.want {
			if !slices.Contains(kind.Fields, field) {
				t.Errorf("%s: the table of events has no %s for %s", name, field, kind.Name)
			}
		}
	}
}

// Whatever comes, what is handed on is short, printable and what it says it is.
func FuzzOpenVPNFields(f *testing.F) {
	f.Add("ipchange", "tun0", "192.0.2.1", "fd99::1", "[AF_INET]192.0.2.1 1194", "x")
	f.Add("learn-address", "tap0", "", "fe80::1%eth0", "delete", "10.8.0.2")
	f.Add("down\x00", "../\x1b[2J", "::ffff:1.2.3.4 5", "%", "[AF_INET6]", "\xff")
	f.Fuzz(func(t *testing.T, script, dev, ip, ip6, one, two string) {
		env := map[string]string{"script_type": script, "dev": dev, "trusted_ip": ip, "trusted_ip6": ip6}
		fields := OpenVPNFields([]string{one, two}, func(key string) string { return env[key] })
		for key, value := range fields {
			if !mayBeField(key, value, env) {
				t.Errorf("%s is %q", key, value)
			}
		}
		if text, err := json.Marshal(fields); err != nil || len(text) > 235 {
			t.Errorf("%d bytes, %v", len(text), err)
		}
	})
}

// mayBeField says whether a field is one that may be handed on.
func mayBeField(key, value string, env map[string]string) bool {
	switch key {
	case "script":
		return value == env["script_type"] && isName(value, maxScript)
	case "interface":
		return value == env["dev"] && isName(value, maxInterface)
	case "old", "new":
		a, err := netip.ParseAddr(value)
		return err == nil && a.String() == value && a.Zone() == "" && !a.Is4In6()
	}
	return false
}

package doctor

import (
	"context"
	"errors"
	"strings"
	"testing"

	"netwatch"
	"netwatch/control"
)

func TestJudgeRouter(t *testing.T) {
	known, gateway := addr("203.0.113.1"), addr("192.168.1.1")
	for _, test := range []struct {
		name  string
		r     netwatch.Router
		err   error
		level Level
		words string
		hint  string
	}{
		{
			"as it should be",
			netwatch.Router{Address: known, Protocol: "nat-pmp", Healthy: true},
			nil, OK,
			"192.168.1.1 says 203.0.113.1, by nat-pmp", "",
		},
		{
			"silent",
			netwatch.Router{},
			errors.New("no answer in time"), Note, "tells its address neither by NAT-PMP nor by UPnP",
			"switch NAT-PMP",
		},
		{
			"double NAT",
			netwatch.Router{Address: addr("192.168.178.20"), Healthy: true},
			nil, Warning, "double NAT",
			"router before it",
		},
		{
			"CGNAT",
			netwatch.Router{Address: addr("100.70.1.2"), Healthy: true},
			nil, Warning, "CGNAT",
			"public address of its own",
		},
		{
			"DS-Lite",
			netwatch.Router{Address: addr("192.0.0.2"), Healthy: true},
			nil, Warning, "DS-Lite",
			"public address of its own",
		},
		{"its line is down", netwatch.Router{Healthy: true}, nil, Warning, "no address on the internet", "line is up"},
		{
			"a VPN on it",
			netwatch.Router{Address: addr("203.0.113.9"), Healthy: true},
			nil, Warning,
			"the servers see another address", "which way",
		},
	} {
		test.r.Gateway = gateway
		f := judgeRouter(test.r, test.err, known)
		wants(t, test.name, f, test.level, test.words)
		if !strings.Contains(f.Hint, test.hint) {
			t.Errorf("%s: the hint is %q", test.name, f.Hint)
		}
	}
	for healthy, notes := range map[bool]int{true: 1, false: 0} {
		if found := unasked(netwatch.Router{Gateway: gateway, Healthy: healthy}); len(found) != notes {
			t.Errorf("nobody asks it, and healthy is %t: %+v", healthy, found)
		}
	}
	wants(t, "none", judgeRouter(netwatch.Router{}, nil, known), OK, "there is none on the way out")
}

// printed is what nft prints of a chain that drops what comes in.
const printed = `{"nftables": [{"metainfo": {"version": "1.0.6"}}, {"table": {"family": "inet", "name": "fw"}},
{"chain": {"family": "inet", "table": "fw", "name": "in", "hook": "input", "prio": 0, "policy": "drop"}},
{"rule": {"family": "inet", "table": "fw", "chain": "in", "expr": [{"match": {"right": 3478}}, {"accept": null}]}}]}`

func TestReadRuleset(t *testing.T) {
	gateway := addr("192.168.1.1")
	const rule = "ip saddr 192.168.1.1 udp sport 5351 udp dport 5350 accept"
	iptables := strings.NewReplacer(`"fw"`, `"filter"`, `"in"`, `"INPUT"`, `"inet"`, `"ip"`).Replace(printed)
	for name, c := range map[string]struct{ rules, hint string }{
		"closed":              {printed, "nft insert rule inet fw in " + rule},
		"closed by iptables":  {iptables, "iptables -I INPUT -s 192.168.1.1 -p udp --sport 5351 --dport 5350 -j ACCEPT"},
		"open":                {strings.Replace(printed, "drop", "accept", 1), ""},
		"a rule lets them in": {strings.Replace(printed, "3478", "5350", 1), ""},
		"of IPv6 alone":       {strings.ReplaceAll(printed, "inet", "ip6"), ""},
		"of what goes out":    {strings.Replace(printed, "input", "output", 1), ""},
		"nonsense":            {"{", ""},
	} {
		chain := readRuleset([]byte(c.rules))
		if (chain == nil) != (c.hint == "") || chain != nil && chain.open(gateway) != c.hint {
			t.Errorf("%s: %+v", name, chain)
		}
	}
	if hint := (*chain)(nil).open(gateway); !strings.HasSuffix(hint, rule) {
		t.Error(hint)
	}
}

// That announcements do not arrive is known also where nobody may look at the firewall.
func TestDeafByWhatTheDaemonSaw(t *testing.T) {
	gateway := addr("192.168.1.1")
	t.Setenv("PATH", t.TempDir()) // There is no nft
	for name, c := range map[string]struct {
		router netwatch.Router
		deaf   bool
	}{
		"something was missed":   {netwatch.Router{Gateway: gateway, Unheard: 1}, true},
		"nothing was to be said": {netwatch.Router{Gateway: gateway}, false},
		"it was heard since":     {netwatch.Router{Gateway: gateway, Unheard: 1, Announces: true}, false},
		"of another router":      {netwatch.Router{Gateway: addr("192.168.2.1"), Unheard: 1}, false},
	} {
		s := &scene{daemon: func() (control.Status, error) { return control.Status{Router: &c.router}, nil }}
		if found := s.deaf(context.Background(), gateway); (len(found) > 0) != c.deaf {
			t.Errorf("%s: %+v", name, found)
		}
	}
}

package main

import (
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"netwatch"
	"netwatch/control"
)

// printed is what a function prints.
func printed(t *testing.T, write func(c *command)) string {
	t.Helper()
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	write(&command{stdout: &output{file: file}})
	text, err := os.ReadFile(file.Name())
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(strings.Fields(string(text)), " ")
}

// Who reads the status sees what the router says, since when, and what that means.
func TestStatusOfRouter(t *testing.T) {
	known, since := netip.MustParseAddr("203.0.113.5"), time.Date(2026, 11, 26, 4, 5, 0, 0, time.Local)
	for _, c := range []struct {
		r    netwatch.Router
		want string
	}{
		{
			netwatch.Router{Protocol: "nat-pmp", Address: known, Since: since, Healthy: true},
			"router 192.168.1.1 says 203.0.113.5 since 2026-11-26 04:05:00, by nat-pmp source",
		},
		{
			netwatch.Router{Protocol: "upnp", Address: netip.MustParseAddr("100.64.1.2"), Since: since, Healthy: true},
			"by upnp: its own address is one of the provider's, who has a NAT before it (CGNAT) source",
		},
		{netwatch.Router{}, "router 192.168.1.1: it tells its address neither by NAT-PMP nor by UPnP source"},
		{
			netwatch.Router{Protocol: "nat-pmp", Address: known, Since: since},
			"by nat-pmp: it does not answer now source",
		},
		{netwatch.Router{Protocol: "nat-pmp", Healthy: true}, "it says that it has no address on the internet now source"},
	} {
		c.r.Gateway = netip.MustParseAddr("192.168.1.1")
		s := control.Status{
			Router: &c.r, Addresses: netwatch.Addresses{netwatch.IPv4: {Address: known}},
			Sources: []control.SourceStatus{{Name: "stun", Note: "the servers are asked every 2m0s"}},
		}
		text := printed(t, func(cmd *command) { _ = cmd.printStatus(s) })
		if !strings.Contains(text, c.want) || !strings.Contains(text, "watching; the servers are asked every 2m0s") {
			t.Errorf("it says %s, and not %s", text, c.want)
		}
	}
}

// What a router said just now is printed, and what that means.
func TestProbeOfRouter(t *testing.T) {
	gateway, a := netip.MustParseAddr("192.168.1.1"), netip.MustParseAddr("192.168.178.2")
	for _, c := range []struct {
		p          routerProbed
		word, want string
	}{
		{
			routerProbed{Gateway: gateway, Protocol: "nat-pmp", Address: a, Seconds: 0.0012},
			"double NAT",
			"router 192.168.1.1 nat-pmp 192.168.178.2 1.2ms → router double NAT",
		},
		{routerProbed{Gateway: gateway, Protocol: "upnp", Seconds: 0.1}, "", "router 192.168.1.1 upnp no address 100ms"},
		{routerProbed{Gateway: gateway, Error: "no answer in time"}, "it answers nothing", "no answer in time 0s"},
		{routerProbed{}, "it answers nothing", "router there is no router on the way out"},
	} {
		text := printed(t, func(cmd *command) {
			if err := cmd.printRouterProbed(c.p, c.word); err != nil {
				t.Error(err)
			}
		})
		if !strings.HasSuffix(text, c.want) {
			t.Errorf("it says %s, and not %s", text, c.want)
		}
	}
}

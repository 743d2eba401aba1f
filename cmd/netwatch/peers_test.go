package main

import (
	"net/netip"
	"testing"
	"time"

	"netwatch"
	"netwatch/control"
)

// Who asks sees each machine with its addresses, or why the broker does not answer; and
// where it does and no machine was heard of yet, that.
func TestProbedMachines(t *testing.T) {
	since := time.Date(2026, 11, 26, 4, 5, 0, 0, time.Local)
	both := netwatch.Addresses{
		netwatch.IPv6: {Address: netip.MustParseAddr("2001:db8::7"), Since: since},
		netwatch.IPv4: {Address: netip.MustParseAddr("203.0.113.7"), Since: since},
	}
	for want, p := range map[string]control.Probed{
		"other machines the broker answers, and none was heard of yet": {},
		"other machines it hangs hint: look":                           {Error: "it hangs", Hint: "look"},
		"peer gateway lost since 2026-11-26 04:05:00 " +
			"peer turn here since 2026-11-26 04:05:00, 203.0.113.7 since 2026-11-26 04:05:00, " +
			"2001:db8::7 since 2026-11-26 04:05:00, netwatch 1.2": {Peers: []netwatch.Peer{
			{Peer: "gateway", State: netwatch.PeerGone, Since: since},
			{Peer: "turn", State: netwatch.PeerHere, Since: since, Addresses: both, Version: "1.2"},
		}},
	} {
		got := printed(t, func(c *command) {
			if err := c.printProbed(p); err != nil {
				t.Error(err)
			}
		})
		if got != want {
			t.Errorf("it says %s\ninstead of %s", got, want)
		}
	}
}

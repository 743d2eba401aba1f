// Package helper lets a daemon that may not write a server's configuration have it
// written by a process of root's. That process never talks to the network or the bus,
// and knows nothing of rules. The daemon (client.go) says which file and which
// addresses; the helper (server.go), which systemd starts for each connection, checks
// everything again.
//
// On the connection each message is one JSON object:
//
//	daemon  {"server": "coturn", "file": FILE, "options": {"private": "keep"}, "public": {"ipv4": A},
//	         "own": {"ipv4": B}, "here": [B, …], "elsewhere": true}
//	helper  {"changing": {"place": FILE, "from": HEX, "to": HEX}}
//	daemon  {"go": true}
//	helper  {"outcome": "changed", "detail": TEXT}
//
// The two in the middle are left out when nothing is to change, and come again when
// somebody else rewrote the file meanwhile. The helper changes nothing before it has
// read go, so that the daemon can note on disk what will be.
package helper

import (
	"fmt"
	"net/netip"

	"netwatch"
	"netwatch/servers"
)

// Socket is where systemd listens for the helper; packaging/netwatch-file.socket.
const Socket = "/run/netwatch-file/socket"

// A request is the first message.
type request struct {
	// Target is as a step has it, byte for byte.
	servers.Target
	// Public are the addresses to write.
	Public map[netwatch.Family]netip.Addr `json:"public"`
	// Own are this machine's own addresses by which these were asked.
	Own map[netwatch.Family]netip.Addr `json:"own,omitempty"`
	// Here are all of the machine's: the helper has no network to look at.
	Here []netip.Addr `json:"here,omitempty"`
	// Version is that of the server's program, which the helper does not run.
	Version servers.Version `json:"version"`
	// Elsewhere is servers.Wanted's: the helper does not see the server.
	Elsewhere bool `json:"elsewhere,omitempty"`
}

// A permit is what the daemon answers to a change that is to come.
type permit struct {
	Go bool `json:"go"`
}

// An answer is each message of the helper: what it is about to change, or its result.
type answer struct {
	Changing *netwatch.Replacement `json:"changing,omitempty"`
	Outcome  netwatch.Outcome      `json:"outcome,omitempty"`
	Detail   string                `json:"detail,omitempty"`
	Error    string                `json:"error,omitempty"`
	Hint     string                `json:"hint,omitempty"`
}

// checkOwn says why a cannot be this machine's own address, which the helper cannot
// see for itself. It must be the public address, or one that hosts behind NAT have.
// Hosts with IPv6 have global ones, so if no public IPv6 address is known it may be
// any.
func checkOwn(family netwatch.Family, a, public netip.Addr, accept []netip.Prefix) error {
	if !a.IsValid() || netwatch.FamilyOf(a) != family || a.Is4In6() || a.Zone() != "" {
		return fmt.Errorf("%q is not an %s address of a machine", a, family)
	}
	global := family == netwatch.IPv6 && !public.IsValid() && netwatch.CheckPublic(a, nil) == nil
	if a == public || a.IsPrivate() || netwatch.CGNAT.Contains(a) || global {
		return nil
	}
	for _, p := range accept {
		if p.Contains(a) {
			return nil
		}
	}
	return fmt.Errorf("%s is not an address that a machine behind NAT has", a)
}

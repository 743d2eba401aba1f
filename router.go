package netwatch

import (
	"net/netip"
	"time"
)

// A Router is the gateway of the way out and what it says of itself. That is a reason
// to look, and never believed.
type Router struct {
	Gateway netip.Addr `json:"gateway"`
	// Protocol is the one in which it answered last; empty if it never did.
	Protocol string `json:"protocol,omitempty"`
	// Address is the one that it says it has on the internet, and Since since when; none
	// if it says that it has none.
	Address netip.Addr `json:"address,omitzero"`
	Since   time.Time  `json:"since,omitzero"`
	// Healthy says that it answers now.
	Healthy bool `json:"healthy"`
	// Announces says that what it announces arrives here, and Unheard how often it said
	// something new that nothing had announced.
	Announces bool `json:"announces"`
	Unheard   int  `json:"unheard,omitempty"`
}

// dsLite are the addresses at both ends of a tunnel of DS-Lite (RFC 6333, 5.7).
var dsLite = netip.MustParsePrefix("192.0.0.0/29")

// Shares says whether an address of a router's own is one that only its provider knows,
// who shares a public one among his customers.
func Shares(own netip.Addr) bool { return CGNAT.Contains(own) || dsLite.Contains(own) }

// Word is what it means that the router says this, while the public address is known; it
// is empty if that is as it should be.
func (r Router) Word(known netip.Addr) string {
	switch {
	case !r.Healthy && r.Protocol == "":
		return "it tells its address neither by NAT-PMP nor by UPnP"
	case !r.Healthy:
		return "it does not answer now"
	case !r.Address.IsValid():
		return "it says that it has no address on the internet now"
	case r.Address == known:
		return ""
	case dsLite.Contains(r.Address):
		return "its IPv4 is a tunnel of the provider's, who has a NAT at its end (DS-Lite)"
	case CGNAT.Contains(r.Address):
		return "its own address is one of the provider's, who has a NAT before it (CGNAT)"
	case CheckPublic(r.Address, nil) != nil:
		return "its own address is a private one: there is another router before it (double NAT)"
	case known.IsValid():
		return "the servers see another address: a VPN is on it, or another router before it"
	}
	return ""
}

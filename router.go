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
}

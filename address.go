package netwatch

import (
	"fmt"
	"net/netip"
	"time"
)

// Family is an address family by its name in configuration and events.
type Family string

// The families.
const (
	IPv4 Family = "ipv4"
	IPv6 Family = "ipv6"
)

// Families are all families in the order in which they are written.
var Families = []Family{IPv4, IPv6}

// FamilyOf is the family of a valid address. An IPv4-mapped IPv6 address is IPv6.
func FamilyOf(a netip.Addr) Family {
	if a.Is4() {
		return IPv4
	}
	return IPv6
}

// UnmarshalText takes "ipv4" or "ipv6".
func (f *Family) UnmarshalText(text []byte) error {
	switch v := Family(text); v {
	case IPv4, IPv6:
		*f = v
		return nil
	}
	return fmt.Errorf("%q is not a family: ipv4 or ipv6", text)
}

// Address is a public address that is believed, and on what grounds.
type Address struct {
	Address netip.Addr `json:"address"`
	// Since is when it was first believed.
	Since time.Time `json:"since"`
	// Confirmed is when a server last said it.
	Confirmed time.Time `json:"confirmed"`
	// By are the servers that confirmed it last.
	By []string `json:"by"`
	// Own is this machine's address by which they were asked.
	Own netip.Addr `json:"own,omitzero"`
	// Unconfirmed is since when no server says it any more; zero while they do.
	Unconfirmed time.Time `json:"unconfirmed,omitzero"`
}

// Addresses are public addresses, at most one of each family. A family is absent if
// its address could not be found out.
type Addresses map[Family]Address

// Damped is an address that is kept although another is seen, because that one comes
// and goes.
type Damped struct {
	Family Family `json:"family"`
	// Held is the address that stands, and Seen the other one.
	Held netip.Addr `json:"held"`
	Seen netip.Addr `json:"seen"`
	// Penalty is 1000 for each time that Seen came back, halved every 15 minutes.
	Penalty int `json:"penalty"`
	// Until is when Seen would be believed if all stayed as it is.
	Until time.Time `json:"until"`
}

// CGNAT is what providers have between their NAT and their customers: the Shared
// Address Space (RFC 6598).
var CGNAT = netip.MustParsePrefix("100.64.0.0/10")

// Translated is what IPv4 has on a machine or router that reaches it by a translator or a
// tunnel of its provider's (464XLAT, DS-Lite; RFC 7335).
var Translated = netip.MustParsePrefix("192.0.0.0/29")

// special are the ranges of the IANA special-purpose registries (RFC 6890 and
// its successors) that no peer on the internet can reach. Documentation ranges
// (RFC 5737, RFC 3849, RFC 9637) are left out on purpose: nobody is harmed by
// them, and tests need addresses.
var special = append(prefixes(
	"0.0.0.0/8", "10.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
	"192.0.0.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/4", "240.0.0.0/4",
	"2001::/32", "2001:2::/48", "2001:10::/28", "2001:20::/28", "2002::/16", "3ffe::/16", "5f00::/16",
), CGNAT)

// unicast is all that IANA has given out as global unicast of IPv6 (RFC 4291, 2.4).
var unicast = netip.MustParsePrefix("2000::/3")

func prefixes(texts ...string) []netip.Prefix {
	all := make([]netip.Prefix, len(texts))
	for i, t := range texts {
		all[i] = netip.MustParsePrefix(t)
	}
	return all
}

// CheckPublic says why the internet cannot reach the address a, or returns nil.
// Addresses in accept always pass.
func CheckPublic(a netip.Addr, accept []netip.Prefix) error {
	if !a.IsValid() {
		return fmt.Errorf("there is no address")
	}
	for _, p := range accept {
		if p.Contains(a) {
			return nil
		}
	}
	if a.Is6() && (a.Zone() != "" || !unicast.Contains(a)) {
		return fmt.Errorf("%s is not a global unicast address", a)
	}
	for _, p := range special {
		if p.Contains(a) {
			return fmt.Errorf("%s is in %s, which is not public", a, p)
		}
	}
	return nil
}

package servers

import (
	"net/netip"
	"slices"
	"strings"

	"netwatch"
)

// begin writes our IPv4 address into a file that names none: a plain line, which says
// least. Where callers are right who name IPv6, a plain line would give them IPv4 in its
// place (measured, 4.6.1), and a pair does not. But that opens its private part to
// callers as a peer (measured), and what is closed stays so.
func (p *plan) begin(to netip.Addr) {
	line := external{family: netwatch.IPv4, public: to}
	own := p.own(netwatch.IPv4)
	switch {
	case p.foreign(false) != "":
		p.say("%s", p.foreign(false))
	case !slices.ContainsFunc(p.Here, publicIPv6):
		p.write(line)
	case p.Elsewhere:
		p.say("%s is not added: a plain line takes IPv6 from callers, a pair is wrong in a container with a network of its "+
			"own, and no unit of the rule is known to run coturn here", to)
	case len(own) != 1:
		p.say("%s is not added: a plain line takes IPv6 from callers, and which address of this machine coturn relays "+
			"from is not certain", to)
	case p.denies(own[0]):
		p.say("%s is not added: a plain line takes IPv6 from callers, and a pair opens %s to them, which denied-peer-ip "+
			"closes (private=auto makes it all the same)", to, own[0])
	default:
		line.private = own[0]
		p.write(line)
	}
}

// publicIPv6 says whether callers can reach an address over IPv6.
func publicIPv6(a netip.Addr) bool { return a.Is6() && netwatch.CheckPublic(a, nil) == nil }

// denies says whether a denied-peer-ip keeps callers from an address. What is no address
// or range may.
func (p *plan) denies(a netip.Addr) bool {
	return slices.ContainsFunc(p.all, func(line piece) bool {
		if line.key != "denied-peer-ip" {
			return false
		}
		begin, end, is := strings.Cut(line.value(), "-")
		if !is {
			end = begin
		}
		from, wrong := netip.ParseAddr(strings.TrimSpace(begin))
		to, wrongToo := netip.ParseAddr(strings.TrimSpace(end))
		return wrong != nil || wrongToo != nil || from.Compare(a) <= 0 && a.Compare(to) <= 0
	})
}

package actions

import (
	"fmt"
	"net/netip"
	"slices"

	"netwatch"
	"netwatch/servers"
)

// An approach is how a proof stands in for callers, who name no family.
type approach struct {
	// at is where they ask; invalid where nothing can be asked without harm.
	at netip.Addr
	// family is named all the same where they cannot be right who name none.
	family netwatch.Family
}

// approach finds out where callers who name no family can be right. Where they cannot be
// anywhere, it stands in for those who name IPv6, and says so.
func (v *verification) approach(p *proof, confirmed netwatch.Addresses) (a approach, err error) {
	why := v.without4(p.offer, confirmed)
	_, known := confirmed[netwatch.IPv6]
	fit := slices.DeleteFunc(slices.Clone(netwatch.Families), func(over netwatch.Family) bool {
		return why != "" && (!known || p.offer.Unnamed(over) == netwatch.IPv4)
	})
	if len(fit) > 0 {
		a.at, err = v.at(p.offer, confirmed, fit...)
		return a, err
	}
	word := "callers who name no family are not reached: " + why
	switch {
	case !known:
		p.words = append(p.words, "unknown: "+word)
		return a, nil
	case p.offer.Everywhere() && v.way4():
		p.words = append(p.words, "unknown: "+word+"; and asking for IPv6 would take IPv4 from others while relay-ip or "+
			"listening-ip names all addresses")
		return a, nil
	}
	if keep := p.say().Keep; keep != "" {
		word = fmt.Sprintf("%s (%s in %s gives those IPv6 who come over it)", word, keep, v.file)
	}
	p.words = append(p.words, word)
	a.family = netwatch.IPv6
	a.at, err = v.at(p.offer, confirmed, netwatch.IPv6)
	return a, err
}

// without4 says why nobody can be reached who is lent an IPv4 relay, whatever the server
// does; it is empty where one can be.
func (v *verification) without4(offer *servers.Offer, confirmed netwatch.Addresses) string {
	public, known := confirmed[netwatch.IPv4]
	switch {
	case !v.way4():
		return "this machine has no way out over IPv4"
	case slices.Contains(offer.Promised, netwatch.IPv4):
		return ""
	case netwatch.Translated.Contains(public.Own):
		return "over IPv4 nobody comes in here (464XLAT)"
	case !known:
		return fmt.Sprintf("%s in %s names no IPv4 address, and none is known", v.key(), v.file)
	case len(offer.Promised) > 0 && !slices.Contains(v.machine.here(), public.Address):
		return fmt.Sprintf("%s in %s names IPv6 alone", v.key(), v.file)
	}
	return ""
}

// key is what names an address in the file.
func (v *verification) key() string { return servers.Target{Server: v.server}.Key() }

// way4 says whether packets can leave over IPv4.
func (v *verification) way4() bool { return v.local(netwatch.IPv4, netip.Addr{}).IsValid() }

// times6 is how often is asked for IPv6 by name. Without IPv4 that takes it from nobody.
func (v *verification) times6(offer *servers.Offer) int {
	if n := times(offer.Lends(netwatch.IPv6)); n > 0 || v.way4() {
		return n
	}
	return 1
}

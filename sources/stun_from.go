package sources

import (
	"net/netip"
	"slices"

	"netwatch"
)

// from is the address of this machine to ask from in a family; invalid is any. Where
// the interface is given, it is any of that.
func (s *STUN) from(family netwatch.Family, relays func() []netip.Addr) netip.Addr {
	if s.Interface != "" || relays == nil {
		return netip.Addr{}
	}
	named := slices.DeleteFunc(relays(), func(a netip.Addr) bool { return netwatch.FamilyOf(a) != family })
	if len(named) == 0 {
		return netip.Addr{}
	}
	return onlyOne(named, netwatch.OwnAddresses())
}

// onlyOne is the one address that servers relay from by their files, if it is here and
// there is no other. What they relay leaves from it, by whatever rule and route the
// kernel has for it: another way, as a VPN's, may come out at another public address.
func onlyOne(named, here []netip.Addr) (one netip.Addr) {
	for _, a := range named {
		switch {
		case a.IsLoopback(), a.IsLinkLocalUnicast(), a == one, !slices.Contains(here, a):
		case one.IsValid():
			return netip.Addr{}
		default:
			one = a
		}
	}
	return one
}

// asksFrom is from, and logs when that becomes another.
func (v *view) asksFrom() netip.Addr {
	if v.from == nil {
		return netip.Addr{}
	}
	own := v.from(v.family)
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case own == v.asking:
	case own.IsValid():
		v.log.Info().Stringer("from", own).Msg("asking from the address that the servers' files name to relay from")
	default:
		v.log.Info().Msg("asking by any way: the servers' files name no single address of this machine to relay from")
	}
	v.asking = own
	return own
}

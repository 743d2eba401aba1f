package sources

import (
	"net/netip"
	"slices"

	"netwatch"
)

// from is the address of this machine to ask from in a family; invalid is any. Where
// the interface is given, it is any of that. before is the one so far.
func (s *STUN) from(
	family netwatch.Family, before netip.Addr, relays func() ([]netip.Addr, error), here func() []netip.Addr,
) netip.Addr {
	if s.Interface != "" || relays == nil {
		return netip.Addr{}
	}
	named, err := relays()
	if err != nil {
		return before // A file that cannot be read now, as while it is written, says nothing
	}
	named = slices.DeleteFunc(named, func(a netip.Addr) bool { return netwatch.FamilyOf(a) != family })
	if len(named) == 0 {
		return netip.Addr{}
	}
	return onlyOne(before, named, here())
}

// onlyOne is the one address that servers relay from by their files, if it is here and
// there is no other. What they relay leaves from it, by whatever rule and route the
// kernel has for it: another way, as a VPN's, may come out at another public address. One
// that is gone for a while stays: what others see then is not what callers are to get.
// Where the file of one names any address, that of another is not its own: its owner
// would decide from where is asked for both.
func onlyOne(before netip.Addr, named, here []netip.Addr) (one netip.Addr) {
	if slices.ContainsFunc(named, netip.Addr.IsUnspecified) {
		return netip.Addr{}
	}
	if slices.Contains(named, before) && !slices.Contains(here, before) {
		return before
	}
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

// asksFrom is the address to ask from, and logs when it becomes another.
func (v *view) asksFrom() netip.Addr {
	if v.from == nil {
		return netip.Addr{}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	own := v.from(v.asking)
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

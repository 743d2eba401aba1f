package servers

import (
	"net/netip"
	"slices"
)

// Stray is the private part of the first pair in a configuration of coturn that is no
// address in here, and that the file does not name to listen at or to relay from: this
// machine had it before, or a container has it.
func Stray(conf []byte, here []netip.Addr) netip.Addr {
	all := split(conf)
	for _, e := range externals(all) {
		if e.private.IsValid() && !slices.Contains(here, e.private) && !slices.Contains(relays(all, e.family), e.private) {
			return e.private
		}
	}
	return netip.Addr{}
}

// coturnPlaced says whether what conf is to say depends on whether coturn has this machine's
// network: where a pair is a stray, and where there is no address yet.
func coturnPlaced(conf []byte, here []netip.Addr) bool {
	return checkNamed(split(conf)) == nil && (Stray(conf, here).IsValid() || len(coturnAdvertised(conf, nil)) == 0)
}

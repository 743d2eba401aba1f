package servers

import (
	"net/netip"
	"slices"

	"netwatch"
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

// OnlyPair says whether a configuration of coturn names its addresses by one pair of each family
// at most, and by nothing else: private=auto keeps its form then.
func OnlyPair(conf []byte) bool {
	seen := map[netwatch.Family]bool{}
	for _, e := range externals(split(conf)) {
		if !e.private.IsValid() || seen[e.family] {
			return false
		}
		seen[e.family] = true
	}
	return len(seen) > 0
}

// coturnPlaced says whether what conf is to say depends on whether coturn has this machine's
// network: where a pair is a stray, and where there is no address yet.
func coturnPlaced(conf []byte, here []netip.Addr) bool {
	return checkNamed(split(conf)) == nil && (Stray(conf, here).IsValid() || len(coturnAdvertised(conf, nil)) == 0)
}

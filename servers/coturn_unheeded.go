package servers

import (
	"net/netip"
	"slices"
)

// coturnUnheeded are the addresses that conf names in lines that coturn does not heed: the
// first plain line is heeded and no other beside it, and of pairs with one private part the
// first (measured, 4.6.1 and 4.18).
func coturnUnheeded(conf []byte) (all []netip.Addr) {
	given := coturnAdvertised(conf, nil)
	for _, e := range externals(split(conf)) {
		if e.public.IsValid() && !slices.Contains(given, e.public) && !slices.Contains(all, e.public) && !e.heeded(conf) {
			all = append(all, e.public)
		}
	}
	return all
}

// heeded says whether coturn relays by a line, whatever other lines say.
func (e external) heeded(conf []byte) bool {
	lines := externals(split(conf))
	if slices.ContainsFunc(lines, func(o external) bool { return o.isPlain() || o.useless.IsValid() }) {
		return false // Advertised has the one that is
	}
	first := slices.IndexFunc(lines, func(o external) bool { return o.private == e.private }) // It is one of them
	return lines[first].piece == e.piece
}

package sources

import (
	"net/netip"
	"slices"
)

// callers is the use of an address that callers come in by, or get from a relay.
const callers = "callers"

// uses tell what an address is of use for.
type uses struct {
	// links are the interfaces of the ways out, before and now.
	links map[string]bool
	// bound are the addresses that servers are bound to by their files.
	bound func() []netip.Addr
}

// usesOf is that of the addresses of two networks.
func usesOf(was, is network, bound func() []netip.Addr) uses {
	u := uses{map[string]bool{}, bound}
	for _, n := range []network{was, is} {
		for _, w := range n.ways {
			u.links[w.link] = true
		}
	}
	return u
}

// text is the field use for addresses of a link that are told of together. Files
// are read only where the link does not tell.
func (u uses) text(link string, all ...address) string {
	if u.links[link] || u.anyBound(all) {
		return callers
	}
	return ""
}

func (u uses) anyBound(all []address) bool {
	if u.bound == nil || len(all) == 0 {
		return false
	}
	bound := u.bound()
	return slices.ContainsFunc(all, func(a address) bool { return slices.Contains(bound, a.Addr) })
}

// without is a network less the idle addresses of links that are of use by now: to
// callers they come now, because who listens began when there was no way to them.
func (n network) without(u uses) network {
	rest := n
	rest.addresses = map[place][]address{}
	for at, all := range n.addresses {
		idle := func(a address) bool { return a.idle && u.links[at.link] }
		rest.addresses[at] = slices.DeleteFunc(slices.Clone(all), idle)
	}
	return rest
}

// markIdle notes which addresses came to no use since was, or have been of none all
// the time.
func (n network) markIdle(was network, u uses) {
	for at, all := range n.addresses {
		before := map[netip.Addr]address{}
		for _, a := range was.addresses[at] {
			before[a.Addr] = a
		}
		for i, a := range all {
			b, there := before[a.Addr]
			all[i].idle = there && b.idle || !there && u.text(at.link, a) == ""
		}
	}
}

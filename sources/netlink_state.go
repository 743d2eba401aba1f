package sources

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"

	"netwatch"
)

// A network is what counts of links, addresses and default routes at one
// moment; of the interfaces that are watched alone.
type network struct {
	// up are the links by the name of the interface: whether packets can pass.
	up map[string]bool
	// addresses are in the order of the kernel.
	addresses map[place][]address
	// routes are the default routes in use, one a family at most.
	routes map[netwatch.Family]route
}

func newNetwork() network {
	return network{up: map[string]bool{}, addresses: map[place][]address{}, routes: map[netwatch.Family]route{}}
}

// A place is where addresses are.
type place struct {
	link   string
	family netwatch.Family
}

// An address is one that counts: neither temporary nor tentative, and not
// link-local.
type address struct {
	netip.Addr
	// deprecated says that nothing new is to begin with it (RFC 4862, 5.5.4).
	deprecated bool
}

// A route is a default route.
type route struct {
	link string
	// gateway is not valid where the link itself leads out, as a tunnel does.
	gateway netip.Addr
}

// String is the gateway, else the interface, or nothing for no route. A
// link-local gateway has its zone: each link may have its fe80::1.
func (r route) String() string {
	if r.gateway.Is6() && r.gateway.IsLinkLocalUnicast() {
		return r.gateway.WithZone(r.link).String()
	}
	return cmp.Or(text(r.gateway), r.link)
}

// keepDeprecated leaves out the deprecated addresses that were not there before.
// To become deprecated is no event, and neither is an address that comes as
// such; the end of one that was told of is.
func (n network) keepDeprecated(was network) {
	for at, all := range n.addresses {
		n.addresses[at] = slices.DeleteFunc(all, func(a address) bool {
			return a.deprecated && !has(was.addresses[at], a)
		})
	}
}

func has(all []address, a address) bool {
	return slices.ContainsFunc(all, func(b address) bool { return a.Addr == b.Addr })
}

// A change is one difference between two networks.
type change struct {
	event, link string
	family      netwatch.Family // none of a link
	old, new    string
}

// fields are those of the event.
func (c change) fields() map[string]string {
	all := map[string]string{"interface": c.link, "family": string(c.family), "old": c.old, "new": c.new}
	maps.DeleteFunc(all, func(_, value string) bool { return value == "" })
	return all
}

// changes are all differences: first the links, then the addresses, then the
// routes, each by interface and family.
func changes(was, is network) []change {
	return slices.Concat(linkChanges(was, is), addressChanges(was, is), routeChanges(was, is))
}

// linkChanges takes a link that is not there for one that is down: one that
// comes or goes while it is down changes nothing.
func linkChanges(was, is network) (all []change) {
	state := map[bool]string{true: "up", false: "down"}
	for _, link := range union(was.up, is.up, cmp.Compare[string]) {
		if old, now := was.up[link], is.up[link]; old != now {
			all = append(all, change{event: netwatch.LinkChanged, link: link, old: state[old], new: state[now]})
		}
	}
	return all
}

// most is how many addr-changed of one interface and family one look may bring.
// If there are more, the last of them has neither old nor new and stands for the
// rest: each event is written to disk, and thousands at once would keep the
// source from looking for seconds.
const most = 16

// addressChanges pairs what went with what came.
func addressChanges(was, is network) (all []change) {
	for _, at := range union(was.addresses, is.addresses, comparePlaces) {
		gone, come := missing(was.addresses[at], is.addresses[at]), missing(is.addresses[at], was.addresses[at])
		for i := range max(len(gone), len(come)) {
			c := change{event: netwatch.AddrChanged, link: at.link, family: at.family}
			if i == most-1 && max(len(gone), len(come)) > most {
				all = append(all, c)
				break
			}
			c.old, c.new = nth(gone, i), nth(come, i)
			all = append(all, c)
		}
	}
	return all
}

// missing are those of all that are not among others.
func missing(all, others []address) []address {
	there := make(map[netip.Addr]bool, len(others))
	for _, a := range others {
		there[a.Addr] = true
	}
	return slices.DeleteFunc(slices.Clone(all), func(a address) bool { return there[a.Addr] })
}

// nth is the text of an address, or nothing when there are not so many.
func nth(all []address, i int) string {
	if i < len(all) {
		return all[i].String()
	}
	return ""
}

// routeChanges names the interface of the new route, or else of the old one.
func routeChanges(was, is network) (all []change) {
	for _, family := range netwatch.Families {
		if old, now := was.routes[family], is.routes[family]; old != now {
			all = append(all, change{netwatch.RouteChanged, cmp.Or(now.link, old.link), family, old.String(), now.String()})
		}
	}
	return all
}

// union is the keys of both maps in order.
func union[K comparable, V any](a, b map[K]V, order func(x, y K) int) []K {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return slices.SortedFunc(maps.Keys(all), order)
}

func comparePlaces(a, b place) int {
	return cmp.Or(cmp.Compare(a.link, b.link), cmp.Compare(a.family, b.family))
}

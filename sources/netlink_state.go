package sources

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"

	"netwatch"
)

// A network is what counts at one moment of links and addresses, of the interfaces
// that are watched alone, and of the ways out, whatever interface they take.
type network struct {
	// up says for each link, by the name of the interface, whether packets can pass.
	up map[string]bool
	// addresses are in the order of the kernel.
	addresses map[place][]address
	// ways are the ways out to those who were asked when it was looked at before;
	// next are those to who is asked by now, which the next look compares with. No
	// server with another address makes a way another.
	ways, next map[netwatch.Family]wayOut
}

func newNetwork() network {
	return network{up: map[string]bool{}, addresses: map[place][]address{}}
}

// A place is where addresses are.
type place struct {
	link   string
	family netwatch.Family
}

// An address is one that counts: it is not temporary, tentative or link-local.
type address struct {
	netip.Addr
	// deprecated says that nothing new should begin with it (RFC 4862, 5.5.4).
	deprecated bool
	// idle says that it came while the source watched, and was of no use to callers
	// so far.
	idle bool
}

// keepDeprecated leaves out the deprecated addresses that were not there before. That
// an address becomes deprecated is no event, nor is one that comes as deprecated; but
// the end of one that was told of is.
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
	event, link  string
	family       netwatch.Family // none of a link
	old, new     string
	gateway, use string
}

// fields are those of the event.
func (c change) fields() map[string]string {
	all := map[string]string{
		"interface": c.link, "family": string(c.family), "old": c.old, "new": c.new, "gateway": c.gateway, "use": c.use,
	}
	maps.DeleteFunc(all, func(_, value string) bool { return value == "" })
	return all
}

// changes are all differences: first the links, then the addresses, then the
// ways out, each by interface and family.
func changes(was, is network, u uses) []change {
	return slices.Concat(linkChanges(was, is), addressChanges(was, is, u), routeChanges(was, is))
}

// linkChanges takes a link that does not exist for one that is down: if it comes or
// goes while it is down, nothing changes.
func linkChanges(was, is network) (all []change) {
	state := map[bool]string{true: "up", false: "down"}
	for _, link := range union(was.up, is.up, cmp.Compare[string]) {
		if old, now := was.up[link], is.up[link]; old != now {
			all = append(all, change{event: netwatch.LinkChanged, link: link, old: state[old], new: state[now]})
		}
	}
	return all
}

// most is how many addr-changed one look may bring for an interface and family. If
// there are more, the last has neither old nor new, and stands for the rest: each
// event is written to disk, and thousands at once would keep the source from looking
// for seconds.
const most = 16

// addressChanges pairs what went with what came.
func addressChanges(was, is network, u uses) (all []change) {
	for _, at := range union(was.addresses, is.addresses, comparePlaces) {
		gone, come := missing(was.addresses[at], is.addresses[at]), missing(is.addresses[at], was.addresses[at])
		for i := range max(len(gone), len(come)) {
			c := change{event: netwatch.AddrChanged, link: at.link, family: at.family}
			if i == most-1 && max(len(gone), len(come)) > most {
				c.use = u.text(at.link, slices.Concat(gone, come)...)
				all = append(all, c)
				break
			}
			c.old, c.new = nth(gone, i), nth(come, i)
			c.use = u.text(at.link, slices.Concat(part(gone, i), part(come, i))...)
			all = append(all, c)
		}
	}
	return all
}

// part is the i-th of all, or nothing.
func part(all []address, i int) []address { return all[min(i, len(all)):min(i+1, len(all))] }

// missing are those of all that are not among others.
func missing(all, others []address) []address {
	there := make(map[netip.Addr]bool, len(others))
	for _, a := range others {
		there[a.Addr] = true
	}
	return slices.DeleteFunc(slices.Clone(all), func(a address) bool { return there[a.Addr] })
}

// nth is the text of the address at i, or empty if there are not so many.
func nth(all []address, i int) string {
	if i < len(all) {
		return all[i].String()
	}
	return ""
}

// routeChanges names the interface and gateway of the new way, or else of the old
// one.
func routeChanges(was, is network) (all []change) {
	for _, family := range netwatch.Families {
		old, now := was.ways[family], is.ways[family]
		if old == now {
			continue
		}
		named := now
		if now == (wayOut{}) {
			named = old
		}
		all = append(all, change{
			event: netwatch.RouteChanged, link: named.link, family: family,
			old: old.String(), new: now.String(), gateway: named.gateway,
		})
	}
	return all
}

// union is the keys of both maps, in order.
func union[K comparable, V any](a, b map[K]V, order func(x, y K) int) []K {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return slices.SortedFunc(maps.Keys(all), order)
}

func comparePlaces(a, b place) int {
	return cmp.Or(cmp.Compare(a.link, b.link), cmp.Compare(a.family, b.family))
}

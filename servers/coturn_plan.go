package servers

import (
	"fmt"
	"net/netip"
	"slices"

	"netwatch"
)

// A plan is what becomes of the external-ip lines of one configuration.
type plan struct {
	Wanted
	all   []piece
	lines []external
	// changed is what becomes of a piece that does not stay.
	changed map[int]change
	// added are lines behind the last one that stands.
	added []external
	// words say what could not be done, and why.
	words []string
}

// A change is another line in the place of one, or none if it goes.
type change struct {
	to   external
	gone bool
}

// say notes what could not be done, once.
func (p *plan) say(format string, args ...any) {
	if word := fmt.Sprintf(format, args...); !slices.Contains(p.words, word) {
		p.words = append(p.words, word)
	}
}

// set writes another line in the place of one, unless that says the same.
func (p *plan) set(e, to external) {
	if !e.says(to) {
		p.changed[e.piece] = change{to: to}
	}
}

func (p *plan) remove(e external) { p.changed[e.piece] = change{gone: true} }

// now is what a line says once the plan is carried out.
func (p *plan) now(e external) external {
	if c, ok := p.changed[e.piece]; ok {
		return c.to
	}
	return e
}

// plain and pairs are the lines of one form that name an address.
func (p *plan) plain() []external { return filter(p.lines, external.isPlain) }

func (p *plan) pairs(family netwatch.Family) []external {
	return filter(p.lines, func(e external) bool { return e.family == family && e.private.IsValid() })
}

func filter(all []external, is func(external) bool) []external {
	return slices.DeleteFunc(slices.Clone(all), func(e external) bool { return !is(e) })
}

// keep gives each line the address of its family, in the form that it has.
func (p *plan) keep() {
	plain := p.plain()
	for _, e := range plain {
		if to := p.to(e.family); to.IsValid() {
			p.set(e, external{family: e.family, public: to})
		}
	}
	for _, family := range netwatch.Families {
		if len(plain) == 0 && p.to(family).IsValid() { // Beside a plain line coturn heeds no pair
			p.keepPairs(family, p.to(family))
		}
	}
	p.fill()
	p.add()
}

// keepPairs gives the pairs of a family its address.
func (p *plan) keepPairs(family netwatch.Family, to netip.Addr) {
	for _, e := range p.ours(family, to) {
		private, ok := p.private(e)
		if !ok {
			p.say("%s is no address of this machine, and which of them coturn relays from is not certain", e.private)
			continue
		}
		p.set(e, external{family: family, public: to, private: private})
		if private != e.private {
			p.forget(e)
		}
	}
}

// forget removes the later lines with the private part that a line had. coturn has not
// heeded them because of that line, and would heed them once the line has another part.
func (p *plan) forget(first external) {
	for _, e := range p.pairs(first.family) {
		if e.private == first.private && e.piece > first.piece {
			p.remove(e)
		}
	}
}

// ours are the pairs of a family that our public address belongs to. Where they have
// several, as on a machine with several, it is the one that the internet was asked by;
// nobody told of the others. Of those with the same private part coturn heeds the first.
func (p *plan) ours(family netwatch.Family, to netip.Addr) (all []external) {
	publics := map[netip.Addr]bool{}
	for _, e := range p.pairs(family) {
		if slices.ContainsFunc(all, func(o external) bool { return o.private == e.private }) {
			continue
		}
		all = append(all, e)
		if e.public.IsValid() {
			publics[e.public] = true
		}
	}
	if len(publics) < 2 {
		return all
	}
	own := p.Public[family].Own
	mine := filter(all, func(e external) bool { return e.private == own || e.public == to || !e.public.IsValid() })
	if len(mine) == 0 {
		p.say("which of its %d public addresses is %s now is not certain", len(publics), to)
	}
	return mine
}

// private is the private part that a pair is to have: its own where coturn can relay
// from that, else the one that is certain and that no other pair has.
func (p *plan) private(e external) (netip.Addr, bool) {
	if p.here(e.private) || slices.Contains(relays(p.all, e.family), e.private) {
		return e.private, true
	}
	if p.Elsewhere {
		p.say("%s is no address of this machine, and stays, since no unit of the rule is known to run coturn here: "+
			"a container may have it", e.private)
		return e.private, true
	}
	left := slices.DeleteFunc(p.own(e.family), func(a netip.Addr) bool {
		return slices.ContainsFunc(p.lines, func(o external) bool { return p.now(o).private == a })
	})
	if len(left) != 1 {
		return netip.Addr{}, false
	}
	return left[0], true
}

// own are the addresses of this machine that coturn relays from: those that the file
// names and that are still here, else the one that the internet was asked by. There is
// none where that is not certain.
func (p *plan) own(family netwatch.Family) []netip.Addr {
	named := slices.DeleteFunc(relays(p.all, family), func(a netip.Addr) bool { return !p.here(a) })
	if len(named) > 0 {
		return named
	}
	if a := p.Public[family].Own; p.here(a) && writable(a) && netwatch.FamilyOf(a) == family {
		return []netip.Addr{a}
	}
	return nil
}

// fill sees to the lines with an address that nobody can use, as an empty one: callers
// would be given that. Such a line gets the address of a family that has no line yet,
// unless there is a pair; or else it goes, if another line names an address.
func (p *plan) fill() {
	for _, e := range p.lines {
		if _, done := p.changed[e.piece]; done || !e.useless.IsValid() {
			continue
		}
		if family, ok := p.missing(); ok && !p.paired() {
			p.changed[e.piece] = change{to: external{family: family, public: p.to(family)}}
		} else if p.names() {
			p.remove(e)
		}
	}
}

// paired says whether there will be a pair.
func (p *plan) paired() bool {
	return slices.ContainsFunc(append(p.lines, p.added...), func(e external) bool { return p.now(e).private.IsValid() })
}

// missing is the first family that has an address and no line.
func (p *plan) missing() (netwatch.Family, bool) {
	for _, family := range netwatch.Families {
		if p.to(family).IsValid() && !p.has(family) {
			return family, true
		}
	}
	return "", false
}

// has says whether there will be a line of the family.
func (p *plan) has(family netwatch.Family) bool {
	return slices.ContainsFunc(p.lines, func(e external) bool { return p.now(e).family == family })
}

// names says whether there will be a line that names an address.
func (p *plan) names() bool {
	return p.has(netwatch.IPv4) || p.has(netwatch.IPv6) || len(p.added) > 0
}

// add writes what a file lacks: one that names no address gets IPv4's, unless this
// machine has that itself; another family is added where it is asked for.
func (p *plan) add() {
	if !p.names() {
		if to := p.to(netwatch.IPv4); to.IsValid() && !p.here(to) {
			p.begin(to)
		}
		return
	}
	for _, family := range netwatch.Families {
		if to := p.to(family); p.families().has(family) && to.IsValid() && !p.has(family) {
			p.beside(family, to)
		}
	}
}

// beside adds a family to one that is there. Two of them are heeded only as pairs.
func (p *plan) beside(family netwatch.Family, to netip.Addr) {
	own := p.own(family)
	switch {
	case len(p.plain()) > 0:
		p.say("%s is not added: coturn heeds two families only as pairs (private=auto)", to)
		return
	case len(own) == 0:
		p.say("%s is not added: which address of this machine coturn relays from is not certain", to)
	}
	for _, a := range own {
		p.added = append(p.added, external{family: family, public: to, private: a})
	}
}

// write puts a line in the place of one that says nothing to coturn, or behind all.
func (p *plan) write(to external) {
	for _, e := range p.lines {
		if _, done := p.changed[e.piece]; !done && e.family == "" {
			p.changed[e.piece] = change{to: to}
			return
		}
	}
	p.added = append(p.added, to)
}

// pairUp makes pairs of all lines. A plain line that has to stay would win over them,
// and once there is none coturn heeds pairs that it did not: then all keep their form.
func (p *plan) pairUp() {
	if len(p.plain()) > 0 {
		for _, e := range p.lines {
			if !p.pairable(e) {
				p.say("all lines keep their form: a pair needs the public and the private address of its family")
				p.keep()
				return
			}
		}
	}
	for _, family := range p.toPair() {
		p.pairFamily(family, p.to(family))
	}
	p.fill()
}

// pairable says whether a line can be made a pair, or says nothing to coturn. One of an
// address of this machine's own need not be, but beside another family: as a plain line it
// would be what callers get for that too.
func (p *plan) pairable(e external) bool {
	to := p.to(e.family)
	both := p.has(netwatch.IPv4) && p.has(netwatch.IPv6)
	return e.family == "" || to.IsValid() && (!p.here(to) || both) && len(p.own(e.family)) > 0
}

// toPair are the families that have lines or are asked for, else the one that a file
// without an address gets.
func (p *plan) toPair() (all []netwatch.Family) {
	for _, family := range netwatch.Families {
		if p.to(family).IsValid() && (p.has(family) || p.families().has(family)) {
			all = append(all, family)
		}
	}
	family, ok := p.missing()
	useless := slices.ContainsFunc(p.lines, func(e external) bool { return e.useless.IsValid() })
	if len(all) == 0 && !p.names() && ok && (useless || family == netwatch.IPv4 && !p.here(p.to(family))) {
		all = append(all, family)
	}
	return all
}

// pairFamily gives each address that coturn relays from its pair, over the lines that
// stand.
func (p *plan) pairFamily(family netwatch.Family, to netip.Addr) {
	own := p.own(family)
	if len(own) == 0 {
		p.say("which address of this machine coturn relays %s from is not certain", family)
		p.keepPairs(family, to)
		return
	}
	stand := filter(p.lines, func(e external) bool { return e.family == family })
	for _, a := range own {
		want := external{family: family, public: to, private: a}
		if len(stand) == 0 {
			p.write(want)
			continue
		}
		i := max(0, slices.IndexFunc(stand, func(e external) bool { return e.private == a }))
		p.set(stand[i], want)
		stand = slices.Delete(stand, i, i+1)
	}
	for _, e := range stand {
		p.remove(e)
	}
}

// single makes one plain line of all that name an address.
func (p *plan) single() {
	public := p.only()
	if !public.IsValid() {
		return
	}
	want := external{family: netwatch.FamilyOf(public), public: public}
	named := filter(p.lines, func(e external) bool { return e.family != "" || e.useless.IsValid() })
	stays := max(0, slices.IndexFunc(named, want.says))
	for i, e := range named {
		if i == stays {
			p.set(e, want)
		} else {
			p.remove(e)
		}
	}
	if len(named) == 0 && (want.family == netwatch.IPv4 && !p.here(public)) {
		p.write(want)
	}
}

// only is the address of the first family that has one, now or in the file.
func (p *plan) only() netip.Addr {
	for _, family := range netwatch.Families {
		public := p.to(family)
		for _, e := range p.lines {
			if e.family == family {
				public = first(public, e.public)
			}
		}
		if public.IsValid() {
			return public
		}
	}
	return netip.Addr{}
}

// first is the first of two addresses that is valid.
func first(a, b netip.Addr) netip.Addr {
	if a.IsValid() {
		return a
	}
	return b
}

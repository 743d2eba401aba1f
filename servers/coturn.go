package servers

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"netwatch"
)

// coturn is the server of the TURN protocol that Matrix servers have beside them.
var coturn = Server{
	Name: "coturn", Usage: "[private=keep|auto|none]", Options: []string{"private"}, Default: Options{Private: PrivateKeep},
	Rewrite: newCoturn, Advertised: coturnAdvertised, Bound: coturnBound, Offer: coturnOffer,
	Blind: "it would start as an open relay", Named: "turnserver -c FILE",
}

// A Private says what becomes of the private part of coturn's
// external-ip=PUBLIC/PRIVATE. PRIVATE is the machine's own address that coturn
// relays from.
type Private string

// What private= may be.
const (
	// PrivateKeep leaves private parts as the file has them, and adds one only
	// where two families need it.
	PrivateKeep Private = "keep"
	// PrivateAuto always writes this machine's own address.
	PrivateAuto Private = "auto"
	// PrivateNone never writes one; then a single family can be written.
	PrivateNone Private = "none"
)

// UnmarshalText takes "keep", "auto" or "none".
func (p *Private) UnmarshalText(text []byte) error {
	switch v := Private(text); v {
	case PrivateKeep, PrivateAuto, PrivateNone:
		*p = v
		return nil
	}
	return fmt.Errorf("private=%s is not understood: keep, auto or none", text)
}

// newCoturn is rewriteCoturn of a configuration that is there.
func newCoturn(conf []byte, w Wanted) ([]byte, error) {
	if err := checkCoturn(conf); err != nil {
		return nil, err
	}
	return rewriteCoturn(conf, w)
}

// rewriteCoturn is the coturn configuration conf with external-ip set to the public
// addresses; every other byte stays. A family that they lack could not be
// found out and keeps what stands in conf. One family is written plain, or as
// a pair if a pair stood there; two as PUBLIC/PRIVATE each, because coturn
// takes the first of two plain lines for both families (measured with 4.6.1).
// w.Own is asked only where neither a pair nor relay-ip nor listening-ip tells.
func rewriteCoturn(conf []byte, w Wanted) ([]byte, error) {
	for family, a := range w.Public {
		if !writable(a) || netwatch.FamilyOf(a) != family {
			return nil, fmt.Errorf("%s is no %s address that external-ip can hold", a, family)
		}
	}
	all := split(conf)
	if err := checkNamed(all); err != nil {
		return nil, err
	}
	stand := externals(all)
	own := func(f netwatch.Family) []netip.Addr {
		if set := relays(all, f); len(set) > 0 {
			return set
		}
		return []netip.Addr{w.Own(f)}
	}
	want, err := plan(gather(stand, w.Public), w.Private, own)
	if err != nil {
		return nil, err
	}
	text := place(all, stand, want)
	if bytes.Equal(text, conf) {
		return conf, nil
	}
	return text, nil
}

// maxNamed is how many lines may name addresses: more than a machine has, and so
// few that comparing each with each takes no time.
const maxNamed = 64

func checkNamed(all []piece) error {
	named := 0
	for _, p := range all {
		if p.key == externalKey || p.key == "relay-ip" || p.key == "listening-ip" {
			named++
		}
	}
	if named <= maxNamed {
		return nil
	}
	err := fmt.Errorf("it has %d lines of external-ip, relay-ip and listening-ip, and may have %d", named, maxNamed)
	return netwatch.WithHint(err, "take out those that are too much")
}

// checkCoturn refuses an empty configuration. It is what a writer leaves for an
// instant who truncates before he writes; replacing it would lose what he writes,
// and coturn without a configuration is an open relay (measured).
func checkCoturn(conf []byte) error {
	if len(conf) > 0 {
		return nil
	}
	return netwatch.WithHint(errors.New("it is empty: coturn would start as an open relay"),
		"restore it from a backup; if it is meant to hold nothing else, write a comment line into it")
}

// writable says whether external-ip may hold a: coturn takes a mapped address
// for IPv6, a zone for a host name, and advertises 0.0.0.0 if told to.
func writable(a netip.Addr) bool {
	return a.IsValid() && !a.IsUnspecified() && !a.Is4In6() && a.Zone() == ""
}

// A holding is what one family has: the address to write and what stands.
type holding struct {
	family netwatch.Family
	public netip.Addr
	// known says that public was found out just now.
	known bool
	// plain says that a line without a private part is what coturn honours.
	plain bool
	// pairs have the public address to write and a private part of their own each.
	pairs []external
}

// gather finds the families that are known or stand in the file.
func gather(stand []external, public map[netwatch.Family]netip.Addr) []holding {
	var all []holding
	for _, family := range netwatch.Families {
		h := holding{family: family, public: public[family]}
		h.known = h.public.IsValid()
		h.add(stand)
		if h.public.IsValid() {
			all = append(all, h)
		}
	}
	return all
}

// add takes up the lines of its family. A plain line wins over pairs wherever
// it stands, and of pairs with the same private part the first.
func (h *holding) add(stand []external) {
	if i := slices.IndexFunc(stand, external.isPlain); i >= 0 && stand[i].family == h.family {
		h.plain = true
		h.public = first(h.public, stand[i].public)
	}
	every := h.public
	for _, e := range stand {
		e.public = first(every, e.public)
		same := func(p external) bool { return p.private == e.private }
		if e.family != h.family || !e.private.IsValid() || !e.public.IsValid() || slices.ContainsFunc(h.pairs, same) {
			continue
		}
		h.pairs = append(h.pairs, e)
		h.public = first(h.public, e.public)
	}
}

// first is the first of two addresses that is valid.
func first(a, b netip.Addr) netip.Addr {
	if a.IsValid() {
		return a
	}
	return b
}

// plan is what external-ip is to say, a line each.
func plan(all []holding, mode Private, own func(netwatch.Family) []netip.Addr) ([]external, error) {
	if len(all) == 0 {
		return nil, errors.New("there is no public address to write")
	}
	h := all[0]
	single := len(all) == 1 && (h.plain || len(h.pairs) == 0)
	if mode == PrivateNone || mode == PrivateKeep && single {
		return []external{{family: h.family, public: h.public}}, nil
	}
	var want []external
	for _, h := range all {
		pairs := h.pairs
		if len(pairs) == 0 || mode == PrivateAuto && h.known {
			pairs = h.with(own(h.family))
		}
		if len(pairs) == 0 {
			return nil, needPrivate(h, mode)
		}
		want = append(want, pairs...)
	}
	return want, nil
}

// with pairs the public address with each of the machine's own.
func (h *holding) with(own []netip.Addr) []external {
	var pairs []external
	for _, a := range own {
		if writable(a) && netwatch.FamilyOf(a) == h.family {
			pairs = append(pairs, external{family: h.family, public: h.public, private: a})
		}
	}
	return pairs
}

// needPrivate says why a pair cannot be made.
func needPrivate(h holding, mode Private) error {
	key := map[netwatch.Family]string{netwatch.IPv4: "IPv4", netwatch.IPv6: "IPv6"}[h.family]
	err := fmt.Errorf("external-ip=%s needs this machine's own %s address behind it (private=%s), and there is none", h.public, key, mode)
	return netwatch.WithHint(err, fmt.Sprintf("write the %s address that coturn relays from as relay-ip=ADDRESS, or external-ip=%s/ADDRESS, into the file once, or use private=none to write a single family", key, h.public))
}

// coturnAdvertised is the addresses that conf has coturn give to its callers, at
// most one of each family; a plain line alone counts for both families. It
// leaves out what only coturn can tell, as a host name.
func coturnAdvertised(conf []byte) []netip.Addr {
	stand := externals(split(conf))
	if i := slices.IndexFunc(stand, external.isPlain); i >= 0 {
		return []netip.Addr{stand[i].public}
	}
	var all []netip.Addr
	for _, h := range gather(stand, nil) {
		all = append(all, h.public)
	}
	return all
}

// coturnBound are every relay-ip and listening-ip of conf.
func coturnBound(conf []byte) (all []netip.Addr) {
	for _, p := range split(conf) {
		if a := parseAddress(p.value()); a.IsValid() && (p.key == "relay-ip" || p.key == "listening-ip") {
			all = append(all, a)
		}
	}
	return all
}

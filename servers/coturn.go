package servers

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"netwatch"
)

// coturn is the server of the TURN protocol that Matrix servers have beside them.
var coturn = Server{
	Name: "coturn", Options: []Option{privateOption, familiesOption},
	Rewrite: newCoturn, Key: "external-ip", Advertised: coturnAdvertised, Unheeded: coturnUnheeded,
	Bound: coturnBound, Relays: coturnRelays, Offer: coturnOffer, Words: coturnWords,
	Blind: "it would start as an open relay", Named: "turnserver -c FILE",
	Follow: "restart", Binds: true, Placed: coturnPlaced,
}

// A Private says what becomes of the private part of coturn's
// external-ip=PUBLIC/PRIVATE. PRIVATE is the machine's own address that coturn
// relays from.
type Private string

// What private= may be.
const (
	// PrivateKeep leaves a plain line plain, and a private part as it is if coturn can
	// relay from it: an address of this machine, or one that the file names itself.
	PrivateKeep Private = "keep"
	// PrivateAuto makes pairs of all lines, with this machine's own address.
	PrivateAuto Private = "auto"
	// PrivateNone writes one plain line: coturn heeds a single one.
	PrivateNone Private = "none"
)

// privateOption is private=.
var privateOption = Option{Name: "private", Usage: "keep|auto|none", Check: func(value string) error {
	switch Private(value) {
	case PrivateKeep, PrivateAuto, PrivateNone:
		return nil
	}
	return fmt.Errorf("private=%s is not understood: keep, auto or none", value)
}}

// newCoturn is conf with external-ip set to the public addresses; every other byte
// stays. It keeps the form that it finds, since coturn does another thing for each
// (measured): a plain line is what callers get whatever they ask for and wins over
// pairs, the first of several; the private part of a pair is open to callers as a
// peer. word says what could not be done.
func newCoturn(conf []byte, w Wanted) (text []byte, word string, err error) {
	if err := checkCoturn(conf); err != nil {
		return nil, "", err
	}
	return rewriteCoturn(conf, w)
}

// rewriteCoturn is newCoturn of any text.
func rewriteCoturn(conf []byte, w Wanted) (text []byte, word string, err error) {
	if err := w.check(); err != nil {
		return nil, "", err
	}
	all := split(conf)
	if err := checkNamed(all); err != nil {
		return nil, "", err
	}
	p := &plan{Wanted: w, all: all, lines: externals(all), changed: map[int]change{}}
	switch Private(w.Options[privateOption.Name]) {
	case PrivateNone:
		p.single()
	case PrivateAuto:
		p.pairUp()
	default:
		p.keep()
	}
	if text = p.apply(); bytes.Equal(text, conf) {
		text = conf
	}
	return text, strings.Join(p.words, "; "), nil
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

// coturnAdvertised is the addresses that conf has coturn give to its callers, at
// most one of each family; a plain line alone counts for both families. It
// leaves out what only coturn can tell, as a host name.
func coturnAdvertised(conf []byte, _ Options) []netip.Addr {
	lines := externals(split(conf))
	if i := slices.IndexFunc(lines, func(e external) bool { return e.isPlain() || e.useless.IsValid() }); i >= 0 {
		return []netip.Addr{first(lines[i].public, lines[i].useless)}
	}
	var all []netip.Addr
	for _, family := range netwatch.Families {
		i := slices.IndexFunc(lines, func(e external) bool { return e.family == family && e.public.IsValid() })
		if i >= 0 {
			all = append(all, lines[i].public)
		}
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

// coturnRelays are every relay-ip of conf, or else every listening-ip, of each family.
// Without any, it relays from all that the machine has; of more than are compared with
// each other, nobody knows.
func coturnRelays(conf []byte) (all []netip.Addr) {
	pieces := split(conf)
	if checkNamed(pieces) == nil {
		for _, family := range netwatch.Families {
			all = append(all, relays(pieces, family)...)
		}
	}
	if len(all) == 0 {
		return []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}
	}
	return all
}

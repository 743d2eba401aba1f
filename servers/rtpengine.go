package servers

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"netwatch"
	"netwatch/edit"
)

// rtpengine is a media proxy for SIP. It reads its file when it starts: a restart
// follows.
var rtpengine = Server{
	Name: "rtpengine", Options: []Option{familiesOption}, Key: rtpengineKey,
	Rewrite: newRTPEngine, Advertised: rtpengineAdvertised,
	Blind: "it would not start", Named: "rtpengine --config-file FILE",
	Start: Start{
		Programs: []string{"rtpengine"}, Package: "rtpengine-daemon", Files: []string{"--config-file"},
		Usual:   []string{"/etc/rtpengine/rtpengine.conf"},
		Instead: []string{"--interface", "-i", "--config-section"},
	},
	Follow: "restart", Ports: rtpenginePorts,
}

// rtpengineKey is a list of places to relay from, as internal/10.0.0.1;external/10.0.0.2!PUBLIC.
const (
	rtpengineKey     = "interface"
	rtpengineSection = "rtpengine." + rtpengineKey
)

// An iface is one place that rtpengine relays from.
type iface struct {
	// text is how it is written, and head what stands before the public address.
	text, head string
	// local is its address on this machine; invalid if it names none, as any does.
	local netip.Addr
	// public is what callers get; pair says that it has room for that.
	public netip.Addr
	pair   bool
}

// give gives a place another public address.
func (i *iface) give(public netip.Addr) {
	i.public, i.text = public, i.head+"!"+public.String()
}

// interfaces reads a value; it is false if a public part is something else.
func interfaces(value string) (all []iface, ok bool) {
	for text := range strings.SplitSeq(value, ";") {
		head, public, pair := strings.Cut(text, "!")
		_, local, named := strings.Cut(head, "/")
		if !named {
			local = head
		}
		if !isAddress(public) {
			return nil, false
		}
		all = append(all, iface{text, head, parseAddress(local), parseAddress(public), pair})
	}
	return all, true
}

// family is that of a place.
func (i iface) family() netwatch.Family {
	if i.local.IsValid() {
		return netwatch.FamilyOf(i.local)
	}
	return netwatch.FamilyOf(i.public)
}

// newRTPEngine is conf with the public addresses in interface.
func newRTPEngine(conf []byte, w Wanted) (text []byte, word string, err error) {
	if err := w.check(); err != nil {
		return nil, "", err
	}
	value, err := edit.INI.Get(conf, rtpengineSection)
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", rtpengineSection, err)
	}
	all, ok := interfaces(value.Text)
	if !ok {
		return nil, "", notAddress(value)
	}
	names := slices.ContainsFunc(all, func(i iface) bool { return i.public.IsValid() })
	word = w.foreign(names)
	for _, family := range netwatch.Families {
		word = renew(all, family, w) + word
		paired := slices.ContainsFunc(all, func(i iface) bool { return i.pair && i.family() == family })
		if w.lacks(family, names) && !paired {
			word = addPublic(all, family, w) + word
		}
	}
	texts := make([]string, len(all))
	for i, at := range all {
		texts[i] = at.text
	}
	if now := strings.Join(texts, ";"); now != value.Text {
		text, err = edit.INI.Set(conf, rtpengineSection, now)
		return text, word, err
	}
	return conf, word, nil
}

// renew gives the places of a family that have a public address the one of today. Where
// they have several, it is the one that the internet was asked by.
func renew(all []iface, family netwatch.Family, w Wanted) (word string) {
	to := w.to(family)
	var ours []*iface
	publics := map[netip.Addr]bool{}
	for i := range all {
		if all[i].pair && all[i].family() == family {
			ours = append(ours, &all[i])
			publics[all[i].public] = true
		}
	}
	if len(publics) > 1 {
		ours = slices.DeleteFunc(ours, func(i *iface) bool { return i.local != w.Public[family].Own && i.public != to })
		if len(ours) == 0 && to.IsValid() {
			return fmt.Sprintf("which of its %d public addresses is %s now is not certain", len(publics), to)
		}
	}
	for _, i := range ours {
		if to.IsValid() && i.public != to {
			i.give(to)
		}
	}
	return ""
}

// addPublic gives the one place of a family a public address: the only one, or that by
// which the internet was asked.
func addPublic(all []iface, family netwatch.Family, w Wanted) (word string) {
	var at []*iface
	for i := range all {
		if is := all[i].local; is.IsValid() && !is.IsLoopback() && netwatch.FamilyOf(is) == family {
			at = append(at, &all[i])
		}
	}
	if len(at) > 1 {
		at = slices.DeleteFunc(at, func(i *iface) bool { return i.local != w.Public[family].Own })
	}
	switch own := w.Public[family].Own; {
	case len(at) == 1:
		at[0].give(w.to(family))
		return ""
	case len(at) == 0 && w.here(own):
		return unnamed(all, own, w.to(family))
	}
	return notCertain(w.to(family))
}

// unnamed says what callers are told by a place that names no address, as any and eth0:
// those of this machine (measured, 10.5.3). A public part behind it they would be told for
// addresses of both families.
func unnamed(all []iface, own, public netip.Addr) (word string) {
	for _, i := range all {
		if i.local.IsValid() || i.head == "" {
			continue
		}
		name := i.head[:strings.LastIndexByte(i.head, '/')+1]
		return fmt.Sprintf("%s is not added: %s stands for addresses of this machine, and callers are told those; write "+
			"%s%s!%[1]s in its place, and others that are to be used behind it, with ; between", public, i.head, name, own)
	}
	return notCertain(public)
}

// notCertain says why a public address is not added.
func notCertain(public netip.Addr) string {
	return fmt.Sprintf("%s is not added: which address of this machine it belongs to is not certain, and interface "+
		"can name it", public)
}

// rtpengineAdvertised are the public addresses of interface, the first of each family.
func rtpengineAdvertised(conf []byte, _ Options) (addresses []netip.Addr) {
	value, err := edit.INI.Get(conf, rtpengineSection)
	all, ok := interfaces(value.Text)
	if err != nil || !ok {
		return nil
	}
	for _, family := range netwatch.Families {
		i := slices.IndexFunc(all, func(i iface) bool { return i.public.IsValid() && i.family() == family })
		if i >= 0 {
			addresses = append(addresses, all[i].public)
		}
	}
	return addresses
}

package sources

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"netwatch"
)

// An Asked is whom a source asks on the internet: the way to there is the way out.
type Asked struct {
	Family netwatch.Family
	// Interface is the one that packets are kept to; empty is any.
	Interface string
	// Address is the server's; invalid while none is known.
	Address netip.Addr
	// Own is the address of ours that is asked from; invalid is any.
	Own netip.Addr
}

// anyone stands for the internet where no server's address is known: the anycast
// addresses of PCP (RFC 7723, RFC 8155), which are routed like any other. Nothing is
// sent there.
var anyone = map[netwatch.Family]netip.Addr{
	netwatch.IPv4: netip.MustParseAddr("192.0.0.9"),
	netwatch.IPv6: netip.MustParseAddr("2001:1::1"),
}

// destinations are those to which the way of these families is asked for, each family's
// in order: who is asked, and anyone where that is not known.
func destinations(asked []Asked, of ...netwatch.Family) (all []Asked) {
	for _, family := range of {
		own := slices.DeleteFunc(slices.Clone(asked), func(a Asked) bool { return a.Family != family })
		if len(own) == 0 {
			own = []Asked{{Family: family}}
		}
		for _, a := range own {
			if !a.Address.IsValid() {
				a.Address = anyone[family]
			}
			all = append(all, a)
		}
	}
	return all
}

// A wayOut is what the kernel does with a packet to the internet: the interface that it
// leaves by, to which gateway, and from which address of ours. No way is the zero
// value; what else is not there is empty.
type wayOut struct{ link, gateway, source string }

// String is INTERFACE GATEWAY SOURCE, or nothing for no way.
func (w wayOut) String() string {
	if w.link == "" {
		return ""
	}
	return w.link + " " + cmp.Or(w.gateway, "-") + " " + cmp.Or(w.source, "-")
}

// ways are the ways of a packet to those who are asked: of each family the first
// that can be used.
func (k *rtnetlink) ways(r *reading, asked []Asked) (map[netwatch.Family]wayOut, error) {
	all := map[netwatch.Family]wayOut{}
	for _, to := range destinations(asked, netwatch.Families...) {
		if _, found := all[to.Family]; found {
			continue
		}
		w, err := k.way(r, to)
		if err != nil {
			return nil, fmt.Errorf("asking the kernel for the way to %s: %w", to.Address, err)
		}
		if w.link != "" {
			all[to.Family] = w
		}
	}
	return all, nil
}

// way is the way of one packet, whichever rule, table or route has it go there; the
// zero value if it would go nowhere.
func (k *rtnetlink) way(r *reading, to Asked) (wayOut, error) {
	request, ok := r.request(to)
	if !ok {
		return wayOut{}, nil
	}
	answer, err := k.asked.Execute(request)
	if said := (*netlink.OpError)(nil); errors.As(err, &said) && said.Sequence != 0 {
		return wayOut{}, nil // The kernel's answer: unreachable, prohibited, no such family
	}
	if err != nil || len(answer) == 0 {
		return wayOut{}, err
	}
	return r.way(answer[0])
}

// request is RTM_GETROUTE for one destination (rtnetlink(7)); there is none over an
// interface that is not there.
func (r *reading) request(to Asked) (m netlink.Message, ok bool) {
	head := make([]byte, unix.SizeofRtMsg)
	head[0], head[1] = unix.AF_INET, 32 // One address
	if to.Family == netwatch.IPv6 {
		head[0], head[1] = unix.AF_INET6, 128
	}
	attributes := []netlink.Attribute{{Type: unix.RTA_DST, Data: to.Address.AsSlice()}}
	if to.Interface != "" {
		index := r.index(to.Interface)
		if index == 0 {
			return m, false
		}
		over := binary.NativeEndian.AppendUint32(nil, index)
		attributes = append(attributes, netlink.Attribute{Type: unix.RTA_OIF, Data: over})
	}
	if to.Own.IsValid() {
		head[2] = head[1]
		attributes = append(attributes, netlink.Attribute{Type: unix.RTA_SRC, Data: to.Own.AsSlice()})
	}
	tail, err := netlink.MarshalAttributes(attributes)
	m.Header = netlink.Header{Type: unix.RTM_GETROUTE, Flags: netlink.Request}
	m.Data = slices.Concat(head, tail)
	return m, err == nil
}

// index is that of an interface, or 0.
func (r *reading) index(name string) uint32 {
	for index, n := range r.names {
		if n == name {
			return index
		}
	}
	return 0
}

// way reads the answer. A packet that stays on this machine, or that nobody could
// answer because its source is link-local, has no way out.
func (r *reading) way(m netlink.Message) (wayOut, error) {
	if len(m.Data) < unix.SizeofRtMsg {
		return wayOut{}, errShort
	}
	var w wayOut
	var source netip.Addr
	err := attributes(m.Data[unix.SizeofRtMsg:], func(kind uint16, value []byte) {
		switch kind {
		case unix.RTA_OIF:
			w.link = r.names[number(value)]
		case unix.RTA_GATEWAY:
			w.gateway = ip(value)
		case unix.RTA_VIA: // A family of two bytes and an address of that family
			w.gateway = ip(value[min(2, len(value)):])
		case unix.RTA_PREFSRC, unix.RTA_SRC: // The latter is what was asked with
			source, _ = netip.AddrFromSlice(value)
		}
	})
	if err != nil || m.Header.Type != unix.RTM_NEWROUTE || m.Data[7] != unix.RTN_UNICAST || source.IsLinkLocalUnicast() {
		return wayOut{}, err
	}
	w.source = text(source)
	if r.temporary[source] { // Another tomorrow, and the way the same
		w.source = netip.PrefixFrom(source, 64).Masked().String()
	}
	return w, nil
}

// ip is the text of an address, or nothing.
func ip(value []byte) string {
	a, _ := netip.AddrFromSlice(value)
	return text(a)
}

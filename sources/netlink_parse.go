package sources

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net/netip"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"netwatch"
)

// families are ours by the numbers of the kernel.
var families = map[uint8]netwatch.Family{unix.AF_INET: netwatch.IPv4, unix.AF_INET6: netwatch.IPv6}

var errShort = errors.New("the message is too short")

// A reading makes a network of the kernel's messages. Those about links come
// before the others, which call an interface by its index.
type reading struct {
	network
	watches func(name string) bool
	names   map[uint32]string
	// ranks are those of the routes, and the lowest counts.
	ranks map[netwatch.Family]uint64
	// torn says that something changed while the messages were made.
	torn bool
}

// readMessages is the network that the messages of the kernel tell of. Whole
// says that nothing changed while they were made, as far as they show.
func readMessages(messages []netlink.Message, watches func(name string) bool) (is network, whole bool, err error) {
	r := &reading{network: newNetwork(), watches: watches, names: map[uint32]string{}, ranks: map[netwatch.Family]uint64{}}
	for _, m := range messages {
		if err := r.add(m); err != nil {
			return network{}, false, fmt.Errorf("reading what the kernel says: %w", err)
		}
	}
	// Which route is in use is known now. If it refuses, or leads over an
	// interface that is not watched, none of the watched ones is the way out.
	maps.DeleteFunc(r.routes, func(_ netwatch.Family, best route) bool { return !r.counts(best.link) })
	return r.network, !r.torn, nil
}

// counts says whether an interface is known and watched.
func (r *reading) counts(link string) bool { return link != "" && r.watches(link) }

// add takes one message. Those about other things are left alone.
func (r *reading) add(m netlink.Message) error {
	r.torn = r.torn || m.Header.Flags&netlink.DumpInterrupted != 0
	switch m.Header.Type {
	case unix.RTM_NEWLINK:
		return r.link(m.Data)
	case unix.RTM_NEWADDR:
		return r.address(m.Data)
	case unix.RTM_NEWROUTE:
		return r.route(m.Data)
	}
	return nil
}

// running are the flags of a link over which packets can pass. Without a carrier
// IFF_UP stays and IFF_RUNNING goes (netdevice(7), measured).
const running = unix.IFF_UP | unix.IFF_RUNNING

// link takes a struct ifinfomsg and its attributes (rtnetlink(7)).
func (r *reading) link(b []byte) error {
	if len(b) < unix.SizeofIfInfomsg {
		return errShort
	}
	index, flags := binary.NativeEndian.Uint32(b[4:]), binary.NativeEndian.Uint32(b[8:])
	return attributes(b[unix.SizeofIfInfomsg:], func(kind uint16, value []byte) {
		if kind != unix.IFLA_IFNAME {
			return
		}
		name := unix.ByteSliceToString(value)
		r.names[index] = name
		if r.counts(name) {
			r.up[name] = flags&running == running
		}
	})
}

// fleeting are the flags of IPv6 addresses that do not count: made for privacy
// and another tomorrow, not yet known to be unique, or known not to be.
// IFA_F_TEMPORARY is the same bit as IFA_F_SECONDARY, which says nothing against
// an IPv4 address.
const fleeting = unix.IFA_F_TEMPORARY | unix.IFA_F_TENTATIVE | unix.IFA_F_DADFAILED

// address takes a struct ifaddrmsg and its attributes (rtnetlink(7)). Link-local
// addresses do not count: nobody beyond the link can reach one, a relay least of
// all, and they come and go with the link, which has an event of its own.
func (r *reading) address(b []byte) error {
	if len(b) < unix.SizeofIfAddrmsg {
		return errShort
	}
	family, flags, link := families[b[0]], b[2], r.names[binary.NativeEndian.Uint32(b[4:])]
	var own netip.Addr
	err := attributes(b[unix.SizeofIfAddrmsg:], func(kind uint16, value []byte) {
		// Of a point-to-point link IFA_ADDRESS is the other end, and IFA_LOCAL
		// is there too.
		if kind == unix.IFA_LOCAL || kind == unix.IFA_ADDRESS && !own.IsValid() {
			own, _ = netip.AddrFromSlice(value)
		}
	})
	deprecated := family == netwatch.IPv6 && flags&unix.IFA_F_DEPRECATED != 0
	switch {
	case err != nil, family == "", !r.counts(link), !own.IsValid(), own.IsLinkLocalUnicast():
		return err
	case family == netwatch.IPv6 && flags&fleeting != 0:
		return nil
	}
	at := place{link, family}
	r.addresses[at] = append(r.addresses[at], address{own, deprecated})
	return nil
}

// route takes a struct rtmsg and its attributes (rtnetlink(7)), if it is a
// default route of the main table: for all destinations and from all sources.
func (r *reading) route(b []byte) error {
	if len(b) < unix.SizeofRtMsg {
		return errShort
	}
	family, table := families[b[0]], uint32(b[4])
	var rank uint64
	var one nextHop
	var several []byte
	err := attributes(b[unix.SizeofRtMsg:], func(kind uint16, value []byte) {
		switch kind {
		case unix.RTA_TABLE:
			table = number(value)
		case unix.RTA_PRIORITY:
			rank |= uint64(number(value)) << 2
		case unix.RTA_PREF:
			rank |= preference(value)
		case unix.RTA_MULTIPATH:
			several = value
		default:
			one.add(kind, value)
		}
	})
	if err == nil && several != nil {
		one, err = firstHop(several)
	}
	toAll := b[1] == 0 && b[2] == 0 && table == unix.RT_TABLE_MAIN
	dead := binary.NativeEndian.Uint32(b[8:])&unix.RTNH_F_DEAD != 0
	if err != nil || family == "" || !toAll || dead {
		return err
	}
	link := r.names[one.index]
	if b[7] != unix.RTN_UNICAST { // it refuses, as RTN_UNREACHABLE, wherever it seems to lead
		link = ""
	}
	if _, other := r.routes[family]; !other || rank < r.ranks[family] {
		r.routes[family], r.ranks[family] = route{link, one.gateway}, rank
	}
	return nil
}

// A nextHop is where a route leads.
type nextHop struct {
	index   uint32
	gateway netip.Addr
}

func (h *nextHop) add(kind uint16, value []byte) {
	switch kind {
	case unix.RTA_OIF:
		h.index = number(value)
	case unix.RTA_GATEWAY:
		h.gateway, _ = netip.AddrFromSlice(value)
	case unix.RTA_VIA: // a family of two bytes and an address of that family
		h.gateway, _ = netip.AddrFromSlice(value[min(2, len(value)):])
	}
}

// firstHop is the first of a route with several, each a struct rtnexthop and
// its attributes (rtnetlink(7)).
func firstHop(b []byte) (h nextHop, err error) {
	if len(b) < unix.SizeofRtNexthop {
		return nextHop{}, errShort
	}
	length := int(binary.NativeEndian.Uint16(b))
	if length < unix.SizeofRtNexthop || length > len(b) {
		return nextHop{}, errShort
	}
	h.index = binary.NativeEndian.Uint32(b[4:])
	return h, attributes(b[unix.SizeofRtNexthop:length], h.add)
}

// preference is that of a router that advertises itself, the best being the
// lowest: 1 is high, 0 medium and 3 low (RFC 4191, 2.1).
func preference(value []byte) uint64 {
	if len(value) != 1 {
		return 1
	}
	return map[byte]uint64{1: 0, 0: 1, 3: 2}[value[0]]
}

// number is a 32-bit number, or 0.
func number(value []byte) uint32 {
	if len(value) != 4 {
		return 0
	}
	return binary.NativeEndian.Uint32(value)
}

// attributes calls f for each.
func attributes(b []byte, f func(kind uint16, value []byte)) error {
	all, err := netlink.NewAttributeDecoder(b)
	if err != nil {
		return err
	}
	for all.Next() {
		f(all.Type(), all.Bytes())
	}
	return all.Err()
}

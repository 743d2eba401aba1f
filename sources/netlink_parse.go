package sources

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"netwatch"
)

// families are our families by the numbers that the kernel has for them.
var families = map[uint8]netwatch.Family{unix.AF_INET: netwatch.IPv4, unix.AF_INET6: netwatch.IPv6}

var errShort = errors.New("the message is too short")

// A reading makes a network of the messages of the kernel. Messages about links must
// come before the others, which call an interface by its index.
type reading struct {
	network
	watches func(name string) bool
	// names are those of all interfaces, watched or not, by their index.
	names map[uint32]string
	// temporary are the IPv6 addresses that were made for privacy.
	temporary map[netip.Addr]bool
	// torn says that something changed while the messages were made.
	torn bool
}

// readMessages reads the network that the messages of the kernel tell of.
func readMessages(messages []netlink.Message, watches func(name string) bool) (*reading, error) {
	r := &reading{network: newNetwork(), watches: watches, names: map[uint32]string{}, temporary: map[netip.Addr]bool{}}
	for _, m := range messages {
		if err := r.add(m); err != nil {
			return nil, fmt.Errorf("reading what the kernel says: %w", err)
		}
	}
	return r, nil
}

// counts says whether an interface is known and watched.
func (r *reading) counts(link string) bool { return link != "" && r.watches(link) }

// add takes one message. It ignores those about other things.
func (r *reading) add(m netlink.Message) error {
	r.torn = r.torn || m.Header.Flags&netlink.DumpInterrupted != 0
	switch m.Header.Type {
	case unix.RTM_NEWLINK:
		return r.link(m.Data)
	case unix.RTM_NEWADDR:
		return r.address(m.Data)
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
	if family == netwatch.IPv6 && flags&unix.IFA_F_TEMPORARY != 0 {
		r.temporary[own] = true
	}
	switch {
	case err != nil, family == "", !r.counts(link), !own.IsValid(), own.IsLinkLocalUnicast():
		return err
	case family == netwatch.IPv6 && flags&fleeting != 0:
		return nil
	}
	at := place{link, family}
	r.addresses[at] = append(r.addresses[at], address{Addr: own, deprecated: deprecated})
	return nil
}

// number is a 32-bit number, or 0.
func number(value []byte) uint32 {
	if len(value) != 4 {
		return 0
	}
	return binary.NativeEndian.Uint32(value)
}

// attributes calls f for each attribute.
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

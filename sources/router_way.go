package sources

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"netwatch"
)

// An uplink is the gateway of the way out and the interface at which it is. It is the
// zero value where there is no way out, or none with a router of ours on it.
type uplink struct {
	link    string
	gateway netip.Addr
	// index is the interface's; one that is made anew by the same name has another.
	index uint32
}

// A netContact is a contact to a router over the network.
type netContact struct {
	// fixed is the router's address, if it is given, and way finds it otherwise.
	fixed netip.Addr
	way   *wayfinder
	ear   *ear
	// at is whom it asked last, natpmp says that it answered by that, and misses how often
	// it did not. igd is the same router, if it speaks UPnP alone.
	at       uplink
	natpmp   bool
	misses   int
	igd      *igd
	searched time.Time
}

// contact opens a contact by the settings.
func (r *Router) contact() (contact, error) {
	if r.Gateway != auto {
		return &netContact{fixed: r.Gateway.addr()}, nil
	}
	way, err := openWayfinder()
	return &netContact{way: way}, err
}

// Find is the router of the way out, or the one that is given.
func (l *netContact) Find(asked []Asked) (uplink, error) {
	if l.way == nil {
		return uplink{gateway: l.fixed}, nil
	}
	return l.way.find(asked)
}

// Ask asks it by NAT-PMP, or by UPnP if it was never heard by that.
func (l *netContact) Ask(ctx context.Context, to uplink) (saying, error) {
	if to != l.at {
		l.leave()
		l.at = to
	}
	if l.igd == nil {
		w, err := askNATPMP(ctx, to)
		if w.protocol = natpmp; err == nil {
			l.natpmp, l.misses = true, 0
			return w, nil
		}
		if l.misses++; l.natpmp || l.misses < mostTries || time.Since(l.searched) < searchPause {
			return saying{}, err
		}
		l.searched = time.Now()
		if l.igd, _ = findIGD(ctx, to); l.igd == nil { // What NAT-PMP says of it is nearer
			return saying{}, err
		}
	}
	w, err := l.igd.ask(ctx)
	if err != nil {
		l.leave()
	}
	return w, err
}

// leave forgets how the router was asked.
func (l *netContact) leave() {
	if l.igd != nil {
		l.igd.client.CloseIdleConnections()
	}
	l.natpmp, l.misses, l.igd, l.searched = false, 0, nil, time.Time{}
}

// Listen hears another router from now on, or none.
func (l *netContact) Listen(ctx context.Context, to uplink) (<-chan saying, error) {
	l.ear.close()
	if l.ear = nil; !to.gateway.IsValid() {
		return nil, nil
	}
	var err error
	if l.ear, err = openEar(ctx, to); err != nil {
		return nil, err
	}
	return l.ear.words, nil
}

// Close ends what it has open.
func (l *netContact) Close() {
	l.leave()
	l.ear.close()
	if l.way != nil {
		l.way.close()
	}
}

// A wayfinder finds the uplink for those who are asked on the internet. It needs no
// privilege.
type wayfinder struct {
	kernel rtnetlink
	// links are what was read of the interfaces, and tunnels which of them are no
	// networks with a router. One whose index is new has them read again.
	links   *reading
	tunnels map[string]bool
}

// openWayfinder opens a socket by which the kernel can be asked.
func openWayfinder() (*wayfinder, error) {
	asked, err := netlink.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		return nil, unopened(err)
	}
	return &wayfinder{kernel: rtnetlink{asked: asked}}, nil
}

// close ends it.
func (f *wayfinder) close() { _ = f.kernel.asked.Close() }

// find asks the kernel for the uplink now.
func (f *wayfinder) find(asked []Asked) (uplink, error) {
	if f.links == nil {
		if err := f.read(); err != nil {
			return uplink{}, err
		}
	}
	way, err := f.way(asked)
	if err == nil && way.link == "" { // An interface may be new, or another by the same name
		if err = f.read(); err == nil {
			way, err = f.way(asked)
		}
	}
	if err != nil || f.tunnels[way.link] {
		return uplink{}, err
	}
	gateway, unknown := netip.ParseAddr(way.gateway)
	if unknown != nil || !gateway.Is4() {
		return uplink{}, nil
	}
	return uplink{way.link, gateway, f.links.index(way.link)}, nil
}

// way is the way out of IPv4.
func (f *wayfinder) way(asked []Asked) (wayOut, error) {
	for _, to := range destinations(asked, netwatch.IPv4) {
		if w, err := f.kernel.way(f.links, to); err != nil || w.link != "" {
			return w, err
		}
	}
	return wayOut{}, nil
}

// read reads the interfaces.
func (f *wayfinder) read() error {
	messages, err := f.kernel.asked.Execute(netlink.Message{
		Header: netlink.Header{Type: unix.RTM_GETLINK, Flags: netlink.Request | netlink.Dump},
		Data:   make([]byte, unix.SizeofIfInfomsg),
	})
	if err != nil {
		return fmt.Errorf("asking the kernel for the links: %w", err)
	}
	f.tunnels = map[string]bool{}
	for _, m := range messages {
		if name := tunnel(m); name != "" {
			f.tunnels[name] = true
		}
	}
	f.links, err = readMessages(messages, func(string) bool { return false })
	return err
}

// virtual are the kinds of interfaces that look like a network and are tunnels: who is
// at their other end is no router of ours.
var virtual = []string{"tun", "gretap", "ip6gretap", "vxlan", "geneve", "l2tpeth"}

// tunnel is the name of the interface that a message tells of, if that is a tunnel:
// anything that is no Ethernet, and what only looks so.
func tunnel(m netlink.Message) (name string) {
	if m.Header.Type != unix.RTM_NEWLINK || len(m.Data) < unix.SizeofIfInfomsg {
		return ""
	}
	is := binary.NativeEndian.Uint16(m.Data[2:]) != unix.ARPHRD_ETHER
	// What is wrong in it is said by who reads the links.
	_ = attributes(m.Data[unix.SizeofIfInfomsg:], func(kind uint16, value []byte) {
		switch kind {
		case unix.IFLA_IFNAME:
			name = unix.ByteSliceToString(value)
		case unix.IFLA_LINKINFO:
			is = is || slices.Contains(virtual, linkKind(value))
		}
	})
	if !is {
		return ""
	}
	return name
}

// linkKind is what kind of virtual interface it is, or nothing.
func linkKind(info []byte) (kind string) {
	_ = attributes(info, func(attribute uint16, value []byte) { // What cannot be read is no kind that we know
		if attribute == unix.IFLA_INFO_KIND {
			kind = unix.ByteSliceToString(value)
		}
	})
	return kind
}

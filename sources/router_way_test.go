package sources

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/mdlayher/netlink"
	"github.com/mdlayher/netlink/nltest"
	"golang.org/x/sys/unix"

	"netwatch"
)

// nowhere is an address to which there is no way.
var nowhere = netip.MustParseAddr("192.0.2.1")

// kernelWith is a kernel with one interface, eth0, and a way out by it. The index is the interface's.
func kernelWith(index *uint32) *netlink.Conn {
	answer := func(to netlink.Message, kind netlink.HeaderType, data []byte, more ...netlink.Attribute) netlink.Message {
		tail, err := netlink.MarshalAttributes(more)
		if err != nil {
			panic(err)
		}
		head := netlink.Header{Type: kind, Sequence: to.Header.Sequence, PID: to.Header.PID}
		return netlink.Message{Header: head, Data: append(data, tail...)}
	}
	return nltest.Dial(func(asked []netlink.Message) ([]netlink.Message, error) {
		if asked[0].Header.Type == unix.RTM_GETROUTE {
			route := make([]byte, unix.SizeofRtMsg)
			if route[7] = unix.RTN_UNICAST; bytes.Contains(asked[0].Data, nowhere.AsSlice()) {
				route[7] = unix.RTN_UNREACHABLE
			}
			return []netlink.Message{answer(asked[0], unix.RTM_NEWROUTE, route,
				netlink.Attribute{Type: unix.RTA_OIF, Data: binary.NativeEndian.AppendUint32(nil, *index)},
				netlink.Attribute{Type: unix.RTA_GATEWAY, Data: []byte{192, 168, 1, 1}})}, nil
		}
		link := make([]byte, unix.SizeofIfInfomsg)
		binary.NativeEndian.PutUint16(link[2:], unix.ARPHRD_ETHER)
		binary.NativeEndian.PutUint32(link[4:], *index)
		one := answer(asked[0], unix.RTM_NEWLINK, link, netlink.Attribute{Type: unix.IFLA_IFNAME, Data: []byte("eth0\x00")})
		return []netlink.Message{one}, nil
	})
}

// An interface that was made anew by the same name is another: what is bound to the one
// before hears nothing any more.
func TestInterfaceMadeAnew(t *testing.T) {
	index := uint32(2)
	f := &wayfinder{kernel: rtnetlink{asked: kernelWith(&index)}}
	defer f.close()
	find := func() uplink {
		got, err := f.find(nil)
		if err != nil || got.link != "eth0" || got.gateway != netip.MustParseAddr("192.168.1.1") {
			t.Fatalf("%+v, %v", got, err)
		}
		return got
	}
	before := find()
	if again := find(); again != before {
		t.Errorf("it was %+v and is %+v", before, again)
	}
	index = 7
	if after := find(); after == before {
		t.Errorf("it is still %+v", after)
	}
}

// The router is that of the way to any of those who are asked: to the first there may be none.
func TestRouterOfAnyWay(t *testing.T) {
	index := uint32(2)
	f := &wayfinder{kernel: rtnetlink{asked: kernelWith(&index)}}
	defer f.close()
	to := func(a netip.Addr) Asked { return Asked{Family: netwatch.IPv4, Address: a} }
	if got, err := f.find([]Asked{to(nowhere), to(second)}); err != nil || got.link != "eth0" {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := f.find([]Asked{to(nowhere)}); err != nil || got.link != "" {
		t.Errorf("to nowhere: %+v, %v", got, err)
	}
}

//go:build lab

package sources

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A homeNet is a host and a router, in namespaces of their own with a cable between.
type homeNet struct{ host, router *netns }

// newHomeNet lays the cable. The router has two addresses.
func newHomeNet(t *testing.T) homeNet {
	t.Helper()
	h := homeNet{newNetns(t), newNetns(t)}
	var thread int
	h.router.inside(func() { thread = unix.Gettid() })
	h.host.ip(t, "link add eth0 type veth peer name lan", "link set lan netns "+strconv.Itoa(thread))
	h.host.ip(t, "link set eth0 up", "addr add 192.168.1.2/24 dev eth0", "route add default via 192.168.1.1")
	h.router.ip(t, "link set lan up", "addr add 192.168.1.1/24 dev lan", "addr add 192.168.1.7/24 dev lan")
	return h
}

// send has the router send a packet from one of its addresses and ports.
func (h homeNet) send(t *testing.T, from, to string, packets int, b []byte) {
	t.Helper()
	local := net.UDPAddrFromAddrPort(netip.MustParseAddrPort(from))
	var conn net.Conn
	var err error
	h.router.inside(func() { conn, err = (&net.Dialer{LocalAddr: local}).DialContext(t.Context(), "udp4", to) })
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for range packets {
		_, _ = conn.Write(b) // That a port is closed is part of it
	}
}

// ear is one in the host that hears the gateway.
func (h homeNet) ear(t *testing.T) *ear {
	t.Helper()
	var e *ear
	var err error
	h.host.inside(func() { e, err = openEar(t.Context(), gateway) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.close)
	return e
}

// listens waits for a saying, at most for a while.
func listens(e *ear, span time.Duration) (saying, bool) {
	select {
	case w := <-e.words:
		return w, true
	case <-time.After(span):
		return saying{}, false
	}
}

// What is not from the gateway's address and its port, or not to all hosts, is not heard.
func TestEarHearsTheGatewayAlone(t *testing.T) {
	h := newHomeNet(t)
	e := h.ear(t)
	h.router.ip(t, "route add 224.0.0.0/4 dev lan")
	lie, truth := answer(0, "198.51.100.99"), answer(0, "198.51.100.7")
	for _, c := range []struct{ from, to string }{
		{"192.168.1.7:5351", "224.0.0.1:5350"},
		{"192.168.1.1:5352", "224.0.0.1:5350"},
		{"192.168.1.1:5351", "192.168.1.2:5350"},
		{"192.168.1.1:5351", "224.0.0.1:5351"},
	} {
		h.send(t, c.from, c.to, 3, lie)
	}
	h.send(t, "192.168.1.1:5351", "224.0.0.1:5350", 1, truth[:11])
	if w, heard := listens(e, 300*time.Millisecond); heard {
		t.Errorf("it heard %+v", w)
	}
	h.send(t, "192.168.1.1:5351", "224.0.0.1:5350", 1, truth)
	if w, _ := listens(e, 3*time.Second); w.address != second {
		t.Errorf("it heard %+v", w)
	}
}

// Another ear, as of another program, hears at the same time.
func TestTwoEars(t *testing.T) {
	h := newHomeNet(t)
	one, two := h.ear(t), h.ear(t)
	h.router.ip(t, "route add 224.0.0.0/4 dev lan")
	h.send(t, "192.168.1.1:5351", "224.0.0.1:5350", 1, answer(0, "198.51.100.7"))
	for _, e := range []*ear{one, two} {
		if w, _ := listens(e, 3*time.Second); w.address != second {
			t.Errorf("it heard %+v", w)
		}
	}
}

// Of a flood from the gateway's own port some are read each second, and no more.
func TestFloodedEar(t *testing.T) {
	h := newHomeNet(t)
	e := h.ear(t)
	h.router.ip(t, "route add 224.0.0.0/4 dev lan")
	heard, stop := make(chan int), make(chan struct{})
	go func() {
		for n := 0; ; {
			select {
			case <-e.words:
				n++
			case <-stop:
				heard <- n
				return
			}
		}
	}()
	began := time.Now()
	for time.Since(began) < 3*time.Second {
		h.send(t, "192.168.1.1:5351", "224.0.0.1:5350", 1000, answer(0, "198.51.100.7"))
	}
	close(stop)
	if n := <-heard; n < earful || n > 5*earful {
		t.Errorf("it read %d packets in 3 s", n)
	}
}

// The router is the one of the way out, and no tunnel's other end is one.
func TestTunnel(t *testing.T) {
	h := newHomeNet(t)
	h.host.ip(t, "tuntap add mode tun tun0", "tuntap add mode tap tap0",
		"link add over type vxlan id 7 remote 192.168.1.9 dstport 4789 dev eth0",
		"link add lan1 type veth peer name lan2", "link set lan1 up", "link set lan2 up",
		"addr add 10.1.0.2/24 dev lan1")
	for i, link := range []string{"tun0", "tap0", "over"} {
		h.host.ip(t, fmt.Sprintf("link set %s up", link), fmt.Sprintf("addr add 10.8.%d.2/24 dev %s", i, link))
	}
	var f *wayfinder
	var err error
	h.host.inside(func() { f, err = openWayfinder() })
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	for _, c := range []struct {
		via, dev string
		want     uplink
	}{
		{"192.168.1.1", "eth0", gateway},
		{"10.1.0.1", "lan1", uplink{link: "lan1", gateway: netip.MustParseAddr("10.1.0.1")}},
		{"10.8.0.1", "tun0 onlink", uplink{}},
		{"10.8.1.1", "tap0 onlink", uplink{}},
		{"10.8.2.1", "over", uplink{}},
		{"192.168.1.7", "eth0", uplink{link: "eth0", gateway: netip.MustParseAddr("192.168.1.7")}},
	} {
		h.host.ip(t, fmt.Sprintf("route replace default via %s dev %s", c.via, c.dev))
		got, err := f.find(nil)
		if got.index = 0; got != c.want || err != nil {
			t.Errorf("via %s at %s: %+v, %v", c.via, c.dev, got, err)
		}
	}
	h.host.ip(t, "route del default", "link add eth5 type veth peer name eth6", "link set eth5 up", "link set eth6 up",
		"addr add 10.5.0.2/24 dev eth5")
	if got, err := f.find(nil); got != (uplink{}) || err != nil {
		t.Errorf("with no way out: %+v, %v", got, err)
	}
	h.host.ip(t, "route add default via 10.5.0.1")
	if got, err := f.find(nil); got.link != "eth5" || err != nil {
		t.Errorf("over an interface that is new: %+v, %v", got, err)
	}
}

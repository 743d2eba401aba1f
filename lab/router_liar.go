package lab

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"time"
)

// A RouterLiar stands in the router's place at the port of NAT-PMP and says, with each
// answer, another address that is not its own.
type RouterLiar struct {
	conn  *net.UDPConn
	began time.Time
	asked atomic.Int64
}

// The ports of NAT-PMP, and the group to which it announces (RFC 6886).
var (
	natpmpAt   = netip.MustParseAddrPort("192.168.50.1:5351")
	announceTo = netip.MustParseAddrPort("224.0.0.1:5350")
)

// StartRouterLiar starts one, where no miniupnpd may run. Stop ends it, and the lab's end.
func (l *Lab) StartRouterLiar() (*RouterLiar, error) {
	conn, err := Listen(l.Router, natpmpAt)
	if err != nil {
		return nil, fmt.Errorf("starting a lying router: %w", err)
	}
	r := &RouterLiar{conn: conn, began: time.Now()}
	l.later(r.Stop)
	go r.serve() // Ends with its socket.
	return r, nil
}

// Stop ends it. Doing it twice is harmless.
func (r *RouterLiar) Stop() error {
	_ = r.conn.Close()
	return nil
}

// Asked is how often it was asked.
func (r *RouterLiar) Asked() int64 { return r.asked.Load() }

// lie is an answer with an address that only it has heard of.
func (r *RouterLiar) lie() []byte {
	b := binary.BigEndian.AppendUint32([]byte{0, 128, 0, 0}, uint32(time.Since(r.began)/time.Second))
	return append(b, 192, 0, 1, byte(200+r.asked.Add(1)%50))
}

func (r *RouterLiar) serve() {
	for question := make([]byte, 64); ; {
		_, from, err := r.conn.ReadFromUDPAddrPort(question)
		if err != nil {
			return
		}
		_, _ = r.conn.WriteToUDPAddrPort(r.lie(), from) // Lost answers are part of UDP.
	}
}

// Flood announces lies as fast as it can for a while, and returns how many.
func (r *RouterLiar) Flood(span time.Duration) (packets int) {
	for end := time.Now().Add(span); time.Now().Before(end); packets++ {
		_, _ = r.conn.WriteToUDPAddrPort(r.lie(), announceTo) // As above.
	}
	return packets
}

package sources

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/pion/stun/v2"

	"netwatch/stunmsg"
)

const (
	// portBlocks are how many parts of all ports packets are sent from, one from each.
	portBlocks = 16
	// portPatience is how long a server may take to say the port that it sees.
	portPatience = time.Second
)

// MappedPorts are the ports in which a server sees packets that are sent from all over
// the ports of this machine: a router that shares its address has some alone.
func MappedPorts(ctx context.Context, server netip.AddrPort) (ports []uint16) {
	ctx, cancel := context.WithTimeout(ctx, portPatience)
	defer cancel()
	var mu sync.Mutex
	var all sync.WaitGroup
	for block := range portBlocks {
		all.Go(func() {
			if port := mappedPort(ctx, server, block); port != 0 {
				mu.Lock()
				defer mu.Unlock()
				ports = append(ports, port)
			}
		})
	}
	all.Wait()
	return ports
}

// mappedPort is what becomes of a port of one part; 0 if the server does not say.
func mappedPort(ctx context.Context, server netip.AddrPort, block int) uint16 {
	const size = 1 << 16 / portBlocks
	var conn net.Conn
	for range 8 { // Some may be in use, and a router may still have those of before
		local := &net.UDPAddr{Port: block*size + size/2 + rand.N(size/2)} //nolint:gosec // Any will do
		var err error
		if conn, err = (&net.Dialer{LocalAddr: local}).DialContext(ctx, "udp4", server.String()); err == nil {
			break
		}
	}
	if conn == nil {
		return 0
	}
	defer conn.Close()
	request, err := stun.Build(stun.TransactionID, stun.BindingRequest)
	if err != nil {
		return 0
	}
	q := stunmsg.Question{Conn: conn, Request: request}
	answer, err := q.Ask(ctx)
	if err != nil {
		return 0
	}
	if _, err := stunmsg.Address(answer, stun.AttrXORMappedAddress); err != nil {
		return 0
	}
	value, _ := answer.Get(stun.AttrXORMappedAddress) // It is there, and long enough: it was read
	return binary.BigEndian.Uint16(value[2:]) ^ portMask
}

// portMask is what a port is told with (RFC 8489, 14.2).
const portMask = 0x2112

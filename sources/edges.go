package sources

import (
	"context"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"

	"netwatch"
)

// Edges are where sources touch the world. What is nil is that of this machine.
type Edges struct {
	// Network is how servers are reached.
	Network Network
	// Inotify is how changes of files are heard of.
	Inotify *Inotify
	// Router is the router, and Kernel what tells of the network.
	Router func() PlayedRouter
	Kernel func() PlayedKernel
	// Jumps wakes its receiver when the wall clock is set, until ctx is done.
	Jumps func(ctx context.Context) (<-chan struct{}, error)
	// Wall is what the clock on the wall shows, by the time zone of where it hangs.
	Wall func() time.Time
	// Broker connects to a broker, as HOST:PORT.
	Broker func(ctx context.Context, address string) (net.Conn, error)
	// Random is evenly from 0 to 1; the pauses between connections go by it.
	Random func() float64
}

// A Network is how servers are reached, and from which addresses.
type Network interface {
	// Lookup looks a name up, for ip4 or ip6.
	Lookup(ctx context.Context, network, host string) ([]netip.Addr, error)
	// Dial makes a socket that gets packets from nobody but whom it is connected to.
	Dial(ctx context.Context, d net.Dialer, to netip.AddrPort) (net.Conn, error)
	// Here are the addresses of the machine's interfaces.
	Here() []netip.Addr
}

// network is how servers are reached.
func (e Edges) network() Network {
	if e.Network == nil {
		return internet{}
	}
	return e.Network
}

// jumps is how it is noticed that the clock was set.
func (e Edges) jumps() func(context.Context) (<-chan struct{}, error) {
	if e.Jumps == nil {
		return clockJumps
	}
	return e.Jumps
}

// random is evenly from 0 to 1.
func (e Edges) random() float64 {
	if e.Random == nil {
		return rand.Float64() //nolint:gosec // Nobody gains by guessing it
	}
	return e.Random()
}

// wall is what the clock on the wall shows.
func (e Edges) wall() time.Time {
	if e.Wall == nil {
		return onTheWall()
	}
	return e.Wall()
}

// The internet is the network of this machine.
type internet struct{}

// Lookup looks a name up.
func (internet) Lookup(ctx context.Context, network, host string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, network, host)
}

// Dial makes a socket over UDP.
func (internet) Dial(ctx context.Context, d net.Dialer, to netip.AddrPort) (net.Conn, error) {
	return d.DialContext(ctx, "udp", to.String())
}

// Here are the addresses of the machine's interfaces.
func (internet) Here() []netip.Addr { return netwatch.OwnAddresses() }

package sources

import (
	"net/netip"

	"netwatch"
)

// A PlayedKernel is that of a simulated machine.
type PlayedKernel interface {
	// Wait returns nil when there is a reason to look, and an error after Close.
	Wait() error
	// Links are how its interfaces are now.
	Links() []Link
	// Close ends Wait.
	Close() error
}

// A Link is an interface.
type Link struct {
	Name string
	Up   bool
	// Addresses are its own, and Gateways by which of them packets of a family get out,
	// where they do.
	Addresses map[netwatch.Family]netip.Addr
	Gateways  map[netwatch.Family]netip.Addr
}

// kernel is what tells of the network: that of this machine, or one that is played.
func (e Edges) kernel(watches func(name string) bool) func() (kernel, error) {
	if e.Kernel == nil {
		return func() (kernel, error) { return openKernel(watches) }
	}
	return func() (kernel, error) { return playedKernel{e.Kernel(), watches}, nil }
}

// A playedKernel is one that is played.
type playedKernel struct {
	PlayedKernel
	watches func(name string) bool
}

// Read is the network now.
func (k playedKernel) Read(_, _ []Asked) (is network, whole bool, err error) {
	is = newNetwork()
	is.next = map[netwatch.Family]wayOut{}
	for _, l := range k.Links() {
		for family, gateway := range l.Gateways {
			if l.Up {
				is.next[family] = wayOut{l.Name, gateway.String(), l.Addresses[family].String()}
			}
		}
		if !k.watches(l.Name) {
			continue
		}
		is.up[l.Name] = l.Up
		for family, a := range l.Addresses {
			is.addresses[place{l.Name, family}] = []address{{Addr: a}}
		}
	}
	is.ways = is.next
	return is, true, nil
}

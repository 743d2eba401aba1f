package simulate

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"time"

	"netwatch"
	"netwatch/sources"
)

// A router is the gateway of the line: what it says of itself, and how.
type router struct {
	*World
	does  string
	lie   netip.Addr
	began time.Duration
	// ears are those who hear what it announces.
	ears []chan sources.Said
}

// gateway is its address on our network, and uplink the interface at which it is.
var gateway = netip.MustParseAddr("192.168.1.1")

const uplink = "eth0"

// said is what it says. w.mu is held.
func (r *router) said() sources.Said {
	s := sources.Said{Epoch: uint32((boot + r.now() - r.began) / time.Second)}
	if f := r.line.families[netwatch.IPv4]; f.up {
		s.Address = f.address
	}
	if r.does == "says another address" {
		s.Address = r.lie
	}
	return s
}

// announces tells what has changed, unless it keeps silent. w.mu is held.
func (r *router) announces() {
	if r.does == "announces nothing" || r.does == "does not answer" {
		return
	}
	said := r.said()
	for i, e := range r.ears {
		time.AfterFunc(r.spanOf("announce", time.Millisecond, 50*time.Millisecond)+time.Duration(i), func() {
			select {
			case e <- said:
			default:
			}
		})
	}
}

// A contact is what one life of the daemon has of it.
type contact struct {
	*router
	life *life
	ear  chan sources.Said
}

// contact makes one.
func (l *life) contact() sources.PlayedRouter {
	return &contact{l.router, l, make(chan sources.Said, 4)}
}

// Find is the router.
func (c *contact) Find() (netip.Addr, string) { return gateway, uplink }

// Ask asks it.
func (c *contact) Ask(ctx context.Context) (sources.Said, error) {
	c.mu.Lock()
	lag := c.spanOf("router", time.Millisecond, 8*time.Millisecond)
	does, dead := c.does, c.life.dead
	c.mu.Unlock()
	if dead {
		return sources.Said{}, errDead
	}
	if does == "does not answer" {
		lag = 2 * time.Second
	}
	select {
	case <-time.After(lag):
	case <-ctx.Done():
		return sources.Said{}, context.Cause(ctx)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.story.Router++
	if does == "does not answer" {
		return sources.Said{}, os.ErrDeadlineExceeded
	}
	return c.said(), nil
}

// Listen hears what it announces.
func (c *contact) Listen() <-chan sources.Said {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ears = append(c.ears, c.ear)
	return c.ear
}

// Close ends that.
func (c *contact) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ears = remove(c.ears, c.ear)
}

func remove[T comparable](all []T, one T) (left []T) {
	for _, a := range all {
		if a != one {
			left = append(left, a)
		}
	}
	return left
}

// A kernel is what tells one life of the network.
type kernel struct {
	*World
	woken chan struct{}
	ended chan struct{}
}

func (l *life) kernel() sources.PlayedKernel {
	k := &kernel{l.World, make(chan struct{}, 1), make(chan struct{})}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kernels = append(l.kernels, k)
	return k
}

// tells wakes whoever listens to the kernel. w.mu is held.
func (w *World) tells() {
	for _, k := range w.kernels {
		select {
		case k.woken <- struct{}{}:
		default:
		}
	}
}

// Wait waits until there is a reason to look.
func (k *kernel) Wait() error {
	select {
	case <-k.woken:
		return nil
	case <-k.ended:
		return errors.New("it is closed")
	}
}

// Links are the interfaces.
func (k *kernel) Links() []sources.Link {
	k.mu.Lock()
	defer k.mu.Unlock()
	l := sources.Link{Name: uplink, Up: true, Addresses: map[netwatch.Family]netip.Addr{}}
	l.Gateways = map[netwatch.Family]netip.Addr{}
	for name, f := range k.line.families {
		if name == netwatch.IPv6 && !f.up {
			continue
		}
		l.Addresses[name], l.Gateways[name] = f.own, gateway
	}
	return []sources.Link{l}
}

// Close ends it.
func (k *kernel) Close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.kernels = remove(k.kernels, k)
	close(k.ended)
	return nil
}

// routes has the router behave otherwise.
func (w *World) routes(n uint64) {
	all := []string{"says all", "says all", "announces nothing", "does not answer", "says another address", "began anew"}
	r := w.router
	switch r.does = all[n%uint64(len(all))]; r.does {
	case "says another address":
		r.lie = lieOf(netwatch.IPv4, 8, mix(n, 1))
	case "began anew":
		r.began, r.does = boot+w.now(), "says all"
	}
	w.tell("the router %s", r.does)
	r.announces()
}

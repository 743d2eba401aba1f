package sources

import (
	"context"
	"net/netip"
)

// A PlayedRouter is a router of a simulated network.
type PlayedRouter interface {
	// Find is the router of the way out, and at which interface it is; invalid without one.
	Find() (gateway netip.Addr, link string)
	// Ask asks it once.
	Ask(ctx context.Context) (Said, error)
	// Listen hears what it announces, until Close.
	Listen() <-chan Said
	// Close ends that.
	Close()
}

// A Said is what a router says: its address on the internet, invalid if it has none, and
// how many seconds ago it began to count.
type Said struct {
	Address netip.Addr
	Epoch   uint32
}

// contact is how a router is found: that of this machine, or one that is played.
func (e Edges) contact(ours func() (contact, error)) func() (contact, error) {
	if e.Router == nil {
		return ours
	}
	return func() (contact, error) { return &playedContact{PlayedRouter: e.Router()}, nil }
}

// A playedContact is the contact to one that is played.
type playedContact struct {
	PlayedRouter
	ended context.CancelFunc
}

// Find is the router now.
func (p *playedContact) Find([]Asked) (uplink, error) {
	gateway, link := p.PlayedRouter.Find()
	return uplink{link: link, gateway: gateway, index: 2}, nil
}

// Ask asks it once.
func (p *playedContact) Ask(ctx context.Context, _ uplink) (saying, error) {
	said, err := p.PlayedRouter.Ask(ctx)
	return saying{address: said.Address, epoch: said.Epoch, protocol: natpmp}, err
}

// Listen hears what it announces until the next Listen or Close.
func (p *playedContact) Listen(ctx context.Context, _ uplink) (<-chan saying, error) {
	p.leave()
	ctx, p.ended = context.WithCancel(ctx)
	heard, words := p.PlayedRouter.Listen(), make(chan saying, 1)
	go func() { // Ends with ctx
		for {
			select {
			case said := <-heard:
				select {
				case words <- saying{address: said.Address, epoch: said.Epoch}:
				default:
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return words, nil
}

func (p *playedContact) leave() {
	if p.ended != nil {
		p.ended()
	}
}

// Close ends it.
func (p *playedContact) Close() {
	p.leave()
	p.PlayedRouter.Close()
}

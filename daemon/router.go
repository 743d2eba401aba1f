package daemon

import (
	"context"
	"net/netip"
	"sync"

	"netwatch"
)

// look has the sources look at once that find out our address.
func (ws *watchers) look(ctx context.Context) {
	var all sync.WaitGroup
	for _, s := range *ws.live.Load() {
		if h, ok := s.(interface {
			Hurry(ctx context.Context) netwatch.Result
		}); ok {
			all.Go(func() { h.Hurry(ctx) })
		}
	}
	all.Wait()
}

// vouched is closed when the router that says an address no longer does; nil if none
// says it.
func (ws *watchers) vouched(address netip.Addr) <-chan struct{} {
	for _, s := range *ws.live.Load() {
		if v, ok := s.(interface {
			Vouched(address netip.Addr) <-chan struct{}
		}); ok {
			if lost := v.Vouched(address); lost != nil {
				return lost
			}
		}
	}
	return nil
}

// router is how the router stands; nil if none is asked.
func (ws *watchers) router() *netwatch.Router {
	for _, s := range *ws.live.Load() {
		if r, ok := s.(interface {
			Router() (netwatch.Router, bool)
		}); ok {
			if status, is := r.Router(); is {
				return &status
			}
		}
	}
	return nil
}

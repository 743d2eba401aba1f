package control

import (
	"net/netip"
	"testing"

	"netwatch"
)

// What the router says is for those who may read the history.
func TestRouterIsNotForEveryone(t *testing.T) {
	s := Status{Router: &netwatch.Router{Gateway: netip.MustParseAddr("192.168.1.1")}}
	if public := s.public(); public.Router != nil || s.Router == nil {
		t.Errorf("everyone sees %+v of %+v", public.Router, s.Router)
	}
}

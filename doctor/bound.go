package doctor

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"netwatch"
	"netwatch/servers"
)

// checkBound looks whether this machine has the addresses that the files of coturns name
// to listen at and to relay from. Started with one that is gone, coturn listens at none
// of them, and never gives up; relays by it are refused (measured).
func checkBound(_ context.Context, s *scene) (found []Finding) {
	here := netwatch.OwnAddresses()
	for _, t := range s.turns() {
		gone := goneFrom(here, t.offer)
		if gone == nil {
			continue
		}
		away, err := t.elsewhere()
		switch {
		case err != nil:
			found = append(found, wrong(Unknown, t.File, err))
		case !away:
			found = append(found, judgeGone(t, gone, s.ownOf))
		}
	}
	return found
}

// goneFrom are the lines of an offer whose address is none of these.
func goneFrom(here []netip.Addr, offer *servers.Offer) (gone []binding) {
	if offer == nil {
		return nil
	}
	for _, b := range []struct {
		key string
		all []netip.Addr
	}{{"listening-ip", offer.Listening}, {"relay-ip", offer.Relays}} {
		for _, a := range b.all {
			if !a.IsUnspecified() && !a.IsLoopback() && !slices.Contains(here, a.Unmap().WithZone("")) {
				gone = append(gone, binding{b.key, a})
			}
		}
	}
	return gone
}

// A binding is a line that names an address of the machine.
type binding struct {
	key     string
	address netip.Addr
}

// String is the line.
func (b binding) String() string { return b.key + "=" + b.address.String() }

// ownOf is this machine's address by which packets of a family go out.
func (s *scene) ownOf(family netwatch.Family) netip.Addr {
	if a := s.confirmed()[family]; a.Own.IsValid() {
		return a.Own
	}
	return netwatch.OwnAddress(family, s.known()[family])
}

// judgeGone says what becomes of a coturn whose addresses are gone.
func judgeGone(t coturn, gone []binding, own func(netwatch.Family) netip.Addr) Finding {
	var lines, now []string
	for _, b := range gone {
		lines = append(lines, b.String())
		if a := own(netwatch.FamilyOf(b.address)); a.IsValid() && !slices.Contains(now, a.String()) {
			now = append(now, a.String())
		}
	}
	what := "coturn started with it listens nowhere"
	if gone[0].key == "relay-ip" {
		what = "coturn lends no relay by it"
	}
	hint := "take it out"
	if len(now) > 0 {
		hint = fmt.Sprintf("write what it is now (%s), or take the line out", strings.Join(now, ", "))
	}
	return Finding{
		Problem, t.File, fmt.Sprintf("%s is no address of this machine: %s", strings.Join(lines, ", "), what),
		hint + "; then " + restart(t.Unit),
	}
}

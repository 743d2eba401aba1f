package doctor

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"netwatch/servers"
)

// checkPorts looks for coturns that share a port. The kernel gives each caller to one of
// them by chance, who does not know the others' credentials (measured).
func checkPorts(ctx context.Context, s *scene) (found []Finding) {
	all := slices.Clone(s.turns())
	if s.idle(ctx) {
		all = append(all, untouched())
	}
	all = slices.DeleteFunc(all, func(t coturn) bool { away, _ := t.elsewhere(); return away })
	for i, t := range all {
		for _, o := range all[:i] {
			if l, both := shared(t, o); both {
				found = append(found, judgeShared(t, o, l, free(all, l.Port)))
			}
		}
	}
	if found == nil {
		found = []Finding{{OK, "ports", "no two coturns share one", ""}}
	}
	return found
}

// free is a port after one, which no coturn names. coturn takes the one after its own
// too, where it has two addresses.
func free(all []coturn, port uint16) uint16 {
	taken := func(t coturn) bool {
		return t.offer != nil && slices.ContainsFunc(t.offer.Listeners, func(l servers.Listener) bool {
			return l.Port == port || l.Port == port+1 || l.Port == port-1
		})
	}
	for slices.ContainsFunc(all, taken) {
		port++
	}
	return port
}

// untouched is Debian's coturn as its package sets it up.
func untouched() (t coturn) {
	t.Unit, t.File = debianUnit, "/etc/turnserver.conf"
	t.offer = &servers.Offer{Listeners: []servers.Listener{
		{Over: servers.UDP, Port: servers.DefaultPort}, {Over: servers.TCP, Port: servers.DefaultPort},
	}}
	return t
}

// shared is the first listener that two coturns have in common.
func shared(t, o coturn) (servers.Listener, bool) {
	if t.offer == nil || o.offer == nil || !meet(t.offer.Listening, o.offer.Listening) {
		return servers.Listener{}, false
	}
	i := slices.IndexFunc(t.offer.Listeners, func(l servers.Listener) bool {
		return slices.ContainsFunc(o.offer.Listeners, func(other servers.Listener) bool {
			return l.Port == other.Port && (l.Over == servers.UDP) == (other.Over == servers.UDP)
		})
	})
	if i < 0 {
		return servers.Listener{}, false
	}
	return t.offer.Listeners[i], true
}

// meet says whether two lists of addresses to listen at have one in common. An empty one
// is all of the machine's.
func meet(a, b []netip.Addr) bool {
	all := func(list []netip.Addr) bool {
		return len(list) == 0 || slices.ContainsFunc(list, netip.Addr.IsUnspecified)
	}
	return all(a) || all(b) || slices.ContainsFunc(a, func(one netip.Addr) bool { return slices.Contains(b, one) })
}

// judgeShared says what to do about a port that two have, where another is free.
func judgeShared(t, o coturn, l servers.Listener, free uint16) Finding {
	hint := fmt.Sprintf("write %s=%d into %s, have the router hand that on and turn_uris of its Synapse name it; then %s",
		portKey(l), free, t.File, restart(t.Unit))
	if t.Unit == debianUnit {
		hint = "systemctl disable --now " + debianUnit
	}
	return Finding{
		Warning, fmt.Sprintf("port %d", l.Port),
		fmt.Sprintf("%s and %s share it (%s): which of them answers a caller is chance", o.Unit, t.Unit, l.Over), hint,
	}
}

// portKey is what names the port of a listener.
func portKey(l servers.Listener) string {
	if l.Over == servers.TLS {
		return "tls-listening-port"
	}
	return "listening-port"
}

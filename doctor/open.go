package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"netwatch"
	"netwatch/servers"
	"netwatch/turn"
)

// openTime is how long an open relay may take to answer: it is on this machine, or a
// router away.
const openTime = time.Second

// checkOpen looks for a server that lends relays to everyone: at the port that coturn takes
// where its file names none, and at those of the coturns in use. Strangers reach whatever
// such a relay does, in the name of this machine.
func checkOpen(ctx context.Context, s *scene) (found []Finding) {
	all := s.plainPorts()
	open := make([][]packet, len(all))
	var wg sync.WaitGroup
	for i, port := range all {
		wg.Go(func() { open[i] = s.openAt(ctx, port) })
	}
	wg.Wait()
	for i, port := range all {
		if len(open[i]) > 0 {
			found = append(found, s.judgeOpen(ctx, port, open[i]))
		}
	}
	ports := strings.Trim(fmt.Sprint(all), "[]")
	if found == nil {
		found = []Finding{{OK, "open relay", fmt.Sprintf("nobody lends relays without credentials at port %s", ports), ""}}
	}
	return found
}

// plainPorts are the ports at which is asked.
func (s *scene) plainPorts() []uint16 {
	all := []uint16{servers.DefaultPort}
	for _, t := range s.turns() {
		if t.offer == nil {
			continue
		}
		for _, l := range t.offer.Listeners {
			if l.Over != servers.TLS && !slices.Contains(all, l.Port) {
				all = append(all, l.Port)
			}
		}
	}
	return all
}

// openAt are those ways to this machine by which an open relay answers, as it is asked
// from here.
func (s *scene) openAt(ctx context.Context, port uint16) (open []packet) {
	var all []packet
	for _, family := range netwatch.Families {
		for _, over := range []servers.Transport{servers.UDP, servers.TCP} {
			if a := s.ownOf(family); servers.Reaches(a) {
				all = append(all, packet{family, over, port})
			}
		}
	}
	lends := make([]bool, len(all))
	var wg sync.WaitGroup
	for i, p := range all {
		wg.Go(func() { lends[i] = lendsToAll(ctx, s.ownOf(p.family), p) })
	}
	wg.Wait()
	for i, p := range all {
		if lends[i] {
			open = append(open, p)
		}
	}
	return open
}

// lendsToAll says whether who answers at an address lends relays without credentials.
func lendsToAll(ctx context.Context, at netip.Addr, p packet) bool {
	ctx, cancel := context.WithTimeout(ctx, openTime)
	defer cancel()
	_, _, err := turn.Allocate(ctx, turn.Ask{To: netip.AddrPortFrom(at, p.port), Over: p.over})
	return errors.Is(err, turn.ErrOpen)
}

// judgeOpen says what to do about an open relay. It is a problem where strangers reach it:
// where the router hands them on to it, or this machine has a public address and keeps
// nobody out.
func (s *scene) judgeOpen(ctx context.Context, port uint16, open []packet) Finding {
	f := Finding{Warning, fmt.Sprintf("port %d", port), "", s.closing(ctx, port)}
	var ways []string
	by := map[string][]string{}
	for _, p := range open {
		reached, way := s.reach(ctx, p)
		if reached {
			f.Level = Problem
		}
		if by[way] == nil {
			ways = append(ways, way)
		}
		by[way] = append(by[way], string(p.over))
	}
	for i, way := range ways {
		ways[i] = fmt.Sprintf("%s (%s)", way, strings.Join(by[way], ", "))
	}
	f.Found = "an open relay: it lends relays to everyone who asks, without credentials; " + strings.Join(ways, "; ")
	return f
}

// reach says whether strangers reach an open relay, and by what that is known.
func (s *scene) reach(ctx context.Context, p packet) (reached bool, how string) {
	public := s.known()[p.family]
	own := s.ownOf(p.family)
	if netwatch.CheckPublic(own, nil) != nil {
		if public.IsValid() && lendsToAll(ctx, public, p) {
			return true, fmt.Sprintf("it is reached at %s", public)
		}
		return false, fmt.Sprintf("%s is behind a NAT, which must not hand the port on", own)
	}
	switch open, err := lets(ctx, p); {
	case err != nil:
		return false, fmt.Sprintf("whether the firewall keeps others from %s is not known: %s", own, err)
	case open:
		return true, fmt.Sprintf("no firewall on this machine keeps others from %s", own)
	}
	return false, fmt.Sprintf("the firewall keeps others from %s", own)
}

// closing is how to end an open relay.
func (s *scene) closing(ctx context.Context, port uint16) string {
	turns := s.turns()
	i := slices.IndexFunc(turns, func(t coturn) bool { return t.lendsAt(port) })
	idle := port == servers.DefaultPort && s.idle(ctx)
	switch {
	case i >= 0:
		return secure(turns[i].File, turns[i].Unit)
	case idle && len(turns) > 0:
		return "systemctl disable --now " + debianUnit
	case idle:
		return secure(untouched().File, debianUnit)
	}
	return fmt.Sprintf("as root, ss -lpn sport = :%d shows which process that is: stop it, or give it credentials", port)
}

// lendsAt says whether a coturn listens at a port and knows nobody by name.
func (t coturn) lendsAt(port uint16) bool {
	known := func(c *servers.Credential) bool { return c != nil }
	return t.offer != nil && !slices.ContainsFunc(t.offer.Credentials, known) &&
		slices.ContainsFunc(t.offer.Listeners, func(l servers.Listener) bool { return l.Port == port })
}

// secure is how a coturn comes to want credentials.
func secure(file, unit string) string {
	return fmt.Sprintf("write use-auth-secret, static-auth-secret=SECRET, with a secret of your own, and realm= with its "+
		"name into %s, and take no-auth out of it; then %s", file, restart(unit))
}

package sources

import (
	"math"
	"net/netip"
	"slices"
	"time"

	"netwatch"
)

// How an address that comes and goes is damped, after the route flaps of RFC 2439.
const (
	// comeback is the penalty of an address each time that it is left and comes back.
	comeback = 1000
	// heldFrom is the penalty from which on it is not believed, and heldUntil the one
	// below which it is again.
	heldFrom, heldUntil = 3000, 750
	// halfLife is how long a penalty takes to be halved.
	halfLife = 15 * time.Minute
	// steady is how long one address must have been seen, and no other, for nothing to
	// be held any more.
	steady = 5 * time.Minute
	// memory is for how long an address that is not seen is remembered.
	memory = time.Hour
	// mostSightings is how many are remembered: more than a line has, so that who
	// answers with ever new ones takes no memory.
	mostSightings = 64
)

// A sighting is an address that servers agreed on lately.
type sighting struct {
	address netip.Addr
	last    time.Time
	// penalty is as it was at last.
	penalty float64
	// held says that it is not believed, though it is seen.
	held bool
}

// at is the penalty later on.
func (s sighting) at(now time.Time) float64 {
	return s.penalty * math.Exp2(-float64(now.Sub(s.last))/float64(halfLife))
}

// A damping is how the addresses of a family came and went. It is a value: nothing
// in it is ever changed.
type damping struct {
	// seen are the sightings, the newest last.
	seen []sighting
	// since is from when on the newest has been seen, and no other.
	since time.Time
}

// see is d after an address was seen. The penalty is its own: whoever gets ever new
// addresses has none.
func (d damping) see(a netip.Addr, now time.Time) damping {
	s, came := sighting{address: a}, true
	var rest []sighting
	for i, old := range d.seen {
		switch {
		case now.Sub(old.last) > memory:
		case old.address != a:
			rest = append(rest, old)
		default:
			s.penalty, came = old.at(now), i < len(d.seen)-1
			s.held = old.held && s.penalty >= heldUntil
			if came {
				s.penalty += comeback
			}
		}
	}
	s.last = now
	if came {
		d.since = now
	}
	s.held = s.held || s.penalty >= heldFrom
	rest = append(rest, s)
	d.seen = rest[max(0, len(rest)-mostSightings):]
	if now.Sub(d.since) >= steady {
		d.release()
	}
	return d
}

// release has nothing be held of a list that nobody else has yet. The penalties stay.
func (d damping) release() {
	for i := range d.seen {
		d.seen[i].held = false
	}
}

// holds says that an address is not to be believed.
func (d damping) holds(a netip.Addr) bool {
	return slices.ContainsFunc(d.seen, func(s sighting) bool { return s.address == a && s.held })
}

// report is what is held in place of the newest address that is not believed, while
// there is one.
func (d damping) report(held netip.Addr, now time.Time) (netwatch.Damped, bool) {
	for _, s := range slices.Backward(d.seen) {
		penalty := s.at(now)
		if !held.IsValid() || !s.held || s.address == held || penalty < heldUntil || now.Sub(s.last) > memory {
			continue
		}
		until := now.Add(time.Duration(math.Log2(penalty/heldUntil) * float64(halfLife)))
		if soon := d.since.Add(steady); soon.Before(until) {
			until = soon
		}
		return netwatch.Damped{
			Family: netwatch.FamilyOf(held), Held: held, Seen: s.address, Penalty: int(penalty), Until: until,
		}, true
	}
	return netwatch.Damped{}, false
}

package simulate

import (
	"net/netip"
	"time"

	"netwatch"
)

// A line is how the machine is connected to the internet.
type line struct {
	families map[netwatch.Family]*family
}

// A family is how it is connected in one.
type family struct {
	address netip.Addr // as others see it
	own     netip.Addr // of the machine
	up      bool
	// truth are all addresses that it had, the newest last.
	truth []stretch
	// told are the answers of each server in this life, by what it said.
	told map[netip.Addr]map[int]time.Duration
}

// A stretch is from when on an address was the true one.
type stretch struct {
	address netip.Addr
	from    time.Duration
}

// newLine is a line with one family or both.
func newLine(w *World) line {
	l := line{families: map[netwatch.Family]*family{}}
	l.families[netwatch.IPv4] = &family{own: netip.MustParseAddr("192.168.1.5")}
	if w.draw("families")%2 == 0 {
		l.families[netwatch.IPv6] = &family{}
	}
	for _, name := range netwatch.Families {
		if f := l.families[name]; f != nil {
			f.up, f.told = true, map[netip.Addr]map[int]time.Duration{}
			f.become(addressOf(name, w.draw("address "+string(name))), 0)
		}
	}
	return l
}

// addressOf is one of the addresses that the line gets: there are few, so that they come
// back.
func addressOf(f netwatch.Family, n uint64) netip.Addr {
	last := byte(1 + n%5)
	if f == netwatch.IPv6 {
		a := netip.MustParseAddr("2001:db8:1::5").As16()
		a[7] = last
		return netip.AddrFrom16(a)
	}
	return netip.AddrFrom4([4]byte{203, 0, 113, last})
}

// become gives it another address.
func (f *family) become(a netip.Addr, at time.Duration) {
	f.address = a
	if a.Is6() {
		f.own = a
	}
	f.truth = append(f.truth, stretch{a, at})
}

// was says whether an address was the true one at some time since.
func (f *family) was(a netip.Addr, since time.Duration) bool {
	for i, s := range f.truth {
		until := time.Duration(1 << 62)
		if i+1 < len(f.truth) {
			until = f.truth[i+1].from
		}
		if s.address == a && until >= since {
			return true
		}
	}
	return false
}

// here are the addresses of the machine. w.mu is held.
func (w *World) hereNow() (all []netip.Addr) {
	all = append(all, netip.MustParseAddr("127.0.0.1"))
	for _, name := range netwatch.Families {
		if f := w.line.families[name]; f != nil && f.up {
			all = append(all, f.own)
		}
	}
	return all
}

func (w *World) here() []netip.Addr {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.hereNow()
}

// own is the machine's own address of a family.
func (w *World) own(name netwatch.Family, public netip.Addr) netip.Addr {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := w.line.families[name]
	switch {
	case f == nil || !f.up:
		return netip.Addr{}
	case public == f.own:
		return public
	}
	return f.own
}

package sources

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"netwatch"
)

// The paces of polls beside that of the settings.
const (
	// rareFactor is how many times rarer polls are while our address is vouched for, and
	// mostRare how far apart they are at most.
	rareFactor = 8
	mostRare   = 2 * time.Minute
	// outagePause is the pause after a poll that heard nobody, for outageTime. Then the
	// pauses grow: no line is worth being asked for all day.
	outagePause = time.Second
	outageTime  = 2 * time.Minute
	outageShare = 8
)

// A pace says when the next poll is.
type pace struct {
	every time.Duration
	// rare allows rarer polls.
	rare bool
	// polled is when the last poll began, and out since when none heard anybody; zero
	// if the last one did.
	polled, out time.Time
}

// after is how long after a poll that ends now the next one begins.
func (p *pace) after(heard bool) time.Duration {
	now := time.Now()
	next := max(0, p.polled.Add(p.every).Sub(now))
	if heard {
		p.out = time.Time{}
		return next
	}
	if p.out.IsZero() {
		p.out = now
	}
	pause := outagePause
	if out := now.Sub(p.out); out > outageTime {
		pause = out / outageShare
	}
	return min(pause, next)
}

// spare is for how long the next poll can wait because the address is vouched for. It is
// not positive if it cannot.
func (p *pace) spare() time.Duration {
	if !p.rare || !p.out.IsZero() {
		return 0
	}
	return time.Until(p.polled.Add(p.longest()))
}

// longest is the time between two polls while the address is vouched for.
func (p *pace) longest() time.Duration { return min(rareFactor*p.every, max(mostRare, p.every)) }

// rest is what to wait for until the next poll, whose time has come, if it can wait: it
// returns how long, and what ends that. IPv6 is looked after at the usual pace.
func (s *stunSource) rest() (time.Duration, <-chan struct{}) {
	spare := s.pace.spare()
	if spare <= 0 {
		return 0, nil
	}
	lost := s.vouched()
	switch _, six := s.env.Known()[netwatch.IPv6]; {
	case lost == nil:
		return 0, nil
	case six:
		return min(spare, s.pace.every), lost
	}
	return spare, lost
}

// vouched says for how long all addresses that are known are vouched for: that of IPv4
// by a router, that of IPv6 by the kernel, which has it and sends from it. It is nil if
// one of them is not.
func (s *stunSource) vouched() <-chan struct{} {
	known := s.env.Known()
	six, is := known[netwatch.IPv6]
	if s.env.Vouched == nil || !s.asks(netwatch.IPv4) ||
		is && s.asks(netwatch.IPv6) && (six.Own != six.Address || s.own6(s.Asked()) != six.Address) {
		return nil
	}
	return s.env.Vouched(known[netwatch.IPv4].Address)
}

// Note says at which pace the servers are asked, where that is not the usual one.
func (s *stunSource) Note() string {
	if !s.pace.rare || s.vouched() == nil {
		return ""
	}
	return fmt.Sprintf("the servers are asked every %s while the router says the same", s.pace.longest())
}

// asks says whether a family is asked for.
func (s *stunSource) asks(family netwatch.Family) bool {
	return slices.ContainsFunc(s.views, func(v *view) bool { return v.family == family })
}

// heardAny says whether the last poll heard servers: in each family that is known, and
// in some family.
func (s *stunSource) heardAny() (some bool) {
	for _, v := range s.views {
		anybody, missed := v.hears()
		if missed {
			return false
		}
		some = some || anybody
	}
	return some
}

// own6 is this machine's address in packets to the servers over IPv6. Nothing is sent.
func (s *STUN) own6(n Network) func(asked []Asked) netip.Addr {
	return func(asked []Asked) netip.Addr { return s.own6To(n, asked) }
}

func (s *STUN) own6To(n Network, asked []Asked) netip.Addr {
	i := slices.IndexFunc(asked, func(a Asked) bool { return a.Family == netwatch.IPv6 && a.Address.IsValid() })
	if i < 0 {
		return netip.Addr{}
	}
	d := net.Dialer{Control: s.prepare}
	conn, err := n.Dial(context.Background(), d, netip.AddrPortFrom(asked[i].Address, 9))
	if err != nil {
		return netip.Addr{}
	}
	defer conn.Close()
	return netip.MustParseAddrPort(conn.LocalAddr().String()).Addr().WithZone("")
}

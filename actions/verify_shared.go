package actions

import (
	"context"
	"fmt"
	"slices"
	"time"

	"netwatch"
	"netwatch/servers"
	"netwatch/turn"
)

// sharers is how often a port is asked at which another server may answer too. Two coturns
// of one user share a port (SO_REUSEPORT), and each caller reaches one of them by chance
// (measured: 14 of 30 were right). Of two that share evenly both are met but once in half a
// million proofs, and where one gets three callers of four, but once in 300.
const sharers = 20

// knock asks as callers begin, in nobody's name, at the ports for UDP where the server has
// answered: another one that has such a port too answers some of them.
func (v *verification) knock(ctx context.Context, p *proof, asks []turn.Ask, end time.Time) {
	knocked := map[uint16]bool{}
	for _, a := range asks {
		port := a.To.Port()
		if a.Over != servers.UDP || !p.mine[port] || knocked[port] {
			continue
		}
		knocked[port], a.Who = true, nil
		for range sharers - 1 {
			if got := v.ask(ctx, a, end); strange(got.err) {
				p.strange = append(p.strange, stranger{a, got.err})
				break
			}
		}
	}
}

// conclude says what it is that another server answers at a port. It is no fault of the
// server if no caller of it comes there: if it has a port of its own beside.
func (p *proof) conclude() {
	shared := map[uint16]bool{}
	for _, s := range p.strange {
		shared[s.ask.To.Port()] = p.mine[s.ask.To.Port()]
	}
	alone := false
	for port := range p.mine {
		alone = alone || !shared[port]
	}
	for _, s := range p.strange {
		err := p.explain(place(s.ask), s.ask, s.err)
		if shared[s.ask.To.Port()] {
			err = netwatch.WithHint(fmt.Errorf("two servers share a port, and callers reach one by chance: %w", err),
				otherPort(s.ask.To.Port()))
		}
		switch {
		case alone:
			if word := err.Error(); !slices.Contains(p.words, word) {
				p.words = append(p.words, word)
			}
		case p.err == nil:
			p.err = err
		}
	}
}

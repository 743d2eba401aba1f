package doctor

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"netwatch"
	"netwatch/sources"
)

// told is what the servers of a source said for one family.
type told struct {
	source string
	sources.Told
}

// ask asks all servers of all sources at the same time.
func (s *scene) ask(ctx context.Context) (all []told) {
	ctx, cancel := context.WithTimeout(ctx, addressTime)
	defer cancel()
	for _, source := range s.cfg.Sources {
		if asking, ok := source.Settings.(sources.Asking); ok {
			for _, t := range asking.Ask(ctx, s.cfg.Relays) {
				all = append(all, told{source.Name, t})
			}
		}
	}
	return all
}

// known are the addresses that follow from what the servers say.
func (s *scene) known() map[netwatch.Family]netip.Addr {
	all := map[netwatch.Family]netip.Addr{}
	for family, a := range s.confirmed() {
		all[family] = a.Address
	}
	return all
}

// confirmed are the same as a job gets them: where the daemon holds an address while
// another comes and goes, that is the one.
func (s *scene) confirmed() netwatch.Addresses {
	all := netwatch.Addresses{}
	for _, t := range s.told() {
		if t.Err == nil {
			all[t.Family] = netwatch.Address{Address: t.Address, Own: sources.OwnBy(t.Answers, t.Address)}
		}
	}
	d, err := s.daemon()
	for i := 0; err == nil && i < len(d.Damped); i++ {
		a := all[d.Damped[i].Family]
		if a.Address == d.Damped[i].Seen {
			a.Address = d.Damped[i].Held
			all[d.Damped[i].Family] = a
		}
	}
	return all
}

// checkServers looks whether the servers agree.
func checkServers(_ context.Context, s *scene) []Finding {
	if s.onlyTells() {
		return nil
	}
	return judgeServers(s.told(), len(s.known()) > 0)
}

// judgeServers judges each family. Where one was asked for, which then has its own finding,
// another for which there is nobody to ask is none of this machine's.
func judgeServers(all []told, some bool) (found []Finding) {
	asked := slices.ContainsFunc(all, func(t told) bool { return len(t.Answers) > 0 })
	for _, t := range all {
		found = append(found, t.judge(some || asked && len(t.Answers) == 0, publicHere(t.Family))...)
	}
	if len(found) == 0 {
		return []Finding{{Problem, "servers", "no source asks for the public address", "add a section [source.stun]"}}
	}
	return found
}

// publicHere is the address of this machine by which packets of a family go out, if others
// can reach it.
func publicHere(family netwatch.Family) netip.Addr {
	a := netwatch.OwnAddress(family, netip.Addr{})
	if netwatch.CheckPublic(a, nil) != nil {
		return netip.Addr{}
	}
	return a
}

// judge says what is to be thought of the answers for a family. If no server answers
// for it, and some is true, which says that another family has an address, this machine
// just has none of it, unless here says that it has. A silent server is no finding as long
// as the others agree.
func (t told) judge(some bool, here netip.Addr) (found []Finding) {
	what := fmt.Sprintf("servers of %s, %s", t.source, t.Family)
	silent := 0
	for _, a := range t.Answers {
		switch {
		case a.Err != nil:
			silent++
		case t.Err == nil && a.Address != t.Address:
			found = append(found, Finding{
				Problem, what, fmt.Sprintf("%s says %s, and the others %s", a.Server, a.Address, t.Address),
				"if that stays so, take it out of servers: it lies, or is reached by another way",
			})
		}
	}
	switch {
	case t.Err == nil:
		text := fmt.Sprintf("%s, said by %d of %d", t.Address, len(t.Answers)-silent-len(found), len(t.Answers))
		return append([]Finding{{OK, what, text, ""}}, found...)
	case silent == len(t.Answers) && some && here.IsValid():
		return []Finding{{
			Note, what, fmt.Sprintf("nobody tells it, though this machine has %s", here),
			"netwatch probe shows why; calls come in by it only where packets come and go by it",
		}}
	case silent == len(t.Answers) && some:
		return []Finding{{OK, what, "there is none here", ""}}
	}
	return []Finding{{
		Problem, what, t.Err.Error(),
		"netwatch probe shows what each says; a firewall must let UDP out, and the answers in",
	}}
}

package hooks

import (
	"slices"

	"netwatch"
	"netwatch/state"
)

// left notes which families a gate of the rule has just left out, as nobody says their
// known address now. It is written only where that is news.
func (l *lane) left(rule *Rule, acted netwatch.Addresses) {
	s := l.d.store.Get()
	var out, in []netwatch.Family
	for family := range s.Addresses {
		_, with := acted[family]
		switch noted := slices.Contains(s.Left[family], rule.Name); {
		case !with && !noted:
			out = append(out, family)
		case with && noted:
			in = append(in, family)
		}
	}
	if len(out)+len(in) > 0 {
		l.d.save(func(s *state.State) {
			for _, family := range out {
				s.Leave(family, rule.Name)
			}
			for _, family := range in {
				s.Take(family, rule.Name)
			}
		})
	}
}

// Confirmed has the rules act that left a family out, now that servers say its known
// address again: no event tells of one that is the same.
func (d *Dispatcher) Confirmed(family netwatch.Family) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	s := d.store.Get()
	rules := slices.DeleteFunc(slices.Clone(s.Left[family]), func(name string) bool {
		return !slices.ContainsFunc(d.table.rules, func(r *Rule) bool { return r.Name == name })
	})
	if len(rules) == 0 || d.draining {
		return
	}
	address := s.Addresses[family].Address.String()
	ev := netwatch.NewEvent(netwatch.IPChanged, "netwatch", map[string]string{
		"family": string(family), "old": address, "new": address,
	})
	d.save(func(s *state.State) {
		s.Accept(ev, rules)
		for _, name := range rules {
			s.Take(family, name)
		}
	})
	d.report(eventEntry(ev))
	for _, name := range rules {
		d.lanes[name].accept(ev, nil)
	}
}

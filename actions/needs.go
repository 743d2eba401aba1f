package actions

import (
	"slices"

	"netwatch"
	"netwatch/servers"
)

// Needs are what actions must be able to do beside what everybody may. Each says its
// own, by a method Needs; who grants, asks or checks them reads them here.
type Needs struct {
	// Units are what is done to units.
	Units []UnitNeed
	// Reads are files that the daemon itself reads.
	Reads []netwatch.Path
	// Secrets are such files too, but to open these to its user is for an
	// administrator to do.
	Secrets []netwatch.Path
	// Rewrites are files that get our address, by this process or by the helper.
	Rewrites []servers.Target
	// Sources are those that are asked to look at once. An empty name is any source
	// that can be.
	Sources []string
	// Tells are those that hand events on to other machines, alike, and Outside those that
	// have them look at something.
	Tells, Outside []string
	// Mail are mail servers, as HOST:PORT, and Mailboxes the addresses that they bring it to.
	Mail, Mailboxes []string
}

// A UnitNeed is a unit and what polkit calls that which is done to it. Of a signal,
// polkit sees that one is sent, not which (measured).
type UnitNeed struct{ Unit, Verb string }

// NeedsOf is all that steps need, in their order, each unit's need once.
func NeedsOf(steps ...netwatch.Step) (all Needs) {
	for _, s := range steps {
		a, ok := s.Action.(interface{ Needs() Needs })
		if !ok {
			continue
		}
		n := a.Needs()
		for _, u := range n.Units {
			if !slices.Contains(all.Units, u) {
				all.Units = append(all.Units, u)
			}
		}
		all.Reads = append(all.Reads, n.Reads...)
		all.Secrets = append(all.Secrets, n.Secrets...)
		all.Rewrites = append(all.Rewrites, n.Rewrites...)
		all.Sources = append(all.Sources, n.Sources...)
		all.Tells = append(all.Tells, n.Tells...)
		all.Outside = append(all.Outside, n.Outside...)
		all.Mail = append(all.Mail, n.Mail...)
		all.Mailboxes = append(all.Mailboxes, n.Mailboxes...)
	}
	return all
}

// UnitNames are the names of Units, each once.
func (n Needs) UnitNames() (names []string) {
	for _, u := range n.Units {
		if !slices.Contains(names, u.Unit) {
			names = append(names, u.Unit)
		}
	}
	return names
}

// unitNeed is the need of an action that does this to a unit.
func unitNeed(unit, verb string) Needs { return Needs{Units: []UnitNeed{{unit, verb}}} }

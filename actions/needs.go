package actions

import "netwatch"

// UnitNeed is the unit that an action works on and what polkit calls the work;
// ok is false when it works on none. Of a signal, polkit sees that one is sent,
// not which (measured).
func UnitNeed(a netwatch.Action) (unit, verb string, ok bool) {
	switch a := a.(type) {
	case *unitAction:
		return a.unit, a.verb.name, true
	case *signalAction:
		return a.unit, "kill", true
	}
	return "", "", false
}

package actions

import (
	"slices"

	"netwatch"
	"netwatch/systemd"
)

// UnitNeed is the unit that an action works on and what polkit calls the work;
// ok is false when it works on none. Of a signal, polkit sees that one is sent,
// not which (measured).
func UnitNeed(a netwatch.Action) (unit, verb string, ok bool) {
	switch a := a.(type) {
	case *unitAction:
		return a.unit, string(a.verb), true
	case *signalAction:
		return a.unit, systemd.Kill, true
	}
	return "", "", false
}

// FileNeeds are the files that an action reads in the daemon itself. To open the
// secret ones to its user is for an administrator to do.
func FileNeeds(a netwatch.Action) (files, secret []netwatch.Path) {
	switch a := a.(type) {
	case *verification:
		files = append(files, a.file)
	case *httpAction:
		for _, p := range append([]part{a.url}, a.headers...) {
			secret = append(secret, p.file)
		}
		if a.body != nil {
			secret = append(secret, a.body.file)
		}
	}
	return files, slices.DeleteFunc(secret, func(p netwatch.Path) bool { return p == "" })
}

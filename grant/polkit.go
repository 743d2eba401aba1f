package grant

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"netwatch"
	"netwatch/actions"
	"netwatch/helper"
	"netwatch/systemd"
)

// canonical is the grants by the names that polkit is asked with, which are not
// aliases, each once. A unit that is not installed is not granted to be started:
// later versions of systemd ask polkit the same when somebody makes a transient
// unit of that name, with a program of his own, to be run as root
// (method_start_transient_unit of systemd 258; 252 tells no name then, measured).
func canonical(ctx context.Context, units []actions.UnitNeed) ([]actions.UnitNeed, error) {
	var all []actions.UnitNeed
	for _, g := range units {
		id, installed, err := lookUp(ctx, g.Unit)
		if err != nil {
			return nil, err
		}
		if installed || g.Verb != "start" {
			all = append(all, actions.UnitNeed{Unit: id, Verb: g.Verb})
		}
	}
	slices.SortFunc(all, func(a, b actions.UnitNeed) int {
		return cmp.Or(cmp.Compare(a.Unit, b.Unit), cmp.Compare(a.Verb, b.Verb))
	})
	return slices.Compact(all), nil
}

// lookUp asks systemd for the name that a unit's name stands for and whether it
// has a unit file.
func lookUp(ctx context.Context, unit string) (id string, installed bool, err error) {
	shown, err := systemd.Show(ctx, unit, "Id", "FragmentPath")
	if err != nil {
		return "", false, err
	}
	id = cmp.Or(shown["Id"], unit)
	if err := netwatch.CheckPlain(id); err != nil {
		return "", false, fmt.Errorf("looking at %s: its name is no plain text: %w", unit, err)
	}
	return id, shown["FragmentPath"] != "", nil
}

// polkitRules is the rules file of polkit(8) that grants these, or empty. systemd
// asks by the verb start for a transient unit too, with a program of the caller's
// that runs as root (from 257 on), and for a thaw, by stop for a freeze, and by
// kill for a part of a unit. What tells them apart is the message that polkit would
// show (systemd.Shown); other words of a later systemd grant nothing. The other verbs
// have one meaning, and stay granted whatever it says.
func polkitRules(units []actions.UnitNeed) string {
	if len(units) == 0 {
		return ""
	}
	pairs := make([]string, len(units))
	for i, g := range units {
		pair, _ := json.Marshal([]string{g.Unit, g.Verb}) // Strings always can; JSON is JavaScript.
		pairs[i] = "\t\t" + string(pair)
	}
	shown, _ := json.MarshalIndent(systemd.Shown, "\t", "\t")
	return fmt.Sprintf(`// Written by netwatch grant, which writes it anew; see netwatch(8).
polkit.addRule(function(action, subject) {
	var granted = [
%s
	];
	// Other methods of systemd, as that for transient units, ask by the same verbs.
	var shown = %s;
	if (action.id !== "org.freedesktop.systemd1.manage-units" || subject.user !== "%s") {
		return polkit.Result.NOT_HANDLED;
	}
	var unit = action.lookup("unit"), verb = action.lookup("verb");
	if (verb in shown && action.lookup("polkit.message") !== shown[verb]) {
		return polkit.Result.NOT_HANDLED;
	}
	for (var i = 0; i < granted.length; i++) {
		if (unit === granted[i][0] && verb === granted[i][1]) {
			return polkit.Result.YES;
		}
	}
	return polkit.Result.NOT_HANDLED;
});
`, strings.Join(pairs, ",\n"), shown, helper.User)
}

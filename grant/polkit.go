package grant

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"netwatch"
	"netwatch/helper"
	"netwatch/systemd"
)

// A unitGrant is a unit and a verb of polkit's.
type unitGrant struct{ unit, verb string }

// canonical is the grants by the names that polkit is asked with, which are not
// aliases, each once. A unit that is not installed is not granted to be started:
// later versions of systemd ask polkit the same when somebody makes a transient
// unit of that name, with a program of his own, to be run as root
// (method_start_transient_unit of systemd 258; 252 tells no name then, measured).
func canonical(ctx context.Context, units []unitGrant) ([]unitGrant, error) {
	var all []unitGrant
	for _, g := range units {
		id, installed, err := lookUp(ctx, g.unit)
		if err != nil {
			return nil, err
		}
		if installed || g.verb != "start" {
			all = append(all, unitGrant{id, g.verb})
		}
	}
	slices.SortFunc(all, func(a, b unitGrant) int {
		return cmp.Or(cmp.Compare(a.unit, b.unit), cmp.Compare(a.verb, b.verb))
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
// show (measured with 252, 257 and 262); other words of a later systemd grant
// nothing. The other verbs have one meaning, and stay granted whatever it says.
func polkitRules(units []unitGrant) string {
	if len(units) == 0 {
		return ""
	}
	pairs := make([]string, len(units))
	for i, g := range units {
		pair, _ := json.Marshal([]string{g.unit, g.verb}) // Strings always can; JSON is JavaScript.
		pairs[i] = "\t\t" + string(pair)
	}
	return fmt.Sprintf(`// Written by netwatch grant, which writes it anew; see netwatch(8).
polkit.addRule(function(action, subject) {
	var granted = [
%s
	];
	// Other methods of systemd, as that for transient units, ask by the same verbs.
	var shown = {
		"start": "Authentication is required to start '$(unit)'.",
		"stop": "Authentication is required to stop '$(unit)'.",
		"kill": "Authentication is required to send a UNIX signal to the processes of '$(unit)'."
	};
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
`, strings.Join(pairs, ",\n"), helper.User)
}

package main

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"netwatch"
	"netwatch/helper"
)

// polkitRules is the rules file of polkit(8) that grants these, or empty.
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
	if (action.id !== "org.freedesktop.systemd1.manage-units" || subject.user !== "%s") {
		return polkit.Result.NOT_HANDLED;
	}
	for (var i = 0; i < granted.length; i++) {
		if (action.lookup("unit") === granted[i][0] && action.lookup("verb") === granted[i][1]) {
			return polkit.Result.YES;
		}
	}
	return polkit.Result.NOT_HANDLED;
});
`, strings.Join(pairs, ",\n"), helper.User)
}

// helperDropIn is the drop-in that lets the helper do the rotations, or empty.
// What it may do stands there and is not read from the configuration, which may
// have mistakes at the moment, or not be in force yet.
func helperDropIn(rotations []rotationGrant, accept []netip.Prefix) (string, error) {
	if len(rotations) == 0 {
		return "", nil
	}
	s := helper.Server{Accept: accept}
	var dirs []string
	for _, r := range rotations {
		s.Granted = append(s.Granted, r.Grant)
		dirs = append(dirs, r.dirs...)
	}
	text := "# Written by netwatch grant, which writes it anew; see netwatch(8).\n[Service]\n"
	for _, dir := range slices.Compact(slices.Sorted(slices.Values(dirs))) {
		word, err := quote("-" + dir) // The minus: it need not be there.
		if err != nil {
			return "", err
		}
		text += "ReadWritePaths=" + word + "\n"
	}
	word, err := quote(helper.Environment + "=" + s.String())
	return text + "Environment=" + word + "\n", err
}

// specifiersAndQuotes are what a word in double quotes must not have as they
// are (systemd.unit(5), systemd.syntax(7)).
var specifiersAndQuotes = strings.NewReplacer("%", "%%", `"`, `\"`, `\`, `\\`)

// quote is a word for a unit file, where a line that somebody else could begin is
// a command of root's.
func quote(word string) (string, error) {
	return `"` + specifiersAndQuotes.Replace(word) + `"`, netwatch.CheckPlain(word)
}

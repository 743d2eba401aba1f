package grant

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"netwatch"
	"netwatch/helper"
)

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

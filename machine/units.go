package machine

import (
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// unitDirs are where systemd has its units, the first that has a name wins
// (systemd.unit(5)); what is below /run does not last.
var unitDirs = []string{
	"/etc/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system",
}

// A unit is a service as its file has it, without drop-ins.
type unit struct {
	name string
	// words are those of its first ExecStart=.
	words []string
	// enabled says that something at boot wants it.
	enabled bool
}

// units are all services of the machine that are no templates and not masked.
func (s *search) units() []unit {
	var all []unit
	seen := map[string]bool{}
	for _, dir := range unitDirs {
		for _, file := range s.tree.Glob(dir + "/*.service") {
			name := path.Base(file)
			if seen[name] || strings.HasSuffix(name, "@.service") {
				continue
			}
			seen[name] = true
			// To /dev/null is masked, to another name an alias.
			if to, err := os.Readlink(s.tree.Host(file)); err == nil && path.Base(to) != name {
				continue
			}
			all = append(all, unit{name, execStart(s.read(file)), s.enabled(name)})
		}
	}
	slices.SortFunc(all, func(a, b unit) int { return strings.Compare(a.name, b.name) })
	return all
}

// enabled says whether a unit starts with another; systemctl enable makes such a
// symlink.
func (s *search) enabled(name string) bool {
	for _, dir := range []string{"*.wants", "*.requires"} {
		if found, _ := filepath.Glob(s.tree.Host("/etc/systemd/system/" + dir + "/" + name)); len(found) > 0 {
			return true
		}
	}
	return false
}

// execStart is the first command of a unit's file (systemd.service(5)), without
// what may stand before the program.
func execStart(text []byte) []string {
	joined := strings.ReplaceAll(string(text), "\\\n", " ")
	for line := range strings.Lines(joined) {
		key, value, _ := strings.Cut(line, "=")
		if words := strings.Fields(value); strings.TrimSpace(key) == "ExecStart" && len(words) > 0 {
			words[0] = strings.TrimLeft(words[0], "@-:+!|")
			return words
		}
	}
	return nil
}

// option is the value of an option among words, in any of its forms; the last
// counts.
func option(words []string, short, long string) (value string) {
	for i, word := range words {
		switch {
		case (word == short || word == long) && i+1 < len(words):
			value = words[i+1]
		case strings.HasPrefix(word, long+"="):
			value = word[len(long)+1:]
		case strings.HasPrefix(word, short) && !strings.HasPrefix(word, "--") && len(word) > len(short):
			value = word[len(short):]
		}
	}
	return value
}
